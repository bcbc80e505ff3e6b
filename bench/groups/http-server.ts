// The server of group `http`, in a separate process: `http-server.ts SYSTEM` serves /make (a session and its cookie) and / (one
// value of it), and reports the port to its parent, then its processor time whenever asked.
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import type net from 'node:net'
import connectPgSimple from 'connect-pg-simple'
import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import pg from 'pg'
import { createClient } from 'redis'
import type { SessionRequest } from '../../src/adapters/express.ts'
import type { PGStoreOptions } from '../../src/index.ts'
import { entryFile, importBuilt } from '../systems/build.ts'
import { exampleValues, pgstore } from '../systems/systems.ts'

const system = process.argv[2] ?? ''
const connectionString = process.env['PGSTORE_BENCH_POSTGRES'] ?? ''
const redisPort = Number(process.env['PGSTORE_BENCH_REDIS'])

const makers: Readonly<Record<string, () => Promise<http.RequestListener>>> = {
  'node:http, no session': async () => (_req, res) => answer(res, 'nobody'),
  'node:http, no session, 5 µs of work': async () => (_req, res) => {
    for (const end = performance.now() + 0.005; performance.now() < end; );
    answer(res, 'nobody')
  },
  'node:http + pgstore': async () => await nodeWithPgstore({}),
  'node:http + pgstore, cached': async () => await nodeWithPgstore({ cache: { maxStale: 5 } }),
  'Express, no session': async () => expressApp(undefined),
  'Express + pgstore': async () => expressApp(await pgstoreExpress()),
  'Express + pgstore/express': async () => await expressWithPgstore({}),
  'Express + pgstore/express, cached': async () => await expressWithPgstore({ cache: { maxStale: 5 } }),
  'Express + pgstore, answers not held': async () => {
    await letGo()
    return expressApp(await pgstoreExpress())
  },
  'Express + connect-pg-simple': async () => expressApp(pgSimple({})),
  'Express + connect-pg-simple, no touch': async () => expressApp(pgSimple({ disableTouch: true })),
  'Express + connect-redis': async () => expressApp(await redisStore({})),
  'Express + connect-redis, no touch': async () => expressApp(await redisStore({ disableTouch: true })),
  'Express + MemoryStore': async () => expressApp(new session.MemoryStore()),
}

function answer(res: http.ServerResponse, user: unknown): void {
  res.setHeader('Content-Type', 'application/json')
  res.end(JSON.stringify({ user }))
}

async function nodeWithPgstore(options: Partial<PGStoreOptions>): Promise<http.RequestListener> {
  // keyPairs: `pairs` compares with builds that know no `keys`.
  const store = await pgstore.PGStore.open({ connectionString, keyPairs: [randomBytes(32)], ...options })
  let made = 0
  const respond = async (req: http.IncomingMessage, res: http.ServerResponse): Promise<void> => {
    const visit = await store.get(req, 'sid')
    if (req.url === '/make') {
      visit.values = exampleValues(made++)
      await store.save(req, res, visit)
    }
    answer(res, (visit.values['user'] as { name: string }).name)
  }
  return (req, res) => {
    respond(req, res).catch((error: unknown) => {
      console.error(error)
      res.statusCode = 500
      res.end()
    })
  }
}

/** express-session as its own documentation sets it up. */
function expressApp(store: session.Store | undefined): http.RequestListener {
  const app = express()
  app.set('etag', false).set('x-powered-by', false)
  if (!store) return app.get('/', (_req, res) => void res.json({ user: 'nobody' }))
  app.use(session({ store, secret: randomBytes(32).toString('hex'), resave: false, saveUninitialized: false }))
  let made = 0
  app.get('/make', (req, res) => {
    Object.assign(req.session, exampleValues(made++))
    res.json({ user: 'made' })
  })
  app.get('/save', (req, res) => {
    Object.assign(req.session, { visits: made++ })
    res.json({ user: 'saved' })
  })
  app.get('/', (req, res) => void res.json({ user: (req.session as unknown as { user: { name: string } }).user.name }))
  return app
}

/** The middleware without express-session. */
async function expressWithPgstore(options: Partial<PGStoreOptions>): Promise<http.RequestListener> {
  const { sessions } = await importBuilt<typeof import('../../src/adapters/express.ts')>(entryFile('./express'))
  const store = await pgstore.PGStore.open({ connectionString, keyPairs: [randomBytes(32)], ...options })
  const app = express()
  app.set('etag', false).set('x-powered-by', false).use(sessions(store))
  let made = 0
  const visit = async (req: express.Request) => await (req as unknown as SessionRequest).session()
  app.get('/make', async (req, res) => {
    ;(await visit(req)).values = exampleValues(made++)
    res.json({ user: 'made' })
  })
  app.get(
    '/',
    async (req, res) => void res.json({ user: ((await visit(req)).values['user'] as { name: string }).name }),
  )
  return app
}

function pgSimple(options: object): session.Store {
  const PgStore = connectPgSimple(session)
  const pool = new pg.Pool({ connectionString, max: 10 })
  return new PgStore({ pool, createTableIfMissing: true, pruneSessionInterval: false, ...options })
}

async function redisStore(options: object): Promise<session.Store> {
  const client = createClient({ socket: { host: '127.0.0.1', port: redisPort } })
  await client.connect()
  return new RedisStore({ client, ...options }) as unknown as session.Store
}

async function pgstoreExpress(): Promise<session.Store> {
  const { ExpressSessionStore } = await importBuilt<{
    ExpressSessionStore: { open(options: object): Promise<session.Store> }
  }>(entryFile('./express-session'))
  return await ExpressSessionStore.open({ connectionString })
}

/** The same store without waiting, to measure the cost of a response waiting for its save, and a request for earlier saves. */
async function letGo(): Promise<void> {
  const parts: readonly [string, string, Record<string, unknown>][] = [
    ['response', 'ResponseEnds', { hold: (callback: unknown) => callback, watch: () => {} }],
    ['calls', 'Changes', { of: () => undefined, add: async () => {} }],
  ]
  for (const [file, name, methods] of parts) {
    const module = await importBuilt<Record<string, { prototype: object }>>(`dist/adapters/express-${file}.js`)
    const prototype = module[name]?.prototype
    for (const method of Object.keys(methods)) {
      if (!prototype || !Object.hasOwn(prototype, method)) throw new Error(`express-${file}: no ${name}.${method}`)
    }
    Object.assign(prototype as object, methods)
  }
}

const maker = makers[system]
if (!maker) throw new Error(`Unknown system: ${system}`)
const server = http.createServer(await maker())
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as net.AddressInfo).port))
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
process.once('disconnect', () => process.exit())
