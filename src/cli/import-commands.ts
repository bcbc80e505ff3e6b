import fs from 'node:fs'
import type { Key } from '../cookie/keys.ts'
import { Database } from '../database/session-functions.ts'
import { PGStoreError } from '../errors.ts'
import { type Command, databaseUrl, type Flags, onSignal, print, Unfinished, UsageError, withPool } from './command.ts'
import { connectPgSimple } from './import/connect-pg-simple.ts'
import { connectRedis } from './import/connect-redis.ts'
import { pgstoreGo } from './import/pgstore-go.ts'
import { emptyReport, type ImportOptions, type ImportReport, runImport } from './import/run.ts'
import type { Source } from './import/source.ts'
import { Progress } from './progress.ts'

const common = ['from', 'userKey', 'maxLength', 'lifetime', 'dryRun'] as const

const promise = `The old store is only read. Each session keeps its id and its remaining life, so that visitors stay signed in. One
that is here already is left alone, so the command can be interrupted and run again. It counts the sessions that it skips, with the
reason. --dry-run reports what would be imported and writes nothing.`

export const importConnectPgSimple: Command = {
  name: 'import connect-pg-simple',
  summary: 'import the sessions of connect-pg-simple',
  options: [...common, 'table'],
  details: `${promise}

The table is "session" in the same database; --table and --from name another. Its times have no time zone: they are read in the
time zone of this role's connections, as connect-pg-simple reads them.

  pgstore import connect-pg-simple --user-key passport.user --dry-run
  pgstore import connect-pg-simple --user-key passport.user --from postgres://reader@old.example/app --table web.session`,
  run: (flags) =>
    importFrom(flags, () => Promise.resolve(connectPgSimple(flags.from ?? databaseUrl(flags), flags.table))),
}

export const importConnectRedis: Command = {
  name: 'import connect-redis',
  summary: 'import the sessions of connect-redis; needs the package redis',
  options: [...common, 'prefix'],
  details: `${promise}

--from or the environment variable REDIS_URL names the Redis server. In a cluster, run it once for each primary.

  REDIS_URL=redis://127.0.0.1:6379 pgstore import connect-redis --user-key passport.user --dry-run`,
  run: (flags) =>
    importFrom(flags, () => {
      const url = flags.from ?? process.env['REDIS_URL']
      if (!url) throw new UsageError('Redis URL missing: give --from or set REDIS_URL.')
      return connectRedis(url, flags.prefix)
    }),
}

export const importPgstoreGo: Command = {
  name: 'import pgstore-go',
  summary: "import the sessions of Go's pgstore",
  options: [...common, 'table', 'name', 'keys'],
  details: `${promise}

The table is "http_sessions" in the same database; --table and --from name another. --name is the name that the Go program uses for
its sessions and their cookie: keep that name, and the same keys, and the cookies stay valid.

The keys are never given on the command line, where others could see them. Put them in the environment variable
PGSTORE_IMPORT_KEYS, or in a file named by --keys: separated by white space, in the order of the Go program's NewPGStore (hash key,
block key, hash key …). Write each as hex:…, base64:… or text:…, and a missing block key as a single "-".

  PGSTORE_IMPORT_KEYS='text:my-hash-key-of-at-least-32-bytes! -' pgstore import pgstore-go --name session --dry-run

It reads text, booleans, numbers, slices, maps and structs. Byte slices become base64, times ISO 8601 text, and integers beyond 2^53
decimal text.`,
  run: (flags) =>
    importFrom(flags, () => {
      const { name } = flags
      if (!name) throw new UsageError('Session name missing: give --name, the name that the Go program uses.')
      const keyPairs = readKeys(flags)
      const connectionString = flags.from ?? databaseUrl(flags)
      return Promise.resolve(pgstoreGo({ connectionString, table: flags.table, name, keyPairs }))
    }),
}

async function importFrom(flags: Flags, open: () => Promise<Source>): Promise<void> {
  const options = importOptions(flags)
  databaseUrl(flags)
  const source = await open()
  const report = emptyReport()
  const started = performance.now()
  try {
    await withPool(flags, async (pool) => {
      const database = new Database(pool, flags.schema)
      await database.getMany([]) // an obstacle is reported before anything is read
      const progress = flags.json ? undefined : new Progress('Importing', await source.total())
      let isTold = false
      onSignal(() => {
        isTold = true
      })
      const goOn = ({ read }: ImportReport) => {
        progress?.update(read)
        return !isTold
      }
      try {
        await runImport(source, database, { ...options, goOn }, report)
      } catch (error) {
        progress?.end()
        if (!flags.json && report.read > 0) print(`Before it failed: ${sentence(report, flags.dryRun)}`)
        throw error
      }
      progress?.end()
    })
  } finally {
    await source.close()
  }
  const ms = Math.round(performance.now() - started)
  print(flags.json ? JSON.stringify(jsonReport(report, flags.dryRun, ms)) : text(report, flags.dryRun, ms))
  if (report.interrupted) throw new Unfinished()
}

function importOptions({ userKey, maxLength, lifetime, dryRun }: Flags): Omit<ImportOptions, 'goOn'> {
  const limit = wholeNumber('max-length', maxLength ?? '0')
  const seconds = wholeNumber('lifetime', lifetime ?? String(90 * 86400))
  return {
    userPath: userKey?.split('.') ?? [],
    maxLength: limit,
    lifetimeSeconds: seconds === 0 ? null : seconds,
    dryRun,
  }
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} must be a whole number, or 0 for no limit.`)
  return Number(text)
}

function readKeys({ keys: file }: Flags): (Key | null)[] {
  const words = (file === undefined ? (process.env['PGSTORE_IMPORT_KEYS'] ?? '') : readFile(file)).split(/\s+/)
  const keys = words.filter(Boolean).map((word, index): Key | null => {
    if (word === '-') return null
    const [, kind, key = ''] = /^(hex|base64|text):(.+)$/.exec(word) ?? []
    if (kind === 'text') return key
    if (kind === 'hex' && /^([0-9a-f]{2})+$/i.test(key)) return Buffer.from(key, 'hex')
    if (kind === 'base64' && /^[\w+/-]+={0,2}$/.test(key)) return Buffer.from(key, 'base64')
    throw new PGStoreError('invalid_option', `Key ${index} must be written as hex:…, base64:… or text:…, or be "-".`)
  })
  if (keys.length === 0) throw new UsageError('Keys missing: set PGSTORE_IMPORT_KEYS, or name a file with --keys.')
  return keys
}

function readFile(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new PGStoreError('invalid_option', `Cannot read the file named by --keys: ${code}.`)
  }
}

/** Names as in SQL: other programs read this. */
function jsonReport(report: ImportReport, dryRun: boolean, ms: number): object {
  return {
    read: report.read,
    taken: report.taken,
    already_there: report.alreadyThere,
    expired: report.expired,
    too_large: report.tooLarge,
    unreadable: report.unreadable,
    problems: report.problems,
    dry_run: dryRun,
    interrupted: report.interrupted,
    ms,
  }
}

function text(report: ImportReport, dryRun: boolean, ms: number): string {
  const problems = Object.entries(report.problems).map(([problem, n]) => `  Unreadable: ${number(n)} × ${problem}.`)
  const seconds = (ms / 1000).toLocaleString('en-US', { maximumFractionDigits: 1 })
  const lines = [`${sentence(report, dryRun)} It took ${seconds} s.`, ...problems]
  if (dryRun) lines.push('Dry run: nothing was written.')
  if (report.interrupted) lines.push('Interrupted: run it again to import the rest.')
  return lines.join('\n')
}

function sentence(report: ImportReport, dryRun: boolean): string {
  const { read, taken, alreadyThere, expired, tooLarge, unreadable } = report
  return [
    `Of ${number(read)} sessions read, ${number(taken)} ${dryRun ? 'would be' : 'were'} imported`,
    `${number(alreadyThere)} are here already`,
    `${number(expired)} have expired`,
    `${number(tooLarge)} are too large`,
    `${number(unreadable)} are unreadable.`,
  ].join(', ')
}

function number(value: number): string {
  return value.toLocaleString('en-US')
}
