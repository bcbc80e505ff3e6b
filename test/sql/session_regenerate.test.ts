import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql } from '../support/harness.ts'
import {
  age,
  call,
  closeEverything,
  connect,
  create,
  expire,
  newKey,
  present,
  type Saved,
  save,
  stored,
} from './calls.ts'

test.after(closeEverything)

interface Arguments {
  ttl?: string | null
  user_id?: string | null
  lifetime?: string | null
}

async function regenerate(key: Buffer | null, new_key: Buffer | null, args: Arguments = {}): Promise<Saved> {
  const [first] = await call<Saved>('session_regenerate', { key, new_key, ...args })
  if (!first) throw new Error('session_regenerate returned no row.')
  return first
}

const nothing = { id: null, version: null, expires_at: null, data: null }

test('a session moves to its new key with everything it holds, and the old key is dead', async () => {
  const [key, newer] = [await create({ cart: [1] }, { user_id: '42' }), newKey()]
  await save(key, { set: '{"a":1}' })
  const { place, expires_at, seen_at, ...before } = await present(key)
  const answer = await regenerate(key, newer)
  assert.is(await stored(key), undefined)
  const after = await present(newer)
  assert.equal({ ...after, place, expires_at, seen_at }, { ...before, place, expires_at, seen_at })
  assert.equal(answer, {
    key: newer,
    status: 'saved',
    id: after.id,
    version: 2,
    expires_at: after.expires_at,
    data: null,
  })
})

test('the old key is no longer read or saved', async () => {
  const key = await create()
  await regenerate(key, newKey())
  assert.equal(await call('session_get', { key }), [])
  assert.is((await save(key, { set: '{"a":1}' })).status, 'gone')
})

test('the second call that renews a key finds it gone', async () => {
  const [key, second] = [await create(), newKey()]
  await regenerate(key, newKey())
  assert.equal(await regenerate(key, second), { key, status: 'gone', ...nothing })
  assert.is(await stored(second), undefined)
})

test('an unknown session is gone', async () => {
  const key = newKey()
  assert.equal(await regenerate(key, newKey()), { key, status: 'gone', ...nothing })
})

test('an expired session is gone and is not brought back', async () => {
  const [key, newer] = [await create(), newKey()]
  await expire(key)
  const before = await stored(key)
  assert.is((await regenerate(key, newer)).status, 'gone')
  assert.equal([await stored(key), await stored(newer)], [before, undefined])
})

test('a session past its lifetime is gone, its expiry notwithstanding', async () => {
  const key = await create()
  await age(key, '2 hours')
  assert.is((await regenerate(key, newKey(), { lifetime: '1 hour' })).status, 'gone')
})

test("a new key that exists is a conflict: neither session changes, and nothing of the other's is shown", async () => {
  const [key, taken] = [await create({ a: 1 }), await create({ secret: 1 }, { user_id: '42' })]
  const before = [await stored(key), await stored(taken)]
  assert.equal(await regenerate(key, taken, { user_id: '7', ttl: '1 hour' }), { key, status: 'conflict', ...nothing })
  assert.equal([await stored(key), await stored(taken)], before)
})

test('D12: a new key that an expired session still holds is free', async () => {
  const [key, taken] = [await create({ a: 1 }), await create({ secret: 1 })]
  await expire(taken)
  const { id } = await present(key)
  const answer = await regenerate(key, taken)
  assert.equal([answer.status, answer.id], ['saved', id])
  assert.is(await stored(key), undefined)
  assert.equal((await present(taken)).data, { a: 1 })
})

test('D12: a regenerate to a key that an expired session holds, when refused, leaves the session that it would have moved', async () => {
  const [key, taken] = [await create({ a: 1 }), await create({ secret: 1 })]
  await expire(taken)
  const [before, live] = [await stored(taken), await stored(key)]
  assert.is((await regenerate(newKey(), taken)).status, 'gone')
  assert.equal(await stored(taken), before)
  const set = JSON.stringify({ a: 'x'.repeat(100) })
  const args = { ttl: '1 day', user_id: null, lifetime: null, set, unset: [], max_length: 10, version: null }
  const [answer] = await call<Saved>('session_regenerate', { key, new_key: taken, ...args })
  assert.is(answer?.status, 'too_large')
  assert.equal(await stored(key), live)
})

test('a conflict leaves the transaction of the caller usable', async () => {
  const [key, taken, other] = [await create(), await create(), await create()]
  const client = await connect()
  await client.query('begin')
  await save(other, { set: '{"a":1}' }, client)
  const [answer] = await call<Saved>('session_regenerate', { key, new_key: taken }, client)
  await client.query('commit')
  assert.is(answer?.status, 'conflict')
  assert.equal((await present(other)).data, { a: 1 })
})

test('an unknown session is gone, whichever session has the new key', async () => {
  assert.is((await regenerate(newKey(), await create())).status, 'gone')
})

// Expiry and user

for (const ttl of ['1 millisecond', '1 hour', '1 month', '90 days', '10 years', '100 years']) {
  test(`the expiry is reset to ${ttl}, exactly`, async () => {
    const key = await create({}, { ttl: '60 days' })
    const found = await row(
      `select s.status, s.expires_at = statement_timestamp() + ttl as ok
       from (select $3::interval as ttl) as given, pgstore.session_regenerate($1, $2, ttl) as s`,
      key,
      newKey(),
      ttl,
    )
    assert.equal(found, { status: 'saved', ok: true })
  })
}

test('the expiry does not pass the end of the lifetime', async () => {
  const [key, newer] = [await create(), newKey()]
  await age(key, '50 minutes')
  await regenerate(key, newer, { ttl: '30 days', lifetime: '1 hour' })
  const found = await row(
    `select expires_at = created_at + interval '1 hour' as ok from pgstore.sessions where key = $1`,
    newer,
  )
  assert.equal(found, { ok: true })
})

for (const [kind, user_id, expected] of [
  ['a user', '7', '7'],
  ['no user', null, '42'],
  ['the empty text', '', null],
] as const) {
  test(`naming ${kind} in the same call makes it ${expected ? `user ${expected}'s` : "nobody's"} session`, async () => {
    const [key, newer] = [await create({}, { user_id: '42' }), newKey()]
    await regenerate(key, newer, { user_id })
    assert.is((await present(newer)).user_id, expected)
  })
}

test('neither the version nor updated_at moves: the data and the user are the same', async () => {
  const [key, newer] = [await create({}, { user_id: '42' }), newKey()]
  await sql(`update pgstore.sessions set updated_at = '2026-01-01' where key = $1`, key)
  await regenerate(key, newer, { user_id: '42' })
  const { version, updated_at } = await present(newer)
  assert.equal({ version, updated_at }, { version: 1, updated_at: new Date('2026-01-01T00:00:00Z') })
})

// Invalid

const invalid: readonly (readonly [string, Arguments & { key?: Buffer | null; new_key?: Buffer | null }])[] = [
  ['no key', { key: null }],
  ['a key of 31 bytes', { key: Buffer.alloc(31) }],
  ['no new key', { new_key: null }],
  ['an empty new key', { new_key: Buffer.alloc(0) }],
  ['a new key of 33 bytes', { new_key: Buffer.alloc(33) }],
  ['no ttl', { ttl: null }],
  ['a ttl of nothing', { ttl: '0' }],
  ['a ttl in the past', { ttl: '-1 day' }],
  ['a ttl of more than 100 years', { ttl: '101 years' }],
  ['a lifetime of nothing', { lifetime: '0' }],
  ['a lifetime in the past', { lifetime: '-1 second' }],
  ['a lifetime of more than 100 years', { lifetime: '101 years' }],
  ['a user id of 1025 bytes', { user_id: 'x'.repeat(1025) }],
]

for (const [kind, bad] of invalid) {
  test(`${kind} is invalid, and nothing changes`, async () => {
    const live = await create()
    const before = await stored(live)
    const { key = live, new_key = newKey(), ...args } = bad
    assert.equal(await regenerate(key, new_key, args), { key, status: 'invalid', ...nothing })
    assert.equal(await stored(live), before)
  })
}

test('the old key as the new key is invalid', async () => {
  const key = await create()
  assert.is((await regenerate(key, key)).status, 'invalid')
})

for (const ttl of [
  '-1 year 361 days',
  '1 year -359 days',
  '71582788 months -2147483639 days',
  '106751990 days -2562047737 hours',
]) {
  test(`an interval whose parts cancel out, ${ttl}, is answered with a status`, async () => {
    const statuses = ['saved', 'gone', 'invalid']
    assert.ok(statuses.includes((await regenerate(await create(), newKey(), { ttl })).status))
    assert.ok(statuses.includes((await regenerate(await create(), newKey(), { lifetime: ttl })).status))
  })
}

// With changes of the data

const withData = async (key: Buffer, newer: Buffer, changes: object) => {
  const whole = {
    ttl: '30 days',
    user_id: null,
    lifetime: null,
    set: '{}',
    unset: [],
    max_length: 4096,
    version: null,
    ...changes,
  }
  const [first] = await call<Saved>('session_regenerate', { key, new_key: newer, ...whole })
  if (!first) throw new Error('session_regenerate returned no row.')
  return first
}

test('changes of the data are merged in the same statement, and the version counts them once', async () => {
  const [key, newer] = [await create({ a: 1, b: 2, c: 3 }), newKey()]
  const answer = await withData(key, newer, { set: '{"a":9}', unset: ['b'], user_id: '42' })
  assert.equal([answer.status, answer.version], ['saved', 2])
  const after = await present(newer)
  assert.equal([after.data, after.user_id], [{ a: 9, c: 3 }, '42'])
})

test('with no changes the data form leaves version and updated_at alone', async () => {
  const [key, newer] = [await create({ a: 1 }), newKey()]
  const before = await present(key)
  assert.is((await withData(key, newer, { max_length: 1 })).status, 'saved')
  const after = await present(newer)
  assert.equal([after.version, after.updated_at], [1, before.updated_at])
})

test('changes that would be too large leave key, user and data as they are', async () => {
  const [key, newer] = [await create({ a: 1 }), newKey()]
  const before = await present(key)
  for (const set of [{ b: 'x'.repeat(100) }, { b: Array(10_000).fill(1) }]) {
    const answer = await withData(key, newer, { set: JSON.stringify(set), user_id: '42', max_length: 50 })
    assert.equal(answer, { ...nothing, key, status: 'too_large' })
  }
  assert.equal(await present(key), before)
})

test('at a version it moves the session only while that is its version', async () => {
  const [key, newer] = [await create({ a: 1 }), newKey()]
  await save(key, { set: '{"b":2}' })
  const before = await present(key)
  assert.equal(await withData(key, newer, { set: '{"a":9}', version: 1 }), { ...nothing, key, status: 'conflict' })
  assert.equal(await present(key), before)
  const answer = await withData(key, newer, { set: '{"a":9}', version: 2 })
  assert.equal([answer.status, answer.version], ['saved', 3])
  assert.is((await withData(newKey(), newKey(), { version: 2 })).status, 'gone')
})

test('malformed changes are invalid', async () => {
  const [key, newer] = [await create(), newKey()]
  const bad = [
    { set: null },
    { set: '[1]' },
    { unset: [['a', 'b']] },
    { set: '{"a":1}', unset: ['a'] },
    { max_length: -1 },
  ]
  for (const changes of bad) assert.is((await withData(key, newer, changes)).status, 'invalid', JSON.stringify(changes))
})

test.run()
