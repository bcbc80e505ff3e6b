// What a browser makes of the session's cookie. 127.0.0.1 and localhost are two sites; Chromium takes Secure cookies from both.
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Frame, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CookieOptions, PGStore } from '../../src/index.ts'
import { browserTest, closeBrowser } from '../support/chromium.ts'
import { closeAll, testStore } from '../support/harness.ts'

const kinds = {
  '__Host-lax': {},
  '__Host-strict': { sameSite: 'strict' },
  '__Host-none': { sameSite: 'none' },
  '__Host-partitioned': { sameSite: 'none', partitioned: true },
} as const satisfies Readonly<Record<string, CookieOptions>>

const stores = new Map<string, PGStore>(Object.entries(kinds).map(([name, options]) => [name, testStore({ options })]))

const names = [...stores.keys()]

/** Which of the cookies lead to a live session. */
async function signedIn(req: http.IncomingMessage): Promise<string[]> {
  const sessions = await Promise.all([...stores].map(([name, store]) => store.get(req, name)))
  return sessions.filter(({ userId }) => userId !== undefined).map(({ name }) => name)
}

async function answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost')
  const name = searchParams.get('name') ?? ''
  const store = stores.get(name)
  const session = await store?.get(req, name)
  let body = ''
  if (pathname === '/in' && store && session) {
    session.userId = 'ada'
    await store.regenerate(req, res, session)
  } else if (pathname === '/out' && store && session) await store.destroy(req, res, session)
  else if (pathname === '/from') {
    const to = searchParams.get('to') ?? '' // the other site, in every way
    body = `<a href="${to}">link</a><form method="post" action="${to}"><button>form</button></form><iframe src="${to}"></iframe>`
  } else {
    // Saved to, unchanged: that sets the headers which keep a page with a session out of caches.
    for (const [one, its] of stores) await its.save(req, res, await its.get(req, one))
    body = `<p id="who">${(await signedIn(req)).join(' ') || 'nobody'}</p><a href="/out?name=__Host-lax">sign out</a>`
  }
  res.setHeader('content-type', 'text/html').end(`<!doctype html><title>a page</title><body>${body}`)
}

const server = http.createServer((req, res) => {
  answer(req, res).catch((error: unknown) => res.writeHead(500).end(String(error)))
})

const site = (host: string) => `http://${host}:${(server.address() as AddressInfo).port}`

test.before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

test.after(async () => {
  await closeBrowser()
  server.closeAllConnections()
  server.close()
  await closeAll()
})

async function who(page: Page | Frame): Promise<string[]> {
  return ((await page.locator('#who').textContent()) ?? '').split(' ')
}

async function signInEverywhere(page: Page, host: string): Promise<void> {
  for (const name of names) await page.goto(`${site(host)}/in?name=${name}`)
}

browserTest('a __Host- cookie is kept and sent, for one host, and its deletion deletes it', async (window) => {
  const page = await window.newPage()
  await signInEverywhere(page, '127.0.0.1')
  const cookies = await window.cookies()
  assert.equal(cookies.map(({ name }) => name).sort(), [...names].sort())
  for (const { name, secure, httpOnly, path, domain, sameSite } of cookies) {
    assert.equal([secure, httpOnly, path, domain], [true, true, '/', '127.0.0.1'], name)
    assert.is(sameSite.toLowerCase(), (kinds[name as keyof typeof kinds] as CookieOptions).sameSite ?? 'lax', name)
  }
  await page.goto(site('127.0.0.1'))
  assert.equal(await who(page), names)
  assert.is(await page.evaluate('document.cookie'), '')
  await page.goto(site('localhost'))
  assert.equal(await who(page), ['nobody'])
  for (const name of names) await page.goto(`${site('127.0.0.1')}/out?name=${name}`)
  assert.equal(await window.cookies(), [])
})

browserTest(
  'another site’s link sends Lax cookies, its forms and frames do not, and nothing sends Strict ones',
  async (window) => {
    const page = await window.newPage()
    await signInEverywhere(page, '127.0.0.1')
    const from = `${site('localhost')}/from?to=${encodeURIComponent(site('127.0.0.1'))}/`
    await page.goto(from)
    const frame = page.frames().find((one) => one.parentFrame() !== null)
    const framed = await who(frame as Frame)
    // Whether it gets the None one is for the visitor to decide: private windows block the cookies of third parties.
    assert.equal(
      framed.filter((name) => name !== '__Host-none' && name !== 'nobody'),
      [],
      'a frame',
    )
    await page.getByRole('link', { name: 'link' }).click()
    await page.waitForURL(`${site('127.0.0.1')}/`)
    assert.equal(await who(page), ['__Host-lax', '__Host-none', '__Host-partitioned'], 'a link')
    await page.goto(from)
    await page.getByRole('button', { name: 'form' }).click()
    await page.waitForURL(`${site('127.0.0.1')}/`)
    assert.equal(await who(page), ['__Host-none', '__Host-partitioned'], 'a form')
  },
)

browserTest(
  'a Partitioned cookie set in a frame is that frame’s, and its deletion there deletes it',
  async (window) => {
    const page = await window.newPage()
    const framed = async (path: string) => {
      await page.goto(`${site('localhost')}/from?to=${encodeURIComponent(`${site('127.0.0.1')}${path}`)}`)
      return page.frames().find((one) => one.parentFrame() !== null) as Frame
    }
    await framed('/in?name=__Host-partitioned')
    assert.equal(await who(await framed('/')), ['__Host-partitioned'])
    await page.goto(site('127.0.0.1'))
    assert.equal(await who(page), ['nobody'])
    await framed('/out?name=__Host-partitioned')
    assert.equal(await window.cookies(), [])
    assert.equal(await who(await framed('/')), ['nobody'])
  },
)

browserTest('after the sign-out the back button shows nothing of the session', async (window) => {
  const page = await window.newPage()
  await page.goto(`${site('127.0.0.1')}/in?name=__Host-lax`)
  await page.goto(site('127.0.0.1'))
  assert.equal(await who(page), ['__Host-lax'])
  await page.getByRole('link', { name: 'sign out' }).click()
  await page.waitForURL('**/out*')
  await page.goBack()
  assert.equal(await who(page), ['nobody'])
})

test.run()
