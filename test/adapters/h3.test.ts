import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type RequestSession, sessions } from '../../src/adapters/h3.ts'
import type { PGStore } from '../../src/index.ts'
import { Browser, cookieNames } from '../support/browser.ts'
import { frameworkTests, pages, type Site, type Values } from '../support/frameworks.ts'
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

type Event = { context: { session: RequestSession<Values> }; url: URL; res: { status?: number } }
// biome-ignore lint/suspicious/noExplicitAny: h3's own, which is not installed everywhere
type Library = any

async function start(h3: Library, store: PGStore<Values>, extra: (app: Library) => void = () => {}): Promise<Site> {
  const app = new h3.H3()
  app.use(sessions(store))
  extra(app)
  for (const [path, page] of Object.entries(pages)) {
    app.get(path, async (event: Event) => {
      const answer = await page(event.context.session, event.url.searchParams)
      if (typeof answer === 'string') return answer
      event.res.status = answer.status ?? 200
      return answer.body
    })
  }
  return await listening(h3.toNodeHandler(app))
}

const visit = async ({ context }: Event) => {
  const { values } = await context.session()
  values.visits = (values.visits ?? 0) + 1
  return values.visits
}

if (areThere('h3')) {
  const h3 = await library('h3/dist/_entries/node.mjs')
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

  test('h3 2: a Response of the page, and an HTTPError of any kind, carry the cookie beside their own', async () => {
    const browser = await visitor(
      start(h3, store, (app) => {
        app.get('/response', async (event: Event) => {
          await visit(event)
          h3.setCookie(event, 'before', '1')
          return new Response('page', { status: 201, headers: { 'set-cookie': 'other=1' } })
        })
        app.get('/bad', async (event: Event) => {
          await visit(event)
          return new Response('bad', { status: 502, headers: { 'set-cookie': 'other=1' } })
        })
        app.get('/returned', async (event: Event) => {
          await visit(event)
          return new h3.HTTPError({ status: 404 })
        })
      }),
    )
    const names = async (path: string) => {
      const { status, cookies } = await new Browser(browser.url).get(path)
      return [status, ...cookieNames(cookies)]
    }
    assert.equal(await names('/response'), [201, 'before', 'other', 'sid'])
    assert.equal(await names('/bad'), [502, 'other'])
    assert.equal(await names('/returned'), [404, 'sid'])
  })
} else {
  test.skip('h3 is not installed')
}

test.run()
