import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { clientUrl } from '../support/harness.ts'
import {
  age,
  type Client,
  call,
  closeClients,
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

test.after.each(closeClients)
test.after(closeEverything)

async function put(key: Buffer | null, data: unknown, args: object = {}, client?: Client): Promise<Saved> {
  const [saved] = await call<Saved>('session_put', { key, data: JSON.stringify(data), ...args }, client)
  return saved as Saved
}

test('it creates what is not there', async () => {
  const key = newKey()
  const { status, id, version, expires_at, data } = await put(key, { a: 1 }, { ttl: '1 hour', user_id: 'ann' })
  const row = await present(key)
  assert.equal([status, version, data], ['saved', 1, null])
  assert.equal([row.id, row.expires_at, row.data, row.user_id], [id, expires_at, { a: 1 }, 'ann'])
  assert.ok(row.signed_in_at)
})

test('it replaces all data of what is there, which keeps its number, user, label and tags', async () => {
  const key = await create({ a: 1, b: 2 }, { user_id: 'ann', tags: ['t'], label: '"phone"', ttl: '30 days' })
  const before = await present(key)
  const { status, version } = await put(key, { b: 3 }, { ttl: '1 hour' })
  const after = await present(key)
  assert.equal([status, version, after.data], ['saved', 2, { b: 3 }])
  assert.equal(
    [after.id, after.user_id, after.tags, after.label, after.created_at],
    [before.id, 'ann', ['t'], 'phone', before.created_at],
  )
  assert.ok(after.expires_at < before.expires_at, 'the expiry is set anew, shorter too')
})

test('one that has expired is replaced as a whole: a new number, nothing of the old', async () => {
  const key = await create({ a: 1 }, { user_id: 'ann', tags: ['t'] })
  const before = await present(key)
  await expire(key)
  assert.is((await put(key, { b: 1 })).version, 1)
  const after = await present(key)
  assert.equal([after.data, after.user_id, after.tags], [{ b: 1 }, null, null])
  assert.is.not(after.id, before.id)
})

test('so is one that has outlived its lifetime, which caps the expiry', async () => {
  const key = await create({ a: 1 })
  const before = await present(key)
  await age(key, '2 hours')
  const { expires_at } = await put(key, {}, { lifetime: '1 hour', ttl: '1 day' })
  assert.is.not((await present(key)).id, before.id)
  assert.ok(Math.abs(Number(expires_at) - Date.now() - 3600_000) < 10_000)
})

test('a destroyed session is created anew, for that is what is asked', async () => {
  const key = await create({ a: 1 })
  const { id } = await present(key)
  await call('session_destroy', { key })
  assert.is((await put(key, { a: 2 })).status, 'saved')
  assert.is.not((await present(key)).id, id)
})

test('of 8 callers at once all are saved, one session is left, and it holds what one of them put', async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect(clientUrl)))
  for (let round = 0; round < 20; round++) {
    const key = newKey()
    const saved = await Promise.all(clients.map((client, who) => put(key, { who, [who]: 1 }, {}, client)))
    assert.equal([...new Set(saved.map(({ status }) => status))], ['saved'])
    assert.equal(
      saved.map(({ version }) => Number(version)).sort((one, other) => one - other),
      [1, 2, 3, 4, 5, 6, 7, 8],
    )
    const { data } = await present(key)
    assert.equal(Object.keys(data).length, 2)
    assert.is(data[String(data['who'])], 1)
  }
})

test('a change of the user is announced, and nothing else is', async () => {
  const listener = await connect()
  const heard: string[] = []
  listener.on('notification', ({ payload = '' }) => heard.push(JSON.parse(payload).type))
  await listener.query('listen pgstore_sessions')
  const key = newKey()
  for (const user_id of ['ann', 'ann', null, 'bob', '']) await put(key, { a: 1 }, { user_id })
  await listener.query('select 1')
  assert.equal(heard, ['changed', 'changed'])
  const { user_id, signed_in_at } = await present(key)
  assert.equal([user_id, signed_in_at], [null, null])
})

test('too large: nothing is created or changed', async () => {
  const [key, other] = [newKey(), await create({ a: 1 })]
  for (const one of [key, other]) {
    assert.is((await put(one, { a: 'x'.repeat(4096) })).status, 'too_large')
    assert.is((await put(one, { a: 'x'.repeat(100_000) })).status, 'too_large')
  }
  assert.is(await stored(key), undefined)
  assert.equal((await present(other)).data, { a: 1 })
  assert.is((await put(key, { a: 'x'.repeat(100_000) }, { max_length: 0 })).status, 'saved')
})

for (const [kind, key, data, args] of [
  ['no key', null, {}, {}],
  ['a key of another length', Buffer.alloc(31), {}, {}],
  ['data that is no object', newKey(), [1], {}],
  ['null', newKey(), null, {}],
  ['no ttl', newKey(), {}, { ttl: null }],
  ['a lifetime of nothing', newKey(), {}, { lifetime: '0' }],
  ['a user id that is too long', newKey(), {}, { user_id: 'x'.repeat(1025) }],
  ['a limit below 0', newKey(), {}, { max_length: -1 }],
] as const) {
  test(`${kind} is invalid`, async () => {
    assert.is((await put(key, data, args)).status, 'invalid')
    if (key?.length === 32) assert.is((await save(key, {})).status, 'gone')
  })
}

test.run()
