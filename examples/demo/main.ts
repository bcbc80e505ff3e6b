// `npm start`: a small site whose sessions live in Postgres. This file starts and stops it; the site itself is site.ts.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { PGStore } from 'pgstore'
import { startPostgres } from '../../scripts/postgres.ts'
import { createSite, type Visit } from './site.ts'

const env = process.env
const home = path.resolve(env['PGSTORE_DEMO_HOME'] || fileURLToPath(new URL('../../.postgres', import.meta.url)))

/** What to close at the end, the last opened first. */
const closing: (() => Promise<unknown>)[] = []

async function start(): Promise<void> {
  const connectionString = env['DATABASE_URL'] || (await startDatabase())

  const store = await PGStore.open<Visit>({
    connectionString,
    keys: [cookieKey()],
    // This demo speaks plain http to your own machine. A real site uses HTTPS and keeps the default, `secure: true`.
    options: { secure: false },
  })
  closing.unshift(() => store.close())

  // The site shows each visitor the row of their session, read as the owner of the table. A real site does not need this: its
  // role may run pgstore's functions and read no table.
  const owner = new pg.Pool({ connectionString, max: 2 })
  owner.on('error', () => {}) // an idle connection died; the pool opens another
  closing.unshift(() => owner.end())

  const server = http.createServer(createSite(store, owner))
  const port = await listen(server)
  closing.unshift(() => closeServer(server))

  const database = env['DATABASE_URL'] ? '"$DATABASE_URL"' : `'${connectionString}'`
  console.log(`The demo:     http://127.0.0.1:${port}`)
  console.log(`Its sessions: psql ${database} -c 'select * from pgstore.sessions'`)
  console.log('Ctrl-C ends it.')
}

async function startDatabase(): Promise<string> {
  console.log('Starting Postgres …')
  const server = await startPostgres({ home })
  closing.unshift(() => server.stop())
  console.log(`Its data:     ${server.home}`)
  return server.url()
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
