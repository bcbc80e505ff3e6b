// What callers mix up: arguments that are missing or swapped, and a get() that was not awaited.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cameInClear, noteSecureCookie } from '../../src/cookie/plain-http.ts'
import { PGStore } from '../../src/index.ts'
import { closeAll, hashKey, rejection, TestResponse, testStore, Visitor } from '../support/harness.ts'

test.after(closeAll)

const store = testStore()

/** The store as JavaScript calls it. */
const loose = store as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>

async function assertRefused(about: RegExp, method: string, ...args: unknown[]): Promise<void> {
  const error = await rejection((async () => await loose[method]?.(...args))())
  assert.is(error.code, 'invalid_option', `${method}: ${error.stack}`)
  assert.match(error.message, about, method)
}

test('a request that is missing or something else is invalid_option', async () => {
  for (const method of ['get', 'new']) {
    for (const req of [undefined, null, 'sid', {}, { headers: undefined }, new TestResponse()])
      await assertRefused(/first argument must be the request/, method, req, 'sid')
    await assertRefused(/cookie name/, method, new Visitor().request(), undefined)
  }
})

test('a session that is missing, not awaited or in the wrong place is invalid_option', async () => {
  const req = new Visitor().request()
  const res = new TestResponse()
  for (const method of ['save', 'regenerate', 'destroy']) {
    await assertRefused(/^The session is a promise: await/, method, req, res, store.get(req, 'sid'))
    const session = await store.get(req, 'sid')
    for (const args of [[], [req], [req, res], [session, req, res], [req, session], [req, res, null], [req, res, {}]])
      await assertRefused(/^The session must be/, method, ...args)
  }
  await assertRefused(/^The session is a promise/, 'take', store.get(req, 'sid'), 'name')
  await assertRefused(/^The session is a promise/, 'revoke', 'ann', { except: store.get(req, 'sid') })
  assert.equal(res.cookies, [])
})

test('a response that is missing, or the request in its place, is invalid_option, and nothing is saved', async () => {
  const visitor = new Visitor()
  const req = visitor.request()
  const res = new TestResponse()
  const session = await store.get(req, 'sid')
  session.values['seen'] = true
  for (const method of ['save', 'regenerate', 'destroy']) {
    for (const other of [undefined, null, 'sid', req, { headers: {} }, new Request('https://example.org/')])
      await assertRefused(/second argument must be the response/, method, req, other, session)
  }
  session.options.maxAge = 3600
  await assertRefused(/second argument must be the response/, 'save', res, req, session)
  const error = await rejection((session.save as unknown as () => Promise<void>).call(session))
  assert.is(error.code, 'invalid_option')
  assert.ok(session.isNew)
  await store.save(req, res, session)
  assert.not.ok(session.isNew)
})

test('an id in place of options does not end all sessions of a user', async () => {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, (fresh) => {
    fresh.userId = 'ann'
  })
  await assertRefused(/object of options/, 'revoke', 'ann', session.id)
  await assertRefused(/object of options/, 'revokeTag', 'tenant', 'reason')
  assert.is((await store.list('ann')).length, 1)
})

test('an option that is not known is refused where it would end or overwrite more', async () => {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, (fresh) => {
    fresh.userId = 'eve'
  })
  await assertRefused(/unknown option "exept"/, 'revoke', 'eve', { exept: session })
  await assertRefused(/unknown option "id"/, 'revokeTag', 'tenant', { id: session.id })
  assert.is((await store.list('eve')).length, 1)
  const res = new TestResponse()
  await assertRefused(/unknown option "ifUnchangd"/, 'save', visitor.request(), res, session, { ifUnchangd: true })
})

test('a connection string that is not set is named', async () => {
  const error = await rejection(
    Promise.resolve().then(() => new PGStore({ connectionString: undefined, keys: [hashKey] })),
  )
  assert.is(error.code, 'invalid_option')
  assert.match(error.message, /connectionString is not set.*DATABASE_URL/)
})

test('a token that is no string is invalid_option', async () => {
  for (const token of [undefined, null, 7]) {
    const error = await rejection(store.byToken.get(token as unknown as string))
    assert.is(error.code, 'invalid_option')
  }
})

const plain = (host: string, headers: object = {}) =>
  ({ headers: { host, ...headers }, socket: {} }) as { headers: object }

test('a Secure cookie over plain http gives one warning, and none on this machine', () => {
  const told: (string | undefined)[] = []
  const emitWarning = process.emitWarning.bind(process)
  process.emitWarning = ((_: string, { code }: { code?: string }) => told.push(code)) as typeof process.emitWarning
  try {
    for (const host of ['localhost:3000', '127.0.0.1:80', '[::1]:3000', 'shop.localhost'])
      noteSecureCookie(plain(host), { secure: true })
    noteSecureCookie(new Request('http://localhost/'), { secure: true })
    noteSecureCookie(plain('shop.example'), { secure: false })
    noteSecureCookie({ getCookie: () => undefined }, { secure: true })
    assert.equal(told, [])
    for (let n = 0; n < 3; n++) noteSecureCookie(plain('shop.example:8080'), { secure: true })
    assert.equal(told, ['PGSTORE_SECURE_COOKIE'])
  } finally {
    process.emitWarning = emitWarning
  }
})

test('a request over TLS, or through a proxy that says https, did not come in the clear', () => {
  assert.is(cameInClear(plain('shop.example')), true)
  assert.is(cameInClear(new Request('http://shop.example/')), true)
  for (const req of [
    { headers: { host: 'shop.example' }, socket: { encrypted: true } },
    { headers: { ':authority': 'shop.example' }, socket: { encrypted: true } },
    plain('shop.example', { 'x-forwarded-proto': 'https' }),
    plain('shop.example', { forwarded: 'for=192.0.2.60;proto=https' }),
    new Request('https://shop.example/'),
    new Request('http://shop.example/', { headers: { 'x-forwarded-proto': 'https, http' } }),
  ])
    assert.is(cameInClear(req), false)
})

test.run()
