// The targets: ratios within one run, each with its required value.
import type { Row } from './measure.ts'

interface Target {
  readonly measure: string
  readonly atLeast?: number
  readonly atMost?: number
  /** Undefined if this run has not measured it. */
  readonly of: (find: Find) => number | undefined
}

/** The row of a group and system; the first one if no concurrency is given. */
type Find = (bench: string, system: string, concurrency?: number) => Row | undefined

export interface Verdict {
  readonly measure: string
  readonly target: string
  readonly measured: number
  readonly isMet: boolean
}

function ratio(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? undefined : one / other
}

function throughput(one: Row | undefined, other: Row | undefined): number | undefined {
  return ratio(one?.opsPerSecond, other?.opsPerSecond)
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined
}

/** Undefined for a shorter run, in which the first read of each session weighs more. */
function perMillion(row: Row | undefined): number | undefined {
  return row?.['reads'] === 1_000_000 ? number(row['rows']) : undefined
}

const targets: readonly Target[] = [
  {
    measure: 'read, 128 callers: pgstore / connect-pg-simple',
    atLeast: 6,
    of: (find) => throughput(find('read', 'pgstore', 128), find('read', 'connect-pg-simple', 128)),
  },
  {
    measure: 'read, 128 callers: pgstore / connect-redis',
    atLeast: 2,
    of: (find) => throughput(find('read', 'pgstore', 128), find('read', 'connect-redis', 128)),
  },
  {
    measure: 'read, 1 caller: p50 of pgstore / of a prepared select in pg',
    atMost: 1.15,
    of: (find) => ratio(find('read', 'pgstore', 1)?.p50Ms, find('read', 'pg, prepared', 1)?.p50Ms),
  },
  {
    measure: 'cached read, 128 callers: pgstore / connect-pg-simple',
    atLeast: 12,
    of: (find) => throughput(find('read', 'pgstore, cached', 128), find('read', 'connect-pg-simple', 128)),
  },
  {
    measure: 'cached read, 128 callers: pgstore / connect-redis',
    atLeast: 3.5,
    of: (find) => throughput(find('read', 'pgstore, cached', 128), find('read', 'connect-redis', 128)),
  },
  {
    measure: 'cached read, 128 callers: pgstore / MemoryStore',
    atLeast: 0.6,
    of: (find) => throughput(find('read', 'pgstore, cached', 128), find('read', 'MemoryStore', 128)),
  },
  {
    measure: 'durable save, 128 callers: pgstore / connect-pg-simple',
    atLeast: 6,
    of: (find) => throughput(find('save', 'pgstore', 128), find('save', 'connect-pg-simple', 128)),
  },
  {
    measure: 'save, 1 caller: p50 of pgstore / of a prepared update in pg',
    atMost: 1.25,
    of: (find) => ratio(find('save', 'pgstore', 1)?.p50Ms, find('save', 'pg, prepared', 1)?.p50Ms),
  },
  {
    measure: 'durable save, 128 callers: pgstore / connect-redis without persistence',
    atLeast: 1,
    of: (find) => throughput(find('save', 'pgstore', 128), find('save', 'connect-redis', 128)),
  },
  {
    measure: 'relaxed save, 128 callers: pgstore / connect-redis without persistence',
    atLeast: 1.3,
    of: (find) => throughput(find('durability', 'pgstore, relaxed', 128), find('durability', 'connect-redis', 128)),
  },
  {
    measure: 'HTTP, 128 connections: node:http reading a session / the same without',
    atLeast: 0.65,
    of: (find) => throughput(find('http', 'node:http + pgstore', 128), find('http', 'node:http, no session', 128)),
  },
  {
    measure: 'HTTP, 128 connections: Express + pgstore / Express + connect-redis, both with touch',
    atLeast: 1.1,
    of: (find) => throughput(find('http', 'Express + pgstore', 128), find('http', 'Express + connect-redis', 128)),
  },
  {
    measure: 'HTTP, 128 connections: node:http reading a cached session / the same without',
    atLeast: 0.8,
    of: (find) =>
      throughput(find('http', 'node:http + pgstore, cached', 128), find('http', 'node:http, no session', 128)),
  },
  {
    measure: 'page that reads a warm cached session, 5 ms from its database: p50 / the same without',
    atMost: 1.5,
    of: (find) =>
      ratio(
        find('distance_pages', 'node:http + pgstore, cached, 5 ms')?.p50Ms,
        find('distance_pages', 'node:http, no session, 5 ms')?.p50Ms,
      ),
  },
  {
    measure: 'rows read from the database for 1,000,000 cached reads of 10,000 sessions in a minute, maxStale 5',
    atMost: 130_000,
    of: (find) => perMillion(find('cache_use', 'pgstore, cached, evenly')),
  },
  {
    measure: 'cached session ended by another process: ms until it is refused, p99',
    atMost: 50,
    of: (find) => find('cache_use', 'pgstore, cached, ended elsewhere')?.p99Ms,
  },
  {
    measure: 'heap-only share of saves in a steady mixed load',
    atLeast: 0.95,
    of: (find) => number(find('storage', 'pgstore, mixed load')?.['hotShare']),
  },
  {
    measure: 'WAL bytes a save: pgstore / connect-pg-simple',
    atMost: 0.6,
    of: (find) =>
      ratio(
        number(find('storage', 'pgstore, saves')?.['walBytes']),
        number(find('storage', 'connect-pg-simple, saves')?.['walBytes']),
      ),
  },
  {
    measure: 'read, 1 caller: p50 at 5,000,000 rows / at 10,000',
    atMost: 1.3,
    of: (find) =>
      ratio(find('growth', 'pgstore, 5,000,000 rows', 1)?.p50Ms, find('growth', 'pgstore, 10,000 rows', 1)?.p50Ms),
  },
  {
    measure: "purge: reads' p99 during / before",
    atMost: 2,
    of: (find) => number(find('purge', 'pgstore')?.['readP99Ratio']),
  },
  {
    measure: 'memory, 1,024 callers: heap in the last third of the time / in the first',
    atMost: 1.05,
    of: (find) => number(find('memory', 'pgstore')?.['heapGrowth']),
  },
  {
    measure: 'memory: MB of heap for 100,000 cached sessions of 350 bytes',
    atMost: 100,
    of: (find) => number(find('cache', 'pgstore, cached')?.['heapMb']),
  },
]

export function judge(rows: readonly Row[]): Verdict[] {
  const find: Find = (bench, system, concurrency) =>
    rows.find(
      (row) =>
        row.bench === bench && row.system === system && (concurrency === undefined || row.concurrency === concurrency),
    )
  return targets.flatMap(({ measure, atLeast, atMost, of }) => {
    const measured = of(find)
    if (measured === undefined) return []
    const isMet = measured >= (atLeast ?? Number.NEGATIVE_INFINITY) && measured <= (atMost ?? Number.POSITIVE_INFINITY)
    const target = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`
    return [{ measure, target, measured, isMet }]
  })
}
