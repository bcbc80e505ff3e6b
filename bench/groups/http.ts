// Group `http`: a server in one process, its visitors in another, as in a real application.
import type { ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import { type CpuMeter, perOperation, type Row, type Sample, summary } from '../measure.ts'
import { answerOf, start } from '../systems/processes.ts'
import type { Postgres, Redis } from '../systems/servers.ts'
import type { Load, LoadResult } from './http-load.ts'
import type { Pace } from './read-save.ts'

const visitors = 1000

export interface Server {
  readonly name: string
  readonly process: ChildProcess
  readonly port: number
  readonly cookies: readonly string[]
  readonly database: CpuMeter
}

export async function measureHttp(
  postgres: Postgres,
  redis: Redis | undefined,
  { rounds, seconds }: Pace,
): Promise<Row[]> {
  const hasAdapter = fs.existsSync(new URL('../../dist/adapters/express-session.js', import.meta.url))
  if (!hasAdapter) console.log('Skipped: Express + pgstore: this build has no express-session store.')
  const hasMiddleware = fs.existsSync(new URL('../../dist/adapters/express.js', import.meta.url))
  const names = [
    'node:http, no session',
    'node:http, no session, 5 µs of work',
    'node:http + pgstore',
    'node:http + pgstore, cached',
    'Express, no session',
    ...(hasAdapter ? ['Express + pgstore'] : []),
    ...(hasMiddleware ? ['Express + pgstore/express', 'Express + pgstore/express, cached'] : []),
    'Express + connect-pg-simple',
    'Express + connect-pg-simple, no touch',
    ...(redis ? ['Express + connect-redis', 'Express + connect-redis, no touch'] : []),
    'Express + MemoryStore',
  ]
  const env = { ...process.env, PGSTORE_BENCH_POSTGRES: postgres.url, PGSTORE_BENCH_REDIS: String(redis?.port ?? 0) }
  const driver = start('groups/http-load.ts', [], env)
  const servers: Server[] = []
  try {
    for (const name of names) servers.push(await startServer(name, env, postgres, redis))
    const rows: Row[] = []
    for (const callers of [16, 128]) {
      const samples = new Map<string, Sample[]>(names.map((name) => [name, []]))
      for (let round = 0; round <= rounds; round++) {
        for (const server of servers) {
          // While the others were measured, what this one had cached went stale: it would measure the first second of a start.
          if (server.name.includes('cached')) await load(driver, server, callers, 1)
          const sample = await load(driver, server, callers, seconds)
          if (round > 0) samples.get(server.name)?.push(sample)
        }
      }
      for (const [name, all] of samples) rows.push(summary('http', name, callers, all))
    }
    return rows
  } finally {
    driver.kill()
    for (const server of servers) server.process.kill()
  }
}

export async function startServer(
  name: string,
  env: NodeJS.ProcessEnv,
  postgres: Postgres,
  redis?: Redis,
): Promise<Server> {
  const child = start('groups/http-server.ts', [name], env)
  const port = await answerOf<number>(child)
  const cookies: string[] = []
  for (let made = 0; made < (name.includes('no session') ? 0 : visitors); made += 50) {
    const responses = Array.from({ length: 50 }, async () => {
      const response = await fetch(`http://127.0.0.1:${port}/make`)
      await response.arrayBuffer()
      const lines = response.headers.getSetCookie()
      if (!response.ok || lines.length === 0) throw new Error(`${name}: no session was made`)
      return lines.map((line) => line.split(';')[0]).join('; ')
    })
    cookies.push(...(await Promise.all(responses)))
  }
  const database = /pg/.test(name) ? postgres.cpu : ((/redis/.test(name) ? redis?.cpu : undefined) ?? (() => undefined))
  return { name, process: child, port, cookies: cookies.length > 0 ? cookies : [''], database }
}

export async function load(
  driver: ChildProcess,
  server: Server,
  callers: number,
  seconds: number,
  path = '/',
): Promise<Sample> {
  const before = { own: await cpuOf(server), database: server.database() }
  const task: Load = { port: server.port, path, cookies: server.cookies, callers, seconds }
  driver.send(task)
  const result = await answerOf<LoadResult>(driver)
  return {
    ...result,
    clientCpuUs: perOperation(before.own, await cpuOf(server), result.operations),
    serverCpuUs: perOperation(before.database, server.database(), result.operations),
  }
}

/** As the process itself counts it: /proc has a resolution of hundredths of a second. */
async function cpuOf({ process: child }: Server): Promise<number> {
  child.send('cpu')
  return await answerOf<number>(child)
}
