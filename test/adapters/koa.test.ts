import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import Koa from 'koa'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type SessionContext, sessions } from '../../src/adapters/koa.ts'
import type { PGStore } from '../../src/index.ts'
import { Browser, cookieNames } from '../support/browser.ts'
import { frameworkTests, pages, type Site, type Values } from '../support/frameworks.ts'
import { closeAll, testStore } from '../support/harness.ts'

/** What Koa would have logged. */
const errors: unknown[] = []

async function listening<Context>(app: Koa<Koa.DefaultState, Context>): Promise<Site> {
  app.silent = true
  app.on('error', (error) => errors.push(error))
  const server = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function start(store: PGStore<Values>): Promise<Site> {
  const app = new Koa().use(sessions(store)).use(async (ctx) => {
    const answer = await pages[ctx.path]?.(ctx.session, ctx.URL.searchParams)
    if (answer === undefined) return
    if (typeof answer === 'string') {
      ctx.body = answer
    } else {
      ctx.status = answer.status ?? 200
      ctx.body = typeof answer.body === 'string' ? answer.body : Readable.fromWeb(answer.body as never)
    }
  })
  return await listening(app)
}

frameworkTests(start, 503)

const store = testStore<Values>()
const sites: Site[] = []

test.after(async () => {
  await Promise.all(sites.map((site) => site.close()))
  await closeAll()
})

type Context = Koa.ParameterizedContext<Koa.DefaultState, SessionContext<Values>>

/** A visitor of an app with our middleware and this one. */
async function visitor(handle: (ctx: Context) => unknown): Promise<Browser> {
  const app = new Koa().use(sessions(store)).use(async (ctx) => {
    await handle(ctx)
  })
  const site = await listening(app)
  sites.push(site)
  return new Browser(site.url)
}

test('other cookies stay, and ours is there once', async () => {
  const browser = await visitor(async (ctx) => {
    ctx.cookies.set('one', '1')
    const { values } = await ctx.session()
    values.visits = 1
    await ctx.session.save()
    values.visits = 2
    ctx.cookies.set('two', '2')
    ctx.body = 'page'
  })
  assert.equal(cookieNames((await browser.get('/')).cookies), ['one', 'sid', 'two'])
})

test("an error's own headers stay beside the session's cookie, and the cookies of others go as Koa has it", async () => {
  const browser = await visitor(async (ctx) => {
    ctx.cookies.set('other', '1')
    ;(await ctx.session()).values.visits = 1
    ctx.throw(401, 'sign in', { headers: { 'WWW-Authenticate': 'Basic' } })
  })
  const { status, headers, cookies, text } = await browser.get('/')
  assert.equal(
    [status, headers.get('www-authenticate'), cookieNames(cookies), text],
    [401, 'Basic', ['sid'], 'sign in'],
  )
})

test('an error that an outer middleware handles keeps the cookie', async () => {
  const app = new Koa()
    .use(async (ctx, next) => {
      try {
        await next()
      } catch {
        ctx.status = 400
        ctx.body = 'caught'
      }
    })
    .use(sessions(store))
    .use(async (ctx) => {
      ;(await ctx.session()).values.visits = 1
      ctx.throw(400)
    })
  const site = await listening(app)
  sites.push(site)
  const { cookies, text } = await new Browser(site.url).get('/')
  assert.equal([cookieNames(cookies), text], [['sid'], 'caught'])
})

test('a thrown value that is not an Error is a 500, as without our middleware', async () => {
  for (const thrown of ['text', 7, { status: 404 }]) {
    const browser = await visitor(async (ctx) => {
      await ctx.session.regenerate()
      throw thrown // oxlint-disable-line typescript/only-throw-error
    })
    const status = await browser.get('/').then(
      (answer) => answer.status,
      () => 'none',
    )
    const plain = await listening(
      new Koa().use(() => {
        throw thrown // oxlint-disable-line typescript/only-throw-error
      }),
    )
    sites.push(plain)
    assert.is(
      status,
      await new Browser(plain.url).get('/').then(
        (answer) => answer.status,
        () => 'none',
      ),
    )
  }
})

test('a response that a middleware takes over is left alone; the middleware saves by itself', async () => {
  const browser = await visitor(async (ctx) => {
    const { values } = await ctx.session()
    if (ctx.path === '/') {
      ctx.body = String(values.visits ?? 0)
      return
    }
    values.visits = 1
    ctx.respond = false
    if (ctx.path === '/save') await ctx.session.save()
    ctx.res.end('taken over')
  })
  const before = errors.length
  assert.equal(await browser.get('/forget').then(({ text, cookies }) => [text, cookies]), ['taken over', []])
  assert.is((await browser.get('/save')).cookies.length, 1)
  assert.is((await browser.get('/')).text, '1')
  assert.is(errors.length, before)
})

test.run()
