// The demo as a newcomer starts it: a separate process, driven over HTTP. It runs the built package: npm test builds it.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { admin, databaseUrl, row, sql, until } from '../support/harness.ts'

const main = fileURLToPath(new URL('../../examples/demo/main.ts', import.meta.url))
const folders: string[] = []
const children: ChildProcess[] = []

class Demo {
  readonly process: ChildProcess
  said = ''

  constructor(env: NodeJS.ProcessEnv) {
    this.process = spawn(process.execPath, ['--import', 'tsx', main], { env: { ...process.env, PORT: '0', ...env } })
    children.push(this.process)
    for (const pipe of [this.process.stdout, this.process.stderr]) {
      pipe?.on('data', (chunk) => {
        this.said += chunk
      })
    }
  }

  get url(): string {
    return /The demo: +(http:\S+)/.exec(this.said)?.[1] ?? ''
  }

  get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null
  }

  async ready(): Promise<this> {
    await until(() => this.hasEnded || this.said.includes('Ctrl-C'), 60)
    if (this.hasEnded) throw new Error(`The demo ended: ${this.said}`)
    return this
  }

  /** Exit code. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.process.kill(signal)
    await until(() => this.hasEnded)
    return this.process.exitCode
  }
}

/** On this file's database; each has its own keys, as they lie in its folder. */
function startDemo(env: NodeJS.ProcessEnv = {}): Demo {
  return new Demo({ DATABASE_URL: databaseUrl, PGSTORE_DEMO_HOME: temporaryFolder(), ...env })
}

function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-demo-'))
  folders.push(folder)
  return folder
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** Keeps the cookie that it is sent; follows no redirect by itself. */
class Browser {
  readonly url: string
  cookie: string | undefined

  constructor(url: string, cookie?: string) {
    this.url = url
    this.cookie = cookie
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
    const lines = response.headers.getSetCookie()
    assert.ok(lines.length <= 1, 'at most one Set-Cookie')
    const [line] = lines
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

const visits = ({ text }: Answer): number => Number(/visit number <strong>(\d+)</.exec(text)?.[1])
const sessionId = ({ text }: Answer): string => /sessions where id = (\d+)/.exec(text)?.[1] ?? ''
const flashes = ({ text }: Answer): string[] =>
  [...text.matchAll(/role="status">([^<]*)</g)].map(([, flash]) => flash ?? '')
const devices = ({ text }: Answer): number => text.split('<li>').length - 1

const demo = startDemo()

test.before(async () => {
  await demo.ready()
})

test.after(async () => {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
  await admin.end()
  for (const folder of folders) fs.rmSync(folder, { recursive: true, maxRetries: 50 })
})

test('the counter counts each visitor apart', async () => {
  const [one, other] = [new Browser(demo.url), new Browser(demo.url)]
  assert.is(visits(await one.get()), 1)
  assert.is(visits(await one.get()), 2)
  assert.is(visits(await other.get()), 1)
  assert.is(visits(await one.get()), 3)
})

test('visits at once are all counted', async () => {
  const browser = new Browser(demo.url)
  await browser.get()
  await Promise.all(Array.from({ length: 8 }, () => browser.get()))
  assert.is(visits(await browser.get()), 10)
})

test('signing in changes the cookie, keeps the session, and the old cookie no longer opens it', async () => {
  const browser = new Browser(demo.url)
  const before = sessionId(await browser.get())
  const old = browser.cookie
  await browser.post('/sign-in', { name: 'Grace' })
  assert.is.not(browser.cookie, old)
  const page = await browser.get()
  assert.match(page.text, '<h1>Hello, Grace</h1>')
  assert.is(visits(page), 2)
  assert.is(sessionId(page), before)
  const stranger = await new Browser(demo.url, old).get()
  assert.match(stranger.text, '<h1>Hello, visitor</h1>')
  assert.is(visits(stranger), 1)
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
  await laptop.post('/devices/end', { id: sessionId(await phone.get()) })
  const after = await laptop.get()
  assert.equal(flashes(after), ['That device is signed out.'])
  assert.is(devices(after), 2)
  assert.match((await phone.get()).text, 'Hello, visitor')
  assert.match((await tablet.get()).text, 'Hello, Edsger')
})

test("another user's device cannot be ended", async () => {
  const [mine, theirs] = [await signedIn('Mallory'), await signedIn('Alice')]
  await mine.post('/devices/end', { id: sessionId(await theirs.get()) })
  assert.equal(flashes(await mine.get()), ['That device had been signed out already.'])
  assert.match((await theirs.get()).text, 'Hello, Alice')
})

test('ending all others leaves this one', async () => {
  const [laptop, phone, tablet] = [await signedIn('Barbara'), await signedIn('Barbara'), await signedIn('Barbara')]
  await laptop.post('/devices/end-others')
  const page = await laptop.get()
  assert.equal(flashes(page), ['Signed out everywhere else: 2 devices.'])
  assert.is(devices(page), 1)
  for (const other of [phone, tablet]) assert.match((await other.get()).text, 'Hello, visitor')
})

test('a session that ends during a request starts over', async () => {
  const browser = await signedIn('Donald')
  const id = sessionId(await browser.get())
  const { cookie } = browser
  const answer = await browser.post('/devices/end', { id }) // its own: the save after that finds it gone
  assert.is(answer.status, 303)
  assert.is(answer.headers.get('location'), '/')
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

test('a name and a user agent cannot become markup', async () => {
  const markup = `<script>alert("x")</script>'&amp;`
  const browser = new Browser(demo.url)
  await browser.post('/sign-in', { name: markup }, { 'user-agent': markup })
  const { text } = await browser.get()
  assert.not.match(text, '<script')
  assert.match(text, 'Hello, &lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&amp;amp;')
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

test('the foot of the page shows the row', async () => {
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
  assert.match(page.text, JSON.stringify(stored.data, null, 2).replaceAll('"', '&quot;'))
})

test('pages are for one visitor and run no script', async () => {
  const { headers } = await new Browser(demo.url).get()
  assert.is(headers.get('cache-control'), 'no-store')
  assert.match(headers.get('content-security-policy') ?? '', "default-src 'none'")
  assert.match(headers.getSetCookie()[0] ?? '', /; HttpOnly; SameSite=Lax$/)
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
  assert.is(browser.cookie, undefined)
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} ends it with exit code 0, open connections or not`, async () => {
    const other = await startDemo().ready()
    await new Browser(other.url).get() // leaves a connection that is kept alive
    const port = Number(new URL(other.url).port)
    const idle = net.connect(port, '127.0.0.1').on('error', () => {})
    await once(idle, 'connect')
    assert.is(await other.end(signal), 0, other.said)
    idle.destroy()
    const [error] = await once(net.connect(port, '127.0.0.1'), 'error')
    assert.is(error.code, 'ECONNREFUSED')
  })
}

test('it says in one line why it cannot start', async () => {
  const port = new URL(demo.url).port
  for (const [env, sentence] of [
    [{ PORT: port }, `Port ${port} is taken: set PORT to another, or to 0 for a free one.`],
    [{ PORT: 'http' }, 'PORT must be a number from 0 to 65535, not "http".'],
    [{ DATABASE_URL: 'postgres://127.0.0.1:1/x' }, 'Installing the schema: connect ECONNREFUSED 127.0.0.1:1'],
  ] as const) {
    const other = startDemo(env)
    await until(() => other.hasEnded, 60)
    assert.is(other.process.exitCode, 1)
    assert.is(other.said, `The demo did not start. ${sentence}\n`)
  }
})

test('its own Postgres ends with it, even killed, and knows the sessions at the next start', async () => {
  const env = { DATABASE_URL: undefined, PGSTORE_DEMO_HOME: temporaryFolder() }
  const first = await startDemo(env).ready()
  const browser = new Browser(first.url)
  await browser.post('/sign-in', { name: 'Margaret' })
  await browser.get()
  const postgres = serverPid(env.PGSTORE_DEMO_HOME)
  assert.ok(isRunning(postgres))
  await first.end('SIGKILL')
  await until(() => !isRunning(postgres))

  const second = await startDemo(env).ready()
  const page = await new Browser(second.url, browser.cookie).get()
  assert.match(page.text, 'Hello, Margaret')
  assert.is(visits(page), 2)
  const next = serverPid(env.PGSTORE_DEMO_HOME)
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
