// The examples as a newcomer starts them, each in a separate process on the built package, and all through the same
// scenario.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Browser } from '../support/browser.ts'
import { closeAll, databaseUrl, sql, until } from '../support/harness.ts'
import { freePort } from '../support/port.ts'
import { node, runtimes } from '../support/runtimes.ts'

const children: ChildProcess[] = []

test.after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await closeAll()
})

/** Starts an example and returns its address; on another port if the first was taken in the meantime. */
async function start(name: string, database = databaseUrl, runtime = node): Promise<string> {
  const [program, ...args] = runtime.command
  const main = fileURLToPath(new URL(`../../examples/${name}/main.ts`, import.meta.url))
  let said = ''
  for (let attempt = 0; attempt < 3; attempt++) {
    const port = await freePort()
    const env = { ...process.env, DATABASE_URL: database, PORT: String(port) }
    const child = spawn(program, [...args, main], { env })
    children.push(child)
    said = ''
    for (const pipe of [child.stdout, child.stderr]) {
      pipe.on('data', (chunk) => {
        said += chunk
      })
    }
    const url = `http://127.0.0.1:${port}`
    await until(() => child.exitCode !== null || said.includes(url), 60)
    if (child.exitCode === null) return url
    if (!said.includes('EADDRINUSE')) break
  }
  throw new Error(`The example ${name} did not start: ${said}`)
}

async function json(browser: Browser, path = '/', body?: object): Promise<Record<string, unknown>> {
  const { status, text, cookies } = await (body ? browser.post(path, body) : browser.get(path))
  assert.is(status, 200, text)
  assert.ok(cookies.length <= 1, 'at most one Set-Cookie')
  return JSON.parse(text)
}

const examples = runtimes.flatMap((runtime) =>
  ['fastify', 'koa', 'hono', 'node-http', ...(runtime === node ? ['nextjs'] : [])].map((name) => ({ name, runtime })),
)

for (const { name, runtime } of examples) {
  test(`examples/${name} on ${runtime.name}: sign in, regenerate, merge, revoke elsewhere, sign out`, async () => {
    const url = await start(name, databaseUrl, runtime)
    const user = `${name} ada on ${runtime.name}`
    const [laptop, phone] = [new Browser(url), new Browser(url)]

    // A visitor is counted, each apart.
    assert.equal(await json(laptop), { visits: 1 })
    assert.equal(await json(laptop), { visits: 2 })
    assert.equal(await json(phone), { visits: 1 })

    // Signing in keeps the session and renews its token: the old one opens nothing.
    const before = laptop.twin()
    assert.equal(await json(laptop, '/sign-in', { user }), { signedIn: user })
    assert.is.not(laptop.jar.get('sid'), before.jar.get('sid'))
    assert.equal(await json(laptop), { userId: user, visits: 3 })
    assert.equal(await json(before), { visits: 1 })

    // Requests at once change different keys, and all are kept.
    for (let round = 0; round < 5; round++) {
      const [theme, language] = [`dark ${round}`, `fr ${round}`]
      await Promise.all([json(laptop, '/theme', { theme }), json(laptop, '/language', { language })])
      assert.equal(await json(laptop), { userId: user, visits: 4 + round, theme, language })
    }

    // Signed out elsewhere by another device, and only there.
    await json(phone, '/sign-in', { user })
    assert.equal(await json(phone, '/sign-out-elsewhere', {}), { ended: 1 })
    assert.equal(await json(laptop), { visits: 1 })
    assert.equal(await json(phone), { userId: user, visits: 2 })

    // Signing out ends the row and its cookie.
    const after = phone.twin()
    assert.equal(await json(phone, '/sign-out', {}), { signedOut: true })
    assert.equal([...phone.jar], [])
    assert.equal(await sql('select id from pgstore.sessions where user_id = $1', user), [])
    assert.equal(await json(after), { visits: 1 })
  })
}

test('without DATABASE_URL an example starts its own Postgres', async () => {
  const browser = new Browser(await start('node-http', ''))
  assert.equal([await json(browser), await json(browser)], [{ visits: 1 }, { visits: 2 }])
})

test.run()
