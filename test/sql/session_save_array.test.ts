// The array form of session_save: many saves in one call, each with its own verdict.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { age, call, closeEverything, create, expire, newKey, present, type Saved, save, stored } from './calls.ts'

test.after(closeEverything)

interface Item {
  key: Buffer | null
  /** JSON text. */
  set?: string | null
  /** JSON text of an array of names. */
  unset?: string | null
  ttl?: string | null
  version?: number | null
  user_id?: string | null
}

async function saveArrays(arrays: object, max_length: number | null = 4096): Promise<Saved[]> {
  const empty = { keys: [], sets: [], unsets: [], ttls: [], versions: [], user_ids: [] }
  return await call<Saved>('session_save', { ...empty, ...arrays, max_length, lifetime: null })
}

async function saveAll(items: readonly Item[], max_length: number | null = 4096): Promise<Saved[]> {
  const arrays = {
    keys: items.map(({ key }) => key),
    sets: items.map(({ set = '{}' }) => set),
    unsets: items.map(({ unset = null }) => unset),
    ttls: items.map(({ ttl = '30 days' }) => ttl),
    versions: items.map(({ version = null }) => version),
    user_ids: items.map(({ user_id = null }) => user_id),
  }
  return await saveArrays(arrays, max_length)
}

/** Keys in the order in which a call takes them. */
function sorted<Keys extends readonly Buffer[]>(...keys: Keys): Keys {
  return [...keys].sort((a, b) => Buffer.compare(a, b)) as unknown as Keys
}

function of(rows: readonly Saved[], key: Buffer): Saved | undefined {
  return rows.find((one) => one.key?.equals(key))
}

const nothing = { id: null, version: null, expires_at: null, data: null }

test('each save has its own verdict, and a bad one costs only itself', async () => {
  const [merged, conflicting, large, expired, twice] = [
    await create({ a: 1 }),
    await create({ b: 1 }),
    await create(),
    await create(),
    await create(),
  ]
  await expire(expired)
  const [created, unknown, invalid] = [newKey(), newKey(), newKey()]
  const rows = await saveAll([
    { key: merged, set: '{"z":1}', unset: '["a"]', user_id: '42' },
    { key: created, set: '{"c":1}', version: 0 },
    { key: conflicting, set: '{"b":2}', version: 7 },
    { key: unknown, set: '{"d":1}' },
    { key: expired, set: '{"e":1}' },
    { key: large, set: JSON.stringify({ x: 'x'.repeat(5000) }) },
    { key: invalid, set: '[]', version: 0 },
    { key: twice, set: '{"a":1}', unset: '["a"]' },
    { key: Buffer.alloc(31) },
    { key: null },
  ])
  assert.is(rows.length, 10)
  const statusOf = (key: Buffer) => of(rows, key)?.status
  assert.equal([merged, created, conflicting, unknown, expired, large, invalid, twice].map(statusOf), [
    'saved',
    'saved',
    'conflict',
    'gone',
    'gone',
    'too_large',
    'invalid',
    'invalid',
  ])
  assert.equal(of(rows, conflicting)?.data, { b: 1 })
  assert.equal(statusOf(Buffer.alloc(31)), 'invalid')
  assert.is(rows.find(({ key }) => key === null)?.status, 'invalid')
  const { data, user_id } = await present(merged)
  assert.equal({ data, user_id }, { data: { z: 1 }, user_id: '42' })
  assert.equal((await present(created)).data, { c: 1 })
  assert.is(await stored(invalid), undefined)
})

test('a verdict carries over nothing from the previous one', async () => {
  const [first, second] = sorted(newKey(), newKey())
  await create({ secret: 'of somebody else' }, {}, first)
  const rows = await saveAll([
    { key: first, set: '{"a":1}', version: 7 },
    { key: second, unset: '"no array"' },
  ])
  assert.is(of(rows, first)?.status, 'conflict')
  assert.equal(of(rows, second), { key: second, status: 'invalid', ...nothing })
})

test('data comes with a conflict alone', async () => {
  const keys = sorted(await create({ n: 0 }), await create({ n: 1 }), await create({ n: 2 }))
  const rows = await saveAll(keys.map((key, index) => ({ key, set: '{"a":1}', version: index === 0 ? 7 : 1 })))
  assert.equal(
    rows.map(({ status, data }) => [status, data === null]),
    [
      ['conflict', false],
      ['saved', true],
      ['saved', true],
    ],
  )
})

test('saves of one key keep their order', async () => {
  const key = newKey()
  const rows = await saveAll([
    { key, set: '{"a":1}', version: 0 },
    { key, set: '{"a":2,"b":2}' },
    { key, set: '{"a":3}', unset: '["b"]', version: 2 },
    { key, set: '{"a":4}', version: 2 },
  ])
  assert.equal(
    rows.map(({ status, version }) => [status, version]),
    [
      ['saved', 1],
      ['saved', 2],
      ['saved', 3],
      ['conflict', 3],
    ],
  )
  assert.equal((await present(key)).data, { a: 3 })
})

test('saves that precede a session’s creation find it gone', async () => {
  const key = newKey()
  const rows = await saveAll([
    { key, set: '{"a":1}' },
    { key, set: '{"b":1}', version: 0 },
  ])
  assert.equal(
    rows.map(({ status }) => status),
    ['gone', 'saved'],
  )
  assert.equal((await present(key)).data, { b: 1 })
})

test('a plain save does not overtake one of the same key that asks for a version', async () => {
  const key = await create({ a: 0 })
  const rows = await saveAll([
    { key, set: '{"a":1}', version: 1 },
    { key, set: '{"a":2}' },
    { key, set: '{"a":3}', version: 1 },
  ])
  assert.equal(
    rows.map(({ status, version }) => [status, version]),
    [
      ['saved', 2],
      ['saved', 3],
      ['conflict', 3],
    ],
  )
  assert.equal((await present(key)).data, { a: 2 })
})

// Plain merges go another way through the function than the rest: it must lead to the same place as the single form.
const merges: readonly (Omit<Item, 'key'> & { max_length?: number; lifetime?: string; age?: string })[] = [
  { set: '{"b":{"c":[1]}}' },
  { set: '{"a":null}' },
  { set: '{"b":1}', ttl: '1 millisecond' },
  { set: '{"b":1}', ttl: '0.9 milliseconds' },
  { set: '{"b":1}', ttl: '100 years' },
  { set: '{"b":1}', ttl: '101 years' },
  { set: '{"b":1}', ttl: '1 year -366 days' },
  { set: '{"b":1}', ttl: null },
  { set: '{"b":1}', user_id: '42' },
  { set: '{"b":1}', user_id: '' },
  { set: '{"b":1}', user_id: 'x'.repeat(1024) },
  { set: '{"b":1}', user_id: 'x'.repeat(1025) },
  { set: '{"b":1}', max_length: 16 },
  { set: '{"b":1}', max_length: 15 },
  { set: '{"b":1}', max_length: 0 },
  { set: '{"b":1}', max_length: -1 },
  { set: '{"b":1e131071}' },
  { set: '{"b":1}', lifetime: '1 hour' },
  { set: '{"b":1}', lifetime: '0 seconds' },
  { set: '{"b":1}', lifetime: '1 hour', age: '2 hours' },
  { set: '{"b":1}', lifetime: '2 months -1 day' },
  { set: '[]' },
  { set: null },
]
for (const { max_length = 4096, lifetime = null, age: by = '0 seconds', ...item } of merges) {
  const told = JSON.stringify({ ...item, max_length, lifetime, age: by }).slice(0, 90)
  test(`a merge comes to the same in either form: ${told}`, async () => {
    const keys = [await create({ a: 1 }, { user_id: '7' }), await create({ a: 1 }, { user_id: '7' })] as const
    for (const key of keys) await age(key, by)
    const { set = '{}', ttl = '30 days', user_id = null } = item
    const single = await save(keys[0], { set, ttl, user_id, max_length, lifetime })
    const arrays = { keys: [keys[1]], sets: [set], unsets: [null], ttls: [ttl], versions: [null], user_ids: [user_id] }
    const [many] = await call<Saved>('session_save', { ...arrays, max_length, lifetime })
    const verdict = ({ status, version }: Saved) => ({ status, version })
    assert.equal(verdict(many as Saved), verdict(single))
    const [first, second] = [await present(keys[0]), await present(keys[1])]
    const content = ({ data, user_id, version }: typeof first) => ({ data, user_id, version })
    assert.equal(content(second), content(first))
    const apart = Math.abs(second.expires_at.getTime() - first.expires_at.getTime())
    const left = first.expires_at.getTime() - Date.now()
    assert.ok(apart <= left / 100 + 60_000, `The expiries are ${apart} ms apart.`)
  })
}

test('nothing to set and nothing to unset is a touch here too', async () => {
  const [first, second] = [await create(), await create()]
  const rows = await saveAll([{ key: first }, { key: second, unset: '[]' }])
  assert.equal(
    rows.map(({ status, version }) => [status, version]),
    [
      ['saved', 1],
      ['saved', 1],
    ],
  )
})

for (const unset of ['null', '"a"', '{"a":1}', '1', 'true']) {
  test(`${unset} in place of an array of names is invalid`, async () => {
    const key = await create({ a: 1 })
    assert.equal(await saveAll([{ key, unset }]), [{ key, status: 'invalid', ...nothing }])
    assert.equal((await present(key)).data, { a: 1 })
  })
}

for (const unset of ['[1]', '[null]', '["b", null]', '[["a"]]', '[{}]']) {
  test(`${unset}, an array of what is no name, is invalid`, async () => {
    const key = await create({ '1': 1, a: 1 })
    assert.equal(await saveAll([{ key, unset }]), [{ key, status: 'invalid', ...nothing }])
  })
}

test('without saves there are no rows', async () => {
  assert.equal(await saveAll([]), [])
  assert.equal(
    await saveArrays({ keys: null, sets: null, unsets: null, ttls: null, versions: null, user_ids: null }),
    [],
  )
})

test('no limit at all is invalid for every save', async () => {
  const keys = [await create(), await create()]
  const rows = await saveAll(
    keys.map((key) => ({ key, set: '{"a":1}' })),
    null,
  )
  assert.equal(
    rows.map(({ status }) => status),
    ['invalid', 'invalid'],
  )
})

// Arrays of different lengths: a caller's mistake, refused without guessing.

for (const [short, rest] of [
  ['sets', { ttls: ['1 day', '1 day'], versions: [null, null] }],
  ['ttls', { sets: ['{"a":2}', '{"a":2}'], versions: [null, null] }],
  ['versions', { sets: ['{"a":2}', '{"a":2}'], ttls: ['1 day', '1 day'] }],
] as const) {
  test(`where ${short} has fewer entries than there are keys, what lacks one is invalid`, async () => {
    const keys = sorted(await create({ a: 1 }), await create({ a: 1 }))
    const one = { sets: '{"a":2}', ttls: '1 day', versions: 1 }[short]
    const rows = await saveArrays({
      keys,
      unsets: [null, null],
      user_ids: [null, null],
      ...rest,
      [short]: [one],
    })
    assert.is(of(rows, keys[1])?.status, 'invalid')
    assert.equal((await present(keys[1])).data, { a: 1 })
  })
}

test('entries without a key are invalid, and the rest is saved', async () => {
  const key = await create()
  const rows = await saveArrays({
    keys: [key],
    sets: ['{"a":1}', '{"b":1}'],
    unsets: [null],
    ttls: ['1 day', '1 day', '1 day'],
    versions: [null],
    user_ids: [null],
  })
  assert.equal(
    rows.map((one) => [one.key === null, one.status]),
    [
      [false, 'saved'],
      [true, 'invalid'],
      [true, 'invalid'],
    ],
  )
})

test('the lifetime caps every save of a call', async () => {
  const key = await create()
  await age(key, '2 hours')
  const rows = await call<Saved>('session_save', {
    keys: [key],
    sets: ['{"a":1}'],
    unsets: [null],
    ttls: ['1 day'],
    versions: [null],
    user_ids: [null],
    max_length: 0,
    lifetime: '1 hour',
  })
  assert.equal(rows, [{ key, status: 'gone', ...nothing }])
})

test.run()
