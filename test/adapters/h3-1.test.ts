// h3 1, which Nitro 2 and Nuxt use.
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { addSessions, type RequestSession } from '../../src/adapters/h3.ts'
import type { PGStore } from '../../src/index.ts'
import { Browser, cookieNames } from '../support/browser.ts'
import { frameworkTests, type Page, pages, type Site, type Values } from '../support/frameworks.ts'
import { closeAll, testStore } from '../support/harness.ts'
import { areThere, library } from '../support/libraries.ts'

test.after(closeAll)

console.error = () => {} // h3 logs errors that nobody handles

async function listening(listener: http.RequestListener): Promise<Site> {
  const server = http.createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}

type Event = { context: { session: RequestSession<Values> }; path: string }
// biome-ignore lint/suspicious/noExplicitAny: h3's own, which is not installed everywhere
type Library = any

async function start(h3: Library, store: PGStore<Values>, extra: (app: Library) => void = () => {}): Promise<Site> {
  const app = h3.createApp()
  addSessions(app, store)
  extra(app)
  const handle = async (event: Event, page: Page) => {
    const answer = await page(event.context.session, new URL(event.path, 'http://x').searchParams)
    if (typeof answer === 'string') return answer
    h3.setResponseStatus(event, answer.status ?? 200)
    return answer.body
  }
  const router = h3.createRouter()
  for (const [path, page] of Object.entries(pages)) {
    router.get(
      path,
      h3.eventHandler(async (event: Event) => await handle(event, page)),
    )
    router.head(
      path,
      h3.eventHandler(async (event: Event) => await handle(event, page)),
    )
  }
  app.use(router)
  return await listening(h3.toNodeListener(app))
}

const visit = async ({ context }: Event) => {
  const { values } = await context.session()
  values.visits = (values.visits ?? 0) + 1
  return values.visits
}

if (areThere('h3-1')) {
  const h3 = await library('h3-1/dist/index.mjs')
  frameworkTests(async (store) => await start(h3, store), 503)

  const store = testStore<Values>()
  const sites: Site[] = []
  test.after(async () => {
    await Promise.all(sites.map((site) => site.close()))
  })

  const visitor = async (site: Promise<Site>) => {
    sites.push(await site)
    return new Browser((await site).url)
  }

  test('h3 1: a redirect, which h3 sends before the handler returns, waits for the save', async () => {
    const browser = await visitor(
      start(h3, store, (app) => {
        app.use(
          '/go',
          h3.eventHandler(async (event: Event) => {
            await visit(event)
            h3.setCookie(event, 'other', '1')
            await h3.sendRedirect(event, '/read')
          }),
        )
      }),
    )
    const { status, cookies } = await browser.get('/go')
    assert.equal([status, cookieNames(cookies)], [302, ['other', 'sid']])
    assert.is(JSON.parse((await browser.get('/read')).text).values.visits, 1)
  })

  test('h3 1: a page that is sent in parts whose session cannot be saved is an error, and nothing of it is sent', async () => {
    const large = async (event: Event, send: () => unknown) => {
      Object.assign((await event.context.session()).values, { text: 'x'.repeat(5000) })
      return await send()
    }
    const browser = await visitor(
      start(h3, store, (app) => {
        const stream = () => new Blob(['y'.repeat(200_000)]).stream()
        const ways: [string, (event: Event) => unknown][] = [
          ['/stream', (event) => h3.sendStream(event, stream())],
          ['/web', () => new Response(stream())],
          ['/redirected', (event) => h3.sendRedirect(event, '/read')],
        ]
        for (const [path, send] of ways) {
          app.use(
            path,
            h3.eventHandler(async (event: Event) => await large(event, () => send(event))),
          )
        }
      }),
    )
    for (const path of ['/stream', '/web', '/redirected']) {
      const { status, cookies, headers, text } = await browser.get(path)
      assert.equal([status, cookies, headers.get('location')], [500, [], null], path)
      assert.not.match(text, 'yyy')
    }
  })

  test('h3 1: a call without a server, as those of Nuxt to its own pages, has the answer and the cookie', async () => {
    const app = h3.createApp()
    addSessions(app, store)
    app.use('/', h3.eventHandler(visit))
    const call = h3.toWebHandler(app)
    const first: Response = await call(new Request('http://localhost/'))
    assert.is(await first.text(), '1')
    const cookie = String(first.headers.getSetCookie()[0]).split(';')[0] as string
    const second: Response = await call(new Request('http://localhost/', { headers: { cookie } }))
    assert.equal([await second.text(), second.headers.getSetCookie()], ['2', []])
  })
} else {
  test.skip('h3 is not installed')
}

test.run()
