import type pg from 'pg'
import { type CleanupStatus, MaintenanceDatabase, type SessionStats } from '../database/cleanup-functions.ts'
import { databaseError } from '../errors.ts'
import { checkWorkable, inspect } from '../schema/inspection.ts'
import { migrations } from '../schema/migrations.generated.ts'
import { type RightsDifference, rightsDifferences } from '../schema/rights.ts'
import { describeCleanup, publicStatus } from './cleanup.ts'
import { type Flags, print, withPool } from './command.ts'

export async function status(flags: Flags): Promise<void> {
  const { schema } = flags
  const { stats, cleanup, warnings } = await withPool(flags, async (pool) => {
    await checkSchema(pool, schema)
    const database = new MaintenanceDatabase(pool, schema)
    const stats = await database.sessionStats()
    const cleanup = await database.cleanupStatus()
    const differences = pendingMigrations(stats).length === 0 ? await findDifferences(pool, schema) : []
    return { stats, cleanup, warnings: [...statusWarnings(stats, cleanup), ...rightsWarnings(differences)] }
  })
  if (flags.json) print(JSON.stringify(jsonStatus(schema, stats, cleanup, warnings)))
  else print(textStatus(schema, stats, cleanup, warnings))
}

const minute = 60_000
const day = 24 * 60 * minute
const megabyte = 1024 * 1024

async function checkSchema(pool: pg.Pool, schema: string): Promise<void> {
  try {
    checkWorkable(await inspect(pool, schema), schema)
  } catch (error) {
    throw databaseError('Inspecting the schema', error)
  }
}

async function findDifferences(pool: pg.Pool, schema: string): Promise<RightsDifference[]> {
  try {
    return await rightsDifferences(pool, schema)
  } catch (error) {
    throw databaseError('Checking the rights', error)
  }
}

/** One sentence per role: default privileges grant dozens of rights at once. */
function rightsWarnings(differences: readonly RightsDifference[]): string[] {
  const advice = 'As the owner of the schema, run "npx pgstore migrate"'
  return [false, true].flatMap((isMissing) => {
    const of = differences.filter((difference) => difference.isMissing === isMissing)
    return [...new Set(of.map(({ holder }) => holder))].map((holder) => {
      const privileges = of.filter((difference) => difference.holder === holder).map(({ privilege }) => privilege)
      const more = privileges.length > 1 ? ` and ${count(privileges.length - 1)} more` : ''
      return isMissing
        ? `${holder} lacks a right that it was granted: ${privileges[0]}${more}. ${advice}, which grants it again.`
        : `${holder} has a right that pgstore did not grant: ${privileges[0]}${more}. ${advice}, which revokes it, or "npx pgstore grant" to keep it.`
    })
  })
}

/** What is wrong and what to do, a sentence or two each. */
export function statusWarnings(stats: SessionStats, cleanup: CleanupStatus): string[] {
  return [...schemaWarnings(stats), ...cleanupWarnings(stats, cleanup), ...tableWarnings(stats)]
}

/** Names of the migrations that this package has and the database lacks. */
function pendingMigrations({ migration }: SessionStats): string[] {
  const names = migrations.map(({ name }) => name)
  return migration === undefined ? [] : names.filter((name) => name > migration)
}

function schemaWarnings(stats: SessionStats): string[] {
  const pending = pendingMigrations(stats)
  if (pending.length > 0) return [`Migrations are pending: ${pending.join(', ')}. Run "npx pgstore migrate".`]
  const isKnown = stats.migration === undefined || migrations.some(({ name }) => name === stats.migration)
  return isKnown ? [] : ['The schema is newer than this package. Upgrade the package.']
}

function cleanupWarnings({ expired, oldestExpiredAt, now }: SessionStats, cleanup: CleanupStatus): string[] {
  const since = (date: Date | undefined) => (date ? now.getTime() - date.getTime() : Number.POSITIVE_INFINITY)
  const waiting = oldestExpiredAt ? since(oldestExpiredAt) : 0
  if (!cleanup.enabled) {
    // A purge on the application's own schedule is fine if it leaves no row for longer than a day.
    if (waiting < day && expired < 10_000) return []
    return [
      `The recurring purge is off, and ${count(expired)} expired sessions have piled up. Run "npx pgstore cleanup start" and a worker.`,
    ]
  }
  const warnings: string[] = []
  if (!cleanup.workerSeenAt)
    warnings.push('No worker has been seen yet, so nothing is purged. Run "npx pgstore worker".')
  else if (since(cleanup.workerSeenAt) > 5 * minute) {
    warnings.push(`No worker has been seen since ${cleanup.workerSeenAt.toISOString()}. Run "npx pgstore worker".`)
  } else if (cleanup.nextRunAt && since(cleanup.nextRunAt) > 10 * minute) {
    warnings.push(`The purge has been overdue since ${cleanup.nextRunAt.toISOString()}. Check the worker's log.`)
  }
  if (cleanup.lastError) warnings.push(`The last run of the purge failed with ${cleanup.lastError}.`)
  return warnings
}

function tableWarnings(stats: SessionStats): string[] {
  const warnings: string[] = []
  const { live, expired, deadRows, tableBytes, usedBytes, indexBytes, updates, now, vacuumedAt } = stats
  if (updates >= 1000 && heapOnlyShare(stats) < 0.7) {
    warnings.push(
      `Only ${percent(heapOnlyShare(stats))} of the updates are heap-only: the others write every index too. Does the table have an extra index, or no free space in its pages (fillfactor)?`,
    )
  }
  const rows = live + expired
  if (deadRows > 10_000 && deadRows > rows / 5 && !(vacuumedAt && now.getTime() - vacuumedAt.getTime() < 60 * minute)) {
    warnings.push(
      `${count(deadRows)} dead rows are waiting for VACUUM. Check that autovacuum is on and that no old transaction holds it back (pg_stat_activity.backend_xmin).`,
    )
  }
  // Full pages are filled to 85 %: a table at half of that or less will not fill up again soon.
  if (tableBytes > 50 * megabyte && usedBytes < 0.4 * tableBytes) {
    warnings.push(
      `The table takes ${size(tableBytes)} for rows of about ${size(usedBytes)}. New sessions will reuse the space; to shrink it now, run VACUUM FULL (which locks the table) or pg_repack.`,
    )
  }
  if (indexBytes > 50 * megabyte && indexBytes > 500 * rows) {
    warnings.push(
      `The indexes take ${size(indexBytes)} for about ${count(rows)} rows. Run REINDEX TABLE CONCURRENTLY on the table.`,
    )
  }
  return warnings
}

function heapOnlyShare({ updates, heapOnlyUpdates }: SessionStats): number {
  return updates === 0 ? 1 : heapOnlyUpdates / updates
}

/** Names as in SQL: other programs read this. */
function jsonStatus(schema: string, stats: SessionStats, cleanup: CleanupStatus, warnings: readonly string[]): object {
  return {
    schema,
    migration: stats.migration ?? null,
    pending_migrations: pendingMigrations(stats),
    live: stats.live,
    expired: stats.expired,
    anonymous: stats.anonymous,
    is_estimate: stats.isEstimate,
    oldest_expired_at: stats.oldestExpiredAt ?? null,
    table_bytes: stats.tableBytes,
    used_bytes: stats.usedBytes,
    index_bytes: stats.indexBytes,
    total_bytes: stats.totalBytes,
    updates: stats.updates,
    heap_only_updates: stats.heapOnlyUpdates,
    heap_only_share: stats.updates === 0 ? null : heapOnlyShare(stats),
    dead_rows: stats.deadRows,
    vacuumed_at: stats.vacuumedAt ?? null,
    cleanup: publicStatus(cleanup),
    warnings,
  }
}

function textStatus(schema: string, stats: SessionStats, cleanup: CleanupStatus, warnings: readonly string[]): string {
  const about = (value: number) =>
    stats.isEstimate && value > 0 ? `about ${count(Number(value.toPrecision(3)))}` : count(value)
  const lines = [
    ['Schema', `${schema}${stats.migration ? `, ${stats.migration}` : ''}`],
    ['Live', `${about(stats.live)}, ${about(stats.anonymous)} of them anonymous`],
    ['Expired', expiredText(stats, about)],
    ['Size', `${size(stats.totalBytes)}: table ${size(stats.tableBytes)}, indexes ${size(stats.indexBytes)}`],
    ['Updates', updatesText(stats)],
    ['Cleanup', describeCleanup(cleanup).replaceAll('\n', ' ')],
  ].map(([name, text]) => `${`${name}:`.padEnd(9)} ${text}`)
  return [...lines, ...warnings.map((warning) => `Warning:  ${warning}`)].join('\n')
}

/** Up to 10,000 they are counted. */
function expiredText({ expired, oldestExpiredAt }: SessionStats, about: (value: number) => string): string {
  const number = expired > 10_000 ? about(expired) : count(expired)
  return oldestExpiredAt ? `${number}, the oldest since ${oldestExpiredAt.toISOString()}` : 'none'
}

function updatesText(stats: SessionStats): string {
  if (stats.updates === 0) return 'none yet'
  return `${percent(heapOnlyShare(stats))} of ${count(stats.updates)} heap-only`
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}

function percent(share: number): string {
  return `${Math.floor(share * 100)} %`
}

function size(bytes: number): string {
  if (bytes < megabyte) return `${count(Math.ceil(bytes / 1024))} kB`
  const digits = { maximumFractionDigits: bytes < 100 * megabyte ? 1 : 0 }
  return `${(bytes / megabyte).toLocaleString('en-US', digits)} MB`
}
