// Sessions bound to a device, by Chromium itself with a key in software. Time moves in the database, where a proof runs out, and in the
// browser by deleting the second cookie, as it does when that has run out. Chromium binds sessions over HTTPS only, and not where a
// certificate's error is ignored in another way than by the hash of its key.
import fs from 'node:fs'
import type http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import type { BrowserContext, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import { selfSigned } from '../support/certificate.ts'
import { browserTest, browserVersion, closeBrowser, openProfile, openWindow, startWith } from '../support/chromium.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, row, testStore, until } from '../support/harness.ts'
import { startProxy } from '../support/proxy.ts'
import { cookieName, later } from './device.ts'

const certificate = selfSigned()
startWith(
  `--ignore-certificate-errors-spki-list=${certificate.spkiHash}`,
  // Without the quota it signs as often as it is asked, and not six times in nine minutes.
  '--enable-features=DeviceBoundSessions:RefreshQuota/false,EnableBoundSessionCredentialsSoftwareKeysForManualTesting',
)

/** Seconds that anything may take which comes in the end. */
const patience = 60

/** A site whose pages say who is signed in, and what its server saw of the device. */
class Site {
  readonly store: PGStore
  readonly #server: https.Server
  /** Requests to the option's path, and those of them that brought a cookie. */
  asked = 0
  renewed = 0
  /** So many of the next cookies are lost on their way: the database has them, the browser does not. */
  losing = 0

  constructor(store: PGStore) {
    this.store = store
    this.#server = https.createServer(certificate, (req, res) => {
      this.#answer(req, res).catch((error: { statusCode?: number }) => {
        res.statusCode = error.statusCode ?? 500
        res.end(`<p>${res.statusCode}</p>`)
      })
    })
  }

  async #answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', this.url)
    if (pathname === '/device-bound') this.#lose(res)
    const answered = this.store.deviceBound(req, res)
    if (answered) {
      this.asked++
      await answered
      if (!res.destroyed && res.hasHeader('set-cookie')) this.renewed++
      return
    }
    const session = await this.store.get(req, 'sid')
    if (pathname === '/in') {
      session.userId = searchParams.get('user') ?? ''
      await this.store.regenerate(req, res, session)
    }
    session.values['visits'] = Number(session.values['visits'] ?? 0) + 1 // as many programs do, whoever comes
    await session.save(req, res)
    const { userId = 'nobody', isBound } = session
    res.setHeader('content-type', 'text/html')
    res.end(`<!doctype html><link rel="icon" href="data:,"><p>${userId}${isBound ? ', bound' : ''}</p>`)
  }

  #lose(res: http.ServerResponse): void {
    const end = res.end.bind(res)
    const endOrDestroy = (body: string) => {
      if (this.losing === 0 || !res.hasHeader('set-cookie')) return end(body)
      this.losing--
      return res.destroy()
    }
    Object.assign(res, { end: endOrDestroy })
  }

  get url(): string {
    return `https://localhost:${this.port}`
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Requests that came without the second cookie and were refused for it. */
  get refused(): number {
    return this.store.stats().refused.unbound
  }

  async start(port: number): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    return this
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}

const sites: Site[] = []

async function startSite(options: Parameters<typeof testStore>[0] = {}, port = 0): Promise<Site> {
  const site = new Site(testStore({ deviceBound: true, ...options }))
  sites.push(site)
  return await site.start(port)
}

test.after(async () => {
  await closeBrowser()
  for (const site of sites) await site.stop()
  await closeAll()
})

/** What the page says. */
async function says(page: Page, site: Site): Promise<string> {
  await page.goto(`${site.url}/page`)
  return (await page.textContent('p')) ?? ''
}

async function second(window: BrowserContext): Promise<{ readonly expires: number } | undefined> {
  return (await window.cookies()).find(({ name }) => name === cookieName)
}

async function idOf(userId: string): Promise<string> {
  return (await row<{ id: string }>('select id from pgstore.sessions where user_id = $1', userId)).id
}

/** Signed in, bound, and come back once: from here on the device is missed. */
async function signIn(window: BrowserContext, site: Site, userId: string): Promise<Page> {
  const page = window.pages()[0] ?? (await window.newPage())
  await page.goto(`${site.url}/in?user=${userId}`)
  // The first cookie lives for two minutes, and any request replaces it, be it the one for the icon.
  await until(async () => {
    await says(page, site)
    return ((await second(window))?.expires ?? 0) > Date.now() / 1000 + 150
  }, patience)
  assert.is(await says(page, site), `${userId}, bound`)
  return page
}

/** The proof runs out. */
async function expire(window: BrowserContext, userId: string): Promise<void> {
  await later(await idOf(userId), 301)
  await window.clearCookies({ name: cookieName })
}

browserTest('twenty refreshes of two tabs: the owner is neither signed out nor refused', async (window) => {
  console.log(`Chromium ${await browserVersion()}`)
  const site = await startSite()
  const one = await signIn(window, site, 'ada')
  const two = await window.newPage()
  const { renewed } = site
  for (let round = 0; round < 20; round++) {
    await expire(window, 'ada')
    assert.equal(await Promise.all([says(one, site), says(two, site)]), ['ada, bound', 'ada, bound'], `${round}`)
  }
  assert.is(site.renewed - renewed, 20, 'one proof for both tabs')
  assert.is(site.refused, 0)
})

browserTest(
  'a copy of all cookies is refused once the second one has been replaced or has run out; the owner goes on',
  async (window) => {
    const site = await startSite()
    const page = await signIn(window, site, 'barbara')
    const id = await idOf('barbara')
    const other = await openWindow()
    await other.addCookies(await window.cookies())
    const stolen = await other.newPage()
    assert.is(await says(stolen, site), 'barbara, bound', 'the two cookies are the same')
    await expire(window, 'barbara')
    assert.is(await says(page, site), 'barbara, bound')
    await later(id, 130) // what is under way with the cookie before is served for two minutes
    const { asked } = site
    assert.is(await says(stolen, site), 'nobody')
    await other.clearCookies({ name: cookieName }) // the thief's has run out
    assert.is(await says(stolen, site), 'nobody')
    assert.is(site.asked, asked, 'a browser without the key does not even try')
    assert.is(site.refused, 2)
    assert.is(await says(page, site), 'barbara, bound')
    await expire(window, 'barbara')
    assert.is(await says(page, site), 'barbara, bound')
    assert.is(await says(stolen, site), 'nobody')
    assert.is(await idOf('barbara'), id)
    await other.close()
  },
)

browserTest('after a revocation elsewhere both cookies are dead at once, and the browser stops', async (window) => {
  const site = await startSite()
  const page = await signIn(window, site, 'carol')
  await testStore().revoke('carol')
  assert.ok(await second(window))
  assert.is(await says(page, site), 'nobody')
  const { asked } = site
  await window.clearCookies({ name: cookieName })
  assert.is(await says(page, site), 'nobody')
  assert.is(site.asked, asked + 1)
  assert.is(await says(page, site), 'nobody')
  assert.is(site.asked, asked + 1, 'it was told to forget its key')
  assert.is(await second(window), undefined)
  const { left } = await row<{ left: string }>(
    'select count(*) as left from pgstore.bindings as b where not exists (select from pgstore.sessions as s where s.id = b.session_id)',
  )
  assert.is(left, '0')
})

browserTest('a session outlives a restart of the browser, and one of the server', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-profile-'))
  try {
    const site = await startSite()
    const before = await openProfile(folder)
    await signIn(before, site, 'dora')
    await before.close()
    const window = await openProfile(folder)
    try {
      const page = await window.newPage()
      assert.is(await says(page, site), 'dora, bound')
      await expire(window, 'dora')
      assert.is(await says(page, site), 'dora, bound')
      const { port } = site
      await site.stop()
      await site.store.close()
      const next = await startSite({}, port)
      assert.is(await says(page, next), 'dora, bound')
      await expire(window, 'dora')
      assert.is(await says(page, next), 'dora, bound')
      assert.is(next.renewed, 1)
      assert.equal([site.refused, next.refused], [0, 0])
    } finally {
      await window.close()
    }
  } finally {
    fs.rmSync(folder, { recursive: true, maxRetries: 50 })
  }
})

browserTest('an answer that is lost while the cookie before holds costs the owner nothing', async (window) => {
  const site = await startSite()
  const page = await window.newPage()
  await page.goto(`${site.url}/in?user=gail`)
  await until(async () => (await second(window)) !== undefined, patience)
  // The first cookie is short, so that each request has the browser ask for the next.
  site.losing = 1 // and not more: it does not come again while the cookie before holds
  await until(async () => {
    assert.match(await says(page, site), /^gail/)
    return site.losing === 0
  }, patience)
  await until(async () => (await says(page, site)) === 'gail, bound', patience)
  assert.is(site.refused, 0)
})

// Where the connection was in use before, Chromium asks again at once. Where it was new it sends the page's request without the cookie,
// and the database, which has moved on, refuses that one.
browserTest('answers to proofs are lost: the next that arrives binds the owner again', async (window) => {
  const site = await startSite()
  const page = await signIn(window, site, 'edith')
  const id = await idOf('edith')
  for (const losing of [1, 2, 4]) {
    await expire(window, 'edith')
    const { refused } = site
    site.losing = losing
    const said: string[] = []
    while (said.at(-1) !== 'edith, bound' && said.length < 10) said.push(await says(page, site))
    console.log(`${losing} lost: ${said.join('; ')}`)
    assert.is(site.losing, 0)
    assert.is(said.at(-1), 'edith, bound')
    assert.ok(said.length <= losing + 1)
    assert.is(site.refused - refused, said.length - 1)
    assert.is(await says(page, site), 'edith, bound')
  }
  assert.is(await idOf('edith'), id)
})

browserTest('the database is away: the owner is not signed out, and is bound again when it is back', async (window) => {
  const proxy = await startProxy({ url: clientUrl })
  const site = await startSite({ connectionString: proxy.url })
  const page = await signIn(window, site, 'frances')
  await expire(window, 'frances')
  proxy.lead('postgres://127.0.0.1:1')
  proxy.sever()
  const away = new Set<string>()
  for (const end = Date.now() + counts(3, 60) * 1000; Date.now() < end; ) away.add(await says(page, site))
  assert.equal([...away], ['503'])
  proxy.lead(clientUrl)
  const back = Date.now()
  const said: string[] = []
  await until(async () => {
    said.push(await says(page, site))
    return said.at(-1) === 'frances, bound'
  }, patience)
  console.log(`Bound again ${Date.now() - back} ms after the database was back.`)
  // Within the grace it may be served unbound.
  assert.equal(
    said.filter((one) => !/^(503|frances|frances, bound)$/.test(one)),
    [],
  )
  assert.is(site.refused, 0)
  await site.stop()
  await site.store.close()
  await proxy.close()
})

test.run()
