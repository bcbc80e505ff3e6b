// Marks: everybody's sessions, a user's or a tag's, ended by one row; and the purge of what they ended.
import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql, until } from '../support/harness.ts'
import {
  age,
  call,
  closeClients,
  closeEverything,
  connect,
  count,
  create,
  newKey,
  present,
  save,
  stored,
} from './calls.ts'

test.before.each(async () => {
  await sql(`update pgstore.watermark set everybody = '-infinity'`)
  await sql(`select setval('pgstore.mark_gate', 0), pgstore.mark_gate_switch(false)`)
  await sql(`update pgstore.sweep set everybody = '-infinity', page = null`)
  await sql('truncate pgstore.marks, pgstore.sessions, pgstore.history, pgstore.ending_deliveries')
  await sql('update pgstore.audit set is_on = false')
})
test.after.each(closeClients)
test.after(closeEverything)

interface Mark {
  status: string
  not_before: Date | null
}

async function mark(scope: string | null, at?: string): Promise<Mark> {
  return await row<Mark>('select * from pgstore.session_end_before($1, now() + $2::interval)', scope, at ?? null)
}

const isLive = async (key: Buffer) => (await call('session_get', { key })).length === 1
const lives = async (keys: readonly Buffer[]) => await Promise.all(keys.map(isLive))

/** A user's session that began an hour ago. */
async function old(args: Parameters<typeof create>[1] = {}): Promise<Buffer> {
  const key = await create({ a: 1 }, args)
  await sql(
    `update pgstore.sessions set created_at = now() - interval '1 hour', signed_in_at = signed_in_at - interval '1 hour'
     where key = $1`,
    key,
  )
  return key
}

test('all sessions that there are have ended, and those that begin afterwards live', async () => {
  const before = [await create(), await create({}, { user_id: 'ann' }), await create({}, { tags: ['x'] })]
  const { status, not_before } = await mark('all')
  assert.is(status, 'marked')
  assert.ok(not_before instanceof Date)
  assert.equal(await lives(before), [false, false, false])
  assert.equal(await lives([await create(), await create({}, { user_id: 'ann' })]), [true, true])
})

test('no function takes an ended session for a live one', async () => {
  const user_id = 'everywhere'
  const key = await create({ n: 1, a: 2 }, { user_id, tags: ['t'] })
  const { id } = await present(key)
  await mark('all')
  const none = async (name: string, args: object) => assert.equal(await call(name, args), [], name)
  const zero = async (name: string, args: object = {}) => assert.is(await count(name, args), 0, name)
  const status = async (name: string, args: object) => (await call<{ status: string }>(name, args))[0]?.status
  await none('session_get', { key })
  assert.equal(await sql('select * from pgstore.session_get(array[$1]::bytea[])', key), [])
  await none('session_list', { user_id })
  await none('session_all', {})
  await zero('count_live')
  await zero('session_revoke', { user_id })
  await zero('session_revoke', { user_id, id })
  await zero('session_revoke_tag', { tag: 't' })
  await zero('session_limit', { user_id, max: 1 })
  await zero('session_changed', { user_id })
  await zero('session_destroy', { key })
  assert.is((await row('select pgstore.session_destroy(array[$1]::bytea[]) as n', key))['n'], '0')
  assert.is((await row('select status from pgstore.session_try_destroy(array[$1]::bytea[])', key))['status'], 'gone')
  for (const args of [{ set: '{"b":1}' }, {}, { set: '{"b":1}', version: 1 }, { user_id: 'other' }]) {
    assert.is((await save(key, args)).status, 'gone', JSON.stringify(args))
  }
  for (const [set, user] of [
    ['{"b":1}', null],
    ['{}', null],
    ['{"b":1}', 'other'],
  ]) {
    const saved = await row(
      `select status from pgstore.session_save(array[$1]::bytea[], array[$2]::jsonb[], array[null]::jsonb[],
         array['1 day']::interval[], array[null]::integer[], array[$3]::text[], 0, null)`,
      key,
      set,
      user,
    )
    assert.is(saved['status'], 'gone')
  }
  assert.is(await status('session_regenerate', { key, new_key: newKey() }), 'gone')
  assert.is(await status('session_take', { key, name: 'n' }), 'gone')
  assert.is(await status('session_take', { key, name: null }), 'gone')
  assert.equal(await call('session_enter', { key }), [{ id: null, user_id: null }])
  const stats = await row('select live, expired, anonymous from pgstore.session_stats()')
  assert.equal(stats, { live: '0', expired: '1', anonymous: '0' })
  assert.is((await present(key)).version, 1)
})

test('what creates where nothing lives creates anew, with nothing of the ended session', async () => {
  const keys = [await create({ n: 5 }), await create({ n: 5 }), await create({ n: 5 })] as const
  const ids = await Promise.all(keys.map(async (key) => (await present(key)).id))
  await mark('all')
  assert.is((await save(keys[0], { set: '{"b":1}', version: 0 })).status, 'saved')
  assert.equal(await call('session_increment', { key: keys[1], name: 'n' }), [{ status: 'saved', value: '1' }])
  const [put] = await call<{ status: string }>('session_put', { key: keys[2], data: '{"b":1}' })
  assert.is(put?.status, 'saved')
  const after = await Promise.all(keys.map(present))
  assert.equal(
    after.map(({ data, version }) => [data, version]),
    [
      [{ b: 1 }, 1],
      [{ n: 1 }, 1],
      [{ b: 1 }, 1],
    ],
  )
  for (const [n, { id }] of after.entries()) assert.is.not(id, ids[n])
})

test('an ended session does not stand in the way of a regenerate to its key', async () => {
  const new_key = await old()
  await mark('all', '-30 minutes')
  const key = await create()
  const [moved] = await call<{ status: string }>('session_regenerate', { key, new_key })
  assert.is(moved?.status, 'saved')
})

test('whoever has signed in since then stays, and who began earlier without signing in does not', async () => {
  const [signedIn, anonymous, since] = [await old(), await old({ user_id: 'ann' }), await create()]
  await save(signedIn, { user_id: 'bob' })
  await mark('all', '-30 minutes')
  assert.equal(await lives([signedIn, anonymous, since]), [true, false, true])
})

test('a mark for a user or a tag ends their sessions and no other', async () => {
  const keys = [
    await create({}, { user_id: 'ann' }),
    await create({}, { user_id: 'bob' }),
    await create({}, { user_id: 'bob', tags: ['a', 'x:y'] }),
    await create({}, { tags: ['a'] }),
    await create(),
  ]
  assert.is((await mark('tag:x:y')).status, 'marked')
  assert.equal(await lives(keys), [true, true, false, true, true])
  assert.is((await mark('user:ann')).status, 'marked')
  assert.equal(await lives(keys), [false, true, false, true, true])
  assert.equal(await lives([await create({}, { user_id: 'ann', tags: ['x:y'] })]), [true])
})

test('a mark never goes back, and a time to come is now', async () => {
  const later = await mark('all')
  assert.equal((await mark('all', '-1 hour')).not_before, later.not_before)
  const { not_before } = await mark('all', '1 hour')
  const { is_past } = await row('select $1::timestamptz <= clock_timestamp() as is_past', not_before)
  assert.ok(is_past)
  assert.ok(await isLive(await create()))
  const user = await mark('user:ann')
  assert.equal((await mark('user:ann', '-1 hour')).not_before, user.not_before)
})

test('a scope that is none is invalid, and ends nothing', async () => {
  const key = await create({}, { user_id: '' })
  for (const scope of [
    null,
    '',
    'ALL',
    'all:',
    'all:x',
    'user',
    'user:',
    'tag:',
    'key:x',
    ':all',
    `tag:${'x'.repeat(1025)}`,
  ]) {
    assert.equal(await mark(scope), { status: 'invalid', not_before: null }, String(scope))
  }
  assert.ok(await isLive(key))
})

test('a session that was begun before the mark and is committed after it has ended', async () => {
  const client = await connect()
  await client.query('begin')
  const [slow, kept] = [newKey(), await create()]
  await save(slow, { version: 0 }, client)
  await save(kept, { set: '{"b":1}' }, client)
  await mark('all')
  await client.query('commit')
  assert.equal(await lives([slow, kept]), [false, false])
})

test('a mark is taken back with its transaction', async () => {
  const key = await create({}, { user_id: 'ann' })
  const client = await connect()
  await client.query('begin')
  await call('session_end_before', { scope: 'all' }, client)
  await call('session_end_before', { scope: 'user:ann' }, client)
  assert.equal(await call('session_get', { key }, client), [])
  await client.query('rollback')
  assert.ok(await isLive(key))
})

test('it is announced, once, without a number or a name', async () => {
  const client = await connect()
  const heard: string[] = []
  client.on('notification', ({ payload = '' }) => heard.push(payload))
  await client.query('listen pgstore_sessions')
  await call('session_end_before', { scope: 'all' }, client)
  await call('session_end_before', { scope: 'user:ann' }, client)
  const { n } = await row<{ n: string }>('select pgstore.announcement_number() as n')
  await client.query('select')
  assert.equal(
    heard.map((payload) => JSON.parse(payload)),
    [
      { type: 'ended_before', ids: [], n: Number(n) - 1, scope: 'all' },
      { type: 'ended_before', ids: [], n: Number(n), scope: 'user' },
    ],
  )
})

test('a gate that was left behind, as by logical replication, is put right by the next purge', async () => {
  const key = await create()
  await mark('all')
  await sql(`select setval('pgstore.mark_gate', 0), pgstore.mark_gate_switch(false)`)
  await sql('truncate pgstore.sweep')
  assert.is(await count('purge_expired'), 0)
  assert.not(await isLive(key))
  await sql(`insert into pgstore.sweep (everybody) values ('-infinity')`)
})

test('where the mark is taken back, or its row is missing, no session is let in for that, and none is kept out', async () => {
  const key = await create()
  await mark('all', '-1 hour')
  await sql(`select setval('pgstore.mark_gate', 10000000000)`)
  assert.ok(await isLive(key))
  const client = await connect()
  await client.query('begin')
  await client.query('delete from pgstore.watermark')
  assert.equal(await call('session_get', { key }, client), [])
  await client.query('rollback')
  assert.ok(await isLive(key))
})

// The purge

async function purgeAll(limit = 1000): Promise<number> {
  let total = 0
  for (let purged = limit; purged === limit; total += purged) purged = await count('purge_expired', { limit })
  return total
}

test('the purge deletes what a mark for everybody ended, in batches, and nothing else', async () => {
  const [dead, live] = [await Promise.all(Array.from({ length: 25 }, () => old())), await create()]
  await mark('all', '-30 minutes')
  assert.is(await count('purge_expired', { limit: 10 }), 10)
  assert.is(await count('purge_expired', { limit: 10 }), 10)
  assert.is(await count('purge_expired', { limit: 10 }), 5)
  assert.is(await count('purge_expired', { limit: 10 }), 0)
  assert.equal(await Promise.all(dead.map(stored)), Array(25).fill(undefined))
  assert.ok(await isLive(live))
  assert.equal((await row('select page from pgstore.sweep'))['page'], null)
})

test('the walk through the table is over many pages, ends where it ends, and begins again with the next mark', async () => {
  await sql(
    `insert into pgstore.sessions (id, created_at, purge_at, key, data, updated_at, version, expires_at, seen_at)
     select n, now() - interval '1 hour' * (n % 2), now() + interval '1 day', sha256(n::text::bytea), '{}', now(), 1, now() + interval '1 day', now()
     from generate_series(1, 5000) as n`,
  )
  await mark('all', '-30 minutes')
  assert.is(await purgeAll(700), 2500)
  assert.is(await purgeAll(700), 0)
  assert.is(await count('count_live'), 2500)
  await mark('all')
  assert.is(await purgeAll(10_000), 2500)
  assert.is((await row('select count(*)::integer as n from pgstore.sessions'))['n'], 0)
})

test('what expired is deleted first, and both count', async () => {
  const [dead, expired] = [await old(), await create()]
  await sql(
    `update pgstore.sessions set expires_at = now() - interval '1 s', purge_at = now() - interval '1 s' where key = $1`,
    expired,
  )
  await mark('all', '-30 minutes')
  assert.is(await count('purge_expired', { limit: 1 }), 1)
  assert.ok(await stored(dead))
  assert.is(await count('purge_expired', { limit: 1 }), 1)
  assert.is(await count('purge_expired', { limit: 1 }), 0)
})

test('two purges at once wait for nobody, and neither does one for a session that is held', async () => {
  const [held, free] = [await old(), await old()]
  await mark('all', '-30 minutes')
  const [one, other] = [await connect(), await connect()]
  await one.query('begin')
  await one.query('select from pgstore.sessions where key = $1 for update', [held])
  await other.query(`set lock_timeout = '5s'`)
  assert.is(await count('purge_expired', {}, other), 1)
  assert.ok(await stored(held))
  assert.not(await stored(free))
  await other.query('begin')
  await old()
  await mark('all', '-29 minutes')
  assert.is(await count('purge_expired', {}, other), 1)
  assert.is(await count('purge_expired', {}, one), 0) // the walk is the other's
  await mark('all', '-28 minutes') // and nobody waits to set a mark
})

/** When no transaction of whichever database of this server is older than them. */
const forgotten = async () =>
  await until(async () => {
    await count('purge_expired')
    return (await sql('select name from pgstore.marks')).length === 0
  })

/** As if the marks had been set some time ago. */
const ageMarks = async (by: string) => await sql('update pgstore.marks set made_at = made_at - $1::interval', by)

test('the sessions of a user or a tag go after an hour, and with the last of them the mark', async () => {
  const keys = [await old({ user_id: 'ann' }), await old({ user_id: 'ann' }), await old({ tags: ['x'] })] as const
  const others = [await old(), await create({}, { user_id: 'ann', tags: ['x'] })] as const
  await mark('user:ann', '-30 minutes')
  await mark('tag:x', '-30 minutes')
  assert.is(await purgeAll(), 0)
  await ageMarks('61 minutes')
  let purged = 0
  await until(async () => {
    purged += await purgeAll(1)
    return purged >= 3
  })
  assert.is(purged, 3)
  assert.equal(await Promise.all(keys.map(stored)), [undefined, undefined, undefined])
  assert.equal(await lives(others), [true, true])
  await forgotten()
})

test('a mark stays while one of its sessions is held, or a transaction from before it is open', async () => {
  const key = await old({ user_id: 'ann' })
  const early: pg.Client = await connect()
  await early.query('begin')
  const slow = newKey()
  await save(slow, { version: 0, user_id: 'ann' }, early)
  await mark('user:ann')
  await ageMarks('61 minutes')
  assert.is(await purgeAll(), 0)
  await early.query('commit')
  const holder = await connect()
  await holder.query('begin')
  await holder.query('select from pgstore.sessions where key = $1 for update', [key])
  await until(async () => (await purgeAll()) === 1)
  assert.is((await sql('select from pgstore.marks')).length, 1)
  await holder.query('rollback')
  await until(async () => (await purgeAll()) === 1)
  await forgotten()
  assert.equal(await lives([key, slow]), [false, false])
})

test('where the history is on, what a mark ended is there once it is purged, with the time of the mark', async () => {
  await sql('update pgstore.audit set is_on = true')
  await old({ user_id: 'ann' })
  await old({ user_id: 'bob' })
  const everybody = await mark('all', '-40 minutes')
  assert.is(await purgeAll(), 2)
  await old({ user_id: 'cleo' })
  const one = await mark('user:cleo', '-30 minutes')
  await ageMarks('61 minutes')
  await until(async () => (await purgeAll()) === 1)
  const found = await sql(
    `select user_id, reason, happened_at from pgstore.history where type = 'ended' order by user_id`,
  )
  assert.equal(found, [
    { user_id: 'ann', reason: 'ended_before', happened_at: everybody.not_before },
    { user_id: 'bob', reason: 'ended_before', happened_at: everybody.not_before },
    { user_id: 'cleo', reason: 'ended_before', happened_at: one.not_before },
  ])
})

test('a session that outlived its mark lives on after the mark is forgotten', async () => {
  const key = await old({ user_id: 'ann' })
  await mark('user:ann', '-2 hours')
  assert.ok(await isLive(key))
  await age(key, '90 minutes')
  assert.ok(await isLive(key))
  await ageMarks('61 minutes')
  await forgotten()
  assert.ok(await isLive(key))
})

test('no read looks for marks before the first, nor when the last is forgotten', async () => {
  const gate = async () => (await row<{ gate: unknown }>('select pgstore.mark_gate()::text as gate')).gate
  assert.is(await gate(), '-infinity')
  const key = await old({ user_id: 'ann' })
  await mark('user:ann', '-2 hours')
  assert.is.not(await gate(), '-infinity')
  await ageMarks('61 minutes')
  await forgotten()
  assert.is(await gate(), '-infinity')
  await mark('user:ann')
  assert.not(await isLive(key))
})

test.run()
