// `npm start`: a small site whose sessions live in Postgres. This file starts and stops it; the site itself is site.ts.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { PGStore } from 'pgstore'
import { startPostgres } from '../../scripts/postgres.ts'
import type { Visit } from './exchange.ts'
import { findRunning, forgetRunning, noteRunning, serverName } from './running.ts'
import { createSite } from './site.ts'

const env = process.env
const home = path.resolve(env['PGSTORE_DEMO_HOME'] || fileURLToPath(new URL('../../.postgres', import.meta.url)))

/** What to close at the end, the last opened first. */
const closing: (() => unknown)[] = []

async function start(): Promise<void> {
  const given = databaseUrlArgument()
  if (given === undefined) await refuseSecond()
  const connectionString = given ?? (await startDatabase())

  // A pool of our own, to count what goes through it. Without that: `PGStore.open({ connectionString, … })`.
  const pool = openPool(connectionString, 10)
  const store = await PGStore.open<Visit>({
    pool,
    keys: [cookieKey()],
    options: {
      maxAge: 1800, // seconds: short, so that the page can count them down
      secure: false, // this demo speaks plain http to your own machine; a real site uses HTTPS and keeps the default, true
    },
    touchAfter: 10, // seconds: a visit after that extends the session
    cache: true,
  })
  closing.unshift(() => store.close())

  const site = createSite(store, pool, openPool(connectionString, 2))
  const server = http.createServer((req, res) => {
    res.setHeader('Server', serverName(process.pid))
    site.listener(req, res)
  })
  const url = `http://127.0.0.1:${await listen(server)}`
  closing.unshift(() => closeServer(server))
  closing.unshift(() => site.close()) // first, or the server would wait for the open pages' streams
  if (given === undefined) {
    noteRunning(home, url)
    closing.unshift(() => forgetRunning(home))
  }

  console.log(`The demo:     ${url}`)
  console.log(
    `Its sessions: ${given ? 'select * from pgstore.sessions, in the database that you gave' : psql(connectionString)}`,
  )
  console.log('Ctrl-C ends it.')
}

/** `--database-url URL`. A DATABASE_URL in the environment may be meant for something else: it is not touched unless asked. */
function databaseUrlArgument(): string | undefined {
  const { values } = parseArgs({ options: { 'database-url': { type: 'string' } } })
  const given = values['database-url']
  if (given === '') throw new Error('--database-url is empty.')
  if (given) console.log('Using the database of --database-url: the schema pgstore is installed there.')
  else if (env['DATABASE_URL']) {
    console.log('DATABASE_URL is set, but not used: npm start -- --database-url "$DATABASE_URL" would use it.')
  }
  return given
}

async function refuseSecond(): Promise<void> {
  const running = await findRunning(home)
  if (running) throw new Error(`It is already running: ${running.url} (process ${running.pid}).`)
}

async function startDatabase(): Promise<string> {
  console.log('Starting Postgres …')
  const server = await startPostgres({ home })
  closing.unshift(() => server.stop())
  console.log(`Its data:     ${server.home}`)
  return server.url()
}

function psql(connectionString: string): string {
  return `psql '${connectionString}' -c 'select * from pgstore.sessions'`
}

function openPool(connectionString: string, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString, max })
  pool.on('error', () => {}) // an idle connection died; the pool opens another
  closing.unshift(() => pool.end())
  return pool
}

/** Created at the first start and kept, so that cookies survive a restart. A real site keeps its key with its other secrets. */
function cookieKey(): Buffer {
  const file = path.join(home, 'cookie-key')
  fs.mkdirSync(home, { recursive: true, mode: 0o700 })
  if (!fs.existsSync(file)) fs.writeFileSync(file, randomBytes(32), { mode: 0o600 })
  return fs.readFileSync(file)
}

/** On PORT; by default on 3000, or on a free port if that is taken. */
async function listen(server: http.Server): Promise<number> {
  const wanted = env['PORT']
  if (wanted && !(/^\d{1,5}$/.test(wanted) && Number(wanted) < 65536)) {
    throw new Error(`PORT must be a number from 0 to 65535, not "${wanted}".`)
  }
  for (let port = Number(wanted || 3000); ; port = 0) {
    try {
      await once(server.listen(port, '127.0.0.1'), 'listening')
      return (server.address() as AddressInfo).port
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      if (wanted) throw new Error(`Port ${port} is taken: set PORT to another, or to 0 for a free one.`)
      console.log(`Port ${port} is taken: using a free one.`)
    }
  }
}

/** Lets requests in progress finish, for at most a second; idle connections are closed at once. */
async function closeServer(server: http.Server): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), 1000)
  await new Promise((resolve) => server.close(resolve))
  clearTimeout(timer)
}

let ending: Promise<void> | undefined

async function end(code: number): Promise<void> {
  ending ??= (async () => {
    for (const close of closing.splice(0)) await close()
    process.exit(code)
  })()
  await ending
}

process.stdout.on('error', () => {}) // the terminal was closed: the database must still be stopped

let signalledAt: number | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    signalledAt ??= Date.now()
    // A second Ctrl-C ends it at once. Under npm one Ctrl-C arrives twice, from the terminal and from npm: that counts as one.
    if (Date.now() - signalledAt > 300) process.exit(1)
    void end(0)
  })
}

try {
  await start()
} catch (error) {
  if (!ending) console.error(`The demo did not start. ${error instanceof Error ? error.message : String(error)}`)
  await end(1)
}
