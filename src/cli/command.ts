// What a command is, and what all commands share.
import type pg from 'pg'

export interface Flags {
  readonly databaseUrl: string | undefined
  readonly schema: string
  readonly json: boolean
  readonly workerSchema: string | undefined
  readonly every: string | undefined
  readonly keep: string | undefined
  readonly from: string | undefined
  readonly table: string | undefined
  readonly preset: string | undefined
  readonly id: string | undefined
  readonly data: string | undefined
  readonly expires: string | undefined
  readonly ttl: string | undefined
  readonly prefix: string | undefined
  readonly name: string | undefined
  readonly keys: string | undefined
  readonly userKey: string | undefined
  readonly maxLength: string | undefined
  readonly lifetime: string | undefined
  readonly dryRun: boolean
  /** The word after the command's name, for a command that takes one. */
  readonly argument: string | undefined
  readonly as: string | undefined
  /** The application's role. */
  readonly role: string | undefined
  readonly print: boolean
  readonly port: string | undefined
  readonly showData: boolean
  readonly engine: string | undefined
  readonly partitions: string | undefined
  readonly before: string | undefined
  readonly tag: string | undefined
  readonly user: string | undefined
}

export interface Command {
  /** Words after `pgstore`. */
  readonly name: string
  /** The name of the required word after the command's name, in capitals. Default: it takes none. */
  readonly argument?: string
  readonly summary: string
  /** Its options, by their names in `Flags`. */
  readonly options?: readonly (keyof Flags)[]
  /** The right that it needs, for the advice where the role has not got it. */
  readonly right?: 'cleanup' | 'admin'
  /** What `--help` says beyond the summary. */
  readonly details?: string
  run(flags: Flags): Promise<void>
}

/** A usage error: exit code 2. */
export class UsageError extends Error {}

/** A command that did not finish and has already said so: exit code 1. */
export class Unfinished extends Error {}

/** Without a URL, a database that libpq's variables name: node-postgres fills in the parts that the URL leaves out from them. */
export function databaseUrl({ databaseUrl }: Flags): string {
  if (databaseUrl) return databaseUrl
  if (['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE'].some((name) => process.env[name])) return 'postgres:///'
  throw new UsageError(
    'Database URL missing: give --database-url, or set DATABASE_URL or PGHOST, PGDATABASE and so on.',
  )
}

export async function withPool<Result>(flags: Flags, work: (pool: pg.Pool) => Promise<Result>): Promise<Result> {
  const connectionString = databaseUrl(flags)
  // No page waits for a command, so a busy server may take its time.
  const patience = { connectionTimeoutMillis: 10_000, query_timeout: 60_000 }
  const { openPool } = await import('../database/pool.ts')
  const pool = openPool({ connectionString, application_name: 'pgstore command', max: 2, ...patience })
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Calls `end`, once, when the process is told to end: Ctrl-C under npx arrives twice, from the terminal and from npx. */
export function onSignal(end: () => void): void {
  let told = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!told) end()
      told = true
    })
  }
}
