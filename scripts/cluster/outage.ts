// `npm run cluster -- outage`: one partition of four refuses connections, then is frozen, while visitors come and go on all four.
import { PGStore } from '../../src/index.ts'
import { Cluster, type ClusterDatabase } from './cluster.ts'
import { key, letVisit, settle, sleep, Tally, type Visited } from './visitors.ts'

const partitions = 4
const away = 2

export interface OutageOptions {
  readonly lanes: number
  readonly visitors: number
  /** How long each outage lasts. */
  readonly seconds: number
  /** Between two phases, as what still hangs is not the next one's. */
  readonly restSeconds: number
}

export interface OutageRow {
  readonly lanes: number
  readonly what: string
  readonly others: Tally
  readonly own: Tally
  /** Milliseconds from the partition's return to the first visit that was served; undefined where it was not away. */
  readonly returnMs: number | undefined
}

type Phase = Pick<OutageRow, 'what'> & { readonly begin: () => Promise<void>; readonly end: () => Promise<void> }

/** What happens to the visitors of the partition that is away, and to the others. */
export async function measureOutage(
  cluster: Cluster,
  database: ClusterDatabase,
  { lanes, visitors, seconds, restSeconds }: OutageOptions,
): Promise<OutageRow[]> {
  const store = new PGStore<Visited>({ connectionString: database.url, keys: [key], batch: { lanes } })
  const rows: OutageRow[] = []
  let others = new Tally()
  let own = new Tally()
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => {
    const server = cluster.partitions[away]
    if (!server) throw new Error('There is no such partition.')
    // The server first, so that it starts no other backend meanwhile.
    for (const pid of cluster.pids(server)) process.kill(pid, name)
  }
  const phases: readonly Phase[] = [
    { what: 'undisturbed', begin: async () => {}, end: async () => {} },
    {
      what: 'refuses connections',
      begin: () => cluster.stopPartition(away),
      end: () => cluster.startPartition(away),
    },
    { what: 'frozen', begin: async () => signal('SIGSTOP'), end: async () => signal('SIGCONT') },
  ]
  try {
    const places = await settle(store, partitions, visitors / partitions)
    const ends = places.map((place, index) =>
      letVisit(
        place,
        () => store,
        () => (index === away ? own : others),
      ),
    )
    await sleep(1000)
    for (const { what, begin, end } of phases) {
      others = new Tally()
      own = new Tally()
      const row = { lanes, what, others, own }
      await begin()
      await sleep(seconds * 1000)
      await end()
      const returned = performance.now()
      if (what !== 'undisturbed') {
        // A visit that began after the return; some of those before it may still be waiting.
        while (own.servedAt < returned && performance.now() < returned + 30_000) await sleep(10)
        if (own.servedAt < returned) throw new Error('The partition came back, and nobody was served within 30 s.')
      }
      rows.push({ ...row, returnMs: what === 'undisturbed' ? undefined : performance.now() - returned })
      others = new Tally()
      own = new Tally()
      await sleep(restSeconds * 1000)
    }
    await Promise.all(ends.map((end) => end()))
  } finally {
    await store.close()
  }
  return rows
}

export function outageTable(rows: readonly OutageRow[]): string {
  const failures = ({ failures }: Tally) => [...failures].map(([code, count]) => `${count} ${code}`).join(', ') || '0'
  const ms = (tally: Tally, share: number) => tally.quantile(share).toFixed(0)
  const lines = rows.map(({ lanes, what, others, own, returnMs }) =>
    [
      lanes,
      what,
      others.served,
      failures(others),
      ms(others, 0.5),
      ms(others, 0.99),
      own.served,
      failures(own),
      returnMs === undefined ? '' : returnMs.toFixed(0),
      others.lost + own.lost + others.signedOut + own.signedOut,
    ].join(' | '),
  )
  return [
    '| lanes | partition 2 | others: served | failed | p50 ms | p99 ms | its own: served | failed | ms to the first after its return | lost, signed out |',
    '|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...lines.map((line) => `| ${line} |`),
  ].join('\n')
}

/** What is not as promised, with lanes. */
export function outageProblems(rows: readonly OutageRow[]): string[] {
  const problems: string[] = []
  for (const { what, others, own } of rows) {
    const calm = what === 'undisturbed'
    if (others.failed > 0) problems.push(`${what}: ${others.failed} visits to other partitions failed`)
    if (calm && own.failed > 0) problems.push(`${what}: ${own.failed} visits failed`)
    const strange = [...own.failures.keys()].filter((code) => code !== 'unavailable' && code !== 'timeout')
    if (strange.length > 0) problems.push(`${what}: failed with ${strange.join(', ')}`)
    const broken = [others, own].reduce((sum, { lost, signedOut }) => sum + lost + signedOut, 0)
    if (broken > 0) problems.push(`${what}: ${broken} lost or signed out`)
  }
  return problems
}

/** The same with the figures that depend on the machine. */
function slowness(rows: readonly OutageRow[]): string[] {
  const [calm, ...outages] = rows
  const most = 2 * (calm?.others.quantile(0.99) ?? 0)
  return outages.flatMap(({ what, others, returnMs = 0 }) => [
    ...(others.quantile(0.99) > most ? [`${what}: p99 of the others is over ${most.toFixed(0)} ms`] : []),
    ...(returnMs > 2000 ? [`${what}: served only ${returnMs.toFixed(0)} ms after the return`] : []),
  ])
}

export async function outage(): Promise<number> {
  const cluster = await Cluster.start({ partitions })
  try {
    const database = await cluster.createDatabase('outage')
    const options = { visitors: 64, seconds: 5, restSeconds: 6 }
    const rows = await measureOutage(cluster, database, { ...options, lanes: partitions })
    const beside = await measureOutage(cluster, database, { ...options, lanes: 1 })
    console.log(outageTable([...rows, ...beside]))
    const problems = [...outageProblems(rows), ...slowness(rows)]
    for (const problem of problems) console.log(`Not as promised: ${problem}.`)
    return problems.length > 0 ? 1 : 0
  } finally {
    await cluster.stop()
  }
}
