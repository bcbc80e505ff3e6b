// Group `processes`: one, two and four server processes on one database, each with its own pool and its own sessions.
import { median, perOperation, type Row, range, round, type Sample, summary } from '../measure.ts'
import { inOwnProcess, type OwnProcess } from '../systems/contenders.ts'
import type { Postgres } from '../systems/servers.ts'
import type { Pace } from './read-save.ts'

const counts = [1, 2, 4] as const
const most = Math.max(...counts)

/** In each process. */
const callers = 128

const systems = ['pgstore', 'pgstore, cached', 'connect-pg-simple'] as const
const operations = ['read', 'save'] as const
type Operation = (typeof operations)[number]

/** Of all processes at the same time. */
interface Together extends Sample {
  /** Operations a second of the first one. */
  readonly first: number
}

export async function measureProcesses(postgres: Postgres, { rounds, seconds }: Pace): Promise<Row[]> {
  const rows: Row[] = []
  for (const name of systems) {
    const processes: OwnProcess[] = []
    try {
      while (processes.length < most) processes.push(await inOwnProcess(name, postgres.url, undefined))
      const results = { read: resultsOf(), save: resultsOf() }
      for (const operation of operations) {
        for (let round = 0; round <= rounds; round++) {
          for (const count of counts) {
            const result = await runTogether(postgres, processes.slice(0, count), operation, seconds)
            if (round > 0) results[operation].get(count)?.push(result)
          }
        }
      }
      for (const count of counts) rows.push(rowOf(name, count, results))
    } finally {
      for (const process of processes) await process.close()
    }
  }
  return rows
}

type Results = ReadonlyMap<number, Together[]>

function resultsOf(): Results {
  return new Map(counts.map((count) => [count, []]))
}

async function runTogether(
  postgres: Postgres,
  processes: readonly OwnProcess[],
  operation: Operation,
  seconds: number,
): Promise<Together> {
  if (operation === 'read') for (const process of processes) await process.warm()
  const before = postgres.cpu()
  const ran = await Promise.all(processes.map((process) => process.run(operation, callers, seconds)))
  const after = postgres.cpu()
  const samples = ran.filter((sample) => sample !== undefined)
  const sum = (figure: (sample: Sample) => number) => samples.reduce((total, sample) => total + figure(sample), 0)
  const operations = sum((sample) => sample.operations)
  return {
    operations,
    errors: sum((sample) => sample.errors ?? 0),
    seconds: operations / sum(perSecond),
    p50Ms: median(samples.map(({ p50Ms }) => p50Ms)),
    p99Ms: Math.max(...samples.map(({ p99Ms }) => p99Ms)),
    clientCpuUs: sum((sample) => (sample.clientCpuUs ?? 0) * sample.operations) / operations,
    serverCpuUs: perOperation(before, after, operations),
    first: perSecond(samples[0] as Sample),
  }
}

function perSecond({ operations, seconds }: Sample): number {
  return operations / seconds
}

function rowOf(name: string, count: number, { read, save }: Readonly<Record<Operation, Results>>): Row {
  const system = `${name}, ${count} ${count === 1 ? 'process' : 'processes'}`
  const reads = read.get(count) ?? []
  const saves = save.get(count) ?? []
  const row = summary('processes', system, count * callers, reads)
  const { opsPerSecond, serverCpuUs } = summary('processes', system, count * callers, saves)
  const errors = [...reads, ...saves].reduce((sum, sample) => sum + (sample.errors ?? 0), 0)
  return {
    ...row,
    ...(errors > 0 ? { errors } : {}),
    processes: count,
    opsRange: range(reads.map(perSecond)),
    readFirstRatio: count === 1 ? null : firstRatio(read, count),
    savesPerSecond: opsPerSecond,
    savesRange: range(saves.map(perSecond)),
    saveServerCpuUs: serverCpuUs,
    saveFirstRatio: count === 1 ? null : firstRatio(save, count),
  }
}

/** The first process' throughput beside the others over its throughput alone: the median of the rounds' ratios. */
function firstRatio(results: Results, count: number): number {
  const alone = results.get(1) ?? []
  const beside = results.get(count) ?? []
  return round(median(beside.map(({ first }, at) => first / (alone[at] as Together).first)))
}
