// Group `purge`: a million expired sessions beside a hundred thousand live ones, while visitors read at a steady rate.

import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import connectPgSimple from 'connect-pg-simple'
import session from 'express-session'
import { Latencies, median, type Percentiles, type Row, round } from '../measure.ts'
import { fillPgSimple, fillSessions, readFilled, tokenOf } from '../systems/fill.ts'
import { openPool, type Postgres } from '../systems/servers.ts'
import { pgstore } from '../systems/systems.ts'

/** Reads per second, however long the responses take: a closed loop would send fewer while the server is slow, and hide that. */
const readsPerSecond = 500

interface Purger {
  readonly name: string
  fill(expired: number, live: number): Promise<void>
  read(number: number): Promise<void>
  /** Returns how many were deleted. */
  purge(): Promise<number>
  close(): Promise<void>
}

/** In turns, each with a separate schema: one stall of the machine during a purge determines its p99. */
export async function measurePurge(
  postgres: Postgres,
  { rounds, ...size }: { rounds: number; expired: number; live: number; seconds: number },
): Promise<Row[]> {
  const figures = new Map<string, PurgeFigures[]>()
  for (let turn = 0; turn < rounds; turn++) {
    for (const open of [pgstorePurger, pgSimplePurger]) {
      const purger = await open(postgres.url)
      figures.set(purger.name, [...(figures.get(purger.name) ?? []), await purgeOnce(purger, size)])
    }
  }
  return [...figures].map(([system, all]) => {
    const of = (figure: (each: PurgeFigures) => number) => round(median(all.map(figure)))
    return {
      bench: 'purge',
      system,
      concurrency: 1,
      clientCpuUs: null,
      serverCpuUs: null,
      opsPerSecond: of(({ rowsPerSecond }) => rowsPerSecond),
      p50Ms: of(({ during }) => during.p50Ms),
      p99Ms: of(({ during }) => during.p99Ms),
      expired: size.expired,
      live: size.live,
      readsPerSecond,
      readP50BeforeMs: of(({ before }) => before.p50Ms),
      readP99BeforeMs: of(({ before }) => before.p99Ms),
      readP99Ratio: of(({ before, during }) => during.p99Ms / before.p99Ms),
    }
  })
}

interface PurgeFigures {
  readonly rowsPerSecond: number
  /** Of the reads. */
  readonly before: Percentiles
  readonly during: Percentiles
}

async function purgeOnce(
  purger: Purger,
  { expired, live, seconds }: { expired: number; live: number; seconds: number },
): Promise<PurgeFigures> {
  await purger.fill(expired, live)
  await steadyReads(purger, live, pause(1000))
  const before = await steadyReads(purger, live, pause(seconds * 1000))
  const start = performance.now()
  const purge = purger.purge()
  const during = await steadyReads(purger, live, purge)
  const elapsed = (performance.now() - start) / 1000
  const purged = await purge
  if (purged !== expired) throw new Error(`${purger.name}: ${purged} of ${expired} purged`)
  await purger.close()
  return { rowsPerSecond: purged / elapsed, before, during }
}

/** Reads until `ended`. Latency counts from when a read was sent: the timer that sends it is up to a millisecond late. */
async function steadyReads(purger: Purger, live: number, ended: Promise<unknown>): Promise<Percentiles> {
  const latencies = new Latencies()
  const open = new Set<Promise<void>>()
  let isOver = false
  const over = ended.finally(() => {
    isOver = true
  })
  const start = performance.now()
  for (let asked = 0; !isOver; ) {
    const due = start + (asked * 1000) / readsPerSecond
    const now = performance.now()
    if (due > now) {
      await pause(1)
      continue
    }
    asked++
    const reading = purger.read(Math.floor(Math.random() * live)).then(() => {
      latencies.add(performance.now() - now)
      open.delete(reading)
    })
    open.add(reading)
  }
  await over
  await Promise.all(open)
  return latencies.percentiles()
}

async function pgstorePurger(connectionString: string): Promise<Purger> {
  const store = await pgstore.PGStore.open({ connectionString, keys: [randomBytes(32)], schema: 'purged' })
  const admin = openPool(connectionString, 1)
  return {
    name: 'pgstore',
    async fill(expired, live) {
      await fillSessions(admin, 'purged', { from: live, to: live + expired, expiresIn: '-1 day' })
      await fillSessions(admin, 'purged', { from: 0, to: live, expiresIn: '20 days' })
      await admin.query('vacuum analyze purged.sessions')
      await admin.query('checkpoint')
    },
    read: (number) => readFilled(store, number),
    purge: () => store.purgeExpired(),
    async close() {
      await store.close()
      await admin.query('drop schema purged cascade')
      await admin.end()
    },
  }
}

async function pgSimplePurger(connectionString: string): Promise<Purger> {
  const pool = openPool(connectionString, 10)
  const PgStore = connectPgSimple(session)
  const schemaName = 'purged_simple' // a schema, not another table name: the primary key is always named session_pkey
  const options = { pool, schemaName, createTableIfMissing: true, pruneSessionInterval: false as const }
  const store = new PgStore(options) as session.Store & { pruneSessions(done: (error?: Error) => void): void }
  const read = async (number: number): Promise<unknown> =>
    await new Promise((resolve, reject) => {
      store.get(tokenOf(number), (error, found) => (error ? reject(error as Error) : resolve(found)))
    })
  return {
    name: 'connect-pg-simple',
    async fill(expired, live) {
      await pool.query('create schema purged_simple')
      await read(0) // creates its table
      await fillPgSimple(pool, 'purged_simple.session', { from: live, to: live + expired, expiresIn: '-1 day' })
      await fillPgSimple(pool, 'purged_simple.session', { from: 0, to: live, expiresIn: '20 days' })
      await pool.query('vacuum analyze purged_simple.session')
      await pool.query('checkpoint')
    },
    async read(number) {
      if (!(await read(number))) throw new Error(`session ${number} is empty`)
    },
    async purge() {
      const count = async () =>
        (await pool.query<{ n: number }>('select count(*)::integer as n from purged_simple.session')).rows[0]?.n ?? 0
      const before = await count()
      await new Promise<void>((resolve, reject) => {
        store.pruneSessions((error) => (error ? reject(error) : resolve()))
      })
      return before - (await count())
    },
    async close() {
      await pool.query('drop schema purged_simple cascade')
      await pool.end()
    },
  }
}
