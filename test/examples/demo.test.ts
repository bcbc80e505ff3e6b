// The demo over HTTP, as a terminal or a browser without scripts sees it; demo-browser.test.ts uses the page.
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Demo, endDemos, startDemo, temporaryFolder } from '../support/demo.ts'
import { admin, databaseUrl, row, sql, until } from '../support/harness.ts'

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** Keeps the session's cookie that it is sent; follows no redirect by itself. */
class Browser {
  readonly url: string
  cookie: string | undefined

  constructor(url: string, cookie?: string) {
    this.url = url
    this.cookie = cookie
  }

  /** What the page's script shows after a form. */
  async ask(page: string, form: Record<string, string> = {}): Promise<string> {
    const { text } = await this.post(page, form, { accept: 'application/json' })
    return JSON.parse(text).message
  }

  async get(page = '/'): Promise<Answer> {
    return await this.#send(page, {})
  }

  async post(page: string, form: Record<string, string> = {}, headers: Record<string, string> = {}): Promise<Answer> {
    return await this.#send(page, { method: 'POST', body: new URLSearchParams(form), headers })
  }

  async #send(page: string, init: RequestInit): Promise<Answer> {
    const headers = { ...(init.headers as Record<string, string>), ...(this.cookie ? { cookie: this.cookie } : {}) }
    const response = await fetch(this.url + page, { ...init, headers, redirect: 'manual' })
    assert.is.not(response.status, 500, demo.said)
    const line = response.headers.getSetCookie().find((one) => one.startsWith('pgstore-demo='))
    if (line) this.cookie = line.includes('; Max-Age=0') ? undefined : line.split(';')[0]
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
}

async function signedIn(name: string): Promise<Browser> {
  const browser = new Browser(demo.url)
  const answer = await browser.post('/sign-in', { name })
  assert.is(answer.status, 303)
  assert.is(answer.headers.get('location'), '/')
  await browser.get()
  return browser
}

const sessionId = ({ text }: Answer): string => /id<\/th><td><code>(\d+)</.exec(text)?.[1] ?? ''
const flashes = ({ text }: Answer): string[] =>
  [...text.matchAll(/role="status"[^>]*>([^<]*)</g)].map(([, flash]) => flash ?? '')
const devices = ({ text }: Answer): number => text.split('<li>').length - 1

const root = fileURLToPath(new URL('../..', import.meta.url))
const entities: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
}

const demo = startDemo()

test.before(async () => {
  await demo.ready()
})

test.after(async () => {
  endDemos()
  await admin.end()
})

test('each visitor has a session, which lasts from page to page', async () => {
  const [one, other] = [new Browser(demo.url), new Browser(demo.url)]
  const id = sessionId(await one.get())
  assert.is.not(id, '')
  assert.is.not(sessionId(await other.get()), id)
  assert.is(sessionId(await one.get()), id)
})

test('30 loads at once are all answered with the page', async () => {
  const browser = new Browser(demo.url)
  await browser.post('/sign-in', { name: 'Radia' })
  const answers = await Promise.all(Array.from({ length: 30 }, () => browser.get()))
  assert.equal([...new Set(answers.map(({ status }) => status))], [200])
  assert.is(new Set(answers.map(sessionId)).size, 1)
  assert.is(answers.flatMap(flashes).length, 1, 'the message is shown by one of them')
})

test('signing in changes the cookie, keeps the session, and the old cookie no longer opens it', async () => {
  const browser = new Browser(demo.url)
  const before = sessionId(await browser.get())
  const old = browser.cookie
  await browser.post('/sign-in', { name: 'Grace' })
  assert.is.not(browser.cookie, old)
  const page = await browser.get()
  assert.match(page.text, '<h1>Hello, Grace</h1>')
  assert.is(sessionId(page), before)
  const stranger = await new Browser(demo.url, old).get()
  assert.match(stranger.text, '<h1>Hello, visitor</h1>')
  assert.is.not(sessionId(stranger), before)
})

test('a name is needed to sign in', async () => {
  const browser = new Browser(demo.url)
  for (const name of ['', ' \n ', 'x'.repeat(51)]) {
    await browser.post('/sign-in', { name })
    const page = await browser.get()
    assert.equal(flashes(page), ['Sign in with a name of 1 to 50 characters.'])
    assert.match(page.text, '<h1>Hello, visitor</h1>')
  }
})

test('ending another device signs out that one only', async () => {
  const [laptop, phone, tablet] = [await signedIn('Edsger'), await signedIn('Edsger'), await signedIn('Edsger')]
  await signedIn('somebody else')
  const page = await laptop.get()
  assert.is(devices(page), 3)
  assert.is(await laptop.ask('/devices/end', { id: sessionId(await phone.get()) }), 'That device is signed out.')
  assert.is(devices(await laptop.get()), 2)
  assert.match((await phone.get()).text, 'Hello, visitor')
  assert.match((await tablet.get()).text, 'Hello, Edsger')
})

test("another user's device cannot be ended", async () => {
  const [mine, theirs] = [await signedIn('Mallory'), await signedIn('Alice')]
  const message = await mine.ask('/devices/end', { id: sessionId(await theirs.get()) })
  assert.is(message, 'That device had been signed out already.')
  assert.match((await theirs.get()).text, 'Hello, Alice')
})

test('ending all others leaves this one', async () => {
  const [laptop, phone, tablet] = [await signedIn('Barbara'), await signedIn('Barbara'), await signedIn('Barbara')]
  assert.is(await laptop.ask('/devices/end-others'), 'Signed out everywhere else: 2 devices.')
  assert.is(devices(await laptop.get()), 1)
  for (const other of [phone, tablet]) assert.match((await other.get()).text, 'Hello, visitor')
})

test('a session that ends during a request starts over', async () => {
  const browser = await signedIn('Donald')
  const { cookie } = browser
  const adding = browser.ask('/cart/merge', { fruit: 'pears' })
  await new Browser(demo.url, cookie).post('/sign-out')
  assert.is(await adding, 'This session has ended.')
  assert.is(browser.cookie, cookie) // nothing was saved, and no race may take a cookie away; this one no longer works
  assert.match((await browser.get()).text, 'Hello, visitor')
})

test('signing out deletes the row, and its cookie opens nothing', async () => {
  const browser = await signedIn('Alan')
  const id = sessionId(await browser.get())
  const old = browser.cookie
  await browser.post('/sign-out')
  assert.equal(await sql('select 1 from pgstore.sessions where id = $1', id), [])
  const page = await browser.get()
  assert.match(page.text, 'Hello, visitor')
  assert.is(flashes(page).length, 1)
  assert.match((await new Browser(demo.url, old).get()).text, 'Hello, visitor')
})

test('a message is shown once', async () => {
  const browser = new Browser(demo.url)
  await browser.post('/sign-in', { name: 'Ada' })
  assert.equal(flashes(await browser.get()), ['Signed in as Ada, with a new cookie: the old one no longer works.'])
  assert.equal(flashes(await browser.get()), [])
})

test('a name cannot become markup', async () => {
  const markup = `<script>alert("x")</script>'&amp;`
  const browser = new Browser(demo.url)
  await browser.post('/sign-in', { name: markup })
  const { text } = await browser.get()
  assert.not.match(text, '<script>')
  assert.match(text, 'Hello, &lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&amp;amp;')
})

test('each panel shows code that is there', async () => {
  const { text } = await new Browser(demo.url).get()
  const shown = [...text.matchAll(/<figcaption>(\S+)<\/figcaption>\s*<pre><code>([^<]+)</g)]
  assert.is(shown.length, 10)
  const decoded = (html: string) => html.replace(/&(amp|lt|gt|quot|#39);/g, (entity) => entities[entity] ?? '')
  for (const [, file = '', code = ''] of shown) {
    const source = fs.readFileSync(path.join(root, file), 'utf8')
    for (const line of decoded(code).split('\n')) assert.match(source, line)
  }
})

test('forms from other sites are refused, and change nothing', async () => {
  const browser = await signedIn('Victim')
  const { host } = new URL(demo.url)
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site', origin: demo.url },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `http://evil.${host}` },
    { origin: 'http://127.0.0.1:1' },
  ]) {
    assert.is((await browser.post('/sign-out', {}, headers)).status, 403, JSON.stringify(headers))
  }
  assert.match((await browser.get()).text, 'Hello, Victim')
  for (const headers of [{ 'sec-fetch-site': 'same-origin', origin: demo.url }, { origin: demo.url }]) {
    assert.is((await browser.post('/sign-in', { name: 'Victim' }, headers)).status, 303, JSON.stringify(headers))
  }
})

test('the page shows the row', async () => {
  const browser = await signedIn('Niklaus')
  const page = await browser.get()
  const stored = await row<{ id: string; key: string; version: number; data: object; expires_at: Date }>(
    "select id, encode(key, 'hex') as key, version, data, expires_at from pgstore.sessions where user_id = 'Niklaus'",
  )
  assert.is(sessionId(page), stored.id)
  assert.match(page.text, `\\x${stored.key.slice(0, 16)}…`)
  assert.not.match(page.text, stored.key)
  assert.match(page.text, `version</th><td>${stored.version}<`)
  assert.match(page.text, stored.expires_at.toISOString())
  assert.match(page.text, JSON.stringify(stored.data, null, 1).replaceAll('"', '&quot;'))
})

test('pages are for one visitor, and run only the script that the site serves', async () => {
  const { headers, text } = await new Browser(demo.url).get()
  assert.is(headers.get('cache-control'), 'no-store')
  assert.match(headers.get('content-security-policy') ?? '', "default-src 'none'; script-src 'self';")
  assert.match(headers.getSetCookie()[0] ?? '', /; HttpOnly; SameSite=Lax$/)
  for (const [, file = ''] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g)) {
    assert.is((await new Browser(demo.url).get(file)).status, 200, file)
  }
})

test('unknown pages, wrong methods and long bodies are refused', async () => {
  const browser = new Browser(demo.url)
  for (const page of ['/nowhere', '//', '/__proto__']) assert.is((await browser.get(page)).status, 404, page)
  const wrong = await browser.get('/sign-out')
  assert.is(wrong.status, 405)
  assert.is(wrong.headers.get('allow'), 'POST')
  assert.is((await browser.post('/')).status, 405)
  assert.is((await browser.post('/sign-in', { name: 'x'.repeat(20_000) })).status, 413)
  assert.is((await browser.post('/devices/end', { id: '1' })).status, 400)
  assert.is((await browser.post('/cart/merge', { fruit: 'plums' })).status, 400)
  assert.match((await browser.get('/live')).text, 'event: ended')
  assert.is(browser.cookie, undefined)
})

test('SIGINT, SIGTERM and SIGHUP end it with exit code 0, open connections or not', async () => {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  await Promise.all(
    signals.map(async (signal) => {
      const other = await startDemo().ready()
      const browser = new Browser(other.url)
      await browser.get() // leaves a connection that is kept alive
      const headers = { cookie: browser.cookie ?? '' }
      const stream = await fetch(`${other.url}/live`, { headers })
      const port = Number(new URL(other.url).port)
      const idle = net.connect(port, '127.0.0.1').on('error', () => {})
      await once(idle, 'connect')
      assert.is(await other.end(signal), 0, other.said)
      idle.destroy()
      await stream.body?.cancel()
      const [error] = await once(net.connect(port, '127.0.0.1'), 'error')
      assert.is(error.code, 'ECONNREFUSED')
    }),
  )
})

test('it says in one line why it cannot start', async () => {
  const port = new URL(demo.url).port
  const obstacles = [
    [{ PORT: port }, databaseUrl, `Port ${port} is taken: set PORT to another, or to 0 for a free one.`],
    [{ PORT: 'http' }, databaseUrl, 'PORT must be a number from 0 to 65535, not "http".'],
    [{}, 'postgres://127.0.0.1:1/x', 'Installing the schema: connect ECONNREFUSED 127.0.0.1:1'],
    [{}, '', '--database-url is empty.'],
  ] as const
  await Promise.all(
    obstacles.map(async ([env, url, sentence]) => {
      const other = startDemo(env, url)
      await until(() => other.hasEnded, 60)
      assert.is(other.process.exitCode, 1)
      assert.is(other.said.split('\n').at(-2), `The demo did not start. ${sentence}`)
    }),
  )
})

test('its own Postgres ends with it, even killed, and knows the sessions at the next start', async () => {
  const home = temporaryFolder()
  const env = { DATABASE_URL: 'postgres://127.0.0.1:1/not-asked-for', PGSTORE_DEMO_HOME: home }
  const first = await new Demo([], env).ready()
  assert.match(first.said, 'DATABASE_URL is set, but not used')
  const browser = new Browser(first.url)
  await browser.post('/sign-in', { name: 'Margaret' })
  const postgres = serverPid(home)
  assert.ok(isRunning(postgres))

  const another = new Demo([], env)
  await until(() => another.hasEnded, 60)
  assert.is(another.process.exitCode, 1)
  assert.match(another.said, `It is already running: ${first.url} (process ${first.process.pid}).`)

  await first.end('SIGKILL')
  await until(() => !isRunning(postgres))
  const second = await new Demo([], env).ready()
  const page = await new Browser(second.url, browser.cookie).get()
  assert.match(page.text, 'Hello, Margaret')
  const next = serverPid(home)
  assert.is(await second.end('SIGINT'), 0)
  assert.not.ok(isRunning(next))
})

function serverPid(home: string): number {
  return Number.parseInt(fs.readFileSync(path.join(home, 'data/postmaster.pid'), 'utf8'), 10)
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test.run()
