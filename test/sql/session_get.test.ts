import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row } from '../support/harness.ts'
import { call, closeEverything, connect, create, expire, newKey, present, without } from './calls.ts'

test.after(closeEverything)

interface Found {
  key: Buffer
  data: unknown
}

const columns = [
  'key',
  'id',
  'user_id',
  'data',
  'version',
  'created_at',
  'updated_at',
  'expires_at',
  'seen_at',
  'signed_in_at',
  'label',
  'tags',
  'bound_hash',
  'bound_until',
]

test('a live session comes with all that is stored about it', async () => {
  const key = await create({ cart: [1, 2] }, { user_id: '42', label: '{"agent":"Firefox"}', tags: ['acme', 'eu'] })
  assert.equal(await call('session_get', { key }), [
    { key, ...without(await present(key), 'place'), bound_hash: null, bound_until: null },
  ])
})

test('both forms return the same columns in the documented order', async () => {
  const key = await create()
  const [one] = await call('session_get', { key })
  const [several] = await call('session_get', { keys: [key] })
  assert.equal(Object.keys(one ?? {}), columns)
  assert.equal(Object.keys(several ?? {}), columns)
})

test('an unknown session gives no row', async () => {
  assert.equal(await call('session_get', { key: newKey() }), [])
})

test('an expired session gives no row, purged or not', async () => {
  const key = await create()
  await expire(key)
  assert.equal(await call('session_get', { key }), [])
  assert.equal(await call('session_get', { keys: [key] }), [])
})

test('a session has expired at the instant that it expires', async () => {
  const key = await create()
  // In one statement, so at one instant. A function's own snapshot sees what the statement wrote before it ran.
  const { expired } = await row(
    `with moved as materialized (
       update pgstore.sessions set expires_at = statement_timestamp() where key = $1 returning key
     )
     select (select count(*) from moved, pgstore.session_get(moved.key))::integer as expired`,
    key,
  )
  assert.is(expired, 0)
  assert.ok(await row('select from pgstore.sessions where key = $1 and expires_at <= now()', key))
})

for (const [kind, key] of [
  ['null', null],
  ['an empty key', Buffer.alloc(0)],
  ['a key of 31 bytes', Buffer.alloc(31)],
  ['a key of a megabyte', Buffer.alloc(1 << 20)],
] as const) {
  test(`${kind} is no row and no error`, async () => {
    assert.equal(await call('session_get', { key }), [])
    assert.equal(await call('session_get', { keys: [key] }), [])
  })
}

test('several keys at once bring the live ones of them', async () => {
  const keys = [await create({ n: 0 }), await create({ n: 1 }), await create({ n: 2 })]
  await expire(keys[1] as Buffer)
  const rows = await call<Found>('session_get', { keys: [...keys, newKey(), null] })
  assert.equal(rows.map(({ data }) => JSON.stringify(data)).sort(), ['{"n":0}', '{"n":2}'])
})

test('a key that is asked for twice is one row', async () => {
  const key = await create()
  assert.is((await call('session_get', { keys: [key, newKey(), key] })).length, 1)
})

test('without keys there are no rows', async () => {
  assert.equal(await call('session_get', { keys: [] }), [])
  assert.equal(await call('session_get', { keys: null }), [])
})

test('each of a thousand keys brings its own session', async () => {
  const client = await connect()
  const { rows } = await client.query<{ key: Buffer }>(
    `select s.key
     from generate_series(1, 1000) as n,
       pgstore.session_save(sha256(('many ' || n)::bytea), jsonb_build_object('n', n), p_version => 0) as s`,
  )
  const found = await call<Found>('session_get', { keys: rows.map(({ key }) => key) })
  assert.is(new Set(found.map(({ data }) => (data as { n: number }).n)).size, 1000)
})

test('reading writes nothing at all', async () => {
  const key = await create()
  const before = await present(key)
  await call('session_get', { key })
  await call('session_get', { keys: [key] })
  assert.equal(await present(key), before)
})

test.run()
