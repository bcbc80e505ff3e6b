// `pgstore doctor` as a function: looks at one installation and returns what is wrong with it. What each subject knows stands in
// a file of its own.
import type pg from 'pg'
import { type CleanupStatus, MaintenanceDatabase, type SessionStats } from '../../database/cleanup-functions.ts'
import { cleanupFindings } from './cleanup.ts'
import { clockFindings, notificationFindings, standbyFindings, unreachable } from './connection.ts'
import type { Finding } from './finding.ts'
import { keyFindings, packageFindings } from './machine.ts'
import {
  applicationRoles,
  ownerRoleFindings,
  recordFindings,
  rightlessFinding,
  rightsFindings,
  roleFindings,
} from './roles.ts'
import {
  foreignFindings,
  functionFindings,
  migrationFindings,
  missingSchema,
  ownerFindings,
  pendingMigrations,
  relationFindings,
} from './schema.ts'
import { RoleSettings, serverFindings, serverSettings, settingFindings } from './settings.ts'
import { type DiagnoseOptions, type Situation, situation } from './situation.ts'
import { tableFindings } from './table.ts'

export type { Finding } from './finding.ts'
export type { DiagnoseOptions } from './situation.ts'

export interface Examination {
  readonly findings: readonly Finding[]
  /** What could not be looked at, and why, one sentence each. */
  readonly unseen: readonly string[]
  /** The state of the table; undefined if the role may not know it. */
  readonly stats: SessionStats | undefined
  /** The names of the application's roles. */
  readonly roles: readonly string[]
}

/**
 * What is wrong with this installation, the worst first; empty if nothing is. It changes nothing, and asks what the pool's role
 * may know: a role with the right "cleanup" or "admin" sees most. A database that cannot be reached is a finding, not an error.
 */
export async function diagnose(
  pool: pg.Pool,
  schema: string,
  options: DiagnoseOptions = {},
): Promise<readonly Finding[]> {
  return (await examine(pool, schema, options)).findings
}

/** As `diagnose`, with what else there is to say. */
export async function examine(pool: pg.Pool, schema: string, options: DiagnoseOptions = {}): Promise<Examination> {
  const machine = [
    ...(options.env ? keyFindings(options.env) : []),
    ...(options.folder === undefined ? [] : packageFindings(options.folder)),
  ]
  const sorted = (findings: readonly Finding[]) =>
    ['wrong', 'warning'].flatMap((level) => findings.filter((finding) => finding.level === level))
  let found: Situation
  try {
    found = await situation(pool, schema, options)
  } catch (error) {
    return { findings: sorted([unreachable(error), ...machine]), unseen: [], stats: undefined, roles: [] }
  }
  const elsewhere = [...(await standbyFindings(found)), ...(await clockFindings(found))]
  if (elsewhere.some(({ id }) => id === 'standby'))
    return { findings: sorted([...elsewhere, ...machine]), unseen: [], stats: undefined, roles: [] }
  const missing = await missingSchema(found)
  const { stats, findings } = missing ? { stats: undefined, findings: [missing] } : await installed(found)
  const { roles, findings: roleFound } = await roleSituation(found, missing === undefined)
  const heard = await notificationFindings(found)
  return {
    findings: sorted([...elsewhere, ...findings, ...roleFound, ...heard, ...machine]),
    unseen: found.unseen,
    stats,
    roles,
  }
}

async function installed(found: Situation): Promise<{ stats: SessionStats | undefined; findings: Finding[] }> {
  const foreign = await foreignFindings(found)
  if (foreign.length > 0) return { stats: undefined, findings: foreign }
  const findings = [
    ...rightlessFinding(found),
    ...(await relationFindings(found)),
    ...(await ownerFindings(found)),
    ...(await ownerRoleFindings(found)),
  ]
  const state = await maintenance(found)
  const migration = state ? migrationFindings(state.stats.migration, found.schema) : []
  findings.push(...migration)
  // Functions of a version that is yet to be installed are missing for that reason.
  const isComplete = migration.every(({ id }) => id !== 'schema_older')
  if (isComplete) findings.push(...(await functionFindings(found)))
  if (state) findings.push(...stateFindings(state.stats, state.cleanup, found.schema))
  const isOlder = state === undefined || pendingMigrations(state.stats.migration).length > 0
  if (found.can.has('rights_granted') && !isOlder)
    findings.push(...(await rightsFindings(found)), ...(await recordFindings(found)))
  return { stats: state?.stats, findings }
}

async function maintenance({
  pool,
  schema,
  can,
  role,
  unseen,
}: Situation): Promise<{ stats: SessionStats; cleanup: CleanupStatus } | undefined> {
  if (!can.has('session_stats') || !can.has('cleanup_status')) {
    unseen.push(
      `The rights on record, the purge, and the state of the table: role ${role} has not the right "cleanup" or "admin". Run this once more as one that has.`,
    )
    return undefined
  }
  const database = new MaintenanceDatabase(pool, schema)
  return { stats: await database.sessionStats(), cleanup: await database.cleanupStatus() }
}

/** What `pgstore status` warns of too. */
export function stateFindings(stats: SessionStats, cleanup: CleanupStatus, schema: string): Finding[] {
  return [...cleanupFindings(stats, cleanup, schema), ...tableFindings(stats, schema)]
}

async function roleSituation(
  found: Situation,
  isInstalled: boolean,
): Promise<{ roles: string[]; findings: Finding[] }> {
  const roles = isInstalled ? await applicationRoles(found) : []
  const findings = serverFindings(await serverSettings(found, found.role), found.version)
  for (const role of roles) {
    const settings = new RoleSettings(role, await serverSettings(found, role.name), found.database)
    const own = roleFindings(role, found)
    findings.push(...own, ...settingFindings(settings, role.is_superuser || role.is_owner))
  }
  return { roles: roles.map(({ name }) => name), findings }
}
