// A cache that listens, in a world of virtual time, and what reads from it.
import * as assert from 'uvu/assert'
import type { Clocks } from '../../src/cache/clocks.ts'
import { SessionCache } from '../../src/cache/session-cache.ts'
import type { SessionRow } from '../../src/database/row.ts'
import { Pool, Process, SimulatedDatabase, SimulatedEar, World } from './world.ts'

export interface Arranged {
  readonly world: World
  readonly process: Process
  readonly database: SimulatedDatabase
  readonly pool: Pool
  readonly ear: SimulatedEar
  readonly cache: SessionCache
  /** Reads as a request does; what was shown, and whether it came from the cache. */
  read(token: string, hint?: string): Promise<{ readonly row: SessionRow | undefined; readonly isHit: boolean }>
}

export interface Arrangement {
  readonly clocks?: (clocks: Clocks) => Clocks
  readonly maxStale?: number
  /** What a row becomes before the cache sees it. */
  readonly row?: (row: SessionRow) => SessionRow
  /** Whether the age counts from the answer. */
  readonly isStampedLate?: boolean
  /** Milliseconds that a query waits before it is sent. */
  readonly queueMs?: number
  /** Milliseconds that answers take. */
  readonly answerMs?: number
  /** What is heard of a message. */
  readonly alter?: (message: object) => object | undefined
}

/** A cache that listens. */
export async function arrange(arrangement: Arrangement = {}): Promise<Arranged> {
  const { clocks = (same) => same, maxStale = 5, isStampedLate, answerMs = 1, row = (same) => same } = arrangement
  const world = new World(1)
  const process = new Process(world)
  const database = new SimulatedDatabase(world)
  const pool = new Pool(database, process)
  const ear = new SimulatedEar(database, process)
  if (arrangement.alter) ear.alter = arrangement.alter
  const cache = new SessionCache(
    { maxStale, sessions: 100, bytes: 1e6, byToken: false },
    {
      clocks: clocks(process.clocks),
      ear,
      bell: pool,
      read: async (key, sent) => {
        if (arrangement.queueMs) await world.sleep(arrangement.queueMs)
        if (!isStampedLate) sent()
        const found = database.row(key.toString('latin1'))
        await world.sleep(answerMs)
        if (isStampedLate) sent()
        return found && row(found)
      },
      schema: 'pgstore',
    },
  )
  const request = async (token: string, hint: string | undefined) => {
    const key = Buffer.from(token, 'latin1')
    if (!(await cache.isOpen())) return { row: database.row(token), isHit: false }
    const found = cache.find(token, hint)
    if (found) return { row: found.row, isHit: true }
    const shared = await cache.join(token, hint)
    if (shared) return { row: shared.row, isHit: false }
    const entry = await cache.read({ digest: token, key, hint, codec: undefined, signedAt: 0 })
    return { row: entry?.row, isHit: false }
  }
  const arranged = {
    world,
    process,
    database,
    pool,
    ear,
    cache,
    read: (token: string, hint?: string) => during(world, request(token, hint)),
  }
  for (let tries = 0; tries < 100 && cache.stats.state !== 'listening'; tries++) {
    void cache.isOpen()
    await world.pass(20)
  }
  return arranged
}

/** Lets time pass until this is done. */
export async function during<Result>(world: World, work: Promise<Result>): Promise<Result> {
  let isDone = false
  void work.finally(() => {
    isDone = true
  })
  for (let ms = 0; !isDone && ms < 60_000; ms++) {
    await world.pass(1)
    await new Promise(setImmediate)
  }
  return await work
}

/** Time in which sessions are read, so that the heart beats and pings go out. */
export async function live(arranged: Arranged, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 20) {
    void arranged.cache.isOpen()
    await arranged.world.pass(20)
  }
}

/** The same, with a session in it. */
export async function stored(arrangement: Arrangement = {}): Promise<Arranged> {
  const arranged = await arrange(arrangement)
  arranged.database.create('token', 'user')
  await live(arranged, 100)
  await arranged.read('token')
  assert.ok((await arranged.read('token')).isHit)
  return arranged
}
