import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { RequestSession } from '../../src/adapters/request-session.ts'
import { type PGStore, PGStoreError } from '../../src/index.ts'
import { Browser, cookieNames } from '../support/browser.ts'
import { frameworkTests, pages, Refusal, type Site, type Values } from '../support/frameworks.ts'
import { closeAll, testStore } from '../support/harness.ts'
import { areThere, library } from '../support/libraries.ts'

test.after(closeAll)

/** A server over Node for a fetch handler, as Elysia itself has one for Bun only. */
async function listening(app: { handle: (request: Request) => Promise<Response> }): Promise<Site> {
  const server = http.createServer((req, res) => {
    const headers = new Headers(req.headers as Record<string, string>)
    const request = new Request(`http://localhost${req.url}`, { method: req.method ?? 'GET', headers })
    const answer = async () => {
      const response = await app.handle(request)
      const { 'set-cookie': _, ...others } = Object.fromEntries(response.headers)
      res.writeHead(response.status, { ...others, 'set-cookie': response.headers.getSetCookie() })
      if (response.body) Readable.fromWeb(response.body as never).pipe(res)
      else res.end()
    }
    answer().catch(() => res.writeHead(599).end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}

if (areThere('elysia')) {
  const { Elysia } = await library('elysia/dist/index.mjs')
  const { sessions } = await import('../../src/adapters/elysia.ts')
  type Context = { session: RequestSession<Values>; request: Request; set: { status: number }; cookie: Cookies }
  type Cookies = Record<string, { value: string }>

  const start = async (store: PGStore<Values>): Promise<Site> => {
    const app = new Elysia().use(sessions(store))
    for (const [path, page] of Object.entries(pages)) {
      const handle = async ({ session, request, set }: Context) => {
        const answer = await page(session, new URL(request.url).searchParams)
        if (typeof answer === 'string') return answer
        if (typeof answer.body !== 'string') return new Response(answer.body)
        set.status = answer.status ?? 200
        return answer.body
      }
      app.get(path, handle)
      app.head(path, handle)
    }
    return await listening(app)
  }
  frameworkTests(start, 503)

  const store = testStore<Values>()
  const sites: Site[] = []
  test.after(async () => {
    await Promise.all(sites.map((site) => site.close()))
  })

  const visitor = async (addRoutes: (app: typeof Elysia) => void) => {
    const app = new Elysia().use(sessions(store))
    addRoutes(app)
    const site = await listening(app)
    sites.push(site)
    return new Browser(site.url)
  }
  const visit = async ({ session }: Context) => {
    const { values } = await session()
    values.visits = (values.visits ?? 0) + 1
    return values.visits
  }

  test('Elysia’s own cookies and those of a Response stay beside ours', async () => {
    const browser = await visitor((app) => {
      app.get('/text', async (context: Context) => {
        context.cookie['other'] = Object.assign(context.cookie['other'] as object, { value: '1' })
        return await visit(context)
      })
      app.get('/early', async (context: Context) => {
        await visit(context)
        await context.session.save()
        await visit(context)
        return new Response('page', { status: 201 })
      })
      app.get('/response', async (context: Context) => {
        await visit(context)
        return new Response('page', { headers: { 'set-cookie': 'own=1', 'cache-control': 'public' } })
      })
    })
    const names = async (path: string) => {
      const { status, cookies, headers } = await new Browser(browser.url).get(path)
      return [status, headers.get('cache-control'), ...cookieNames(cookies)]
    }
    assert.equal(await names('/text'), [200, 'no-store', 'other', 'sid'])
    assert.equal(await names('/early'), [201, 'no-store', 'sid'])
    assert.equal(await names('/response'), [200, 'no-store', 'own', 'sid'])
  })

  test('a Response that a handler gives to every visitor never holds a cookie of one', async () => {
    const shared = new Response(null, { status: 204 })
    const browser = await visitor((app) => {
      app.get('/', async (context: Context) => {
        await visit(context)
        return shared
      })
    })
    assert.is((await browser.get('/')).cookies.length, 1)
    assert.equal(shared.headers.getSetCookie(), [])
  })

  test('a sealed cookie’s padding goes to the browser as it is', async () => {
    const at = testStore<Values>({ keyPairs: ['an example hash key of 32 bytes!', 'a block key of 32 bytes.........'] })
    const site = await start(at)
    sites.push(site)
    const browser = new Browser(site.url)
    assert.equal([(await browser.get('/visit')).text, (await browser.get('/visit')).text], ['1', '2'])
    assert.match(browser.jar.get('sid') ?? '', /=$/)
  })

  test('the application’s error handler gets our error and has the last word', async () => {
    const browser = await visitor((app) => {
      app.onError(({ error, set }: { error: unknown; set: { status: number } }) => {
        set.status = 418
        return error instanceof PGStoreError ? error.code : 'unknown'
      })
      for (const path of ['/too-large', '/ended-before-save', '/visit']) {
        app.get(path, async ({ session }: Context) => await pages[path]?.(session, new URLSearchParams()))
      }
      app.get('/refused', () => {
        throw new Refusal(403)
      })
    })
    await browser.get('/visit')
    for (const [path, code] of [
      ['/too-large', 'too_large'],
      ['/ended-before-save', 'gone'],
      ['/refused', 'unknown'],
    ] as const) {
      const { status, text } = await browser.get(path)
      assert.equal([status, text], [418, code])
    }
  })
} else {
  test.skip('Elysia is not installed')
}

test.run()
