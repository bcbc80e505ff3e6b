import cookies from '@fastify/cookie'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sessions } from '../../src/adapters/fastify.ts'
import { type PGStore, PGStoreError } from '../../src/index.ts'
import { Browser, cookieNames } from '../support/browser.ts'
import { frameworkTests, pages, type Site, type Values } from '../support/frameworks.ts'
import { closeAll, testStore } from '../support/harness.ts'

async function listening(app: FastifyInstance): Promise<Site> {
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url, close: () => app.close() }
}

async function start(store: PGStore<Values>): Promise<Site> {
  const app = Fastify({ forceCloseConnections: true })
  app.register(sessions, { store })
  for (const [path, page] of Object.entries(pages)) {
    app.get(path, async (request, reply) => {
      const answer = await page(request.session, new URL(request.url, 'http://x').searchParams)
      if (typeof answer === 'string') return answer
      return reply.code(answer.status ?? 200).send(answer.body)
    })
  }
  return await listening(app)
}

frameworkTests(start, 503)

const store = testStore<Values>()
const apps: FastifyInstance[] = []

test.after(async () => {
  await Promise.all(apps.map((app) => app.close()))
  await closeAll()
})

/** A visitor of an app with our plugin and these routes. */
async function visitor(addRoutes: (app: FastifyInstance) => void): Promise<Browser> {
  const app = Fastify({ forceCloseConnections: true })
  apps.push(app)
  app.register(sessions, { store })
  addRoutes(app)
  return new Browser((await listening(app)).url)
}

test("other plugins' cookies and headers stay, and ours is there once", async () => {
  const browser = await visitor((app) => {
    app.register(cookies)
    app.get('/', async (request, reply) => {
      reply.header('set-cookie', 'one=1').header('set-cookie', ['sid-2=2', 'three=3'])
      reply.setCookie('four', '4')
      reply.raw.setHeader('x-raw', 'raw')
      const { values } = await request.session()
      values['visits'] = 1
      await request.session.save()
      values['visits'] = 2
      return 'page'
    })
  })
  const { cookies: lines, headers } = await browser.get('/')
  assert.equal(cookieNames(lines), ['four', 'one', 'sid', 'sid-2', 'three'])
  assert.is(headers.get('x-raw'), 'raw')
})

test('outside the instance that registers it there are no sessions', async () => {
  const app = Fastify({ forceCloseConnections: true })
  apps.push(app)
  const show = async (request: { session?: unknown }) => typeof request.session
  app.get('/outside', show)
  app.register(async (inner) => {
    inner.register(sessions, { store })
    inner.get('/inside', show)
  })
  const browser = new Browser((await listening(app)).url)
  assert.equal([(await browser.get('/inside')).text, (await browser.get('/outside')).text], ['function', 'undefined'])
})

test('a fetch Response as the answer takes the cookie beside its own, and its status counts', async () => {
  const browser = await visitor((app) => {
    app.get<{ Params: { status: number } }>('/:status', async (request) => {
      ;(await request.session()).values['visits'] = 1
      return new Response('page', { status: request.params.status, headers: { 'set-cookie': 'other=1' } })
    })
  })
  const answers = [await browser.get('/201'), await new Browser(browser.url).get('/502')]
  assert.equal(
    answers.map(({ status, cookies: lines }) => [status, ...cookieNames(lines)]),
    [
      [201, 'other', 'sid'],
      [502, 'other'],
    ],
  )
})

test('a response that a handler takes over is left alone; the handler saves with the store itself', async () => {
  const browser = await visitor((app) => {
    app.get('/hijack', async (request, reply) => {
      const session = await request.session()
      session.values['visits'] = 1
      reply.hijack()
      if (request.query && 'save' in (request.query as object)) await store.save(request.raw, reply.raw, session)
      reply.raw.end('taken over')
    })
    app.get('/', async (request) => (await request.session()).values['visits'] ?? 0)
  })
  assert.equal(await browser.get('/hijack').then(({ text, cookies: lines }) => [text, lines]), ['taken over', []])
  assert.is((await browser.get('/hijack?save')).cookies.length, 1)
  assert.is((await browser.get('/')).text, '1')
})

test('the application’s error handler gets our error and has the last word', async () => {
  const browser = await visitor((app) => {
    app.setErrorHandler((error, _request, reply) => {
      const code = error instanceof PGStoreError ? error.code : 'unknown'
      return reply.code(418).send(code)
    })
    app.get(
      '/ended',
      async (request) => await pages['/ended-before-save']?.(request.session as never, new URLSearchParams()),
    )
    app.get('/large', async (request) => await pages['/too-large']?.(request.session as never, new URLSearchParams()))
    app.get('/visit', async (request) => await pages['/visit']?.(request.session as never, new URLSearchParams()))
  })
  await browser.get('/visit')
  for (const [path, code] of [
    ['/large', 'too_large'],
    ['/ended', 'gone'],
  ] as const) {
    const { status, text } = await browser.get(path)
    assert.equal([status, text], [418, code])
  }
})

test('it works without a server, through inject()', async () => {
  const app = Fastify()
  apps.push(app)
  app.register(sessions, { store, name: 'visit' })
  app.get('/', async (request) => {
    const { values } = await request.session()
    values['visits'] = Number(values['visits'] ?? 0) + 1
    return values
  })
  const first = await app.inject('/')
  const cookie = String(first.headers['set-cookie']).split(';')[0] ?? ''
  assert.match(cookie, /^visit=/)
  assert.equal((await app.inject({ url: '/', headers: { cookie } })).json(), { visits: 2 })
})

test.run()
