// How express-session's save at the end of a response affects the response, unlike an application's own save.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import express from 'express'
import session from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../../src/adapters/express-session.ts'
import { admin, closeAll, sql, until } from '../../support/harness.ts'

type Visit = http.IncomingMessage & { session: session.Session & session.SessionData & Record<string, unknown> }
type Page = (req: Visit, res: http.ServerResponse) => unknown

interface Held {
  readonly waiting: () => boolean
  open(): void
}

let gate: { opened: Promise<void>; waiting: boolean } | undefined
let fault: Error | undefined

/** From now on writes wait until it is opened. */
function holdWrites(): Held {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const own = { opened, waiting: false }
  gate = own
  return {
    waiting: () => own.waiting,
    open() {
      gate = undefined
      open()
    },
  }
}

const store = new ExpressSessionStore({
  pool: {
    connect: () => admin.connect(),
    async query(query: { text: string }) {
      if (/session_(save|destroy)/.test(query.text)) {
        if (gate) gate.waiting = true
        await gate?.opened
        if (fault) throw fault
      }
      return admin.query(query as never) as never
    },
  } as never,
})

store.setMaxListeners(0) // express-session adds its own for every site here
const servers: (http.Server | http2.Http2Server)[] = []
const sockets = new Set<Socket>()
const errors: unknown[] = []
const settings = { store, secret: 'an example secret', resave: false, saveUninitialized: false }
const cookie = { maxAge: 3_600_000 }

test.before.each(() => {
  gate = undefined
  fault = undefined
  errors.length = 0
})
test.after(async () => {
  for (const socket of sockets) socket.destroy()
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  await store.close()
  await closeAll()
})

async function listen<Server extends http.Server | http2.Http2Server>(server: Server): Promise<number> {
  servers.push(server)
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return (server.address() as AddressInfo).port
}

const frameworks = {
  Express(page: Page): http.RequestListener {
    const app = express()
    app.set('env', 'test')
    app.use(session({ ...settings, cookie }))
    app.use(async (req, res) => void (await page(req as never, res)))
    app.use(((error, _req, _res, next) => {
      errors.push(error)
      next(error)
    }) as express.ErrorRequestHandler)
    return app
  },
  'node:http'(page: Page): http.RequestListener {
    const middleware = session({ ...settings, cookie }) as unknown as (
      req: http.IncomingMessage,
      res: http.ServerResponse,
      next: (error?: unknown) => void,
    ) => void
    return (req, res) =>
      middleware(req, res, (error) => {
        if (!error) return void page(req as Visit, res)
        errors.push(error)
        res.destroy() // as connect does
      })
  },
}

/** A site, and a visitor who has a session there. */
async function visitor(page: Page, framework: keyof typeof frameworks = 'Express') {
  const start: Page = (req, res) => {
    if (req.url !== '/start') return page(req, res)
    req.session['start'] = true
    return res.end('started')
  }
  const port = await listen(http.createServer(frameworks[framework](start)))
  const first = await ask(port, '/start')
  const sent = first.response.headers['set-cookie']?.[0]?.split(';')[0] ?? ''
  await first.body
  const sid = decodeURIComponent(sent).split('s:')[1]?.split('.')[0] ?? ''
  const begin = (path = '/', options: http.RequestOptions = {}) =>
    http.request({ port, path, host: '127.0.0.1', headers: { cookie: sent }, ...options })
  return {
    sid,
    begin,
    get: async (path = '/') => {
      const response = await answered(begin(path))
      return { status: response.statusCode, text: await text(response) }
    },
  }
}

async function ask(port: number, path: string) {
  const response = await answered(http.request({ port, path, host: '127.0.0.1' }))
  return { response, body: text(response) }
}

async function answered(request: http.ClientRequest): Promise<http.IncomingMessage> {
  request.end()
  return ((await once(request, 'response')) as [http.IncomingMessage])[0]
}

async function text(response: http.IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of response.setEncoding('latin1')) text += chunk
  return text
}

async function save(req: Visit): Promise<string> {
  return await new Promise((resolve) => req.session.save((error: { code?: string }) => resolve(error?.code ?? 'saved')))
}

const end = async (sid: string) => await sql('delete from pgstore.sessions where key = pgstore.session_key($1)', sid)
const age = async (sid: string) =>
  await sql(
    "update pgstore.sessions set seen_at = seen_at - interval '20 minutes', expires_at = expires_at - interval '20 minutes' where key = pgstore.session_key($1)",
    sid,
  )
const isLive = async (sid: string) => (await store.get(sid)) !== undefined
const outage = () => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
const readOnly = () => Object.assign(new Error('cannot execute UPDATE in a read-only transaction'), { code: '25006' })
const large = 'x'.repeat(5_000_000)

// The answer waits for the save (A3)

for (const framework of ['Express', 'node:http'] as const) {
  for (const [how, body, method] of [
    ['a short answer', 'short', 'GET'],
    ['3 MB', 'x'.repeat(3_000_000), 'GET'],
    ['an answer without a body', '', 'GET'],
    ['an answer to HEAD', 'short', 'HEAD'],
  ] as const) {
    test(`A3: under ${framework} nothing of ${how} leaves before the session is saved, and then all of it`, async () => {
      const { begin, sid } = await visitor((req, res) => {
        req.session['late'] = true
        if (body) res.setHeader('Content-Length', body.length)
        res.end(body || undefined)
      }, framework)
      const held = holdWrites()
      const request = begin('/', { method })
      let bytes = 0
      request.on('socket', (socket) =>
        socket.on('data', (chunk: Buffer) => {
          bytes += chunk.length
        }),
      )
      const response = answered(request)
      await until(held.waiting)
      for (let turn = 0; turn < 10; turn++) await sql('select') // time for whatever is not held back
      assert.is(bytes, 0)
      held.open()
      assert.is((await text(await response)).length, method === 'HEAD' ? 0 : body.length)
      assert.is(((await store.get(sid)) as unknown as { late: boolean }).late, true)
    })
  }
}

test('A3: when a stream has begun, only its end waits for the session', async () => {
  const { begin } = await visitor(async (req, res) => {
    await new Promise((written) => res.write('first, ', written))
    req.session['late'] = true
    res.end('last')
  })
  const held = holdWrites()
  const response = await answered(begin())
  let read = ''
  response.setEncoding('utf8').on('data', (chunk) => {
    read += chunk
  })
  await until(() => held.waiting() && read !== '')
  assert.is(read, 'first, ')
  held.open()
  await once(response, 'end')
  assert.is(read, 'first, last')
})

test('A3: a response that its client has left, or that is corked already, is released once', async () => {
  const corked: number[] = []
  let answer: http.ServerResponse | undefined
  const { begin } = await visitor((req, res) => {
    req.session['late'] = req.url
    answer = res
    if (req.url === '/nested') res.cork()
    res.end('page')
    corked.push(res.socket?.writableCorked ?? 0)
  })
  for (const path of ['/plain', '/nested', '/left']) {
    const held = holdWrites()
    const request = begin(path)
    const response = answered(request).then(text, () => 'left')
    await until(held.waiting)
    if (path === '/left') {
      request.destroy()
      await until(() => answer?.destroyed)
    }
    held.open()
    assert.is(await response, path === '/left' ? 'left' : 'page', path)
    await until(() => answer?.writableEnded)
    assert.is(answer?.socket?.writableCorked ?? 0, 0, path)
  }
  assert.equal(corked, [1, 2, 1])
  assert.equal(errors, [])
})

test('A3: the last part of a streamed answer comes before its end, however long the save takes', async () => {
  const { begin } = await visitor((req, res) => {
    req.session['streamed'] = Math.random()
    res.write('first, ')
    setTimeout(() => res.end('last'), 20)
  })
  const held = holdWrites()
  const response = answered(begin('/')).then(text)
  await until(held.waiting)
  held.open()
  assert.is(await response, 'first, last')
  assert.equal(errors, [])
})

test('A3: the next request on the same connection is answered after a response that was held back', async () => {
  const { begin } = await visitor((req, res) => {
    req.session[req.url ?? ''] = true
    res.end(req.url)
  })
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const paths = Array.from({ length: 20 }, (_, index) => `/${index}`)
  const answers = await Promise.all(paths.map(async (path) => await text(await answered(begin(path, { agent })))))
  agent.destroy()
  assert.equal(answers, paths)
})

test('A3: an HTTP/2 response, whose headers are not held back, is complete too', async () => {
  const middleware = session({ ...settings, cookie }) as unknown as (req: object, res: object, next: () => void) => void
  const server = http2.createServer((req, res) => {
    Object.assign(req, { res })
    middleware(req, res, () => {
      ;(req as unknown as Visit).session['h2'] = true
      res.writeHead(200)
      res.end('page')
    })
  })
  const port = await listen(server)
  const client = http2.connect(`http://127.0.0.1:${port}`)
  const stream = client.request({ ':path': '/' })
  stream.end()
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  let body = ''
  for await (const chunk of stream.setEncoding('utf8')) body += chunk
  client.close()
  assert.is(body, 'page')
  const sid =
    decodeURIComponent(headers['set-cookie']?.[0] ?? '')
      .split('s:')[1]
      ?.split('.')[0] ?? ''
  assert.ok(await isLive(sid))
})

// Ended meanwhile (A12, D14)

for (const framework of ['Express', 'node:http'] as const) {
  for (const how of ['begun', 'not begun'] as const) {
    test(`D14: under ${framework} a session that has ended cuts no answer that was ${how}, and is no error`, async () => {
      const { get, sid } = await visitor(async (req, res) => {
        if (how === 'begun') res.write('first, ')
        await end(sid)
        req.session['late'] = true
        res.end('last')
      }, framework)
      const { text } = await get()
      assert.is(text, how === 'begun' ? 'first, last' : 'last')
      assert.equal(errors, [])
      assert.not.ok(await isLive(sid))
    })
  }

  test(`A12: under ${framework} a save in a stream tells that its session has ended, and the stream's end says nothing`, async () => {
    const { get, sid } = await visitor(async (req, res) => {
      for (const event of [1, 2, 3]) {
        if (event === 2) await end(sid)
        req.session['event'] = event
        res.write(`${await save(req)}, `)
      }
      req.session['event'] = 4
      res.end('end')
    }, framework)
    assert.is((await get()).text, 'saved, gone, gone, end')
    assert.equal(errors, [])
    assert.not.ok(await isLive(sid))
  })
}

test('A12: a save after the end of the response reports that its session has ended', async () => {
  let told: Promise<string> | undefined
  const { get, sid } = await visitor(async (req, res) => {
    await end(sid)
    res.end('page')
    req.session['late'] = true
    told = save(req)
  })
  assert.is((await get()).text, 'page')
  assert.is(await told, 'gone')
})

test('A12: a stream of a session that began in the same request reports it too', async () => {
  const { get } = await visitor(async (req, res) => {
    await new Promise((resolve) => req.session.regenerate(resolve))
    req.session['user'] = 'ann'
    res.write(`${await save(req)}, `)
    await end(req.session.id)
    req.session['user'] = 'ben'
    res.write(`${await save(req)}, `)
    req.session['user'] = 'eve'
    res.end('end')
  })
  assert.is((await get()).text, 'saved, gone, end')
  assert.equal(errors, [])
})

// The database at the end of an answer (D7, D8)

for (const [what, error] of [
  ['is down', outage],
  ['is read-only', readOnly],
] as const) {
  test(`D7: a page that only reads is answered while the database ${what}, though a touch is due`, async () => {
    const { get, sid } = await visitor((_req, res) => res.end(large))
    await age(sid)
    fault = error()
    const { status, text } = await get()
    assert.equal([status, text.length], [200, large.length])
    assert.equal(errors, [])
    fault = undefined
    assert.ok(await isLive(sid))
  })

  test(`D8: an answer whose session cannot be saved, as the database ${what}, is whole, and the error is reported`, async () => {
    for (const body of ['short', large]) {
      errors.length = 0
      const { get } = await visitor((req, res) => {
        req.session['late'] = true
        res.setHeader('Content-Length', body.length)
        res.end(body)
      })
      fault = error()
      const { status, text } = await get()
      fault = undefined
      assert.equal([status, text.length], [200, body.length])
      await until(() => errors.length > 0)
      assert.is((errors[0] as { code?: string }).code, 'unavailable')
    }
  })
}

test('D7: a new maxAge is more than a touch: an error is reported if it cannot be stored', async () => {
  const { get } = await visitor((req, res) => {
    req.session.cookie.maxAge = 60_000
    res.end('page')
  })
  fault = readOnly()
  assert.is((await get()).text, 'page')
  await until(() => errors.length > 0)
  assert.is((errors[0] as { code?: string }).code, 'unavailable')
})

test('D7: a touch that the database refuses for any other reason is reported', async () => {
  const { get, sid } = await visitor((_req, res) => res.end('page'))
  await age(sid)
  fault = Object.assign(new Error('permission denied'), { code: '42501' })
  assert.is((await get()).text, 'page')
  await until(() => errors.length > 0)
  assert.is((errors[0] as { code?: string }).code, 'forbidden')
})

test('D8: a client that reads slowly gets all of an answer whose session cannot be saved', async () => {
  const { begin } = await visitor((req, res) => {
    req.session['late'] = true
    res.setHeader('Content-Length', large.length)
    res.end(large)
  })
  fault = outage()
  const response = await answered(begin())
  let length = 0
  for await (const chunk of response) {
    length += (chunk as Buffer).length
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  assert.is(length, large.length)
})

test('D8: a page that saves by itself gets an error that it can still answer', async () => {
  const { get } = await visitor(async (req, res) => {
    req.session['late'] = true
    const code = await save(req)
    res.writeHead(code === 'saved' ? 200 : 503).end(code)
  })
  fault = outage()
  assert.equal(await get(), { status: 503, text: 'unavailable' })
})

// Signing out by the cookie (A9)

for (const [how, change] of [
  ['cookie.maxAge = 0', { maxAge: 0 }],
  ['a negative cookie.maxAge', { maxAge: -1000 }],
  ['cookie.expires in the past', { expires: new Date(0) }],
] as const) {
  for (const isChanged of [false, true]) {
    test(`A9: signing out by ${how} ends the session, ${isChanged ? 'with something else changed too' : 'with nothing else changed'}`, async () => {
      const { get, sid } = await visitor((req, res) => {
        Object.assign(req.session.cookie, change)
        if (isChanged) req.session['late'] = true
        res.end('signed out')
      })
      assert.equal(await get(), { status: 200, text: 'signed out' })
      assert.not.ok(await isLive(sid))
      assert.equal(errors, [])
    })
  }
}

test('A9: signing out twice at once with cookie.maxAge = 0 succeeds', async () => {
  const { get, sid } = await visitor((req, res) => {
    req.session.cookie.maxAge = 0
    res.end('signed out')
  })
  await Promise.all([get(), get()])
  assert.not.ok(await isLive(sid))
  assert.equal(errors, [])
})

test.run()
