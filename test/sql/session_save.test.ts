// session_save for one session. Its array form: session_save_array.test.ts; expiry: session_save_expiry.test.ts.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import {
  age,
  call,
  closeEverything,
  connect,
  count,
  create,
  expire,
  newKey,
  present,
  type SaveArguments,
  type Saved,
  type Stored,
  save,
  stored,
  without,
} from './calls.ts'

test.after(closeEverything)

const json = JSON.stringify

/** A save into this session that changes nothing but reports `status`. */
async function refuses(status: string, key: Buffer, args: SaveArguments): Promise<void> {
  const before = await stored(key)
  assert.is((await save(key, args)).status, status)
  assert.equal(await stored(key), before)
}

/** What a refusal says about the existing session. */
function told(there: Stored): Partial<Saved> {
  return without(there, 'place', 'seen_at', 'signed_in_at', 'label', 'tags', 'user_id', 'created_at', 'updated_at')
}

// Creating

test('version 0 creates a session at version 1', async () => {
  const key = newKey()
  const { expires_at, id, ...rest } = await save(key, { set: '{"a":1}', version: 0 })
  assert.equal(rest, { key, status: 'saved', version: 1, data: null })
  const { data, version, user_id, created_at, updated_at, ...row } = await present(key)
  assert.equal({ data, version, user_id }, { data: { a: 1 }, version: 1, user_id: null })
  assert.equal({ id, expires_at }, { id: row.id, expires_at: row.expires_at })
  assert.equal(created_at, updated_at)
})

test('a session may begin empty', async () => {
  const key = newKey()
  assert.is((await save(key, { version: 0 })).status, 'saved')
  assert.equal((await present(key)).data, {})
})

test('the low byte of the number is the first byte of the key', async () => {
  const key = newKey()
  const { id } = await save(key, { version: 0 })
  assert.is(Number(BigInt(id ?? 0) & 255n), key[0])
})

test('creating over a live session is a conflict that shows the stored data', async () => {
  const key = await create({ a: 1 })
  const before = await present(key)
  assert.equal(await save(key, { set: '{"b":2}', version: 0 }), { key, status: 'conflict', ...told(before) })
  assert.equal(await stored(key), before)
})

test('D12: creating over an expired session replaces it, and nothing of it is left', async () => {
  const key = await create({ a: 1 }, { user_id: '42', label: '{"device":"phone"}', tags: ['acme'] })
  await save(key, { set: '{"c":3}' })
  await expire(key)
  const before = await present(key)
  const { status, data, version, id } = await save(key, { set: '{"b":2}', version: 0 })
  assert.equal({ status, data, version }, { status: 'saved', data: null, version: 1 })
  assert.is.not(id, before.id)
  const after = await present(key)
  const { user_id, signed_in_at, label, tags } = after
  assert.equal([after.id, after.version, after.data], [id, 1, { b: 2 }])
  assert.equal({ user_id, signed_in_at, label, tags }, { user_id: null, signed_in_at: null, label: null, tags: null })
  assert.ok(after.created_at > before.created_at)
})

test('D12: creating over a session past its lifetime replaces it too, and over a live one does not', async () => {
  const [key, live] = [await create({ a: 1 }), await create({ a: 1 })]
  await age(key, '2 hours')
  assert.is((await save(key, { set: '{"b":2}', version: 0, lifetime: '1 hour' })).version, 1)
  assert.equal((await present(key)).data, { b: 2 })
  const { status, data } = await save(live, { set: '{"b":2}', version: 0, lifetime: '1 hour' })
  assert.equal({ status, data }, { status: 'conflict', data: { a: 1 } })
})

test('D12: a session that replaced an expired one is not ended by the key that one was regenerated from', async () => {
  const [key, new_key] = [await create(), newKey()]
  await call('session_regenerate', { key, new_key })
  await expire(new_key)
  await save(new_key, { version: 0 })
  assert.is(await count('session_destroy', { key }), 0)
  assert.is((await present(new_key)).version, 1)
})

// Merging

test('a save sets its keys and leaves the others', async () => {
  const key = await create({ a: 1, b: { deep: [1] }, c: 3 })
  const { status, version, data } = await save(key, { set: '{"a":2,"d":null}' })
  assert.equal({ status, version, data }, { status: 'saved', version: 2, data: null })
  assert.equal((await present(key)).data, { a: 2, b: { deep: [1] }, c: 3, d: null })
})

test('merging is shallow: the value of a key is replaced whole', async () => {
  const key = await create({ a: { x: 1, y: 2 } })
  await save(key, { set: '{"a":{"x":3}}' })
  assert.equal((await present(key)).data, { a: { x: 3 } })
})

test('keys are unset, and a missing one is ignored', async () => {
  const key = await create({ a: 1, b: 2, c: 3 })
  assert.is((await save(key, { unset: ['a', 'c', 'x'] })).status, 'saved')
  assert.equal((await present(key)).data, { b: 2 })
})

test('one save unsets and sets', async () => {
  const key = await create({ a: 1, b: 2 })
  await save(key, { set: '{"c":3}', unset: ['a'] })
  assert.equal((await present(key)).data, { b: 2, c: 3 })
})

test('a missing list of keys to unset counts as empty', async () => {
  const key = await create({ a: 1 })
  assert.is((await save(key, { set: '{"b":2}', unset: null })).status, 'saved')
  assert.equal((await present(key)).data, { a: 1, b: 2 })
})

test('keys may have any name', async () => {
  const names = ['', ' ', '__proto__', 'constructor', '$', 'a.b', '{a,b}', '"', '\\', 'ключ', '🔑', 'NULL']
  const data = Object.fromEntries(names.map((name, index) => [name, index]))
  const key = await create()
  await save(key, { set: json(data).replace('{', '{"__proto__":-1,') })
  const [found] = await sql<{ names: string[] }>(
    'select array(select jsonb_object_keys(data)) as names from pgstore.sessions where key = $1',
    key,
  )
  assert.equal(found?.names.sort(), names.sort())
  await save(key, { unset: names })
  assert.equal((await present(key)).data, {})
})

test('a save moves updated_at, and not created_at', async () => {
  const key = await create()
  await sql(`update pgstore.sessions set created_at = '2026-01-01', updated_at = '2026-01-01' where key = $1`, key)
  await save(key, { set: '{"a":1}' })
  const { created_at, updated_at } = await present(key)
  assert.ok(updated_at > created_at)
  assert.equal(created_at, new Date('2026-01-01T00:00:00Z'))
})

// Versions

test('a save at the current version succeeds and increments it', async () => {
  const key = await create({ a: 1 })
  const first = await save(key, { set: '{"a":2}', version: 1 })
  const second = await save(key, { set: '{"a":3}', version: 2 })
  assert.equal([first.version, second.version], [2, 3])
  assert.equal((await present(key)).data, { a: 3 })
})

for (const version of [1, 3]) {
  test(`a save at version ${version} of a session at 2 is a conflict with what is there`, async () => {
    const key = await create({ a: 1 })
    await save(key, { set: '{"a":2}' })
    const before = await present(key)
    assert.equal(await save(key, { set: '{"a":9}', version }), { key, status: 'conflict', ...told(before) })
    await refuses('conflict', key, { set: '{"a":9}', version })
  })
}

test('of two saves at one version the second is a conflict', async () => {
  const key = await create({ n: 0 })
  await save(key, { set: '{"n":1}', version: 1 })
  await refuses('conflict', key, { set: '{"n":2}', version: 1 })
})

// Sessions that are gone

for (const [kind, args] of [
  ['a merge', { set: '{"b":2}' }],
  ['an unset', { unset: ['a'] }],
  ['a touch', {}],
  ['a new user', { user_id: '42' }],
  ['a save at its version', { set: '{"b":2}', version: 1 }],
  ['a touch at its version', { version: 1 }],
  ['a save that is too large', { set: json({ a: 'x'.repeat(5000) }) }],
] as const) {
  test(`${kind} finds an unknown session gone`, async () => {
    const key = newKey()
    assert.equal(await save(key, args as SaveArguments), {
      key,
      status: 'gone',
      id: null,
      version: null,
      expires_at: null,
      data: null,
    })
    assert.is(await stored(key), undefined)
  })

  test(`${kind} finds an expired session gone and does not bring it back`, async () => {
    const key = await create({ a: 1 })
    await expire(key)
    const before = await stored(key)
    const { status, data, id } = await save(key, args as SaveArguments)
    assert.equal({ status, data, id }, { status: 'gone', data: null, id: null })
    assert.equal(await stored(key), before)
  })
}

// Users

test('a session is created for a user', async () => {
  assert.is((await present(await create({}, { user_id: '42' }))).user_id, '42')
})

test('a save that names no user leaves the user', async () => {
  const key = await create({}, { user_id: '42' })
  await save(key, { set: '{"a":1}', user_id: null })
  assert.is((await present(key)).user_id, '42')
})

for (const [kind, change, same] of [
  ['user', { user_id: '42' }, { user_id: '42' }],
  ['label', { label: '{"a":1}' }, { label: '{"a": 1}' }],
  ['tags', { tags: ['a', 'b'] }, { tags: ['a', 'b'] }],
] as const) {
  test(`a save that changes the ${kind} alone counts as a version, and the same again does not`, async () => {
    const key = await create()
    await sql(`update pgstore.sessions set updated_at = '2026-01-01' where key = $1`, key)
    assert.is((await save(key, { ...change, tags: 'tags' in change ? [...change.tags] : null })).version, 2)
    const after = await present(key)
    assert.ok(after.updated_at > new Date('2026-01-02'))
    assert.is((await save(key, { ...same, tags: 'tags' in same ? [...same.tags] : null })).version, 2)
    assert.equal((await present(key)).updated_at, after.updated_at)
  })
}

test('a save that only names a user never shortens the expiry', async () => {
  const key = await create()
  const before = await present(key)
  await save(key, { user_id: '42', ttl: '1 minute' })
  assert.equal((await present(key)).expires_at, before.expires_at)
})

test('the empty text clears the user', async () => {
  const key = await create({}, { user_id: '42' })
  await save(key, { user_id: '' })
  assert.is((await present(key)).user_id, null)
})

test('a session created for the empty text has no user', async () => {
  assert.is((await present(await create({}, { user_id: '' }))).user_id, null)
})

test('a user id has at most 1024 bytes', async () => {
  const key = await create({}, { user_id: 'é'.repeat(512) })
  assert.is((await present(key)).user_id, 'é'.repeat(512))
  await refuses('invalid', key, { user_id: `${'é'.repeat(512)}.` })
})

// The limit

test('the default limit is 4096 bytes', async () => {
  const key = await create()
  await refuses('too_large', key, { set: json({ a: 'x'.repeat(4096) }) })
  assert.is((await save(key, { set: json({ a: 'x'.repeat(4000) }) })).status, 'saved')
})

test('data of exactly the limit fits, and one byte more does not', async () => {
  const text = json({ a: 'é' }).replace(':', ': ') // as jsonb prints it
  const limit = Buffer.byteLength(text)
  assert.is((await save(newKey(), { set: text, version: 0, max_length: limit })).status, 'saved')
  assert.is((await save(newKey(), { set: text, version: 0, max_length: limit - 1 })).status, 'too_large')
  const key = await create()
  await refuses('too_large', key, { set: text, max_length: limit - 1 })
  assert.is((await save(key, { set: text, max_length: limit })).status, 'saved')
})

test('a session that is too large is not created', async () => {
  const key = newKey()
  const { status, id } = await save(key, { set: json({ a: 'x'.repeat(5000) }), version: 0 })
  assert.equal({ status, id }, { status: 'too_large', id: null })
  assert.is(await stored(key), undefined)
})

test('the limit applies to the merged data, not to what is sent', async () => {
  const key = await create({ a: 'x'.repeat(3000) })
  await refuses('too_large', key, { set: json({ b: 'x'.repeat(2000) }) })
  assert.is((await save(key, { set: json({ a: 'x'.repeat(2000) }) })).status, 'saved')
  assert.is((await save(key, { set: json({ b: 'x'.repeat(2000) }) })).status, 'saved')
})

test('keys that the same save unsets make room', async () => {
  const key = await create({ a: 'x'.repeat(3000) })
  assert.is((await save(key, { set: json({ b: 'x'.repeat(3000) }), unset: ['a'] })).status, 'saved')
})

test('a session does not creep over the limit by small saves', async () => {
  const key = await create()
  const client = await connect()
  let { status } = await save(key, {}, client)
  for (let n = 0; n < 500 && status === 'saved'; n++) {
    status = (await save(key, { set: json({ [`key ${n}`]: 'x'.repeat(10) }) }, client)).status
  }
  assert.is(status, 'too_large')
  const [found] = await sql<{ length: number }>(
    'select octet_length(data::text) as length from pgstore.sessions where key = $1',
    key,
  )
  assert.ok(found && found.length <= 4096 && found.length > 4000, `${found?.length} bytes`)
})

test('a number counts with all the digits it is stored with', async () => {
  const key = await create()
  await refuses('too_large', key, { set: '{"n":1e300}', max_length: 100 })
  assert.is((await save(newKey(), { set: '{"n":1e300}', version: 0, max_length: 100 })).status, 'too_large')
  await refuses('too_large', key, { set: `{"n":[${Array(20).fill('1e300').join()}]}` })
})

test('numbers that would print as more than a gigabyte are too large, and cause no exception', async () => {
  const key = await create()
  const set = `{"n":[${Array(9000).fill('1e131071').join()}]}` // 80 kB as sent
  await refuses('too_large', key, { set })
  assert.is((await save(newKey(), { set, version: 0 })).status, 'too_large')
})

test('a session over a limit that was lowered can shrink, live on and end', async () => {
  const key = await create({ a: 'x'.repeat(3000), b: 'x'.repeat(3000) })
  await refuses('too_large', key, { set: '{"c":1}' })
  assert.is((await save(key)).status, 'saved')
  assert.is((await save(key, { unset: ['a'] })).status, 'saved')
})

test('too_large comes with the stored version, and without the data', async () => {
  const key = await create({ a: 1 })
  const expected = { key, status: 'too_large', ...told(await present(key)), data: null }
  const set = json({ a: 'x'.repeat(5000) })
  assert.equal(await save(key, { set }), expected)
  assert.equal(await save(key, { set, version: 1 }), expected)
})

test('a conflict is reported before too_large', async () => {
  const key = await create({ a: 1 })
  await refuses('conflict', key, { set: json({ a: 'x'.repeat(5000) }), version: 7 })
})

test('a limit of 0 means no limit', async () => {
  const key = await create()
  assert.is((await save(key, { set: json({ a: 'x'.repeat(1_000_000) }), max_length: 0 })).status, 'saved')
  assert.is(
    (await save(newKey(), { set: json({ a: 'x'.repeat(1_000_000) }), version: 0, max_length: 0 })).status,
    'saved',
  )
})

// Invalid

const invalid: readonly (readonly [string, SaveArguments & { key?: Buffer | null }])[] = [
  ['no key', { key: null }],
  ['an empty key', { key: Buffer.alloc(0) }],
  ['a key of 31 bytes', { key: Buffer.alloc(31) }],
  ['a key of 33 bytes', { key: Buffer.alloc(33) }],
  ['a key of a megabyte', { key: Buffer.alloc(1 << 20) }],
  ['nothing in place of what to set', { set: null }],
  ['JSON null', { set: 'null' }],
  ['an array', { set: '[]' }],
  ['an array of objects', { set: '[{"a":1}]' }],
  ['a text', { set: '"a"' }],
  ['a number', { set: '1' }],
  ['a boolean', { set: 'true' }],
  ['a key both to set and to unset', { set: '{"a":1,"b":2}', unset: ['c', 'b'] }],
  [
    'names to unset in two dimensions',
    {
      unset: [
        ['a', 'b'],
        ['c', 'd'],
      ],
    },
  ],
  ['names in two dimensions and something to set', { set: '{"z":1}', unset: [['a'], ['b']] }],
  ['no ttl', { ttl: null }],
  ['a ttl of nothing', { ttl: '0' }],
  ['a ttl below a millisecond', { ttl: '999 microseconds' }],
  ['a ttl in the past', { ttl: '-1 day' }],
  ['a ttl of more than 100 years', { ttl: '100 years 1 microsecond' }],
  ['the longest ttl there is', { ttl: '178000000 years' }],
  ['a ttl in the past for more than a year', { ttl: '-178000000 years' }],
  ['a lifetime of nothing', { lifetime: '0' }],
  ['a lifetime in the past', { lifetime: '-1 day' }],
  ['a lifetime of more than 100 years', { lifetime: '101 years' }],
  ['the longest lifetime there is', { lifetime: '178000000 years' }],
  ['no limit', { max_length: null }],
  ['a negative limit', { max_length: -1 }],
  ['the lowest limit there is', { max_length: -2_147_483_648 }],
  ['a negative version', { version: -1 }],
  ['the lowest version there is', { version: -2_147_483_648 }],
  ['a user id of 1025 bytes', { user_id: 'x'.repeat(1025) }],
]

for (const [kind, { key, ...args }] of invalid) {
  test(`${kind} is invalid: nothing is written, whether merging, creating or comparing`, async () => {
    const live = await create({ a: 1 })
    const before = await stored(live)
    for (const version of args.version === undefined ? [null, 0, 1] : [args.version]) {
      const asked = key === undefined ? (version === 0 ? newKey() : live) : key
      const { key: answered, ...rest } = await save(asked, { ...args, version })
      assert.equal(rest, { status: 'invalid', id: null, version: null, expires_at: null, data: null })
      assert.equal(answered, asked)
      if (version === 0 && asked) assert.is(await stored(asked), undefined)
    }
    assert.equal(await stored(live), before)
  })
}

test('the key of every row is valid', async () => {
  const [found] = await sql('select count(*) from pgstore.sessions where octet_length(key) <> 32')
  assert.equal(found, { count: '0' })
})

test('a thousand bad calls return a thousand statuses: one connection and one transaction survive them', async () => {
  const client = await connect()
  const backend = async () => (await client.query('select pg_backend_pid() as pid')).rows
  const before = await backend()
  const key = await create({ a: 1 })
  const statuses = new Set<string>()
  await client.query('begin')
  for (let n = 0; n < 1000; n++) {
    const [, { key: bad = key, ...args }] = invalid[n % invalid.length] ?? ['', {}]
    statuses.add((await save(bad, { version: [null, 0, 1][n % 3] ?? null, ...args }, client)).status)
  }
  await client.query('commit')
  assert.equal([...statuses], ['invalid'])
  assert.equal(await backend(), before)
})

test.run()
