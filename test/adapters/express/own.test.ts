// pgstore/express: Express without express-session, whose response is held back until the session is saved.
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type SessionRequest, sessions } from '../../../src/adapters/express.ts'
import { type PGStore, PGStoreError } from '../../../src/index.ts'
import { Browser, cookieNames } from '../../support/browser.ts'
import { frameworkTests, pages, type Site, type Values } from '../../support/frameworks.ts'
import { admin, closeAll, testStore, until } from '../../support/harness.ts'

type Page = (req: Request & SessionRequest<Values>, res: Response) => unknown

async function listening(app: Express): Promise<Site> {
  const server = http.createServer(app).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}

/** Express 4 does not wait for a promise. */
function mount(app: Express, path: string, page: Page): void {
  app.get(path, (req, res, next) => {
    const fail = (error: unknown) => next(error)
    Promise.resolve(page(req as unknown as Parameters<Page>[0], res)).catch(fail)
  })
}

function newApp(store: PGStore<Values>): Express {
  const app = express()
  app.set('env', 'test') // Express logs no errors then
  app.use(sessions(store))
  return app
}

async function start(store: PGStore<Values>): Promise<Site> {
  const app = newApp(store)
  for (const [path, page] of Object.entries(pages)) {
    mount(app, path, async (req, res) => {
      const answer = await page(req.session, new URL(req.url, 'http://x').searchParams)
      if (typeof answer === 'string') return res.send(answer)
      res.status(answer.status ?? 200)
      if (typeof answer.body === 'string') return res.send(answer.body)
      Readable.fromWeb(answer.body as never).pipe(res)
      return undefined
    })
  }
  return await listening(app)
}

frameworkTests(start, 503)

const store = testStore<Values>()
/** Shares nothing with the first but the database, as another process. */
const elsewhere = testStore<Values>()
const sites: Site[] = []

test.after(async () => {
  await Promise.all(sites.map((site) => site.close()))
  await closeAll()
})

async function visitor(routes: Readonly<Record<string, Page>>, last?: ErrorRequestHandler): Promise<Browser> {
  const app = newApp(store)
  for (const [path, page] of Object.entries(routes)) mount(app, path, page)
  if (last) app.use(last)
  const site = await listening(app)
  sites.push(site)
  return new Browser(site.url)
}

const sign = async (req: SessionRequest<Values>) => {
  const { values } = await req.session()
  values['user'] = 'ann'
}
const large = async (req: SessionRequest<Values>) => {
  const { values } = await req.session()
  values['text'] = 'x'.repeat(5000)
}

/** The ways in which a page answers, each after its session has changed. */
const answers: Readonly<Record<string, (res: Response) => unknown>> = {
  redirect: (res) => res.redirect('/next'),
  json: (res) => res.json({ page: true }),
  'three megabytes': (res) => res.send(Buffer.alloc(3_000_000, 'y')),
  'writeHead and end': (res) => res.writeHead(201, 'Made', { 'X-Own': '1', 'Set-Cookie': 'own=1' }).end('made'),
  'raw headers': (res) => res.writeHead(200, ['X-Own', '1', 'Set-Cookie', 'own=1']).end('made'),
  'writes, then end': (res) => {
    res.write('one, ')
    res.write('two, ', () => res.end('three'))
  },
  flushHeaders: (res) => {
    res.flushHeaders()
    setTimeout(() => res.end('later'), 5)
  },
  pipe: (res) => Readable.from(['one, ', 'two']).pipe(res),
  pipeline: async (res) => await pipeline(Readable.from(Array(50).fill('z'.repeat(10_000))), res),
  empty: (res) => res.status(204).end(),
}

for (const [name, send] of Object.entries(answers)) {
  test(`A3: ${name}: nothing is sent before the session is saved, and all of it afterwards, as without us`, async () => {
    const plain = express()
    mount(plain, '/', (_req, res) => send(res))
    const without = await listening(plain)
    sites.push(without)
    const expected = await new Browser(without.url).get('/')
    const browser = await visitor({
      '/': async (req, res) => {
        await sign(req)
        await send(res)
      },
      '/first': async (req, res) => {
        ;(await req.session()).values.visits = 1
        res.end()
      },
    })
    await browser.get('/first')
    const client = await admin.connect()
    let answer: Promise<Awaited<ReturnType<Browser['get']>>>
    let isHere = false
    try {
      await client.query('begin; lock table pgstore.sessions in exclusive mode')
      answer = browser.get('/').finally(() => {
        isHere = true
      })
      const isWaiting = "select from pg_locks where relation = 'pgstore.sessions'::regclass and not granted"
      await until(async () => (await admin.query(isWaiting)).rows.length > 0)
      assert.is(isHere, false)
      await client.query('commit')
    } finally {
      client.release()
    }
    const { status, headers, text, cookies } = await answer
    assert.equal([status, text], [expected.status, expected.text])
    for (const header of ['location', 'content-length', 'content-type', 'transfer-encoding', 'etag', 'x-own']) {
      assert.is(headers.get(header), expected.headers.get(header), header)
    }
    assert.equal(cookieNames(cookies), cookieNames(expected.cookies))
    const cookie = [...browser.jar].map((pair) => pair.join('=')).join('; ')
    assert.is((await elsewhere.get({ headers: { cookie } }, 'sid')).values['user'], 'ann')
  })

  test(`${name}: where the session cannot be saved, none of it is sent, and the error handler answers`, async () => {
    const last: ErrorRequestHandler = (error, _req, res, _next) => {
      const headers = Object.keys(res.getHeaders()).filter((header) => /^(content|etag|location)/.test(header))
      res.status(418).send(`${(error as PGStoreError).code} ${res.headersSent} ${headers.join()}`)
    }
    const page: Page = async (req, res) => {
      await large(req)
      void Promise.resolve(send(res)).catch(() => {})
    }
    const browser = await visitor({ '/': page }, last)
    const { status, text, cookies } = await browser.get('/')
    assert.equal([status, text], [418, 'too_large false '])
    assert.not.ok(cookieNames(cookies).includes('sid'))
  })
}

test('while it is held back, a response is as one that has been sent', async () => {
  const seen: unknown[] = []
  const browser = await visitor({
    '/': async (req, res) => {
      await sign(req)
      res.send('page')
      seen.push(res.headersSent, res.writableEnded)
      for (const change of [
        () => res.setHeader('x-late', '1'),
        () => res.removeHeader('etag'),
        () => res.status(500).send('late'),
      ]) {
        try {
          change()
          seen.push('changed')
        } catch (error) {
          seen.push((error as { code: string }).code)
        }
      }
      res.end('late')
    },
  })
  const { status, text, headers } = await browser.get('/')
  assert.equal([status, text, headers.get('x-late'), headers.has('etag')], [200, 'page', null, true])
  assert.equal(seen, [true, true, ...Array(3).fill('ERR_HTTP_HEADERS_SENT')])
})

test('an error after the answer does not change it', async () => {
  const browser = await visitor({
    '/': async (req, res) => {
      await sign(req)
      res.send('page')
      throw new Error('too late')
    },
  })
  const outcome = await browser.get('/').then(
    ({ status, text }) => `${status} ${text}`,
    () => 'closed',
  )
  assert.match(outcome, /^(200 page|closed)$/) // as Express does with an answer that has begun
})

test('the default error handler answers with the status of our error', async () => {
  const browser = await visitor({ '/': async (req, res) => large(req).then(() => res.redirect('/next')) })
  const { status, headers } = await browser.get('/')
  assert.equal([status, headers.get('location')], [500, null])
  assert.is(new PGStoreError('gone', '').statusCode, 409)
})

test('middlewares that wrap the response before and after ours see what they would without it', async () => {
  for (const order of ['before', 'after']) {
    const app = express()
    const stamp: express.RequestHandler = (_req, res, next) => {
      const [writeHead, end] = [res.writeHead.bind(res), res.end.bind(res)]
      res.writeHead = ((...args: Parameters<typeof writeHead>) => {
        res.setHeader('x-stamp', '1')
        return writeHead(...args)
      }) as typeof writeHead
      res.end = ((chunk: string) => end(`${chunk}!`, 'utf8')) as typeof end
      next()
    }
    if (order === 'before') app.use(stamp)
    app.use(sessions(store))
    if (order === 'after') app.use(stamp)
    mount(app, '/', async (req, res) => {
      await sign(req)
      res.end('page')
    })
    const site = await listening(app)
    sites.push(site)
    const { text, headers, cookies } = await new Browser(site.url).get('/')
    assert.equal([text, headers.get('x-stamp'), cookies.length], ['page!', '1', 1], order)
  }
})

test.run()
