// The Express example as a newcomer starts it: a separate process, driven over HTTP. It runs the built package.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, databaseUrl, row, sql, until } from '../support/harness.ts'
import { node, type Runtime, runtimes } from '../support/runtimes.ts'

const main = fileURLToPath(new URL('../../examples/express/main.ts', import.meta.url))
const children: ChildProcess[] = []
const urls = new Map<Runtime, string>()

test.before(async () => {
  for (const runtime of runtimes) urls.set(runtime, (await start({ DATABASE_URL: databaseUrl }, runtime)).url)
})

test.after(async () => {
  for (const child of children) child.kill('SIGTERM')
  await until(() => children.every(hasEnded), 60)
  await closeAll()
})

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

async function start(env: NodeJS.ProcessEnv, runtime = node) {
  const [program, ...args] = runtime.command
  const child = spawn(program, [...args, main], { env: { ...process.env, PORT: '0', ...env } })
  children.push(child)
  let said = ''
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.on('data', (chunk) => {
      said += chunk
    })
  }
  const address = () => /Express: (http:\S+)/.exec(said)?.[1]
  await until(() => hasEnded(child) || address(), 120)
  if (hasEnded(child)) throw new Error(`The example ended: ${said}`)
  return { child, url: address() as string, said: () => said }
}

class Browser {
  cookie = ''
  readonly #runtime: Runtime

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  async page(): Promise<string> {
    return await (await this.#send('/', {})).text()
  }

  async post(action: string, form: Record<string, string> = {}): Promise<void> {
    const { status } = await this.#send(`/${action}`, { method: 'POST', body: new URLSearchParams(form) })
    assert.is(status, 302)
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    const response = await fetch(urls.get(this.#runtime) + path, {
      ...init,
      headers: { cookie: this.cookie },
      redirect: 'manual',
    })
    const [line] = response.headers.getSetCookie()
    if (line) this.cookie = line.includes('01 Jan 1970') ? '' : (line.split(';')[0] ?? '')
    return response
  }
}

async function signedIn(user: string, runtime: Runtime): Promise<Browser> {
  const browser = new Browser(runtime)
  await browser.post('sign-in', { user })
  return browser
}

for (const runtime of runtimes) {
  test(`signing in gives a new sid and keeps the cart on ${runtime.name}`, async () => {
    const browser = new Browser(runtime)
    await browser.post('cart', { item: 'tea' })
    const before = browser.cookie
    await browser.post('sign-in', { user: 'ann' })
    assert.is.not(browser.cookie, before)
    assert.match(await browser.page(), 'Signed in as <b>ann</b>. Cart: tea.')
    const thief = Object.assign(new Browser(runtime), { cookie: before })
    assert.match(await thief.page(), 'Nobody is signed in. Cart: empty.')
  })

  test(`requests at once that change different things all keep their change on ${runtime.name}`, async () => {
    const browser = await signedIn(`bob on ${runtime.name}`, runtime)
    for (let round = 1; round <= 10; round++) {
      const theme = round % 2 ? 'dark' : 'light'
      await Promise.all([browser.post('cart', { item: `tea ${round}` }), browser.post('theme', { theme })])
      const page = await browser.page()
      assert.match(page, `tea ${round}.`)
      assert.match(page, `content="${theme}"`)
    }
  })

  test(`signing out everywhere else spares this session alone on ${runtime.name}`, async () => {
    const [here, there] = [
      await signedIn(`carol on ${runtime.name}`, runtime),
      await signedIn(`carol on ${runtime.name}`, runtime),
    ]
    assert.is((await here.page()).split('<li>').length - 1, 2)
    await here.post('sign-out-elsewhere')
    assert.match(await here.page(), /session \d+, \S+ \(this one\)/)
    assert.match(await there.page(), 'Nobody is signed in.')
  })

  test(`signing out ends the session and the cookie on ${runtime.name}`, async () => {
    const browser = await signedIn(`dave on ${runtime.name}`, runtime)
    const { cookie } = browser
    await browser.post('sign-out')
    assert.is(browser.cookie, '')
    assert.match(await Object.assign(new Browser(runtime), { cookie }).page(), 'Nobody is signed in.')
    assert.equal(await sql('select from pgstore.sessions where user_id = $1', `dave on ${runtime.name}`), [])
  })
}

test('it switches the cleanup on', async () => {
  const { enabled } = await row<{ enabled: boolean }>('select enabled from pgstore.cleanup_status()')
  assert.is(enabled, true)
})

test('without DATABASE_URL it starts its own Postgres, and ends it', async () => {
  const own = await start({ DATABASE_URL: '' })
  const answer = await fetch(own.url)
  assert.is(answer.status, 200)
  own.child.kill('SIGINT')
  await until(() => hasEnded(own.child), 60)
  assert.is(own.child.exitCode, 0, own.said())
})

test.run()
