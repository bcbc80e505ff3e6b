// E2, E9, A15: a session as an object, for the plugins of others, and what an assignment to the function does.
import type { AddressInfo } from 'node:net'
import { runInThisContext } from 'node:vm'
import cookies from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import Koa from 'koa'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sessions } from '../../src/adapters/fastify.ts'
import { sessions as koaSessions } from '../../src/adapters/koa.ts'
import type { SessionObject } from '../../src/adapters/session-object.ts'
import { Browser } from '../support/browser.ts'
import { closeAll, sql, testStore } from '../support/harness.ts'
import { areThere, library } from '../support/libraries.ts'

type Values = Record<string, unknown>

const store = testStore<Values>()
const closing: (() => Promise<unknown>)[] = []

test.after(async () => {
  await Promise.all(closing.map((close) => close()))
  await closeAll()
})

/** The session of a request: `compatible` is an option of the test, and so of no type here. */
const of = (request: object) => (request as { session: SessionObject<Values> }).session

async function fastify(add: (app: FastifyInstance) => unknown, options: object = {}): Promise<Browser> {
  const app = Fastify({ forceCloseConnections: true })
  closing.push(() => app.close())
  app.register(sessions, { store, compatible: true, ...options })
  await add(app)
  return new Browser(await app.listen({ host: '127.0.0.1', port: 0 }))
}

type KoaContext = Koa.Context & { session: SessionObject<Values> | null }

async function koa(handle: (ctx: KoaContext) => unknown, add: (app: Koa) => void = () => {}): Promise<Browser> {
  const app = new Koa()
  app.silent = true
  app.use(koaSessions(store, { compatible: true }))
  add(app)
  app.use(async (ctx) => {
    await handle(ctx as unknown as KoaContext)
  })
  const server = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  closing.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return new Browser(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

const called = async (call: (callback: (error: unknown) => void) => unknown) =>
  await new Promise<unknown>((resolve) => void call(resolve))

/** What a page does with the session of its request, which is got anew each time. */
const steps: Record<string, (session: () => SessionObject<Values>) => unknown> = {
  '/set': (session) => {
    session()['user'] = 'ann'
    session().set('cart', { tea: 1 })
    return Object.keys(session())
  },
  '/nest': (session) => {
    ;(session()['cart'] as Values)['milk'] = 2
    return session().get('cart')
  },
  '/read': (session) => ({ ...session() }),
  '/data': (session) => session().data(),
  '/in': (session) => ['user' in session(), 'nobody' in session(), typeof session()['toString'], session().isNew],
  '/remove': (session) => {
    delete session()['user']
    session().set('cart', undefined)
    return JSON.stringify(session())
  },
  '/regenerate': async (session) => {
    const old = session()
    await session().regenerate(['user'])
    return [session() === old, { ...session() }, { ...old }]
  },
  '/regenerate-back': async (session) => [await called((callback) => session().regenerate(callback)), { ...session() }],
  '/save': async (session) => [await called((callback) => session().save(callback)), await session().save()],
  '/ended': async (session) => {
    session()['late'] = true
    await sql('delete from pgstore.sessions where id = $1', session().pgstore.id)
    return ((await called((callback) => session().save(callback))) as { code: string }).code
  },
  '/destroy': async (session) => [await called((callback) => session().destroy(callback)), { ...session() }],
  '/delete': (session) => {
    session().delete()
    return { ...session() }
  },
  '/touch': (session) => session().touch() ?? 'touched',
  '/names': (session) => {
    session().set('get', 1)
    Reflect.set(session(), '__proto__', { polluted: true })
    return [session().get('get'), typeof session().get, Object.keys(session()), ({} as Values)['polluted'] ?? null]
  },
}

const sites: Record<string, () => Promise<Browser>> = {
  Fastify: async () =>
    await fastify((app) => {
      for (const [path, step] of Object.entries(steps)) {
        app.get(path, async (request) => JSON.stringify((await step(() => of(request))) ?? null))
      }
      app.get('/plain', () => 'plain')
    }),
  Koa: async () =>
    await koa(async (ctx) => {
      const step = steps[ctx.path]
      ctx.body = step ? JSON.stringify((await step(() => ctx.session as SessionObject<Values>)) ?? null) : 'plain'
    }),
}

for (const [name, site] of Object.entries(sites)) {
  test(`E2: ${name}: values are own properties, and the methods do what those of other plugins do`, async () => {
    const browser = await site()
    const ask = async (path: string, at = browser) => JSON.parse((await at.get(path)).text) as unknown
    assert.equal(await ask('/set'), ['user', 'cart'])
    assert.equal(await ask('/nest'), { tea: 1, milk: 2 })
    assert.equal(await ask('/read'), { cart: { tea: 1, milk: 2 }, user: 'ann' })
    assert.equal(await ask('/data'), await ask('/read'))
    assert.equal(await ask('/in'), [true, false, 'function', false])
    assert.equal(await ask('/save'), [null, null])
    assert.is(await ask('/touch'), 'touched')
    const old = browser.twin()
    assert.equal(await ask('/regenerate'), [false, { user: 'ann' }, { cart: { tea: 1, milk: 2 }, user: 'ann' }])
    assert.equal(await ask('/read'), { user: 'ann' })
    assert.equal(await ask('/read', old), {})
    assert.equal(await ask('/regenerate-back'), [null, {}])
    await ask('/set')
    assert.is(await ask('/remove'), '{}')
    assert.equal(await ask('/names'), [1, 'function', ['get', '__proto__'], null])
    await ask('/set')
    assert.is(await ask('/ended'), 'gone')
    for (const path of ['/destroy', '/delete']) {
      await ask('/set')
      const { jar } = browser.twin()
      assert.equal(await ask(path), path === '/delete' ? {} : [null, {}])
      assert.is(browser.jar.size, 0, path)
      assert.equal(await ask('/read', new Browser(browser.url, jar)), {})
    }
  })

  test(`E2: ${name}: a page that does not look at its session has no cookie and no header`, async () => {
    const browser = await site()
    await browser.get('/set')
    const { cookies: lines, headers } = await browser.get('/plain')
    assert.equal([lines, headers.get('vary'), headers.get('cache-control')], [[], null, null])
  })

  test(`E2: ${name}: two requests at once that change different values both keep them`, async () => {
    const browser = await site()
    await browser.get('/set')
    await Promise.all([browser.get('/nest'), browser.get('/names')])
    const values = JSON.parse((await browser.get('/data')).text)
    assert.equal([values.cart, values.get], [{ tea: 1, milk: 2 }, 1])
  })
}

test('E2: Koa: null ends the session, an object takes the place of its values', async () => {
  const browser = await koa((ctx) => {
    if (ctx.path === '/replace') ctx.session = { a: 1 } as never
    else if (ctx.path === '/end') ctx.session = null
    ctx.body = JSON.stringify(ctx.session)
  })
  await browser.get('/replace')
  assert.is((await browser.get('/')).text, '{"a":1}')
  await browser.get('/end')
  assert.is(browser.jar.size, 0)
})

const ways: Record<string, string> = {
  'in strict mode': "'use strict'; session.user = 'ann'",
  'in sloppy mode': "session.user = 'ann'",
  'by Object.assign': "Object.assign(session, { user: 'ann' })",
  'by defineProperty': "Object.defineProperty(session, 'user', { value: 'ann' })",
  'by delete': 'delete session.save',
}
for (const [way, code] of Object.entries(ways)) {
  test(`A15: without it, an assignment ${way} throws and says what to do`, async () => {
    const assign = runInThisContext(`(function (session) { ${code} })`) as (session: unknown) => void
    const browser = await fastify(
      (app) => {
        app.get('/', (request) => {
          assign(request.session)
          return 'assigned'
        })
      },
      { compatible: false },
    )
    const { status, text } = await browser.get('/')
    assert.is(status, 500)
    assert.match(text, /This session is a function: .*values\.(user|save).*\\"compatible\\"/)
  })
}

test('E9: two plugins in one Fastify, each with its own name and cookie', async () => {
  const browser = await fastify(
    (app) => {
      app.register(sessions, { store, decorator: 'visitor', name: 'visitor' })
      app.get('/', async (request: FastifyRequest) => {
        of(request)['a'] = 1
        const { values } = await (request as unknown as { visitor: FastifyRequest['session'] }).visitor()
        values['b'] = 2
        return [{ ...of(request) }, values]
      })
    },
    { name: 'sid' },
  )
  assert.is((await browser.get('/')).text, '[{"a":1},{"b":2}]')
  assert.equal([...browser.jar.keys()].sort(), ['sid', 'visitor'])
})

test('E9: the name of Koa’s property is an option too', async () => {
  const app = new Koa().use(koaSessions(store, { decorator: 'visitor' })).use(async (ctx) => {
    ;(await (ctx as unknown as { visitor: typeof ctx.session }).visitor()).values['a'] = 1
    ctx.body = 'page'
  })
  const server = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  closing.push(async () => await new Promise((resolve) => server.close(resolve)))
  const browser = new Browser(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  assert.is((await browser.get('/', { headers: { connection: 'close' } })).cookies.length, 1)
})

if (areThere('@fastify/passport', '@fastify/flash', '@fastify/csrf-protection', 'koa-passport')) {
  test('E2: @fastify/passport signs in under a new token, knows its user, and signs out', async () => {
    const { Authenticator, Strategy } = await library('@fastify/passport/dist/index.js')
    const passport = new Authenticator()
    passport.registerUserSerializer(async ({ id }: { id: string }) => id)
    passport.registerUserDeserializer(async (id: string) => ({ id }))
    class ByName extends Strategy {
      authenticate(request: FastifyRequest) {
        this['success']({ id: (request.query as { user: string }).user })
      }
    }
    passport.use('by-name', Reflect.construct(ByName, ['by-name']))
    const browser = await fastify((app) => {
      app.register(passport.initialize())
      app.register(passport.secureSession())
      app.get('/cart', (request) => {
        of(request)['cart'] = 'tea'
        return 'put'
      })
      app.get('/sign-in', { preValidation: passport.authenticate('by-name') }, () => 'signed in')
      app.get('/keep', { preValidation: passport.authenticate('by-name', { keepSessionInfo: true }) }, () => 'kept')
      app.get('/who', (request) => ({ ...(request as unknown as { user?: object }).user, cart: of(request)['cart'] }))
      app.get('/sign-out', async (request) => {
        await (request as unknown as { logout(): Promise<void> }).logout()
        return 'out'
      })
    })
    await browser.get('/cart')
    const before = browser.twin()
    assert.is((await browser.get('/sign-in?user=ada')).text, 'signed in')
    assert.is.not(browser.jar.get('sid'), before.jar.get('sid'))
    assert.is((await browser.get('/who')).text, '{"id":"ada"}')
    assert.is((await before.get('/who')).text, '{}')
    await browser.get('/cart')
    await browser.get('/keep?user=bob')
    assert.is((await browser.get('/who')).text, '{"id":"bob","cart":"tea"}')
    await browser.get('/sign-out')
    assert.not.match((await browser.get('/who')).text, 'id')
  })

  test('E2: @fastify/flash gives a message once', async () => {
    const { default: flash } = await library('@fastify/flash/lib/index.js')
    const browser = await fastify((app) => {
      app.register(flash)
      app.get('/say', (request) => {
        ;(request as unknown as { flash(kind: string, text: string): void }).flash('info', 'Saved.')
        return 'said'
      })
      app.get('/hear', (_request, reply) => (reply as unknown as { flash(kind: string): object }).flash('info'))
    })
    await browser.get('/say')
    assert.is((await browser.get('/hear')).text, '["Saved."]')
    assert.is((await browser.get('/hear')).text, '[]')
  })

  for (const sessionPlugin of ['@fastify/session', '@fastify/secure-session']) {
    test(`E2: @fastify/csrf-protection as with ${sessionPlugin}: the token of this session counts, and no other`, async () => {
      const { default: csrf } = await library('@fastify/csrf-protection/index.js')
      const browser = await fastify(async (app) => {
        await app.register(cookies)
        await app.register(csrf, { sessionPlugin })
        const { csrfProtection } = app as unknown as { csrfProtection: never }
        app.get('/token', (_request, reply) => (reply as unknown as { generateCsrf(): string }).generateCsrf())
        app.post('/', { onRequest: csrfProtection }, () => 'done')
      })
      const { text: token } = await browser.get('/token')
      const post = async (given: string, at = browser) =>
        (await at.get('/', { method: 'POST', headers: { 'csrf-token': given } })).status
      const stranger = new Browser(browser.url)
      await stranger.get('/token')
      assert.equal([await post(token), await post('forged'), await post(token, stranger)], [200, 403, 403])
    })
  }

  test('E2: koa-passport signs in under a new token, knows its user, and signs out', async () => {
    const { default: passport } = await library('koa-passport/lib/index.js')
    const own = new passport.KoaPassport()
    own.serializeUser((user: { id: string }, done: (error: unknown, id: string) => void) => done(null, user.id))
    own.deserializeUser((id: string, done: (error: unknown, user: object) => void) => done(null, { id }))
    type Context = KoaContext & { login(user: object, options?: object): Promise<void>; logout(): Promise<void> }
    const browser = await koa(
      async (given) => {
        const ctx = given as Context
        const session = ctx.session as SessionObject<Values>
        if (ctx.path === '/cart') session['cart'] = 'tea'
        if (ctx.path === '/sign-in') await ctx.login({ id: ctx.query['user'] })
        if (ctx.path === '/keep') await ctx.login({ id: ctx.query['user'] }, { keepSessionInfo: true })
        if (ctx.path === '/sign-out') await ctx.logout()
        ctx.body = JSON.stringify({ ...(ctx.state as { user?: object }).user, cart: ctx.session?.['cart'] })
      },
      (app) => app.use(own.initialize()).use(own.session()),
    )
    await browser.get('/cart')
    const before = browser.twin()
    assert.is((await browser.get('/sign-in?user=ada')).status, 200)
    assert.is.not(browser.jar.get('sid'), before.jar.get('sid'))
    assert.is((await browser.get('/')).text, '{"id":"ada"}')
    assert.is((await before.get('/')).text, '{}')
    await browser.get('/cart')
    await browser.get('/keep?user=bob')
    assert.is((await browser.get('/')).text, '{"id":"bob","cart":"tea"}')
    await browser.get('/sign-out')
    assert.not.match((await browser.get('/')).text, 'id')
  })
} else {
  test.skip('the plugins are not installed')
}

test.run()
