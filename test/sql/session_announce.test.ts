// What the listeners of <schema>_sessions hear: which sessions ended or changed their key, and nothing else.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql, until } from '../support/harness.ts'
import { call, closeClients, closeEverything, connect, count, create, expire, newKey, present, save } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

/** All messages before the one that ends a session created for this purpose. */
async function heard(work: () => unknown): Promise<string[]> {
  const messages: string[] = []
  const client = await connect()
  client.on('notification', ({ channel, payload = '' }) => messages.push(`${channel} ${payload}`))
  await client.query('listen pgstore_sessions; listen pgstore_cleanup')
  await work()
  const last = await create()
  const { id } = await present(last)
  await call('session_destroy', { key: last })
  const isLast = (message: string) => /\[(\d+)\]/.exec(message)?.[1] === id
  await until(() => messages.some(isLast))
  return messages.filter((message) => !isLast(message)).map((message) => message.replace(/^pgstore_sessions /, ''))
}

/** The number of the newest announcement but that of the session that `heard` ends. */
async function newest(): Promise<number> {
  return (await count('announcement_number')) - 1
}

async function idOf(key: Buffer): Promise<number> {
  return Number((await present(key)).id)
}

test('destroying announces the number of the session', async () => {
  const key = await create({ secret: 1 }, { user_id: '42' })
  const id = await idOf(key)
  const messages = await heard(() => call('session_destroy', { key }))
  assert.equal(
    messages.map((message) => JSON.parse(message)),
    [{ type: 'destroyed', ids: [id], n: await newest(), reason: 'signed_out' }],
  )
})

test('destroying several announces all their numbers in one message', async () => {
  const keys = [await create(), await create()]
  const ids = await Promise.all(keys.map(idOf))
  const [message, ...more] = await heard(() => call('session_destroy', { keys: [...keys, newKey()] }))
  const { type, ids: announced } = JSON.parse(message ?? '{}')
  assert.equal({ type, more }, { type: 'destroyed', more: [] })
  assert.equal(new Set(announced), new Set(ids))
})

test('regenerating announces the number, which stays, and neither key', async () => {
  const [key, new_key] = [await create(), newKey()]
  const id = await idOf(key)
  const messages = await heard(() => call('session_regenerate', { key, new_key }))
  assert.equal(
    messages.map((message) => JSON.parse(message)),
    [{ type: 'regenerated', ids: [id], n: await newest() }],
  )
})

test('revoking announces the numbers', async () => {
  const key = await create({}, { user_id: 'ada' })
  const id = await idOf(key)
  const messages = await heard(() => call('session_revoke', { user_id: 'ada' }))
  assert.equal(
    messages.map((message) => JSON.parse(message)),
    [{ type: 'revoked', ids: [id], n: await newest(), reason: 'revoked' }],
  )
})

test('a revoke of two thousand sessions with the longest numbers stays under 8000 bytes a message', async () => {
  await sql(
    `insert into pgstore.sessions (id, created_at, updated_at, seen_at, purge_at, expires_at, version, key, user_id, data)
     select 9223372036854775807 - n, now(), now(), now(), now() + interval '1 hour', now() + interval '1 hour', 1, sha256(n::text::bytea), 'crowd', '{}'
     from generate_series(1, 2000) as n`,
  )
  // Seven digits more of the number, and the longest reason.
  await sql(`select setval('pgstore.announcement', 9000000000000000)`)
  const messages = await heard(() => call('session_revoke', { user_id: 'crowd', reason: '"'.repeat(100) }))
  const longest = Math.max(...messages.map((message) => Buffer.byteLength(message)))
  assert.ok(longest < 8000, `${longest} bytes`)
  const ids = messages.flatMap((message) => message.match(/\b\d{19}\b/g) ?? [])
  assert.equal([ids.length, new Set(ids).size], [2000, 2000])
})

test('a save that changes the user is announced, and so is one that asks for it', async () => {
  const key = await create()
  const id = await idOf(key)
  const messages = await heard(async () => {
    await save(key, { user_id: 'eve' })
    await save(key, { user_id: 'eve' })
    await save(key, { user_id: '', set: '{"a":1}' })
    await save(key, { set: '{"a":2}', announce: true })
    await save(key, { announce: true, version: 1 }) // a conflict
    await save(newKey(), { announce: true }) // gone
  })
  const heardOf = messages.map((message) => JSON.parse(message))
  const first = (await newest()) - 2
  assert.equal(
    heardOf,
    [0, 1, 2].map((more) => ({ type: 'changed', ids: [id], n: first + more })),
  )
})

test('session_changed announces a live session of each kind of a user, and writes nothing', async () => {
  const [key, ended, other] = [
    await create({}, { user_id: 'zoe' }),
    await create({}, { user_id: 'zoe' }),
    await create({}, { user_id: 'zac' }),
  ]
  await expire(ended)
  const before = [await present(key), await present(other)]
  const messages = await heard(async () => {
    assert.is(await count('session_changed', { user_id: 'zoe' }), 1)
    assert.is(await count('session_changed', { user_id: 'nobody' }), 0)
    assert.is(await count('session_changed', { user_id: null }), 0)
  })
  assert.equal(
    messages.map((message) => JSON.parse(message)),
    [{ type: 'changed', ids: [Number(before[0]?.id)], n: await newest() }],
  )
  assert.equal([await present(key), await present(other)], before)
})

test('each end has its reason: its own, or the caller’s, cut at 50 characters', async () => {
  const create3 = () => Promise.all([1, 2, 3].map(() => create({}, { user_id: 'rae', tags: ['t'] })))
  const messages = await heard(async () => {
    const keys = await create3()
    await call('session_destroy', { key: keys[0] })
    await call('session_destroy', { keys: [keys[1]], reason: 'stolen' })
    await call('session_destroy', { key: keys[2], reason: 'x'.repeat(60) })
    await create3()
    await call('session_limit', { user_id: 'rae', max: 2 })
    await call('session_limit', { user_id: 'rae', max: 1, reason: 'plan' })
    await call('session_revoke_tag', { tag: 't' })
    await create3()
    await call('session_revoke_tag', { tag: 't', reason: 'tenant left' })
    await create({}, { user_id: 'rae' })
    await call('session_revoke', { user_id: 'rae', reason: 'password' })
  })
  assert.equal(
    messages.map((message) => JSON.parse(message)).map(({ type, reason, ids }) => [type, reason, ids.length]),
    [
      ['destroyed', 'signed_out', 1],
      ['destroyed', 'stolen', 1],
      ['destroyed', 'x'.repeat(50), 1],
      ['revoked', 'limited', 1],
      ['revoked', 'plan', 1],
      ['revoked', 'revoked', 1],
      ['revoked', 'tenant left', 3],
      ['revoked', 'password', 1],
    ],
  )
})

test('the numbers of announcements grow by one, and announcement_number returns the newest', async () => {
  const keys = await Promise.all([1, 2, 3].map(() => create()))
  const before = await count('announcement_number')
  const messages = await heard(async () => {
    for (const key of keys) await call('session_destroy', { key })
  })
  assert.equal(
    messages.map((message) => JSON.parse(message).n),
    [before + 1, before + 2, before + 3],
  )
  assert.is(await newest(), before + 3)
})

test('reads, saves, touches and their refusals are not announced', async () => {
  const key = await create({}, { user_id: 'kim' })
  const messages = await heard(async () => {
    await call('session_get', { key })
    await call('session_get', { keys: [key] })
    await call('session_list', { user_id: '42' })
    await save(key, { ttl: '60 days' })
    for (const version of [null, 0, 1, 7]) await save(key, { set: '{"a":1}', version, user_id: 'kim' })
    await save(key, { label: '{"agent":"Firefox"}', tags: ['acme'] })
    await save(key, { set: JSON.stringify({ a: 'x'.repeat(5000) }) })
    await save(key, { set: '[]' })
    await save(newKey(), { set: '{"a":1}' })
    await call('session_save', {
      keys: [key, newKey()],
      sets: ['{"b":1}', '{}'],
      unsets: [null, null],
      ttls: ['1 day', '1 day'],
      versions: [null, 0],
      user_ids: [null, null],
      max_length: 0,
      lifetime: null,
    })
  })
  assert.equal(messages, [])
})

test('calls that ended nothing are not announced, nor is the purge of expired sessions', async () => {
  const [expired, taken] = [await create({}, { user_id: 'bob' }), await create()]
  await expire(expired)
  const messages = await heard(async () => {
    await call('session_destroy', { key: expired })
    await call('session_destroy', { keys: [expired, newKey()] })
    await call('session_destroy', { keys: [] })
    await call('session_revoke', { user_id: 'bob' })
    await call('session_regenerate', { key: expired, new_key: newKey() })
    await call('session_regenerate', { key: await create(), new_key: taken })
    await call('session_regenerate', { key: taken, new_key: taken })
    await count('count_expired')
    await count('purge_expired')
  })
  assert.equal(messages, [])
})

test('nothing is announced for a rolled-back transaction', async () => {
  const key = await create()
  const client = await connect()
  const messages = await heard(async () => {
    await client.query('begin')
    await call('session_destroy', { key }, client)
    await client.query('rollback')
  })
  assert.equal(messages, [])
})

test.run()
