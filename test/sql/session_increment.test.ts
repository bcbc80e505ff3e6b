import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { clientUrl } from '../support/harness.ts'
import { type Client, call, closeClients, closeEverything, connect, create, expire, newKey, present } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

interface Counted {
  status: string
  value: string | null
}

async function increment(key: Buffer | null, name: string | null, args: object = {}, client?: Client) {
  const [counted] = await call<Counted>('session_increment', { key, name, ...args }, client)
  return counted as Counted
}

test('it counts from 0, up and down, in fractions too', async () => {
  const key = await create({ a: 'kept' })
  assert.equal(await increment(key, 'n'), { status: 'saved', value: '1' })
  assert.equal(await increment(key, 'n', { by: 4 }), { status: 'saved', value: '5' })
  assert.equal(await increment(key, 'n', { by: '-6.5' }), { status: 'saved', value: '-1.5' })
  const { data, version } = await present(key)
  assert.equal([data, version], [{ a: 'kept', n: -1.5 }, 4])
})

test('it creates what is not there, for the ttl, and leaves the expiry of what is there alone', async () => {
  const key = newKey()
  assert.equal(await increment(key, 'n', { ttl: '1 minute' }), { status: 'saved', value: '1' })
  const { expires_at, version } = await present(key)
  assert.is(version, 1)
  assert.ok(Math.abs(expires_at.getTime() - Date.now() - 60_000) < 10_000)
  await increment(key, 'n', { ttl: '1 day' })
  assert.equal((await present(key)).expires_at, expires_at)
})

test('one that has expired counts as none: a new session, with nothing of the old', async () => {
  const key = await create({ n: 9, secret: 1 }, { user_id: 'ann' })
  const before = await present(key)
  await expire(key)
  assert.equal(await increment(key, 'n'), { status: 'saved', value: '1' })
  const { data, user_id, id } = await present(key)
  assert.equal([data, user_id], [{ n: 1 }, null])
  assert.is.not(id, before.id)
})

test('20 at once count 20, on a session that lives and on one that does not yet', async () => {
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(clientUrl)))
  for (let round = 0; round < 10; round++) {
    const key = round % 2 ? newKey() : await create()
    const counted = await Promise.all(clients.map((client) => increment(key, 'n', {}, client)))
    assert.equal(
      counted.map(({ value }) => Number(value)).sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, n) => n + 1),
    )
    assert.equal((await present(key)).data, { n: 20 })
  }
})

test('what is not a number is left as it is', async () => {
  for (const value of ['1', null, [1], true]) {
    const key = await create({ value })
    assert.equal(await increment(key, 'value'), { status: 'invalid', value: null })
    assert.equal((await present(key)).data, { value })
  }
})

test('the limit counts the session as it would be', async () => {
  const key = await create({ a: 'x'.repeat(100) })
  assert.equal(await increment(key, 'n', { max_length: 100 }), { status: 'too_large', value: null })
  assert.equal(await increment(newKey(), 'n', { max_length: 5 }), { status: 'too_large', value: null })
  assert.equal(await increment(newKey(), 'n', { max_length: 0 }), { status: 'saved', value: '1' })
})

for (const [kind, key, name, args] of [
  ['no key', null, 'n', {}],
  ['a key of another length', Buffer.alloc(31), 'n', {}],
  ['no name', newKey(), null, {}],
  ['null', newKey(), 'n', { by: null }],
  ['NaN', newKey(), 'n', { by: 'NaN' }],
  ['infinity', newKey(), 'n', { by: '-Infinity' }],
  ['more digits than there is room for', newKey(), 'n', { by: '1e131000' }],
  ['no ttl', newKey(), 'n', { ttl: null }],
  ['a ttl of nothing', newKey(), 'n', { ttl: '0' }],
  ['a limit below 0', newKey(), 'n', { max_length: -1 }],
] as const) {
  test(`${kind} is invalid`, async () => {
    assert.equal(await increment(key, name, args), { status: 'invalid', value: null })
  })
}

test.run()
