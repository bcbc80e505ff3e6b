// Group `distance`: the database, or Redis, some milliseconds away. The table `distance` shows the stores, the table
// `distance_pages` a server whose page prints one value of a session and saves nothing.
import { median, type Row, range, round, type Sample, summary } from '../measure.ts'
import { inOwnProcess, type OwnProcess } from '../systems/contenders.ts'
import { type Distance, openDistance } from '../systems/distance.ts'
import { start } from '../systems/processes.ts'
import type { Postgres, Redis } from '../systems/servers.ts'
import { load, type Server, startServer } from './http.ts'
import type { Pace } from './read-save.ts'

/** @param distances milliseconds there and back; even at 0 all bytes pass the proxy: only the distance differs */
export async function measureDistance(
  postgres: Postgres,
  redis: Redis | undefined,
  distances: readonly number[],
  pace: Pace,
): Promise<Row[]> {
  const { hostname, port } = new URL(postgres.url)
  const toPostgres = await openDistance(hostname, Number(port || 5432))
  const toRedis = redis && (await openDistance('127.0.0.1', redis.port))
  const far: Far = {
    postgres: { ...postgres, url: throughProxy(postgres.url, toPostgres) },
    redis: redis && toRedis && { ...redis, port: toRedis.port },
    move(roundTripMs) {
      for (const distance of [toPostgres, toRedis]) if (distance) distance.roundTripMs = roundTripMs
    },
  }
  try {
    return [...(await measureStores(far, distances, pace)), ...(await measurePages(far, distances, pace))]
  } finally {
    await toPostgres.close()
    await toRedis?.close()
  }
}

/** The servers, behind their proxies. */
interface Far {
  readonly postgres: Postgres
  readonly redis: Redis | undefined
  readonly move: (roundTripMs: number) => void
}

function throughProxy(url: string, { port }: Distance): string {
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String(port)
  return through.href
}

const tasks = {
  read: { operation: 'read', callers: 1 },
  save: { operation: 'save', callers: 1 },
  page: { operation: 'page', callers: 1 },
  reads: { operation: 'read', callers: 128 },
} as const

type TaskName = keyof typeof tasks
const taskNames = Object.keys(tasks) as TaskName[]

async function measureStores(
  { postgres, redis, move }: Far,
  distances: readonly number[],
  { rounds, seconds }: Pace,
): Promise<Row[]> {
  const contenders: OwnProcess[] = []
  try {
    for (const name of ['pgstore', 'pgstore, cached', 'connect-pg-simple'] as const) {
      contenders.push(await inOwnProcess(name, postgres.url, postgres.cpu))
    }
    if (redis) contenders.push(await inOwnProcess('connect-redis', String(redis.port), redis.cpu))
    for (const contender of contenders) await contender.run('read', 128, seconds)
    const rows: Row[] = []
    for (const roundTripMs of distances) {
      move(roundTripMs)
      const samples = new Map(taskNames.map((name) => [name, samplesOf(contenders)]))
      for (const name of taskNames) {
        const { operation, callers } = tasks[name]
        for (let round = 0; round <= rounds; round++) {
          for (const contender of contenders) {
            if (operation === 'read') await contender.warm()
            const sample = await contender.run(operation, callers, seconds)
            if (sample && round > 0) samples.get(name)?.get(contender)?.push(sample)
          }
        }
      }
      for (const contender of contenders) {
        const of = (name: TaskName) => samples.get(name)?.get(contender) ?? []
        rows.push({
          ...summary('distance', `${contender.name}, ${roundTripMs} ms`, tasks.reads.callers, of('reads')),
          distanceMs: roundTripMs,
          opsRange: range(of('reads').map((sample) => sample.operations / sample.seconds)),
          ...p50Of('read', of('read')),
          ...p50Of('save', of('save')),
          ...p50Of('page', of('page')),
        })
      }
    }
    return rows
  } finally {
    move(0)
    for (const contender of contenders) await contender.close()
  }
}

function samplesOf<Key>(keys: readonly Key[]): Map<Key, Sample[]> {
  return new Map(keys.map((key) => [key, []]))
}

function p50Of(name: string, samples: readonly Sample[]): Record<string, number | string> {
  const all = samples.map(({ p50Ms }) => p50Ms)
  return { [`${name}P50Ms`]: round(median(all)), [`${name}P50Range`]: range(all) }
}

/** Few enough that all their sessions are cached before a visitor is measured. */
const visitors = 100

async function measurePages(
  { postgres, redis, move }: Far,
  distances: readonly number[],
  { rounds, seconds }: Pace,
): Promise<Row[]> {
  const env = { ...process.env, PGSTORE_BENCH_POSTGRES: postgres.url, PGSTORE_BENCH_REDIS: String(redis?.port ?? 0) }
  const driver = start('groups/http-load.ts', [], env)
  const servers: Server[] = []
  try {
    for (const name of ['node:http, no session', 'node:http + pgstore', 'node:http + pgstore, cached']) {
      const server = await startServer(name, env, postgres, redis)
      servers.push({ ...server, cookies: server.cookies.slice(0, visitors) })
    }
    const rows: Row[] = []
    for (const roundTripMs of distances) {
      move(roundTripMs)
      const samples = samplesOf(servers)
      for (let round = 0; round <= rounds; round++) {
        for (const server of servers) {
          await load(driver, server, 16, 0.3)
          const sample = await load(driver, server, 1, seconds)
          if (round > 0) samples.get(server)?.push(sample)
        }
      }
      for (const [{ name }, all] of samples) {
        const row = summary('distance_pages', `${name}, ${roundTripMs} ms`, 1, all)
        rows.push({ ...row, distanceMs: roundTripMs, ...p50Of('page', all) })
      }
    }
    return rows
  } finally {
    driver.kill()
    for (const server of servers) server.process.kill()
  }
}
