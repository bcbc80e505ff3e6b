// What all imports share: their options, their progress and their report.
import { Database } from '../database/session-functions.ts'
import { databaseUrl, type Flags, onSignal, print, Unfinished, UsageError, withPool } from './command.ts'
import { emptyReport, type ImportOptions, type ImportReport, runImport } from './import/run.ts'
import type { Source } from './import/source.ts'
import { Progress } from './progress.ts'

/** Reads what `open` opens, imports it and prints the report. */
export async function importFrom(flags: Flags, open: () => Promise<Source>): Promise<void> {
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
  print(flags.json ? JSON.stringify(jsonReport(report, flags.dryRun, ms)) : text(report, flags, ms))
  const isKeyWrong = flags.userKey !== undefined && report.users === 0 && report.taken + report.alreadyThere > 0
  if (isKeyWrong) process.stderr.write(`${noUser(flags)}\n`)
  if (report.interrupted || (isKeyWrong && flags.dryRun)) throw new Unfinished()
}

function noUser({ userKey, dryRun }: Flags): string {
  const repair = dryRun
    ? 'Correct --user-key, or leave it out if none of them is signed in.'
    : 'Run it again with the right --user-key, which adds the users.'
  return `No session has a user at ${userKey}. ${repair}`
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

/** A number of at most nine digits. */
export function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} must be a whole number, or 0 for no limit.`)
  return Number(text)
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
    users: report.users,
    users_added: report.usersAdded,
    problems: report.problems,
    dry_run: dryRun,
    interrupted: report.interrupted,
    ms,
  }
}

function text(report: ImportReport, { dryRun, userKey }: Flags, ms: number): string {
  const problems = Object.entries(report.problems).map(([problem, n]) => `  Unreadable: ${number(n)} × ${problem}.`)
  const seconds = (ms / 1000).toLocaleString('en-US', { maximumFractionDigits: 1 })
  const lines = [`${sentence(report, dryRun)} It took ${seconds} s.`, ...problems]
  if (userKey !== undefined) {
    const added = `${number(report.usersAdded)} that ${dryRun ? 'are here would get' : 'were here got'} theirs`
    lines.push(`${number(report.users)} have a user at ${userKey}; ${added}.`)
  }
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
