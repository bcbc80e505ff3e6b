// What gets into the history, and how it is read, kept and purged.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql } from '../support/harness.ts'
import { call, closeEverything, connect, count, create, expire, newKey, present, save } from './calls.ts'

test.before(async () => {
  await call('audit_set', { on: true })
})
test.after(closeEverything)

interface Entry {
  id: string
  type: string
  session_id: string
  happened_at: Date
  reason: string | null
  actor: string | null
  label: unknown
  tags: string[] | null
}

let users = 0
const newUser = () => `user ${++users}`

async function history(user_id: string, args: object = {}): Promise<Entry[]> {
  return await call<Entry>('session_history', { user_id, ...args })
}

/** Types and reasons, newest first. */
async function told(user_id: string): Promise<string[]> {
  return (await history(user_id)).map(({ type, reason }) => (reason ? `${type}: ${reason}` : type))
}

async function written(): Promise<unknown> {
  return await row(
    `select (select count(*) from pgstore.history)::integer as entries,
       (select count(*) from pgstore.ending_deliveries)::integer as deliveries`,
  )
}

/** A live session under its second key; returns both. */
async function regenerated(user_id: string): Promise<{ former: Buffer; key: Buffer }> {
  const [former, key] = [await create({}, { user_id }), newKey()]
  await call('session_regenerate', { key: former, new_key: key })
  return { former, key }
}

const signIns: Readonly<Record<string, (user_id: string) => Promise<unknown>>> = {
  'a session that is created with a user': (user_id) => create({}, { user_id }),
  'a save that names one': async (user_id) => await save(await create({}), { user_id }),
  'a save of many that names one': async (user_id) =>
    await call('session_save', {
      keys: [await create({})],
      sets: ['{}'],
      unsets: [null],
      ttls: ['1 day'],
      versions: [null],
      user_ids: [user_id],
      max_length: 0,
      lifetime: null,
    }),
  'a put over a session': async (user_id) => await call('session_put', { key: await create({}), data: '{}', user_id }),
  'a put that creates one': (user_id) => call('session_put', { key: newKey(), data: '{}', user_id }),
  'a regenerate that names one': async (user_id) =>
    await call('session_regenerate', { key: await create({}), new_key: newKey(), user_id }),
}

for (const [name, signIn] of Object.entries(signIns)) {
  test(`${name} is one sign-in`, async () => {
    const user_id = newUser()
    await signIn(user_id)
    assert.equal(await told(user_id), ['signed_in'])
  })
}

const ends: Readonly<Record<string, { reason: string; end: (user_id: string) => Promise<unknown> }>> = {
  'a destroy': {
    reason: 'signed_out',
    end: async (user_id) => await call('session_destroy', { key: await create({}, { user_id }) }),
  },
  'a destroy with a reason': {
    reason: 'stolen',
    end: async (user_id) => await call('session_destroy', { key: await create({}, { user_id }), reason: 'stolen' }),
  },
  'a destroy of many': {
    reason: 'signed_out',
    end: async (user_id) => await call('session_destroy', { keys: [await create({}, { user_id }), newKey()] }),
  },
  'a destroy of a batch': {
    reason: 'signed_out',
    end: async (user_id) => await call('session_try_destroy', { keys: [await create({}, { user_id }), newKey()] }),
  },
  'a take of all': {
    reason: 'taken',
    end: async (user_id) => await call('session_take', { key: await create({}, { user_id }), name: null }),
  },
  'a revoke': {
    reason: 'revoked',
    end: async (user_id) => {
      await create({}, { user_id })
      await call('session_revoke', { user_id })
    },
  },
  'a revoke with a reason': {
    reason: 'password changed',
    end: async (user_id) => {
      await create({}, { user_id })
      await call('session_revoke', { user_id, reason: 'password changed' })
    },
  },
  'a revoke by tag': {
    reason: 'revoked',
    end: async (user_id) => {
      await create({}, { user_id, tags: [`tag of ${user_id}`] })
      await call('session_revoke_tag', { tag: `tag of ${user_id}` })
    },
  },
  'a clearing': {
    reason: 'cleared',
    end: async (user_id) => {
      await create({}, { user_id })
      await call('session_clear')
    },
  },
  'an expiry, when it is purged': {
    reason: 'expired',
    end: async (user_id) => {
      const key = await create({}, { user_id })
      await expire(key)
      assert.equal(await told(user_id), ['signed_in'])
      await call('purge_expired')
    },
  },
  'an expiry, when its key is used again': {
    reason: 'expired',
    end: async (user_id) => {
      const key = await create({}, { user_id })
      await expire(key)
      await create({}, {}, key)
    },
  },
}

for (const [name, { reason, end }] of Object.entries(ends)) {
  test(`${name} is one end: ${reason}`, async () => {
    const user_id = newUser()
    await end(user_id)
    assert.equal(await told(user_id), [`ended: ${reason}`, 'signed_in'])
  })
}

test('the cap on sessions ends those that signed in first: limited', async () => {
  const user_id = newUser()
  await create({}, { user_id })
  await create({}, { user_id })
  await call('session_limit', { user_id, max: 1 })
  assert.equal(await told(user_id), ['ended: limited', 'signed_in', 'signed_in'])
})

for (const [name, key] of [
  ['session_destroy', (former: Buffer) => ({ key: former })],
  ['session_destroy', (former: Buffer) => ({ keys: [former] })],
  ['session_try_destroy', (former: Buffer) => ({ keys: [former] })],
] as const) {
  test(`${name} by a former key, ${Object.keys(key(newKey())).join()}, is one end`, async () => {
    const user_id = newUser()
    const { former } = await regenerated(user_id)
    await call(name, key(former))
    assert.equal(await told(user_id), ['ended: signed_out', 'regenerated', 'signed_in'])
  })
}

test('an expired session that is replaced keeps nothing of what the history was told', async () => {
  const key = await create({ a: 1 }, { user_id: newUser(), label: '{"agent":"x"}', tags: ['t'] })
  await expire(key)
  await create({ b: 2 }, {}, key)
  const found = await row(
    'select data, user_id, label, tags, value_ends, former_keys from pgstore.sessions where key = $1',
    key,
  )
  assert.equal(found, { data: { b: 2 }, user_id: null, label: null, tags: null, value_ends: null, former_keys: null })
})

test('an entry tells the session, its label and tags, who did it and when', async () => {
  const user_id = newUser()
  const key = await create({}, { user_id, label: '{"agent":"Firefox"}', tags: ['tenant 7', 'x,"y"'] })
  const { id } = await present(key)
  const client = await connect()
  await client.query(`begin; select set_config('pgstore.actor', 'admin 7', true)`)
  await call('session_destroy', { key }, client)
  await client.query('commit')
  const [end, signIn] = await history(user_id)
  for (const entry of [end, signIn]) {
    assert.is(entry?.session_id, id)
    assert.equal(entry?.label, { agent: 'Firefox' })
    assert.equal(entry?.tags, ['tenant 7', 'x,"y"'])
  }
  assert.equal([end?.actor, signIn?.actor], ['admin 7', null])
  assert.ok(Number(end?.happened_at) >= Number(signIn?.happened_at))
})

test('an expiry happened when the session expired, not when it was purged', async () => {
  const user_id = newUser()
  const key = await create({}, { user_id })
  await expire(key)
  const { expires_at } = await present(key)
  await call('purge_expired')
  assert.equal((await history(user_id))[0]?.happened_at, expires_at)
})

test('a save of data, a touch, a get and a take of a value write nothing', async () => {
  const key = await create({ a: 1 }, { user_id: newUser() })
  const before = await written()
  await save(key, { set: '{"b":2}' })
  await save(key)
  await call('session_get', { key })
  await call('session_take', { key, name: 'a' })
  await call('session_increment', { key, name: 'n' })
  await create({})
  assert.equal(await written(), before)
})

test('what is rolled back is not in the history', async () => {
  const user_id = newUser()
  const key = await create({}, { user_id })
  const client = await connect()
  await client.query('begin')
  await call('session_destroy', { key }, client)
  await client.query('rollback')
  assert.equal(await told(user_id), ['signed_in'])
})

test('a call that ends nothing writes nothing', async () => {
  const before = await written()
  await call('session_destroy', { key: newKey() })
  await call('session_destroy', { keys: [newKey()] })
  await call('session_try_destroy', { keys: [newKey()] })
  await call('session_take', { key: newKey(), name: null })
  await call('session_revoke', { user_id: newUser() })
  await call('session_regenerate', { key: newKey(), new_key: newKey() })
  assert.equal(await written(), before)
})

test('it is read a page at a time, newest first', async () => {
  const user_id = newUser()
  let [key, ids] = [await create({}, { user_id }), [] as string[]]
  for (let n = 0; n < 5; n++) {
    const new_key = newKey()
    await call('session_regenerate', { key, new_key })
    key = new_key
  }
  for (let before: string | undefined; ; ) {
    const page = await history(user_id, { limit: 4, ...(before && { before }) })
    if (page.length === 0) break
    ids = [...ids, ...page.map(({ id }) => id)]
    before = page.at(-1)?.id
  }
  const all = (await history(user_id)).map(({ id }) => id)
  assert.is(all.length, 6)
  assert.equal(ids, all)
  assert.equal(
    all,
    [...all].sort((one, other) => Number(other) - Number(one)),
  )
})

test('the purge deletes what was kept for its time, and its waiting endings, and nothing newer', async () => {
  const [old_user, new_user] = [newUser(), newUser()]
  await call('endings_take', { consumer: 'of the purge', limit: 0 })
  await call('session_destroy', { key: await create({}, { user_id: old_user }) })
  await call('session_destroy', { key: await create({}, { user_id: new_user }) })
  await sql(`update pgstore.history set happened_at = now() - interval '89 days' where user_id = $1`, old_user)
  await call('purge_expired')
  assert.is((await history(old_user)).length, 2)
  await sql(`update pgstore.history set happened_at = now() - interval '91 days' where user_id = $1`, old_user)
  await call('purge_expired')
  assert.equal(await told(old_user), [])
  assert.equal(await told(new_user), ['ended: signed_out', 'signed_in'])
  const { n } = await row(
    `select count(*)::integer as n from pgstore.ending_deliveries where consumer = 'of the purge'`,
  )
  assert.is(n, 1)
})

test('the purge waits neither for a consumer in a transaction nor for another purge', async () => {
  const user_id = newUser()
  await call('endings_take', { consumer: 'slow', limit: 0 })
  await call('session_destroy', { key: await create({}, { user_id }) })
  await call('endings_take', { consumer: 'slow', limit: 0 })
  const client = await connect()
  await client.query('begin')
  assert.is((await call('endings_take', { consumer: 'slow', lease: null }, client)).length, 1)
  await sql(`update pgstore.history set happened_at = now() - interval '91 days' where user_id = $1`, user_id)
  const other = await connect()
  await other.query('begin')
  await call('purge_expired', {}, other)
  await call('purge_expired')
  await other.query('commit')
  await client.query('rollback')
  assert.equal(await told(user_id), [])
  assert.equal(await call('endings_take', { consumer: 'slow' }), [])
  const { n } = await row(`select count(*)::integer as n from pgstore.ending_deliveries where consumer = 'slow'`)
  assert.is(n, 0)
})

test("a user's history can be erased, and nobody else's is", async () => {
  const [user_id, other] = [newUser(), newUser()]
  await create({}, { user_id })
  await create({}, { user_id: other })
  assert.is(await count('history_erase', { user_id }), 1)
  assert.equal(await told(user_id), [])
  assert.equal(await told(other), ['signed_in'])
})

test('switched off, nothing is written, and what there was stays', async () => {
  const user_id = newUser()
  const keys = [await create({}, { user_id }), await create({}, { user_id })] as const
  assert.equal(
    (await call('audit_set', { on: false })).map(({ status }) => status),
    ['off'],
  )
  const before = await written()
  for (const signIn of Object.values(signIns)) await signIn(newUser())
  for (const { end } of Object.values(ends).filter(({ reason }) => reason !== 'expired')) await end(newUser())
  await expire(await create({}, { user_id }))
  await call('purge_expired')
  await call('session_regenerate', { key: keys[0], new_key: newKey() })
  await call('session_destroy', { key: keys[1] })
  assert.equal(await written(), before)
  assert.equal(await told(user_id), ['signed_in', 'signed_in'])
  await call('audit_set', { on: true })
})

test('audit_set keeps the time unless it is given one, and refuses what is none', async () => {
  const set = async (args: object) => {
    const [{ status, days }] = (await sql<{ status: string; days: string }>(
      `select status, extract(epoch from keep) / 86400 as days from pgstore.audit_set(${Object.values(args)
        .map((_, n) => `$${n + 1}`)
        .join()})`,
      ...Object.values(args),
    )) as [{ status: string; days: string | null }]
    return [status, days === null ? null : Number(days)]
  }
  assert.equal(await set({ on: true }), ['on', 90])
  assert.equal(await set({ on: true, keep: '1 day' }), ['on', 1])
  assert.equal(await set({ on: false }), ['off', 1])
  assert.equal(await set({ on: null, keep: '2 days' }), ['invalid', null])
  assert.equal(await set({ on: true, keep: '-1 day' }), ['invalid', null])
  assert.equal(await set({ on: true, keep: '90 days' }), ['on', 90])
})

test.run()
