import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { clientUrl } from '../support/harness.ts'
import {
  type Client,
  call,
  closeClients,
  closeEverything,
  connect,
  create,
  expire,
  newKey,
  present,
  save,
  stored,
} from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

interface Taken {
  status: string
  value: unknown
}

async function take(key: Buffer | null, name: string | null, client?: Client): Promise<Taken> {
  const [taken] = await call<Taken>('session_take', { key, name }, client)
  return taken as Taken
}

test('a value is taken once, and the others stay', async () => {
  const key = await create({ otp: { code: 7 }, theme: 'dark' })
  const before = await present(key)
  assert.equal(await take(key, 'otp'), { status: 'taken', value: { code: 7 } })
  assert.equal(await take(key, 'otp'), { status: 'none', value: null })
  const after = await present(key)
  assert.equal(after.data, { theme: 'dark' })
  assert.equal(
    [after.version, after.expires_at, after.seen_at],
    [2, before.expires_at, before.seen_at],
    'a take is no visit',
  )
})

test('a name without a value is none, and nothing is written', async () => {
  const key = await create({ a: 1 })
  const before = await present(key)
  assert.equal(await take(key, 'b'), { status: 'none', value: null })
  assert.equal(await present(key), before)
})

test('a value that is null is taken as any other', async () => {
  const key = await create({ a: null })
  const { status } = await take(key, 'a')
  assert.is(status, 'taken')
  assert.equal((await present(key)).data, {})
})

test('without a name the session ends, and its data is the value', async () => {
  const key = await create({ a: 1, b: [2] })
  assert.equal(await take(key, null), { status: 'taken', value: { a: 1, b: [2] } })
  assert.is(await stored(key), undefined)
  assert.equal(await take(key, null), { status: 'gone', value: null })
  assert.is((await save(key, { set: '{"a":1}' })).status, 'gone')
})

for (const name of ['a', null]) {
  test(`taking ${name ?? 'all'} of what is unknown, expired, or no key at all is gone, and revives nothing`, async () => {
    const expired = await create({ a: 1 })
    await expire(expired)
    for (const key of [newKey(), expired, Buffer.alloc(3), null]) {
      assert.equal(await take(key, name), { status: 'gone', value: null })
    }
    assert.is((await save(expired, { set: '{"b":1}' })).status, 'gone')
  })

  test(`taking ${name ?? 'all'} by a key that was regenerated reads nothing and ends nothing`, async () => {
    const [key, new_key] = [await create({ a: 1 }), newKey()]
    await call('session_regenerate', { key, new_key })
    assert.equal(await take(key, name), { status: 'gone', value: null })
    assert.equal((await present(new_key)).data, { a: 1 })
  })

  test(`of 8 callers that take ${name ?? 'all'} at once one gets it, in 25 rounds`, async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(clientUrl)))
    for (let round = 0; round < 25; round++) {
      const key = await create({ a: round })
      const taken = await Promise.all(clients.map((client) => take(key, name, client)))
      const winners = taken.filter(({ status }) => status === 'taken')
      assert.is(winners.length, 1)
      assert.equal(winners[0]?.value, name === null ? { a: round } : round)
      const lost = taken.filter(({ status }) => status !== 'taken')
      assert.equal(
        [...new Set(lost.map(({ status, value }) => [status, value].join()))],
        [name === null ? 'gone,' : 'none,'],
      )
    }
  })
}

test('taking all is announced as an end, and taking one value is not', async () => {
  const listener = await connect()
  const heard: { type: string; ids: number[]; reason: string }[] = []
  listener.on('notification', ({ payload = '' }) => heard.push(JSON.parse(payload)))
  await listener.query('listen pgstore_sessions')
  const key = await create({ a: 1, b: 1 })
  const { id } = await present(key)
  await take(key, 'a')
  await take(key, null)
  await listener.query('select 1')
  assert.equal(
    heard.map(({ type, ids, reason }) => ({ type, ids, reason })),
    [{ type: 'destroyed', ids: [Number(id)], reason: 'taken' }],
  )
})

test.run()
