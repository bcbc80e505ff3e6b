// The drivers for packages that bring a storage interface of their own: with the real packages, where they are installed.
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { pgstoreSessions as adonisSessions } from '../../src/adapters/adonis.ts'
import { pgstoreSessions as astroSessions } from '../../src/adapters/astro.ts'
import { secondaryStorage } from '../../src/adapters/better-auth.ts'
import { pgstoreDriver } from '../../src/adapters/unstorage.ts'
import { clientUrl, closeAll, databaseUrl, rejection, row, testStore, until } from '../support/harness.ts'
import { packages, printedFile, removePrinted, withPackages } from '../support/printed.ts'

test.after(async () => {
  removePrinted()
  await closeAll()
})

/** A module of a package that is not of the project, without its types. */
// biome-ignore lint/suspicious/noExplicitAny: its types are not installed everywhere
async function load(file: string): Promise<any> {
  return await import(pathToFileURL(path.join(packages, file)).href)
}

const store = testStore({ maxLength: 65_536 })

// unstorage

const driverOptions = { connectionString: clientUrl, migrate: false }

withPackages(test, 'unstorage: items are set, listed below a base, expire, and are cleared', async () => {
  const { createStorage } = await load('unstorage/dist/index.mjs')
  const storage = createStorage({ driver: pgstoreDriver({ ...driverOptions, base: 'one' }) })
  const other = createStorage({ driver: pgstoreDriver({ store, base: 'other' }) })
  await other.setItem('a:b', 'theirs')
  await storage.setItem('a:b', { n: 1 })
  await storage.setItem('a:b', { n: 2 })
  await storage.setItem('c', 3)
  await storage.setItem('soon', 'over', { ttl: 0.05 })
  assert.equal(await storage.getItem('a:b'), { n: 2 })
  await until(async () => !(await storage.hasItem('soon')))
  assert.is(await storage.getItem('soon'), null)
  assert.equal((await storage.getKeys()).sort(), ['a:b', 'c'])
  assert.equal(await storage.getKeys('a'), ['a:b'])
  await storage.setItemRaw('raw', new Uint8Array([0, 255]))
  assert.equal([...(await storage.getItemRaw('raw'))], [0, 255])
  await pgstoreDriver({ store, base: 'one' }).clear('a:')
  assert.equal((await storage.getKeys()).sort(), ['c', 'raw'])
  await storage.removeItem('c')
  await storage.clear()
  assert.equal(await storage.getKeys(), [])
  assert.is(await other.getItem('a:b'), 'theirs')
  await storage.dispose()
  await other.dispose()
  assert.is(await store.byToken.get('x'), undefined, 'a store that it was given stays open')
})

withPackages(test, 'unstorage: after a failure to connect the next call tries again', async () => {
  const driver = pgstoreDriver({ connectionString: 'postgres://127.0.0.1:1/none' })
  assert.is((await rejection(driver.getItem('a'))).code, 'unavailable')
  assert.is((await rejection(driver.getItem('a'))).code, 'unavailable')
})

// Astro

withPackages(
  test,
  'astro: its sessions are kept, regenerated and destroyed by the driver that the page configures',
  async () => {
    const { config } = astroSessions()
    assert.equal(astroSessions({ ttl: 60 }), {
      entrypoint: 'pgstore/unstorage',
      config: { base: 'astro', ttl: 60, maxLength: 65_536 },
    })
    const printed = await import(pathToFileURL(printedFile('astro', 'main.mjs')).href)
    assert.is(printed.default.session.driver.config.ttl, 14 * 86400)
    const { AstroSession, PERSIST_SYMBOL } = await load('astro/dist/core/session/runtime.js')
    const jar = new Map<string, string>()
    const request = () => {
      const cookies = {
        get: (name: string) => (jar.has(name) ? { value: jar.get(name) } : undefined),
        set: (name: string, value: string) => jar.set(name, value),
        delete: (name: string) => jar.delete(name),
      }
      const driverFactory = (options: object) => pgstoreDriver({ ...options, store })
      return new AstroSession({
        cookies,
        config: { driver: 'pgstore', options: config },
        runtimeMode: 'server',
        driverFactory,
      })
    }
    const first = request()
    first.set('cart', ['tea'])
    await first[PERSIST_SYMBOL]()
    const second = request()
    assert.equal(await second.get('cart'), ['tea'])
    const before = jar.get('astro-session')
    await second.regenerate()
    await second[PERSIST_SYMBOL]()
    assert.is.not(jar.get('astro-session'), before)
    const third = request()
    assert.equal(await third.get('cart'), ['tea'])
    await third.destroy()
    await third[PERSIST_SYMBOL]()
    // Astro does not wait until the session's old id is removed.
    await until(async () => (await store.list('unstorage:astro')).length === 0)
  },
)

// better-auth

interface Auth {
  api: {
    signUpEmail(call: object): Promise<{ headers: Headers }>
    signInEmail(call: object): Promise<{ headers: Headers }>
    getSession(call: object): Promise<{ session: { token: string }; user: { id: string } } | null>
    listSessions(call: object): Promise<{ token: string }[]>
    revokeSessions(call: object): Promise<unknown>
    revokeSession(call: object): Promise<unknown>
    signOut(call: object): Promise<unknown>
  }
  handler(request: Request): Promise<Response>
  readonly $context: Promise<{ internalAdapter: Record<string, (...args: unknown[]) => Promise<unknown>> }>
}

async function newAuth(
  more: object = {},
): Promise<{ auth: Auth; body: { email: string; password: string; name: string } }> {
  const { betterAuth } = await load('better-auth/dist/index.mjs')
  const { memoryAdapter } = await load('better-auth/dist/adapters/memory-adapter/index.mjs')
  const auth = betterAuth({
    database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
    secret: 'a secret of thirty-two characters',
    baseURL: 'http://localhost:3000',
    emailAndPassword: { enabled: true, password: { hash: async (text: string) => text, verify: async () => true } },
    secondaryStorage: secondaryStorage(store),
    rateLimit: { enabled: false },
    logger: { disabled: true },
    ...more,
  })
  const body = { email: `${Math.random()}@example.com`.slice(2), password: 'a long password', name: 'Ada' }
  return { auth, body }
}

const cookieOf = (headers: Headers) =>
  new Headers({
    cookie: headers
      .getSetCookie()
      .map((line) => line.split(';')[0])
      .join('; '),
  })

withPackages(
  test,
  'better-auth: of sign-ins at once none is missing from the list, and signing out everywhere ends all',
  async () => {
    const { auth, body } = await newAuth()
    const { headers } = await auth.api.signUpEmail({ body, returnHeaders: true })
    const others = await Promise.all(
      Array.from({ length: 8 }, () => auth.api.signInEmail({ body, returnHeaders: true })),
    )
    const listed = await auth.api.listSessions({ headers: cookieOf(headers) })
    assert.is(listed.length, 9)
    assert.is(new Set(listed.map(({ token }) => token)).size, 9)
    await auth.api.revokeSessions({ headers: cookieOf(headers) })
    for (const one of [{ headers }, ...others])
      assert.is(await auth.api.getSession({ headers: cookieOf(one.headers) }), null)
  },
)

withPackages(
  test,
  'better-auth: a session that signs in while all are ended is in the list afterwards, or ended',
  async () => {
    const { auth, body } = await newAuth()
    await auth.api.signUpEmail({ body })
    for (let round = 0; round < 5; round++) {
      const { headers } = await auth.api.signInEmail({ body, returnHeaders: true })
      const [late] = await Promise.all([
        auth.api.signInEmail({ body, returnHeaders: true }),
        auth.api.revokeSessions({ headers: cookieOf(headers) }),
      ])
      const own = await auth.api.getSession({ headers: cookieOf(late.headers) })
      const listed = own ? await auth.api.listSessions({ headers: cookieOf(late.headers) }) : []
      assert.equal(
        listed.map(({ token }) => token),
        own ? [own.session.token] : [],
      )
    }
  },
)

withPackages(test, 'better-auth: a session that is changed while it is ended stays ended', async () => {
  const { auth, body } = await newAuth()
  const { internalAdapter } = await auth.$context
  for (let round = 0; round < 10; round++) {
    const sign = round === 0 ? 'signUpEmail' : 'signInEmail'
    const { headers } = await auth.api[sign]({ body, returnHeaders: true })
    const session = await auth.api.getSession({ headers: cookieOf(headers) })
    const { token } = session?.session ?? { token: '' }
    await Promise.all([
      internalAdapter['updateSession']?.(token, { userAgent: `round ${round}` }),
      internalAdapter['deleteSession']?.(token),
    ])
    assert.is(await auth.api.getSession({ headers: cookieOf(headers) }), null, `round ${round}`)
  }
})

test('better-auth: a change that comes after the end brings nothing back', async () => {
  const storage = secondaryStorage(store)
  const value = (n: number) =>
    JSON.stringify({ session: { token: 't1', userId: 'u1', n, expiresAt: '2099-01-01' }, user: {} })
  await storage.set('t1', value(1), 60)
  assert.is(await storage.get('t1'), value(1))
  await storage.set('t1', value(2), 60)
  assert.is(await storage.get('t1'), value(2))
  await storage.delete('t1')
  await storage.set('t1', value(3), 60)
  await storage.set('t1', value(4), 60)
  assert.is(await storage.get('t1'), null)
  assert.is(await storage.get('active-sessions-u1'), null)
})

withPackages(test, 'better-auth: a one-time value is used by one of several requests', async () => {
  const { auth } = await newAuth()
  const { internalAdapter } = await auth.$context
  const identifier = `one-time ${Math.random()}`
  const expiresAt = new Date(Date.now() + 60_000)
  await internalAdapter['createVerificationValue']?.({ identifier, value: 'v', expiresAt })
  const used = await Promise.all(
    Array.from({ length: 8 }, async () => await internalAdapter['consumeVerificationValue']?.(identifier)),
  )
  assert.is(used.filter(Boolean).length, 1)
})

withPackages(test, 'better-auth: of requests at once no more pass than the rate limit says', async () => {
  const rateLimit = { enabled: true, storage: 'secondary-storage', window: 60, max: 5 }
  const { auth } = await newAuth({ rateLimit, advanced: { ipAddress: { ipAddressHeaders: ['x-ip'] } } })
  const headers = { 'x-ip': `10.0.0.${1 + Math.floor(Math.random() * 250)}` }
  const request = () => auth.handler(new Request('http://localhost:3000/api/auth/get-session', { headers }))
  const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await request()).status))
  assert.is(statuses.filter((status) => status === 200).length, 5)
  assert.is(statuses.filter((status) => status === 429).length, 15)
})

test('better-auth: a counter’s window is that of its first request', async () => {
  const storage = secondaryStorage(store)
  const key = `rate ${Math.random()}`
  assert.is(await storage.increment(key, 60), 1)
  assert.is(await storage.increment(key, 3600), 2)
  assert.is(await storage.get(key), '2')
  const { left } = await row<{ left: number }>(
    `select extract(epoch from expires_at - now())::float8 as left from pgstore.sessions
     where key = pgstore.session_key($1)`,
    `better-auth:${key}`,
  )
  assert.ok(left > 50 && left <= 60)
})

// AdonisJS

const adonis = adonisSessions(store)
const adonisStore = () => adonis(undefined, { age: '2h' })

test('adonis: a session is written, read, touched and destroyed, and two requests keep each other’s values', async () => {
  const [one, other] = [adonisStore(), adonisStore()]
  assert.is(await one.read('adonis 1'), null)
  await one.write('adonis 1', { a: 1, b: 1 })
  assert.equal(await one.read('adonis 1'), { a: 1, b: 1 })
  assert.equal(await other.read('adonis 1'), { a: 1, b: 1 })
  await one.write('adonis 1', { a: 2, b: 1 })
  await other.write('adonis 1', { a: 1, b: 2 })
  await other.touch('adonis 1')
  assert.equal(await adonisStore().read('adonis 1'), { a: 2, b: 2 })
  await one.destroy('adonis 1')
  assert.is(await adonisStore().read('adonis 1'), null)
})

test('adonis: a request that had read a session does not bring it back', async () => {
  const late = adonisStore()
  await adonisStore().write('adonis 2', { a: 1 })
  await late.read('adonis 2')
  await adonisStore().destroy('adonis 2')
  await late.write('adonis 2', { a: 2 })
  assert.is(await adonisStore().read('adonis 2'), null)
})

test('adonis: tagged sessions are a user’s, also after they get a new id, and can be ended by the id that is listed', async () => {
  const request = adonisStore()
  await request.tag('adonis 3', 'user:7')
  await request.write('adonis 3', { a: 1 })
  await adonisStore().write('adonis 4', { a: 2 })
  await adonisStore().tag('adonis 4', 'user:7')
  const again = adonisStore()
  await again.read('adonis 3')
  await again.destroy('adonis 3')
  await again.write('adonis 5', { a: 1 })
  const tagged = await request.tagged('user:7')
  assert.equal(
    tagged.map(({ data }) => data).sort((one, other) => Number(one['a']) - Number(other['a'])),
    [{ a: 1 }, { a: 2 }],
  )
  assert.is((await store.list('user:7')).length, 2)
  for (const { id } of tagged) {
    assert.is(await adonisStore().read(id), null, 'it opens nothing')
    await adonisStore().destroy(id)
  }
  assert.equal(await request.tagged('user:7'), [])
})

test('adonis: ages are times or seconds, anything else is refused', () => {
  for (const age of [7200, '7200', '90s', '2h', '30 days', '1 Week', '15 minutes']) adonis(undefined, { age })
  for (const age of ['', 'soon', '-1h', 0, '5 months', '1ms', Number.NaN])
    assert.throws(() => adonis(undefined, { age }), /age must be/, String(age))
})

withPackages(test, 'adonis: its session middleware works with the configuration of the page', async () => {
  process.env['DATABASE_URL'] = databaseUrl
  const printed = await import(pathToFileURL(printedFile('adonis', 'main.mjs')).href)
  const { SessionMiddlewareFactory } = await load('@adonisjs/session/build/factories/main.js')
  const { HttpContextFactory } = await load('@adonisjs/core/build/factories/http.js')
  const { AppFactory } = await load('@adonisjs/core/build/factories/app.js')
  const app = new AppFactory().create(new URL('file:///'), () => {})
  await app.init()
  const config = await printed.default.resolver(app)
  const middleware = await new SessionMiddlewareFactory()
    .merge({ config: { ...config, stores: config.stores } })
    .create()
  const ids: string[] = []
  const visit = async (
    id: string | undefined,
    work: (session: Record<string, (...args: unknown[]) => unknown>) => unknown,
  ) => {
    const ctx = new HttpContextFactory().create()
    ctx.request.cookie = () => id
    await middleware.handle(ctx, async () => await work(ctx.session))
    ids.push(ctx.session.sessionId)
    return ctx.session.sessionId as string
  }
  const id = await visit(undefined, (session) => session['put']?.('cart', ['tea']))
  await visit(id, (session) => assert.equal(session['get']?.('cart'), ['tea']))
  const renewed = await visit(id, (session) => session['regenerate']?.())
  assert.is.not(renewed, id)
  await visit(renewed, (session) => assert.equal(session['get']?.('cart'), ['tea']))
  await visit(id, (session) => assert.is(session['get']?.('cart'), undefined))
  await printed.store.close()
})

test.run()
