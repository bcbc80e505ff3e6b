// The systems that are measured: each reads and saves the same sessions, on the same machine.
import { createHash, randomBytes } from 'node:crypto'
import connectPgSimple from 'connect-pg-simple'
import { RedisStore } from 'connect-redis'
import session from 'express-session'
import { createClient } from 'redis'
import type { PGStore, PGStoreOptions, Session } from '../../src/index.ts'
import { type Load, measure, type Sample } from '../measure.ts'
import { entryFile, importBuilt } from './build.ts'
import { openPool } from './servers.ts'

/** As published: tsx names each function at run time, which costs the hot path a tenth of its time. */
export const pgstore: typeof import('../../src/index.ts') = await importBuilt(entryFile('.'))

/** How many sessions there are: callers seldom use the same one. */
export const sessionCount = 10_000

/** How often a session is saved after it was loaded, so that reads are a small part of the cost of saves. */
export const savesPerVisit = 50

export interface System {
  readonly name: string
  /** Reads one session, from its cookie to its values. */
  read(index: number): Promise<void>
  /** Changes one value of a session and saves it; pgstore reads the session first, once for `savesPerVisit` saves. */
  save(index: number): Promise<void>
  /** A page that reads a session and saves a change to it. Default: `read`, then `save`. */
  page?(index: number): Promise<void>
  /** Reads every session once, where that makes later reads cheaper. */
  warm?(): Promise<void>
  /** Creates a session and ends it again. */
  comeAndGo(): Promise<void>
  /** Releases the sessions that it has read. */
  forget?(): void
  close(): Promise<void>
}

/** About 350 bytes of JSON: a user, a CSRF token, a small cart, preferences. */
export function exampleValues(index: number): Record<string, unknown> {
  return {
    user: { id: index, name: `user ${index}`, roles: ['customer'] },
    csrf: randomBytes(32).toString('hex'),
    cart: [
      { sku: 'tea-0042', count: 2 },
      { sku: 'cup-0007', count: 1 },
    ],
    preferences: { theme: 'dark', language: 'en', zone: 'Europe/Berlin' },
    agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    visits: 0,
  }
}

interface FakeRequest {
  readonly headers: { readonly cookie: string }
}

/** A response that takes a cookie and goes nowhere. */
class FakeResponse {
  readonly headersSent = false
  #cookies: readonly string[] | undefined

  getHeader(name: string): readonly string[] | undefined {
    return name.toLowerCase() === 'set-cookie' ? this.#cookies : undefined
  }

  setHeader(_name: string, value: string | readonly string[]): void {
    if (typeof value === 'object') this.#cookies = value
  }
}

/** The browser's next Cookie header: with a cache, each save sets a second cookie. */
function afterResponse(header: string, res: FakeResponse): string {
  const lines = res.getHeader('set-cookie') ?? []
  const pairs = [...header.split('; '), ...lines.map((line) => line.split(';')[0] as string)]
  return [...new Map(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair])).values()].join('; ')
}

export interface PGStoreSystem extends System {
  readonly store: PGStore
  readonly cookies: readonly string[]
}

/** Reading verifies the cookie's signature and hashes its token, which the other stores leave to express-session. */
export async function pgstoreSystem(
  connectionString: string,
  options: Partial<PGStoreOptions> = {},
  name = 'pgstore',
): Promise<PGStoreSystem> {
  // keyPairs: `pairs` compares with builds that know no `keys`.
  const store = await pgstore.PGStore.open({ connectionString, keyPairs: [randomBytes(32)], ...options })
  const cookies: string[] = []
  // No server retains its sessions; if this did, V8 would learn to allocate all their parts as long-lived.
  const visits = new Map<number, { readonly session: Session; left: number }>()
  for (let from = 0; from < sessionCount; from += 100) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, offset) => {
        const index = from + offset
        const req: FakeRequest = { headers: { cookie: '' } }
        const res = new FakeResponse()
        const made = await store.new(req, 'sid')
        made.values = exampleValues(index)
        await store.save(req, res, made)
        cookies[index] = (res.getHeader('set-cookie')?.[0] ?? '').split(';')[0] as string
      }),
    )
  }
  return {
    name,
    store,
    cookies,
    async read(index) {
      const found = await store.get({ headers: { cookie: cookies[index] as string } }, 'sid')
      if (!found.values['user']) throw new Error(`${name}: session ${index} is empty`)
    },
    async save(index) {
      const req: FakeRequest = { headers: { cookie: cookies[index] as string } }
      const visit = visits.get(index) ?? { session: await store.new(req, 'sid'), left: savesPerVisit }
      visits.set(index, visit)
      const { values } = visit.session
      values['visits'] = (values['visits'] as number) + 1
      await store.save(req, new FakeResponse(), visit.session)
      if (--visit.left === 0) visits.delete(index)
    },
    async page(index) {
      const req: FakeRequest = { headers: { cookie: cookies[index] as string } }
      const res = new FakeResponse()
      const found = await store.get(req, 'sid')
      found.values['visits'] = (found.values['visits'] as number) + 1
      await store.save(req, res, found)
      cookies[index] = afterResponse(req.headers.cookie, res)
    },
    async comeAndGo() {
      const req: FakeRequest = { headers: { cookie: '' } }
      const made = await store.new(req, 'sid')
      made.values = exampleValues(0)
      await store.save(req, new FakeResponse(), made)
      await store.destroy(req, new FakeResponse(), made)
    },
    forget: () => visits.clear(),
    close: () => store.close(),
  }
}

/** With the cache: a read is the next turn of the event loop's, as requests are; within one turn nobody could hear of a change. */
export async function cachedSystem(connectionString: string): Promise<System> {
  const cache = { maxStale: 5, sessions: 2 * sessionCount }
  const system = await pgstoreSystem(connectionString, { cache }, 'pgstore, cached')
  for (let turn = 0; turn < 500 && system.store.stats().cache?.state !== 'listening'; turn++) {
    await system.read(0)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return {
    ...system,
    async read(index) {
      await system.read(index)
      await new Promise(setImmediate)
    },
    async warm() {
      const atOnce = 500
      for (let from = 0; from < sessionCount; from += atOnce) {
        await Promise.all(Array.from({ length: atOnce }, (_, offset) => system.read(from + offset)))
      }
    },
  }
}

/** Reads by token, like the peers' stores, which leave verifying the cookie to express-session. */
export async function byTokenSystem(connectionString: string): Promise<System> {
  const system = await pgstoreSystem(connectionString, {}, 'pgstore by token')
  const [codec] = system.store.codecs
  const tokens = system.cookies.map((cookie) => codec?.decode('sid', cookie.slice('sid='.length)) as string)
  return {
    ...system,
    async read(index) {
      const found = await system.store.byToken.get(tokens[index] as string)
      if (!found?.values()['user']) throw new Error(`${system.name}: session ${index} is empty`)
    },
  }
}

export type Operation = 'read' | 'save' | 'page'

/** This many callers that read, save, or visit a page that does both, for this long. */
export async function measureSystem(
  system: System,
  operation: Operation,
  { callers, seconds, cpu }: Pick<Load, 'callers' | 'seconds' | 'cpu'>,
): Promise<Sample> {
  // A visitor whose pages save returns to what the last one saved, not to another session.
  const stay = operation === 'read' ? 1 : savesPerVisit
  system.forget?.()
  return await measure(workOf(system, operation), { callers, seconds, cpu, count: sessionCount, stay })
}

function workOf(system: System, operation: Operation): (index: number) => Promise<void> {
  if (operation !== 'page') return (index) => system[operation](index)
  return async (index) => {
    if (system.page) return await system.page(index)
    await system.read(index)
    await system.save(index)
  }
}

type PeerSession = session.SessionData & Record<string, unknown>

/** An express-session store, called as express-session calls it. */
async function peerSystem(name: string, store: session.Store, close: () => Promise<void>): Promise<System> {
  const sids = Array.from({ length: sessionCount }, () => randomBytes(24).toString('base64url'))
  const sessions = sids.map((_, index) => {
    const cookie = {
      originalMaxAge: 30 * 86400_000,
      expires: new Date(Date.now() + 30 * 86400_000),
      httpOnly: true,
      path: '/',
    }
    return { cookie, ...exampleValues(index) } as unknown as PeerSession
  })
  const set = async (index: number, sid = sids[index] as string) =>
    await new Promise<void>((resolve, reject) => {
      store.set(sid, sessions[index] as PeerSession, (error?: unknown) => (error ? reject(error as Error) : resolve()))
    })
  for (let from = 0; from < sessionCount; from += 100) {
    await Promise.all(Array.from({ length: 100 }, async (_, offset) => await set(from + offset)))
  }
  return {
    name,
    async read(index) {
      const found = await new Promise<PeerSession | null | undefined>((resolve, reject) => {
        store.get(sids[index] as string, (error, data) =>
          error ? reject(error as Error) : resolve(data as PeerSession),
        )
      })
      if (!found?.['user']) throw new Error(`${name}: session ${index} is empty`)
    },
    async save(index) {
      const changed = sessions[index] as PeerSession
      changed['visits'] = (changed['visits'] as number) + 1
      changed.cookie.expires = new Date(Date.now() + 30 * 86400_000) // as express-session does at each request
      await set(index)
    },
    async comeAndGo() {
      const sid = randomBytes(24).toString('base64url')
      await set(0, sid)
      await new Promise<void>((resolve, reject) => {
        store.destroy(sid, (error?: unknown) => (error ? reject(error as Error) : resolve()))
      })
    },
    close,
  }
}

export async function connectPgSimpleSystem(connectionString: string, schemaName = 'public'): Promise<System> {
  const pool = openPool(connectionString, 10)
  const PgStore = connectPgSimple(session)
  const store = new PgStore({ pool, schemaName, createTableIfMissing: true, pruneSessionInterval: false })
  return await peerSystem('connect-pg-simple', store, async () => await pool.end())
}

export async function connectRedisSystem(port: number): Promise<System> {
  const client = createClient({ socket: { host: '127.0.0.1', port } })
  await client.connect()
  const store = new RedisStore({ client, ttl: 30 * 86400 }) as unknown as session.Store
  return await peerSystem('connect-redis', store, async () => {
    await client.close()
  })
}

export async function memoryStoreSystem(): Promise<System> {
  return await peerSystem('MemoryStore', new session.MemoryStore(), async () => {})
}

/** As pgbench's script computes it. */
function rawKey(index: number): Buffer {
  const number = Buffer.alloc(4)
  number.writeInt32BE(index)
  return createHash('sha256').update(number).digest()
}

/** The floor: one prepared statement by primary key, through a pool of the same size. */
export async function rawSystem(connectionString: string): Promise<System> {
  const pool = openPool(connectionString, 10)
  await pool.query('drop table if exists bench_raw')
  await pool.query('create table bench_raw (key bytea primary key, data jsonb not null) with (fillfactor = 85)')
  const keys = Array.from({ length: sessionCount }, (_, index) => rawKey(index))
  for (let from = 0; from < sessionCount; from += 1000) {
    await pool.query('insert into bench_raw select * from unnest($1::bytea[], $2::jsonb[])', [
      keys.slice(from, from + 1000),
      Array.from({ length: 1000 }, (_, offset) => JSON.stringify(exampleValues(from + offset))),
    ])
  }
  await pool.query('vacuum analyze bench_raw')
  const select = { name: 'bench-select', text: 'select data from bench_raw where key = $1' }
  const update = { name: 'bench-update', text: 'update bench_raw set data = data || $2::jsonb where key = $1' }
  let visits = 0
  return {
    name: 'pg, prepared',
    async read(index) {
      const { rows } = await pool.query({ ...select, values: [keys[index]] })
      if (!(rows[0] as { data: { user?: unknown } }).data.user) throw new Error(`session ${index} is empty`)
    },
    async save(index) {
      await pool.query({ ...update, values: [keys[index], `{"visits":${visits++}}`] })
    },
    async comeAndGo() {},
    close: async () => await pool.end(),
  }
}
