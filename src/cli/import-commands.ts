import fs from 'node:fs'
import type { Key } from '../cookie/keys.ts'
import { Database } from '../database/session-functions.ts'
import { PGStoreError } from '../errors.ts'
import { databaseUrl, type Flags, onSignal, print, Unfinished, UsageError, withPool } from './command.ts'
import { connectPgSimple } from './import/connect-pg-simple.ts'
import { connectRedis } from './import/connect-redis.ts'
import { pgstoreGo } from './import/pgstore-go.ts'
import { emptyReport, type ImportOptions, type ImportReport, runImport } from './import/run.ts'
import type { Source } from './import/source.ts'
import { Progress } from './progress.ts'

export async function importConnectPgSimple(flags: Flags): Promise<void> {
  await importFrom(flags, () => Promise.resolve(connectPgSimple(flags.from ?? databaseUrl(flags), flags.table)))
}

export async function importConnectRedis(flags: Flags): Promise<void> {
  await importFrom(flags, () => {
    const url = flags.from ?? process.env['REDIS_URL']
    if (!url) throw new UsageError('Redis URL missing: give --from or set REDIS_URL.')
    return connectRedis(url, flags.prefix)
  })
}

export async function importPgstoreGo(flags: Flags): Promise<void> {
  await importFrom(flags, () => {
    const { name } = flags
    if (!name) throw new UsageError('Session name missing: give --name, the name that the Go program uses.')
    const keyPairs = readKeys(flags)
    const connectionString = flags.from ?? databaseUrl(flags)
    return Promise.resolve(pgstoreGo({ connectionString, table: flags.table, name, keyPairs }))
  })
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
