import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { age, call, closeEverything, create, expire, present, without } from './calls.ts'

test.after(closeEverything)

interface Listed {
  id: string
  data: unknown
}

test('a user sees all about a session but its key', async () => {
  const key = await create({ device: 'phone' }, { user_id: 'ada', label: '"Firefox"', tags: ['acme'] })
  const rows = await call('session_list', { user_id: 'ada', data: true })
  assert.equal(rows, [without(await present(key), 'place')])
  assert.equal(Object.keys(rows[0] ?? {}), [
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
  ])
})

test('the data are null unless asked for', async () => {
  const key = await create({ device: 'phone' }, { user_id: 'amy' })
  const wanted = { ...without(await present(key), 'place'), data: null }
  assert.equal(await call('session_list', { user_id: 'amy' }), [wanted])
  assert.equal(await call('session_list', { user_id: 'amy', data: false }), [wanted])
  assert.equal(await call('session_list', { user_id: 'amy', data: null }), [wanted])
})

test('the newest comes first', async () => {
  const [old, new_, middle] = [
    await create({ n: 'old' }, { user_id: 'ben' }),
    await create({ n: 'new' }, { user_id: 'ben' }),
    await create({ n: 'middle' }, { user_id: 'ben' }),
  ]
  await age(old, '2 days')
  await age(middle, '1 day')
  await age(new_, '1 minute')
  const rows = await call<Listed>('session_list', { user_id: 'ben', data: true })
  assert.equal(
    rows.map(({ data }) => data),
    [{ n: 'new' }, { n: 'middle' }, { n: 'old' }],
  )
})

test('sessions that began at one instant are listed by number, the latest first', async () => {
  for (const n of [1, 2, 3]) await create({ n }, { user_id: 'cleo' })
  await sql(
    `update pgstore.sessions set created_at = date '2026-01-01', id = (data ->> 'n')::int where user_id = 'cleo'`,
  )
  const rows = await call<Listed>('session_list', { user_id: 'cleo' })
  assert.equal(
    rows.map(({ id }) => id),
    ['3', '2', '1'],
  )
})

test('an expired session is not listed', async () => {
  await expire(await create({}, { user_id: 'dora' }))
  assert.equal(await call('session_list', { user_id: 'dora' }), [])
})

test("another user's and a visitor's sessions are not listed", async () => {
  await create({}, { user_id: 'ed' })
  await create({}, { user_id: 'Eve' })
  await create()
  for (const user_id of ['eve', 'e', '%', 'Eve ', '', null]) {
    assert.equal(await call('session_list', { user_id }), [], `user ${user_id}`)
  }
})

test.run()
