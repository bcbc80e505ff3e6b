import { createHash } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { serve, upgradeWebSocket } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { setCookie } from 'hono/cookie'
import { HTTPException } from 'hono/http-exception'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sessions } from '../../src/adapters/hono.ts'
import { type PGStore, PGStoreError } from '../../src/index.ts'
import { Browser, cookieNames } from '../support/browser.ts'
import { frameworkTests, pages, Refusal, type Site, type Values } from '../support/frameworks.ts'
import { closeAll, testStore } from '../support/harness.ts'

async function listening(
  app: Pick<Hono, 'fetch'>,
  websocket?: Parameters<typeof serve>[0]['websocket'],
): Promise<Site> {
  const fetch = app.fetch as Parameters<typeof serve>[0]['fetch']
  return await new Promise((resolve) => {
    const server = serve({ fetch, hostname: '127.0.0.1', port: 0, ...(websocket && { websocket }) }, ({ port }) =>
      resolve({
        url: `http://127.0.0.1:${port}`,
        async close() {
          if ('closeAllConnections' in server) server.closeAllConnections()
          await new Promise((closed) => server.close(closed))
        },
      }),
    )
  })
}

console.error = () => {} // Hono's own error handler writes there

async function start(store: PGStore<Values>): Promise<Site> {
  const app = new Hono().use(sessions(store))
  for (const [path, page] of Object.entries(pages)) {
    app.get(path, async (c) => {
      try {
        const answer = await page(c.get('session'), new URL(c.req.url).searchParams)
        if (typeof answer === 'string') return c.text(answer)
        return c.body(answer.body, (answer.status ?? 200) as 200)
      } catch (error) {
        throw error instanceof Refusal ? new HTTPException(error.status as 403) : error
      }
    })
  }
  return await listening(app)
}

frameworkTests(start, 500)

const store = testStore<Values>()
const sites: Site[] = []

test.after(async () => {
  await Promise.all(sites.map((site) => site.close()))
  await closeAll()
})

async function visitor(app: Pick<Hono, 'fetch'>): Promise<Browser> {
  const site = await listening(app)
  sites.push(site)
  return new Browser(site.url)
}

/** Counts the visit, and answers with this. */
function answering(answer: (c: Context) => Response | Promise<Response>) {
  return new Hono().use(sessions(store)).get('/', async (c) => {
    const { values } = await c.var.session()
    values.visits = (values.visits ?? 0) + 1
    return await answer(c)
  })
}

test('it works without a server: a fetch Request in, a Response out', async () => {
  const app = answering((c) => c.text('page'))
  const first = await app.fetch(new Request('http://localhost/'))
  const [line = ''] = first.headers.getSetCookie()
  const cookie = line.split(';')[0] ?? ''
  const second = await app.fetch(new Request('http://localhost/', { headers: { cookie } }))
  assert.equal([first.status, await first.text(), second.headers.getSetCookie().length], [200, 'page', 0])
})

test('the immutable answer of a fetch() goes on with its status, body and cookies, and with ours', async () => {
  const origin = await visitor(
    new Hono().get('/', (c) => {
      c.header('set-cookie', 'one=1', { append: true })
      c.header('set-cookie', 'two=2', { append: true })
      return c.text('from the origin', 203)
    }),
  )
  const browser = await visitor(answering(async () => await fetch(`${origin.url}/`)))
  const { status, text, cookies } = await browser.get('/')
  assert.equal([status, text, cookieNames(cookies)], [203, 'from the origin', ['one', 'sid', 'two']])
})

test('E11: the answer of a fetch() that was compressed goes on as what it is now, and one of the page’s own as it is', async () => {
  const zipped = gzipSync('from the origin '.repeat(100))
  const headers = { 'content-encoding': 'gzip', 'content-length': String(zipped.length) }
  const origin = await visitor(new Hono().get('/', () => new Response(zipped, { headers })))
  const text = 'from the origin '.repeat(100)
  const app = answering(async (c) =>
    c.req.query('own') ? new Response(zipped, { headers }) : await fetch(`${origin.url}/`),
  )
  const answer = await app.request('/')
  assert.equal([answer.headers.get('content-encoding'), answer.headers.get('content-length')], [null, null])
  assert.is(await answer.text(), text)
  assert.is((await app.request('/?own=1')).headers.get('content-encoding'), 'gzip')
  const browser = await visitor(app)
  for (const path of ['/', '/?own=1']) assert.is((await browser.get(path)).text, text, path)
})

test('a Response that a handler gives to every visitor never holds a cookie of one', async () => {
  const shared = new Response(null, { status: 204 })
  const browser = await visitor(answering(() => shared))
  assert.is((await browser.get('/')).cookies.length, 1)
  assert.equal(shared.headers.getSetCookie(), [])
  const [line = ''] = (await browser.twin().get('/')).cookies
  const stranger = await new Browser(browser.url).get('/')
  assert.is(stranger.cookies.length, 1)
  assert.is.not(stranger.cookies[0], line)
})

test('other cookies and headers stay, and ours is there once', async () => {
  const app = new Hono()
    .use(sessions(store))
    .use(async (c, next) => {
      await next()
      setCookie(c, 'after', '1')
      c.header('x-after', 'yes')
    })
    .get('/', async (c) => {
      setCookie(c, 'before', '1')
      const { values } = await c.var.session()
      values.visits = 1
      await c.var.session.save()
      values.visits = 2
      return c.json(values)
    })
  const { cookies, headers } = await (await visitor(app)).get('/')
  assert.equal([cookieNames(cookies), headers.get('x-after')], [['after', 'before', 'sid'], 'yes'])
})

test('the application’s error handler gets our error and has the last word', async () => {
  const app = new Hono().use(sessions(store)).get('/:page', async (c) => {
    await pages[`/${c.req.param('page')}`]?.(c.var.session, new URLSearchParams())
    return c.text('page')
  })
  app.onError((error, c) => c.text(error instanceof PGStoreError ? error.code : 'unknown', 418))
  const browser = await visitor(app)
  await browser.get('/visit')
  for (const [path, code] of [
    ['/too-large', 'too_large'],
    ['/ended-before-save', 'gone'],
  ] as const) {
    const { status, text } = await browser.get(path)
    assert.equal([status, text], [418, code])
  }
})

test("a websocket's 101 is passed on as it is", async () => {
  const upgraded = new Response(null)
  Object.defineProperty(upgraded, 'status', { value: 101 }) // Deno and Workers make them; the constructor refuses to
  const app = answering(() => upgraded)
  assert.is(await app.request('/'), upgraded)
})

/** As much of a websocket server as it takes to be upgraded and to send a line. */
class SocketServer extends EventEmitter {
  readonly options = { noServer: true }

  handleUpgrade(request: IncomingMessage, socket: Duplex, _head: Buffer, callback: (ws: never) => void): void {
    const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
    const accept = createHash('sha1').update(key).digest('base64')
    const headers = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`]
    this.emit('headers', headers)
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headers.join('\r\n')}\r\n\r\n`)
    const ws = Object.assign(new EventEmitter(), {
      protocol: '',
      readyState: 1,
      send: (line: string) => socket.end(line),
    })
    callback(ws as never)
  }

  close(): void {}
}

test('a websocket knows its visitor, and its handshake carries the cookie', async () => {
  const app = new Hono().use(sessions(store)).get(
    '/',
    async (c, next) => {
      const session = await c.var.session()
      session.values.visits = (session.values.visits ?? 0) + 1
      await next()
    },
    upgradeWebSocket(async (c) => {
      const { values } = await c.var.session()
      return { onOpen: (_event, socket) => socket.send(`Visit ${values.visits}`) }
    }),
  )
  const site = await listening(app, { server: new SocketServer() })
  sites.push(site)
  const connect = async (cookie: string): Promise<string> => {
    const { hostname, port } = new URL(site.url)
    const socket = net.connect(Number(port), hostname)
    const lines = [
      'GET / HTTP/1.1',
      'Host: localhost',
      'Connection: Upgrade',
      'Upgrade: websocket',
      `Cookie: ${cookie}`,
    ]
    socket.write(
      `${lines.join('\r\n')}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    )
    return await text(socket)
  }
  const first = await connect('none=1')
  assert.match(first, /^HTTP\/1.1 101 [\s\S]*Visit 1$/)
  assert.match(await connect(/^set-cookie: (sid=[^;]+)/im.exec(first)?.[1] ?? ''), /Visit 2$/)
})

test.run()
