// Poolers that the tests can run behind: `npm run poolers`. What is the application's goes through them; LISTEN, the worker and the
// tests' own look into the database go directly, as docs/operations.md says.
import { startPgBouncerFor } from './support/pgbouncer.ts'
import { startPgpool } from './support/pgpool.ts'

export type PoolerName = 'transaction' | 'statement' | 'pgpool'

export interface RunningPooler {
  readonly name: string
  /** The same connection string, through the pooler. */
  lead(url: string): string
  close(): Promise<void>
}

/** @param owner as superuser */
export async function startPooler(kind: PoolerName, client: string, owner: string): Promise<RunningPooler> {
  if (kind === 'pgpool') {
    const pgpool = await startPgpool(owner)
    return { name: 'Pgpool-II', lead: (url) => pgpool.through(url), close: () => pgpool.close() }
  }
  // More than a test takes at once, and fewer than its clients are.
  const settings = [`pool_mode = ${kind}`, 'default_pool_size = 8', 'server_idle_timeout = 5']
  const bouncer = await startPgBouncerFor([client, owner], settings)
  return {
    name: `PgBouncer in ${kind} mode`,
    lead: (url) => bouncer.through(url),
    close: async () => bouncer.close(),
  }
}

/** What the suite is, behind a pooler: all that calls the database as an application does. */
export const files: readonly string[] = [
  'adapters/',
  'cache/s',
  'cleanup/cleanup',
  'cleanup/worker.',
  'events/',
  'session/',
  'sql/',
  'store/',
  'telemetry/channels',
]

/** And where time is short. */
export const fewFiles: readonly string[] = ['store/store', 'store/sign-in', 'events/events']

/** Transactions of the application's, over the pool or a client of it: for `withClient`, or to hold a lock. */
const inTransactions = [
  'adapters/express/own',
  'cache/store',
  'store/cookies-as-data',
  'store/cookies.',
  'store/durability',
  'store/endings',
  'store/life',
  'store/refused-cookies',
  'store/several-cookies',
  'store/values',
]

/** Files that do not run behind a pooler, with the reason: their names, or the beginnings of them. */
export function skippedBehind(kind: PoolerName): readonly (readonly [string, string])[] {
  const always = [['events/sleep', 'it counts the connections to the database, and a pooler keeps its own']] as const
  if (kind !== 'statement') return always
  const reason = 'its transactions are refused there, and so withClient cannot be used'
  return [...always, ...inTransactions.map((file) => [file, reason] as const)]
}
