// session_bind, session_rebind, session_binding and session_unbound: what binds a session to a device, and that it goes with its session.
import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { later } from '../bound/device.ts'
import { clientUrl, row, sql, until } from '../support/harness.ts'
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
} from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

const publicKey = randomBytes(64)

interface Rebound {
  status: string
  bound_hash: Buffer | null
  bound_until: Date | null
  previous_hash: Buffer | null
}

async function bind(key: Buffer, args: object = {}, client?: Client): Promise<string> {
  const id = (await sql<{ id: string }>('select id from pgstore.sessions where key = $1', key))[0]?.id ?? '1'
  const all = { key, id, public_key: publicKey, alg: 'ES256', hash: newKey(), ...args }
  const [bound] = await call<{ status: string }>('session_bind', all, client)
  return bound?.status ?? ''
}

async function rebind(key: Buffer, old: Buffer, next: Buffer, client?: Client): Promise<Rebound> {
  const args = { key, old_hash: old, new_hash: next, ttl: '300 seconds', lifetime: '90 days' }
  const [rebound] = await call<Rebound>('session_rebind', args, client)
  return rebound as Rebound
}

async function unbound(key: Buffer, hash: Buffer | null, isOurs: boolean, client?: Client): Promise<string> {
  const [judged] = await call<{ status: string }>('session_unbound', { key, hash, is_ours: isOurs }, client)
  return judged?.status ?? ''
}

/** A session bound with this digest, and its number. */
async function bound(hash: Buffer, userId = 'ann'): Promise<{ key: Buffer; id: string }> {
  const key = await create({}, { user_id: userId })
  assert.is(await bind(key, { hash }), 'bound')
  return { key, id: (await present(key)).id }
}

async function bindings(id: string): Promise<number> {
  return (await sql('select from pgstore.bindings where session_id = $1', id)).length
}

test('a session is bound once: to the same key and cookie again, to no other', async () => {
  const [hash, client] = [newKey(), await connect(clientUrl)]
  const { key, id } = await bound(hash)
  assert.is(await bind(key, { hash }, client), 'bound', 'the same proof once more')
  assert.is(await bind(key, { public_key: randomBytes(64) }, client), 'taken')
  await later(id, 31)
  await rebind(key, hash, newKey(), client)
  await later(id, 3600)
  assert.is(await bind(key, { public_key: randomBytes(64) }, client), 'taken', 'its device came back: for good')
})

test('a device that never came back is replaced after half a minute: its answer was lost', async () => {
  const { key, id } = await bound(newKey())
  await later(id, 31)
  const [other, hash] = [randomBytes(64), newKey()]
  assert.is(await bind(key, { public_key: other, hash }), 'bound')
  const [binding] = await call<{ status: string; public_key: Buffer; bound_hash: Buffer }>('session_binding', { key })
  assert.equal([binding?.status, binding?.public_key, binding?.bound_hash], ['bound', other, hash])
})

test('what is not live, or another session than the challenge was made for, is not bound; nonsense is invalid', async () => {
  assert.is(await bind(newKey()), 'gone')
  const key = await create()
  assert.is(await bind(key, { id: '12345' }), 'gone')
  for (const wrong of [
    { alg: 'none' },
    { alg: null },
    { public_key: Buffer.alloc(0) },
    { hash: Buffer.alloc(31) },
    { key: Buffer.alloc(3) },
  ])
    assert.is(await bind(key, wrong), 'invalid', JSON.stringify(wrong))
  await expire(key)
  assert.is(await bind(key), 'gone')
})

test('a read tells what the device has to send, also of several, and null where there is none', async () => {
  const hash = newKey()
  const { key } = await bound(hash)
  const plain = await create()
  const [one] = await call<{ bound_hash: Buffer; bound_until: Date }>('session_get', { key })
  assert.equal(one?.bound_hash, hash)
  assert.instance(one?.bound_until, Date)
  const both = await call<{ key: Buffer; bound_hash: Buffer | null }>('session_get', { keys: [key, plain] })
  assert.equal(both.find((found) => found.key.equals(key))?.bound_hash, hash)
  assert.is(both.find((found) => found.key.equals(plain))?.bound_hash, null)
})

test('of many who refresh at once one wins, and the others are told what holds', async () => {
  const hash = newKey()
  const { key } = await bound(hash)
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect(clientUrl)))
  const nexts = clients.map(() => newKey())
  const results = await Promise.all(clients.map((client, index) => rebind(key, hash, nexts[index] as Buffer, client)))
  const [winner, ...more] = results.filter(({ status }) => status === 'rebound')
  assert.equal(more, [])
  assert.equal(results.filter(({ status }) => status === 'held').length, 7)
  for (const { bound_hash, previous_hash } of results) {
    assert.equal(bound_hash, winner?.bound_hash)
    assert.equal(previous_hash, hash)
  }
})

test('a refresh is a touch: it moves the visit and the expiry, shortens nothing and leaves the version', async () => {
  const hash = newKey()
  const { key, id } = await bound(hash)
  await row(
    `update pgstore.sessions set seen_at = seen_at - interval '1 day', expires_at = expires_at - interval '1 day' where key = $1 returning id`,
    key,
  )
  const before = await present(key)
  const { status, bound_until } = await rebind(key, hash, newKey())
  const after = await present(key)
  assert.is(status, 'rebound')
  assert.ok(Number(after.seen_at) - Number(before.seen_at) >= 86_400_000)
  assert.ok(Number(after.expires_at) - Number(before.expires_at) >= 86_400_000)
  assert.equal([after.version, after.id], [before.version, id])
  assert.is(Number(bound_until) - Number(after.seen_at), 300_000)
})

test('another refresh within ten seconds finds what holds, however right it is', async () => {
  const [first, second] = [newKey(), newKey()]
  const { key, id } = await bound(first)
  assert.is((await rebind(key, first, second)).status, 'rebound')
  assert.is((await rebind(key, second, newKey())).status, 'held')
  await later(id, 11)
  assert.is((await rebind(key, second, newKey())).status, 'rebound')
  assert.is((await rebind(newKey(), second, newKey())).status, 'gone')
})

test('a save, a regenerate and a put keep the binding', async () => {
  const hash = newKey()
  const { key, id } = await bound(hash)
  await save(key, { set: '{"a": 1}' })
  await call('session_put', { key, data: '{}' })
  const next = newKey()
  await call('session_regenerate', { key, new_key: next })
  const [binding] = await call<{ status: string; id: string; bound_hash: Buffer }>('session_binding', { key: next })
  assert.equal([binding?.status, binding?.id, binding?.bound_hash], ['bound', id, hash])
  const [moved] = await call<{ status: string; public_key: unknown }>('session_binding', { key })
  assert.equal([moved?.status, moved?.public_key], ['moved', null])
})

const ends: Readonly<Record<string, (key: Buffer, id: string) => Promise<unknown>>> = {
  session_destroy: (key) => call('session_destroy', { key }),
  'session_destroy of several': (key) => call('session_destroy', { keys: [key] }),
  session_try_destroy: (key) => call('session_try_destroy', { keys: [key] }),
  session_take: (key) => call('session_take', { key, name: null }),
  session_revoke: (_key, id) => call('session_revoke', { user_id: 'ann', id }),
  session_revoke_tag: async (key) => {
    await save(key, { tags: ['t'] })
    return await call('session_revoke_tag', { tag: 't' })
  },
  session_limit: async () => {
    const newer = await create({}, { user_id: 'ann' })
    return await call('session_limit', { user_id: 'ann', max: 1, except: newer })
  },
  session_clear: () => call('session_clear', { limit: 10_000 }),
  purge_expired: async (key) => {
    await expire(key)
    return await call('purge_expired', { limit: 10_000 })
  },
  'session_end_before and the purge': async () => {
    await call('session_end_before', { scope: 'all', at: new Date(Date.now() + 1000) })
    return await call('purge_expired', { limit: 10_000 })
  },
  'a session created in its place': async (key) => {
    await expire(key)
    return await save(key, { version: 0, set: '{}' })
  },
  'a regenerate to its key': async (key) => {
    await expire(key)
    return await call('session_regenerate', { key: await create(), new_key: key })
  },
}
for (const [name, end] of Object.entries(ends)) {
  test(`${name}: the binding goes with the session`, async () => {
    const { key, id } = await bound(newKey())
    await end(key, id)
    assert.is(await bindings(id), 0)
    const [left] = await sql<{ bound_hash: unknown }>(
      'select bound_hash from pgstore.sessions where id = $1 or key = $2',
      id,
      key,
    )
    assert.is(left?.bound_hash ?? null, null)
    await call('session_clear', { limit: 10_000 })
    if (!name.startsWith('session_end_before')) return
    await sql("update pgstore.watermark set everybody = '-infinity'")
    await sql('delete from pgstore.marks')
  })
}

test('a request without its cookie is refused and noted, once a minute', async () => {
  const [hash, client] = [newKey(), await connect(clientUrl)]
  const { key, id } = await bound(hash)
  const listener = await connect()
  const heard: string[] = []
  listener.on('notification', ({ payload }) => heard.push((JSON.parse(payload ?? '{}') as { type: string }).type))
  await listener.query('listen pgstore_sessions')
  await call('audit_set', { on: true })
  for (let i = 0; i < 3; i++) assert.is(await unbound(key, null, false, client), 'refused')
  await later(id, 61)
  assert.is(await unbound(key, newKey(), false, client), 'refused')
  await until(() => heard.length >= 2)
  assert.equal(heard, ['unbound', 'unbound'])
  const noted = await sql('select type from pgstore.history where session_id = $1', id)
  assert.equal(noted, [{ type: 'unbound' }, { type: 'unbound' }])
  await call('audit_set', { on: false })
})

test('the cookie before is good for two minutes more, and ends the session when it comes back after that', async () => {
  const [first, second] = [newKey(), newKey()]
  const { key, id } = await bound(first)
  await rebind(key, first, second)
  assert.is(await unbound(key, second, true), 'current')
  assert.is(await unbound(key, first, true), 'previous')
  await later(id, 125)
  assert.is(await unbound(key, first, true), 'awaited', 'a minute in which it is only refused')
  await later(id, 60)
  assert.is(await unbound(key, newKey(), false), 'awaited', 'no cookie of ours proves nothing')
  assert.is(await unbound(key, first, true), 'ended')
  assert.is(await unbound(key, first, true), 'gone')
  assert.is(await bindings(id), 0)
})

test('a refused request of a device whose last proof still holds is one of a device that is awaited', async () => {
  const [first, second] = [newKey(), newKey()]
  const { key, id } = await bound(first)
  assert.is(await unbound(key, null, false), 'refused', 'it has not come back yet')
  await rebind(key, first, second)
  assert.is(await unbound(key, null, false), 'awaited')
  await later(id, 299)
  assert.is(await unbound(key, null, false), 'awaited')
  await later(id, 1)
  assert.is(await unbound(key, null, false), 'refused')
})

test('a session that is bound to nothing is not judged', async () => {
  assert.is(await unbound(await create(), newKey(), true), 'unbound')
})

test.run()
