// Everything that is measured side by side: the systems, a process each, and pgbench as the database's own limit.
import { execFile, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { systemBin } from '../../scripts/postgres.ts'
import { type CpuMeter, Latencies, perOperation, type Sample } from '../measure.ts'
import { answerOf, start } from './processes.ts'
import type { Postgres, Redis } from './servers.ts'
import type { Order, SystemName } from './system-process.ts'
import { type Operation, sessionCount } from './systems.ts'

export interface Contender {
  readonly name: string
  /** It has nothing to warm up. */
  readonly isWarm?: boolean
  /** Undefined if it is not available. */
  run(operation: Operation, callers: number, seconds: number): Promise<Sample | undefined>
  /** Reads every session once, where that makes later reads cheaper. */
  warm?(): Promise<void>
  close(): Promise<void>
}

export interface OwnProcess extends Contender {
  warm(): Promise<void>
}

export async function openContenders(postgres: Postgres, redis: Redis | undefined): Promise<Contender[]> {
  const contenders: Contender[] = [
    await inOwnProcess('pgstore', postgres.url, postgres.cpu),
    readsOnly(await inOwnProcess('pgstore by token', postgres.url, postgres.cpu)),
    readsOnly(await inOwnProcess('pgstore, cached', postgres.url, postgres.cpu)),
    await inOwnProcess('connect-pg-simple', postgres.url, postgres.cpu),
    ...(redis ? [await inOwnProcess('connect-redis', String(redis.port), redis.cpu)] : []),
    await inOwnProcess('MemoryStore', '', undefined),
    await inOwnProcess('pg, prepared', postgres.url, postgres.cpu),
  ]
  const program = pgbenchProgram()
  if (program) contenders.push(pgbench(program, postgres))
  else console.log('Skipped: pgbench is not installed: apt-get install postgresql-contrib (or postgresql-15).')
  return contenders
}

export async function inOwnProcess(
  name: SystemName,
  server: string,
  cpu: CpuMeter | undefined,
  env?: NodeJS.ProcessEnv,
): Promise<OwnProcess> {
  const child = start('systems/system-process.ts', [name, server], env)
  await answerOf<'ready'>(child)
  return {
    name,
    async run(operation, callers, seconds) {
      const before = cpu?.()
      child.send({ operation, callers, seconds } satisfies Order)
      const sample = await answerOf<Sample>(child)
      return { ...sample, serverCpuUs: perOperation(before, cpu?.(), sample.operations) }
    },
    async warm() {
      child.send('warm')
      await answerOf<'warm'>(child)
    },
    async close() {
      if (!child.connected) return
      child.disconnect()
      await once(child, 'exit')
    },
  }
}

/** A save is what it is without the cache, and by cookie. */
function readsOnly(contender: OwnProcess): OwnProcess {
  const { name } = contender
  const run: Contender['run'] = async (operation, callers, seconds) =>
    operation === 'read' ? await contender.run(operation, callers, seconds) : undefined
  return { name, run, warm: () => contender.warm(), close: () => contender.close() }
}

function pgbenchProgram(): string | undefined {
  const candidates = [path.join(systemBin() ?? '', 'pgbench'), 'pgbench']
  return candidates.find((program) => spawnSync(program, ['--version']).status === 0)
}

/** With more, a short run mostly measured the start of a process for each client: 80 updates a second on two cores. */
const mostConnections = 16

/** Prepared statements on `rawSystem`'s table. Each client has its own connection, while Node's systems share ten. */
function pgbench(program: string, postgres: Postgres): Contender {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-bench-pgbench-'))
  const scripts = {
    read: `select data from bench_raw where key = sha256(int4send(:n::integer));`,
    save: `update bench_raw set data = data || jsonb_build_object('visits', :n::integer) where key = sha256(int4send(:n::integer));`,
  }
  for (const [name, sql] of Object.entries(scripts)) {
    fs.writeFileSync(path.join(folder, name), `\\set n random(0, ${sessionCount - 1})\n${sql}\n`)
  }
  return {
    name: 'pgbench',
    isWarm: true,
    async run(operation, callers, seconds) {
      if (callers > mostConnections || !Object.hasOwn(scripts, operation)) return undefined
      const log = path.join(folder, 'log')
      const given = ['-n', '-M', 'prepared', '-f', path.join(folder, operation), '-l', '--log-prefix', log]
      const duration = Math.ceil(seconds) + 1 // it counts the time that connecting takes
      const load = ['-c', String(callers), '-j', String(Math.min(callers, 2)), '-T', String(duration)]
      const before = postgres.cpu()
      const { stdout } = await promisify(execFile)(program, [...given, ...load, postgres.url])
      const after = postgres.cpu()
      const latencies = new Latencies()
      for (const name of fs.readdirSync(folder).filter((file) => file.startsWith('log'))) {
        const file = path.join(folder, name)
        for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
          const microseconds = line.split(' ')[2]
          if (microseconds) latencies.add(Number(microseconds) / 1000)
        }
        fs.rmSync(file)
      }
      if (latencies.count === 0) return undefined
      const perSecond = Number(/tps = ([\d.]+)/.exec(stdout)?.[1])
      return {
        operations: latencies.count,
        seconds: latencies.count / perSecond,
        ...latencies.percentiles(),
        clientCpuUs: null,
        serverCpuUs: perOperation(before, after, latencies.count),
      }
    },
    async close() {
      fs.rmSync(folder, { recursive: true })
    },
  }
}
