// Group `cache`, what a cache asks of the database in a minute, and how soon it refuses a session that another process ended.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Row, round } from '../measure.ts'
import { answerOf, start } from '../systems/processes.ts'
import type { Postgres } from '../systems/servers.ts'
import { type PGStoreSystem, pgstoreSystem, sessionCount } from '../systems/systems.ts'

const turnMs = 10

/** Where the machine has paused, what is due comes in parts: a store refuses more than it can send. */
const mostAtOnce = 1000

/** Reads at an even pace, of sessions at random. `rows` is what the database was asked for. */
export async function measureRowsRead(postgres: Postgres, reads: number, seconds: number): Promise<Row> {
  const system = await cached(postgres, 'pgstore, cached, evenly', 5)
  const rowsAsked = (): number => {
    const { misses, bypasses } = system.store.stats().cache as { misses: number; bypasses: Record<string, number> }
    return misses + Object.values(bypasses).reduce((sum, count) => sum + count, 0)
  }
  const before = rowsAsked()
  const started = performance.now()
  for (let done = 0; done < reads; ) {
    const due = Math.min(reads, done + mostAtOnce, Math.ceil(((performance.now() - started) / 1000 / seconds) * reads))
    await Promise.all(Array.from({ length: due - done }, async () => await system.read(anyOf(sessionCount))))
    done = due
    await sleep(turnMs)
  }
  const taken = (performance.now() - started) / 1000
  const rows = rowsAsked() - before
  await system.close()
  return row(system.name, { opsPerSecond: Math.round(reads / taken), reads, seconds: Math.round(taken), rows })
}

/**
 * Sessions that another process ends, while this one keeps reading them: from the answer there to the first refusal here, by the
 * clock that both share.
 */
export async function measureEnds(postgres: Postgres, ends: number): Promise<Row> {
  const system = await cached(postgres, 'pgstore, cached, ended elsewhere', 60)
  const [codec] = system.store.codecs
  const ender = start('systems/ender.ts', [postgres.url])
  try {
    await answerOf(ender)
    const delays: number[] = []
    for (let index = 0; index < ends; index++) {
      const cookie = system.cookies[index] as string
      for (let hits = 0; hits < 2; hits++) await system.store.get(requestOf(cookie), 'sid')
      const ended = answerOf<number>(ender)
      ender.send(codec?.decode('sid', cookie.slice('sid='.length)) as string)
      while (!(await system.store.get(requestOf(cookie), 'sid')).isNew) await new Promise(setImmediate)
      const refusedAt = performance.timeOrigin + performance.now()
      delays.push(Math.max(0, refusedAt - (await ended)))
    }
    delays.sort((one, other) => one - other)
    const at = (share: number) => delays[Math.min(ends - 1, Math.floor(ends * share))] as number
    const percentiles = { p50Ms: round(at(0.5)), p99Ms: round(at(0.99)) }
    return row(system.name, { ...percentiles, ends, worstMs: round(at(1)) })
  } finally {
    ender.kill()
    await system.close()
  }
}

async function cached(postgres: Postgres, name: string, maxStale: number): Promise<PGStoreSystem> {
  const system = await pgstoreSystem(postgres.url, { cache: { maxStale, sessions: 2 * sessionCount } }, name)
  for (let turn = 0; turn < 500 && system.store.stats().cache?.state !== 'listening'; turn++) {
    await system.read(0)
    await sleep(turnMs)
  }
  return system
}

function requestOf(cookie: string) {
  return { headers: { cookie } }
}

function anyOf(count: number): number {
  return Math.floor(Math.random() * count)
}

function row(system: string, figures: Partial<Row>): Row {
  const none = { opsPerSecond: 0, p50Ms: 0, p99Ms: 0, clientCpuUs: null, serverCpuUs: null }
  return { bench: 'cache_use', system, concurrency: 1, ...none, ...figures }
}
