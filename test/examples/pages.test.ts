// The complete programs of the pages, compiled and run as printed, with the packages that they name.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate } from '../../src/index.ts'
import { Browser } from '../support/browser.ts'
import { admin, closeAll, until } from '../support/harness.ts'
import { areThere, library } from '../support/libraries.ts'
import { PageFolder } from '../support/page.ts'
import { endPrograms } from '../support/program.ts'

test.after(async () => {
  await endPrograms()
  await closeAll()
})

/** By test/project/docs.test.ts, with the rest of their page. */
const compiledElsewhere = ['node-http', 'fastify', 'koa', 'hono', 'recipes']

/**
 * @param index which of the page's programs, if it has several
 * @param packages what it needs besides the project's own
 */
function page(name: string, index: number, packages: readonly string[], use: (url: string) => Promise<void>): void {
  if (!areThere(...packages)) return
  test(`docs/${name}.md, program ${index + 1}, compiles and runs as printed`, async () => {
    const folder = new PageFolder(name, index)
    try {
      if (!compiledElsewhere.includes(name)) assert.is(folder.compile(), '')
      const { url, program } = await folder.start()
      await use(url)
      const { code, signal } = await program.end()
      assert.ok(code === 0 || signal === 'SIGTERM', `it ended with ${code}: ${program.errors}`)
    } finally {
      folder.remove()
    }
  })
}

function cookieOf({ jar }: Browser): string {
  return [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
}

page('websockets', 0, ['ws'], async (url) => {
  const { WebSocket } = await library('ws/wrapper.mjs')
  const browser = new Browser(url)
  const heard: string[] = []
  const connect = (origin = url, cookie = cookieOf(browser)) => {
    const socket = new WebSocket(url.replace('http', 'ws'), { headers: { origin, cookie } })
    socket.on('message', (message: Buffer) => heard.push(String(message)))
    socket.on('close', (code: number) => heard.push(`closed ${code}`))
    socket.on('error', (error: Error) => heard.push(error.message))
    return socket
  }
  connect()
  await until(() => heard.length > 0)
  assert.match(heard.shift() as string, /401/)
  await until(() => heard.includes('closed 1006'))
  heard.length = 0
  await browser.get('/sign-in')
  connect('https://elsewhere.example')
  await until(() => heard.includes('closed 1006'))
  heard.length = 0
  const socket = connect()
  await until(() => heard.length === 1)
  socket.send('hello')
  await until(() => heard.length === 2)
  await browser.twin().get('/sign-out')
  await until(() => heard.length === 3)
  assert.equal(heard, ['Hello, ada', 'ada: hello', 'closed 4001'])
})

page('websockets', 1, ['socket.io', 'socket.io-client'], async (url) => {
  const { io } = await library('socket.io-client/build/esm-debug/index.js')
  const browser = new Browser(url)
  const heard: string[] = []
  const connect = (origin = url) => {
    const extraHeaders = { origin, cookie: cookieOf(browser) }
    const socket = io(url, { extraHeaders, reconnection: false, forceNew: true })
    socket.on('message', (message: string) => heard.push(message))
    socket.on('disconnect', (reason: string) => heard.push(reason))
    socket.on('connect_error', (error: Error) => heard.push(error.message))
    return socket
  }
  connect()
  await until(() => heard.length === 1)
  await browser.get('/sign-in')
  connect('https://elsewhere.example')
  await until(() => heard.length === 2)
  assert.equal(heard.splice(0), ['Sign in first.', 'xhr poll error'])
  const socket = connect()
  await until(() => heard.length === 1)
  socket.send('hello')
  await until(() => heard.length === 2)
  await browser.twin().get('/sign-out')
  await until(() => heard.length === 3)
  assert.equal(heard, ['Hello, ada', 'ada: hello', 'io server disconnect'])
})

for (const name of ['node-http', 'express', 'fastify', 'koa', 'hono']) {
  page(name, 0, [], async (url) => {
    const browser = new Browser(url)
    const json = async (path: string, body?: object) =>
      JSON.parse((await (body ? browser.post(path, body) : browser.get(path))).text)
    assert.equal([await json('/'), await json('/')], [{ visits: 1 }, { visits: 2 }])
    const before = browser.twin()
    await json('/sign-in', { user: 'ada' })
    // express-session begins an empty session at sign-in; the others keep what the visitor had.
    assert.equal(await json('/'), { userId: 'ada', visits: name === 'express' ? 1 : 3 })
    assert.equal(JSON.parse((await before.get('/')).text), { visits: 1 })
    await json('/sign-out', {})
    assert.equal(await json('/'), { visits: 1 })
  })
}

page('device-bound-sessions', 0, [], async (url) => {
  const browser = new Browser(url)
  const { headers } = await browser.post('/sign-in')
  assert.match(headers.get('secure-session-registration') ?? '', /^\(ES256\);path="\/device-bound";challenge="/)
  assert.equal(JSON.parse((await browser.get('/')).text), { userId: 'ada', isBound: false })
  assert.is((await browser.get('/transfer')).status, 403)
  assert.is((await browser.post('/device-bound')).status, 400)
})

page('recipes', 0, [], async (url) => {
  await admin.query('delete from pgstore.sessions') // other pages sign the same person in
  const [laptop, phone] = [new Browser(url), new Browser(url)]
  const post = async (browser: Browser, path: string) => JSON.parse((await browser.post(path, {})).text)
  assert.equal(await post(laptop, '/cart?item=tea'), { cart: ['tea'] })
  for (const browser of [laptop, phone]) assert.equal(await post(browser, '/sign-in?remember'), { user: 'ada' })
  const { devices } = await post(laptop, '/devices')
  assert.equal(devices.map((device: { isThis: boolean }) => device.isThis).sort(), [false, true])
  assert.equal(await post(laptop, '/sign-out-elsewhere'), { ended: 1 })
  assert.equal(JSON.parse((await phone.get('/')).text), {})
  assert.equal(JSON.parse((await laptop.get('/')).text), { user: 'ada', cart: ['tea'] })
  await post(laptop, '/sign-out')
  assert.equal(JSON.parse((await laptop.get('/')).text), {})
})

page('nestjs', 0, ['@nestjs/core', '@nestjs/platform-express', 'reflect-metadata', 'rxjs'], async (url) => {
  const browser = new Browser(url)
  const json = async (path: string, body?: object) =>
    JSON.parse((await (body ? browser.post(path, body) : browser.get(path))).text)
  assert.equal([await json('/'), await json('/')], [{ visits: 1 }, { visits: 2 }])
  const before = browser.twin()
  assert.equal(await json('/sign-in', { user: 'ada' }), { user: 'ada' })
  assert.equal(await json('/'), { user: 'ada', visits: 3 })
  assert.equal(JSON.parse((await before.get('/')).text), { visits: 1 })
  assert.equal(await json('/sign-out', {}), { signedOut: true })
  assert.equal(await json('/'), { visits: 1 })
})

test('docs/serverless.md: its handler compiles, and counts the visits of a browser', async () => {
  await migrate(admin)
  const folder = new PageFolder('serverless')
  try {
    folder.write(
      'main.ts',
      `import { handler } from './handler.js'
      let cookies: string[] = []
      for (const rawPath of ['/', '/', '/sign-out', '/']) {
        const { statusCode, body, cookies: set } = await handler({ rawPath, cookies })
        console.log(statusCode, body, set.length)
        if (set.length > 0) cookies = set.map((line) => line.split(';')[0] as string).filter((pair) => !pair.endsWith('='))
      }
      process.exit()`,
    )
    assert.is(folder.compile(), '')
    const program = folder.run('main.ts')
    assert.is((await program.ended).code, 0, program.errors)
    assert.equal(program.output.trim().split('\n'), [
      '200 {"visits":1} 1',
      '200 {"visits":2} 0',
      '200 {"visits":0} 1',
      '200 {"visits":1} 1',
    ])
  } finally {
    folder.remove()
  }
})

test.run()
