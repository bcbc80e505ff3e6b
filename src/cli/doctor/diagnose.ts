// `pgstore doctor` as a function: looks at one installation and returns what is wrong with it. What each subject knows stands in
// a file of its own.
import type pg from 'pg'
import { MaintenanceDatabase } from '../../database/cleanup-functions.ts'
import { cleanupFindings } from './cleanup.ts'
import type { Finding } from './finding.ts'
import { situation } from './situation.ts'
import { tableFindings } from './table.ts'

export type { Finding } from './finding.ts'

export interface DiagnoseOptions {
  /** The environment that the application runs with. Default: none, and its keys are not looked at. */
  readonly env?: NodeJS.ProcessEnv | undefined
}

/**
 * What is wrong with this installation, the worst first; empty if nothing is. It changes nothing, and asks what the pool's role
 * may know: a role with the right "cleanup" or "admin" sees most. A database that cannot be reached is a finding, not an error.
 */
export async function diagnose(pool: pg.Pool, schema: string, options: DiagnoseOptions = {}): Promise<readonly Finding[]> {
  const found = await situation(pool, schema, options)
  if (!found.can.has('session_stats')) return []
  const database = new MaintenanceDatabase(pool, schema)
  const stats = await database.sessionStats()
  const cleanup = await database.cleanupStatus()
  return [...cleanupFindings(stats, cleanup, schema), ...tableFindings(stats, schema)]
}
