import type pg from 'pg'
import { type CleanupStatus, MaintenanceDatabase, type SessionStats } from '../database/cleanup-functions.ts'
import { databaseError } from '../errors.ts'
import { checkUsable, inspect } from '../schema/inspection.ts'
import { describeCleanup, publicStatus } from './cleanup.ts'
import { type Flags, print, withPool } from './command.ts'
import { stateFindings } from './doctor/diagnose.ts'
import { count, percent, sentences, size } from './doctor/finding.ts'
import { rightsFindings } from './doctor/roles.ts'
import { migrationFindings, pendingMigrations } from './doctor/schema.ts'
import { heapOnlyShare } from './doctor/table.ts'

export async function status(flags: Flags): Promise<void> {
  const { schema } = flags
  const { stats, cleanup, warnings } = await withPool(flags, async (pool) => {
    const isProxy = await checkSchema(pool, schema)
    const database = new MaintenanceDatabase(pool, schema)
    const stats = await database.sessionStats()
    const cleanup = await database.cleanupStatus()
    const isComplete = !isProxy && pendingMigrations(stats.migration).length === 0
    const rights = isComplete ? await findRights(pool, schema) : []
    return { stats, cleanup, warnings: [...statusWarnings(stats, cleanup, schema), ...rights] }
  })
  if (flags.json) print(JSON.stringify(jsonStatus(schema, stats, cleanup, warnings)))
  else print(textStatus(schema, stats, cleanup, warnings))
}

/** Whether it is a proxy, whose rights are compared with nothing: what it has is printed anew with each version. */
async function checkSchema(pool: pg.Pool, schema: string): Promise<boolean> {
  try {
    const found = await inspect(pool, schema)
    checkUsable(found, schema)
    return found.is_proxy
  } catch (error) {
    throw databaseError('Inspecting the schema', error)
  }
}

async function findRights(pool: pg.Pool, schema: string): Promise<string[]> {
  try {
    return (await rightsFindings({ pool, schema })).map(sentences)
  } catch (error) {
    throw databaseError('Checking the rights', error)
  }
}

/** What is wrong and what to do, a sentence or two each: what `pgstore doctor` finds in these. */
export function statusWarnings(stats: SessionStats, cleanup: CleanupStatus, schema = 'pgstore'): string[] {
  return [...migrationFindings(stats.migration, schema), ...stateFindings(stats, cleanup, schema)].map(sentences)
}

/** Names as in SQL: other programs read this. */
function jsonStatus(schema: string, stats: SessionStats, cleanup: CleanupStatus, warnings: readonly string[]): object {
  return {
    schema,
    migration: stats.migration ?? null,
    pending_migrations: pendingMigrations(stats.migration),
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
