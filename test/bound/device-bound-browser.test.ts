// Sessions bound to a device in a real Chromium, whose keys are in software here: two tabs, restarts on both sides, answers that are
// lost, a database that is away, a thief.
import { spawnSync } from 'node:child_process'
import { createHash, createPublicKey } from 'node:crypto'
import fs from 'node:fs'
import type http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { executablePath, patience } from '../support/chromium.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, hashKey, row, until } from '../support/harness.ts'
import { type Proxy as DatabaseProxy, startProxy } from '../support/proxy.ts'

const boundName = '__Host-sid-b'
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-bound-'))
const [keyFile, certificateFile] = [path.join(folder, 'key.pem'), path.join(folder, 'certificate.pem')]

/** The browser takes part over https alone, and with a certificate that it believes. */
function makeCertificate(): boolean {
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const to = ['-keyout', keyFile, '-out', certificateFile, '-days', '2', '-subj', '/CN=localhost']
  return spawnSync('openssl', ['req', '-x509', ...ec, ...to, '-addext', 'subjectAltName=DNS:localhost']).status === 0
}

const isPossible = executablePath !== undefined && makeCertificate()
if (executablePath !== undefined && !isPossible) console.log('Skipped: bound sessions in a browser. No openssl here.')

class Site {
  /** Whether answers to refreshes are cut off, when the database has changed already. */
  losesAnswers = false
  lost = 0
  readonly proxy: DatabaseProxy
  #store: PGStore
  #server: https.Server | undefined
  #port = 0

  constructor(proxy: DatabaseProxy) {
    this.proxy = proxy
    this.#store = this.#newStore()
  }

  get url(): string {
    return `https://localhost:${this.#port}`
  }

  get store(): PGStore {
    return this.#store
  }

  #newStore(): PGStore {
    return new PGStore({
      connectionString: this.proxy.url,
      keys: [hashKey],
      options: { secure: true },
      deviceBound: true,
      failFast: false,
    })
  }

  async start(): Promise<void> {
    const tls = { key: fs.readFileSync(keyFile), cert: fs.readFileSync(certificateFile) }
    const server = https.createServer(tls, (req, res) => {
      this.#answer(req, res).catch(() => {
        if (!res.headersSent) res.writeHead(503)
        res.end('<p>unavailable')
      })
    })
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async #answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    if (this.losesAnswers && req.url === '/device-bound' && req.headers['sec-secure-session-id'] !== undefined) {
      res.end = () => {
        this.lost++
        res.destroy()
        return res
      }
    }
    const answered = this.#store.deviceBound(req, res)
    if (answered) return await answered
    if (req.url === '/favicon.ico') return void res.end()
    const session = await this.#store.get(req, 'sid')
    if (req.url?.startsWith('/in/')) {
      session.userId = req.url.slice(4)
      await this.#store.regenerate(req, res, session)
    }
    res.setHeader('content-type', 'text/html').end(`<p>${session.userId ?? 'nobody'}, ${session.isBound}`)
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => this.#server?.close(resolve))
    await this.#store.close()
  }

  async restart(): Promise<void> {
    await this.stop()
    this.#store = this.#newStore()
    await this.start()
  }
}

let profiles = 0
const open = new Set<BrowserContext>()

/** A browser with a profile on the disk. The last of two features lifts a quota of six signatures in nine minutes. */
async function openBrowser(profile = `profile ${++profiles}`): Promise<BrowserContext> {
  const spki = createPublicKey(fs.readFileSync(certificateFile)).export({ type: 'spki', format: 'der' })
  const features = 'EnableBoundSessionCredentialsSoftwareKeysForManualTesting,DeviceBoundSessions:RefreshQuota/false'
  const context = await chromium.launchPersistentContext(path.join(folder, profile), {
    executablePath: executablePath ?? '',
    timeout: patience,
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      '--disable-dev-shm-usage',
      `--ignore-certificate-errors-spki-list=${createHash('sha256').update(spki).digest('base64')}`,
      `--enable-features=${features}`,
    ],
  })
  context.setDefaultTimeout(patience)
  context.setDefaultNavigationTimeout(patience)
  open.add(context)
  context.once('close', () => open.delete(context))
  return context
}

const hasBound = async (browser: BrowserContext) => (await browser.cookies()).some(({ name }) => name === boundName)

/** What the page says: who is signed in, and whether by a session that is bound. */
async function visit(page: Page, url: string): Promise<string> {
  await page.goto(url)
  return (await page.textContent('p')) ?? ''
}

/** Signed in, registered and confirmed. */
async function signIn(browser: BrowserContext, site: Site, user: string): Promise<Page> {
  const page = await browser.newPage()
  await visit(page, `${site.url}/in/${user}`)
  await until(() => hasBound(browser), patience / 1000)
  await until(async () => (await visit(page, `${site.url}/first`)) === `${user}, true`, patience / 1000)
  // It is missed from its first refresh on.
  await until(async () => {
    await expire(browser)
    await visit(page, `${site.url}/again`)
    return (
      await row<{ is: boolean }>(
        `select coalesce(bool_or(b.refreshed_at is not null), false) as is
         from pgstore.bindings as b join pgstore.sessions as s on s.id = b.session_id where s.user_id = $1`,
        user,
      )
    ).is
  }, patience / 1000)
  return page
}

/** As if five minutes had passed. */
const expire = async (browser: BrowserContext) => await browser.clearCookies({ name: boundName })

let site: Site

if (isPossible) {
  test.before(async () => {
    site = new Site(await startProxy({ url: clientUrl }))
    await site.start()
  })
  test.after(async () => {
    for (const browser of open) await browser.close()
    await site?.stop()
    await site?.proxy.close()
  })
}
test.after(() => fs.rmSync(folder, { recursive: true, force: true }))
test.after(closeAll)

const browserTest = (name: string, body: () => Promise<void>) => (isPossible ? test(name, body) : test.skip(name))

browserTest(
  'twenty refreshes in two tabs, with restarts of server and browser, sign nobody out and refuse nothing',
  async () => {
    let browser = await openBrowser('of the owner')
    let [page, other] = [await signIn(browser, site, 'ann'), await browser.newPage()]
    const answers: string[] = []
    for (let n = 1; n <= 20; n++) {
      if (n === 8) await site.restart()
      if (n === 14) {
        await browser.close()
        browser = await openBrowser('of the owner')
        ;[page, other] = [await browser.newPage(), await browser.newPage()]
      }
      await expire(browser)
      answers.push(...(await Promise.all([visit(page, `${site.url}/one/${n}`), visit(other, `${site.url}/two/${n}`)])))
    }
    assert.equal(new Set(answers), new Set(['ann, true']))
    assert.ok(await hasBound(browser))
    await browser.close()
  },
)

browserTest('an owner whose refreshes run and are never answered goes on with the cookie before', async () => {
  const browser = await openBrowser()
  const page = await browser.newPage()
  site.losesAnswers = true
  try {
    await visit(page, `${site.url}/in/bob`)
    await until(() => hasBound(browser), patience / 1000)
    // The first cookie is short, so that each request has the browser ask for the next.
    await until(async () => {
      assert.match(await visit(page, `${site.url}/lost`), /^bob, /)
      return site.lost > 2
    }, patience / 1000)
    // One that lost this cookie too is refused until it is answered, and keeps its session.
    await expire(browser)
    await visit(page, `${site.url}/lost`)
  } finally {
    site.losesAnswers = false
  }
  await until(async () => (await visit(page, `${site.url}/found`)) === 'bob, true', patience / 1000)
  await browser.close()
})

browserTest('a database that is away signs nobody out, and the browser is bound again when it is back', async () => {
  const browser = await openBrowser()
  const page = await signIn(browser, site, 'cleo')
  site.proxy.lead('postgres://127.0.0.1:1')
  site.proxy.sever()
  await expire(browser)
  const away = Date.now()
  while (Date.now() - away < counts(3000, 60_000)) {
    assert.is(await visit(page, `${site.url}/away`), 'unavailable')
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  site.proxy.lead(clientUrl)
  const back = Date.now()
  await until(async () => {
    const said = await visit(page, `${site.url}/back`)
    assert.match(said, /^(cleo, |unavailable)/)
    return said === 'cleo, true'
  }, patience / 1000)
  console.log(`bound again after ${Date.now() - back} ms`)
  await browser.close()
})

browserTest('cookies that were copied are refused once the device has moved on, and the owner is not', async () => {
  const [browser, thief] = [await openBrowser(), await openBrowser()]
  const page = await signIn(browser, site, 'dora')
  await thief.addCookies((await browser.cookies()).filter(({ name }) => name === 'sid'))
  const stolen = await thief.newPage()
  assert.is(await visit(stolen, `${site.url}/thief`), 'nobody, false')
  await expire(browser)
  assert.is(await visit(page, `${site.url}/owner`), 'dora, true')
  assert.is(await visit(stolen, `${site.url}/thief`), 'nobody, false')
  await Promise.all([browser.close(), thief.close()])
})

browserTest('what ends elsewhere is over at the next request, with both cookies', async () => {
  const browser = await openBrowser()
  const page = await signIn(browser, site, 'eve')
  assert.is(await site.store.revoke('eve'), 1)
  assert.is(await visit(page, `${site.url}/revoked`), 'nobody, false')
  await expire(browser)
  assert.is(await visit(page, `${site.url}/revoked`), 'nobody, false')
  const { left } = await row<{ left: string }>(
    'select count(*) as left from pgstore.bindings as b where not exists (select from pgstore.sessions as s where s.id = b.session_id)',
  )
  assert.is(left, '0')
  await browser.close()
})

test.run()
