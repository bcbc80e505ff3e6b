// `npm run bench -- pairs --base FOLDER` and `express`: two builds of pgstore in turns, pair by pair, each in separate
// processes and a separate database. Drift on the machine affects both of a pair alike, so differences of a few per cent can
// be measured.
import path from 'node:path'
import { median, round, type Sample } from '../measure.ts'
import { type Interval, intervalOf } from '../report/intervals.ts'
import { table } from '../report/report.ts'
import { ownFolder } from '../systems/build.ts'
import { inOwnProcess } from '../systems/contenders.ts'
import { start } from '../systems/processes.ts'
import { openPool, type Postgres } from '../systems/servers.ts'
import { load, startServer } from './http.ts'

export interface PairsOptions {
  /** Folder of the other checkout, which has been built. Undefined for `express`: this build without its waits. */
  readonly base: string | undefined
  readonly operations: readonly string[]
  readonly pairs: number
  /** Of one turn; each of a pair has two for an operation. */
  readonly seconds: number
}

type Run = (seconds: number) => Promise<Sample>

/** One of a pair, and its operations. */
interface Side {
  readonly runs: Readonly<Record<string, Run>>
  close(): Promise<void>
}

/** The result of a pair, for both: operations per second, microseconds of processor time per operation. */
interface Figures {
  readonly opsPerSecond: number
  readonly clientCpuUs: number
  readonly serverCpuUs: number | null
}

interface Pair {
  readonly ours: Figures
  readonly base: Figures
}

interface StoreLoad {
  readonly operation: 'read' | 'save'
  readonly callers: number
  /** Into how many parts a turn is cut: see `cuts` in read-save.ts. */
  readonly cuts?: number
}

const stores: Readonly<Record<string, StoreLoad>> = {
  'read, 128 callers': { operation: 'read', callers: 128 },
  'read, 1 caller': { operation: 'read', callers: 1, cuts: 5 },
  'save, 128 callers': { operation: 'save', callers: 128 },
}

const pages: Readonly<Record<string, { server: string; path: string }>> = {
  'node:http + pgstore, 128 connections': { server: 'node:http + pgstore', path: '/' },
  'Express + pgstore, a visit, 128 connections': { server: 'Express + pgstore', path: '/' },
  'Express + pgstore, a save, 128 connections': { server: 'Express + pgstore', path: '/save' },
}

const inExpress = (name: string): boolean => name.startsWith('Express')

/** What each command compares. */
export const pairGroups: Readonly<Record<'pairs' | 'express', readonly string[]>> = {
  pairs: [...Object.keys(stores), ...Object.keys(pages).filter((name) => !inExpress(name))],
  express: Object.keys(pages).filter(inExpress),
}

/** What a ratio's interval has to reach, and how wide it may be, as one end over the other, for a verdict. */
const wanted = 0.97
const widest = 1.1

export async function comparePairs(postgres: Postgres, options: PairsOptions): Promise<string> {
  const results = new Map<string, Pair[]>(options.operations.map((name) => [name, []]))
  const driver = start('groups/http-load.ts', [])
  try {
    for (let number = 1; number <= options.pairs; number++) {
      const sides = [await openSide(postgres, 'new', options), await openSide(postgres, 'base', options)] as const
      const ratios: string[] = []
      for (const name of options.operations) {
        const pair = await measurePair(sides, name, options.seconds, number % 2 === 0)
        results.get(name)?.push(pair)
        ratios.push(`${name} ${(pair.ours.opsPerSecond / pair.base.opsPerSecond).toFixed(3)}`)
      }
      for (const side of sides) await side.close()
      console.log(`pair ${number} of ${options.pairs}: ${ratios.join(' · ')}`)
    }
  } finally {
    driver.kill()
  }
  return table(
    [...results].flatMap(([name, pairs]) => rowsOf(name, pairs)),
    ['measure', 'new', 'base', 'new / base', '95 % from', 'to', 'verdict'],
  )

  async function openSide(postgres: Postgres, name: 'new' | 'base', { base, operations }: PairsOptions): Promise<Side> {
    const database = await createDatabase(postgres, name)
    const build = name === 'base' && base ? path.resolve(base) : ownFolder
    const env = { ...process.env, PGSTORE_BENCH_BUILD: build, PGSTORE_BENCH_POSTGRES: database.url }
    const runs: Record<string, Run> = {}
    const ends: (() => unknown)[] = [() => database.drop()]
    if (operations.some((operation) => Object.hasOwn(stores, operation))) {
      const contender = await inOwnProcess('pgstore', database.url, postgres.cpu, env)
      ends.unshift(() => contender.close())
      for (const [operation, { operation: kind, callers }] of Object.entries(stores)) {
        runs[operation] = async (seconds) => (await contender.run(kind, callers, seconds)) as Sample
      }
    }
    const servers = new Set(operations.flatMap((operation) => pages[operation]?.server ?? []))
    for (const system of servers) {
      const isLetGo = name === 'base' && !base
      const server = await startServer(isLetGo ? `${system}, answers not held` : system, env, postgres)
      ends.unshift(() => server.process.kill())
      for (const [operation, page] of Object.entries(pages)) {
        if (page.server !== system) continue
        runs[operation] = async (seconds) => await load(driver, server, 128, seconds, page.path)
      }
    }
    return {
      runs,
      async close() {
        for (const end of ends) await end()
      },
    }
  }
}

/** A B B A, and in every second pair B A A B, as often as a turn is cut, after a turn of each that does not count. */
async function measurePair(
  sides: readonly [Side, Side],
  name: string,
  seconds: number,
  isTurned: boolean,
): Promise<Pair> {
  const [first, second] = isTurned ? ([1, 0] as const) : ([0, 1] as const)
  const samples: [Sample[], Sample[]] = [[], []]
  const run = async (at: 0 | 1, duration: number): Promise<Sample> => {
    const sample = await sides[at].runs[name]?.(duration)
    if (!sample) throw new Error(`${name}: nothing runs it`)
    if (sample.errors) throw new Error(`${name}: ${sample.errors} calls failed`)
    return sample
  }
  await run(first, seconds)
  await run(second, seconds)
  const cuts = stores[name]?.cuts ?? 1
  for (let cut = 0; cut < cuts; cut++) {
    for (const at of [first, second, second, first]) samples[at].push(await run(at, seconds / cuts))
  }
  return { ours: figuresOf(samples[0]), base: figuresOf(samples[1]) }
}

function figuresOf(samples: readonly Sample[]): Figures {
  const sum = (of: (sample: Sample) => number) => samples.reduce((total, sample) => total + of(sample), 0)
  const operations = sum((sample) => sample.operations)
  const isServerKnown = samples.every(({ serverCpuUs }) => serverCpuUs !== null)
  return {
    opsPerSecond: operations / sum((sample) => sample.seconds),
    clientCpuUs: sum((sample) => (sample.clientCpuUs ?? Number.NaN) * sample.operations) / operations,
    serverCpuUs: isServerKnown ? sum((sample) => (sample.serverCpuUs ?? 0) * sample.operations) / operations : null,
  }
}

type Row = Readonly<Record<string, string | number>>

function rowsOf(name: string, pairs: readonly Pair[]): Row[] {
  const rows: Row[] = []
  const add = (unit: string, figure: (figures: Figures) => number, verdict?: (interval: Interval) => string): void => {
    const interval = intervalOf(pairs.map(({ ours, base }) => figure(ours) / figure(base)))
    rows.push({
      measure: `${name}: ${unit}`,
      new: round(median(pairs.map(({ ours }) => figure(ours)))),
      base: round(median(pairs.map(({ base }) => figure(base)))),
      'new / base': interval.ratio.toFixed(3),
      '95 % from': interval.from.toFixed(3),
      to: interval.to.toFixed(3),
      verdict: verdict?.(interval) ?? '',
    })
  }
  add('ops/s', ({ opsPerSecond }) => opsPerSecond, reaches)
  // Higher cost means less work: its inverse compares like a throughput.
  const asThroughput = ({ ratio, from, to }: Interval) => reaches({ ratio: 1 / ratio, from: 1 / to, to: 1 / from })
  add('client CPU µs/op', ({ clientCpuUs }) => clientCpuUs, asThroughput)
  if (pairs.every(({ ours, base }) => ours.serverCpuUs && base.serverCpuUs)) {
    add('server CPU µs/op', ({ serverCpuUs }) => serverCpuUs as number)
  }
  return rows
}

function reaches({ from, to }: Interval): string {
  if (to < wanted) return `does not reach ${wanted}`
  if (from >= wanted) return `reaches ${wanted}, all of it`
  return to / from > widest ? 'too wide to tell: more pairs' : `reaches ${wanted}`
}

async function createDatabase({ url }: Postgres, side: string): Promise<{ url: string; drop(): Promise<void> }> {
  const own = new URL(url)
  const name = `${own.pathname.slice(1)}_${side}`
  own.pathname = `/${name}`
  const query = async (text: string): Promise<void> => {
    const admin = openPool(url, 1)
    await admin.query(text)
    await admin.end()
  }
  await query(`create database ${name}`)
  return { url: own.href, drop: async () => await query(`drop database ${name} with (force)`) }
}
