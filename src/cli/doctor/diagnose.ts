// `pgstore doctor` as a function: looks at one installation and returns what is wrong with it. What each subject knows stands in
// a file of its own.
import type pg from 'pg'
import {
  type CleanupState,
  type CleanupStatus,
  MaintenanceDatabase,
  type SessionStats,
} from '../../database/cleanup-functions.ts'
import { refuse } from '../../errors.ts'
import { cleanupFindings } from './cleanup.ts'
import { clockFindings, notificationFindings, standbyFindings, unreachable } from './connection.ts'
import type { Finding } from './finding.ts'
import { keyFindings, packageFindings } from './machine.ts'
import { functionFindings, missingFindings, ownerFindings } from './objects.ts'
import { failureFindings, part } from './part.ts'
import {
  type ApplicationRole,
  applicationRoles,
  ownerRoleFindings,
  recordFindings,
  rightlessFinding,
  rightsFindings,
  roleFindings,
} from './roles.ts'
import {
  foreignFindings,
  isProxy,
  ledgerMigration,
  migrationFindings,
  missingSchema,
  relationFindings,
} from './schema.ts'
import { RoleSettings, serverFindings, serverSettings, settingFindings } from './settings.ts'
import { type Asked, type DiagnoseOptions, type Situation, situation } from './situation.ts'
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
 *
 * @throws {PGStoreError} `invalid_option` if the options name a role that does not exist
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
  if (!found.hasRole) refuse([`role ${options.role} does not exist: name the role that the application connects as`])
  const elsewhere = [
    ...(await part(found, 'Whether the server is a standby', [], standbyFindings)),
    ...(await part(found, 'The clocks', [], clockFindings)),
  ]
  if (elsewhere.some(({ id }) => id === 'standby'))
    return { findings: sorted([...elsewhere, ...machine]), unseen: [], stats: undefined, roles: [] }
  const missing = await part(found, 'Whether pgstore is installed', undefined, missingSchema)
  const roles = missing ? [] : await part(found, "The application's roles", [], applicationRoles)
  const { stats, findings } = missing ? { stats: undefined, findings: [missing] } : await installed(found, roles)
  const roleFound = await settingsOf(found, roles)
  const heard = await part(found, 'Whether notifications are heard', [], notificationFindings)
  const failed = failureFindings(found, findings)
  return {
    findings: sorted([...elsewhere, ...failed, ...findings, ...roleFound, ...heard, ...machine]),
    unseen: found.unseen,
    stats,
    roles: roles.map(({ name }) => name),
  }
}

async function installed(
  found: Situation,
  roles: readonly ApplicationRole[],
): Promise<{ stats: SessionStats | undefined; findings: Finding[] }> {
  const foreign = await part(found, 'Whether all is ours', [], foreignFindings)
  if (foreign.length > 0) return { stats: undefined, findings: foreign }
  if (await part(found, 'Whether it is a proxy', false, isProxy)) {
    found.unseen.push(
      'A PL/Proxy proxy: what is said of sessions is the sum of its partitions. Run this on each of them too.',
    )
    const { stats, cleanup, migration } = await maintenance(found)
    return {
      stats,
      findings: [...migrationFindings(migration, found.schema), ...stateFindings(stats, cleanup, found.schema)],
    }
  }
  const owners = await part(found, 'The owners', [], ownerFindings)
  const findings = [
    // The owner of what is in the schema has lost its right with the schema itself.
    ...(owners.length > 0 ? [] : rightlessFinding(found)),
    ...(await part(found, 'Whether all tables are there', [], missingFindings)),
    ...(await part(found, 'The table and its indexes', [], relationFindings)),
    ...owners,
    ...(await part(found, 'The owner of the schema', [], async () => await ownerRoleFindings(found, roles))),
  ]
  const { stats, cleanup, migration } = await maintenance(found)
  const migrated = migrationFindings(migration, found.schema)
  findings.push(...migrated)
  // Functions of a version that is yet to be installed are missing for that reason.
  const isPending = migrated.some(({ id }) => id === 'schema_older')
  const recorded = migration === undefined ? 'unknown' : migrated.length > 0 ? 'newer' : 'same'
  const lacking = isPending
    ? []
    : await part(found, 'The functions', [], async () => await functionFindings(found, recorded))
  findings.push(...lacking, ...stateFindings(stats, cleanup, found.schema))
  // Where the newest migration is not known, the functions tell the version.
  const isOlder = isPending || (migration === undefined && lacking.length > 0)
  if (found.can.has('rights_granted') && !isOlder) {
    findings.push(...(await part(found, 'The rights', [], rightsFindings)))
    findings.push(...(await part(found, 'The record of rights', [], recordFindings)))
  }
  return { stats, findings }
}

interface Maintenance {
  readonly stats: SessionStats | undefined
  readonly cleanup: CleanupState | undefined
  /** The newest migration on record; undefined if it is not known. */
  readonly migration: string | undefined
}

async function maintenance(found: Situation): Promise<Maintenance> {
  const { pool, schema, can, role, unseen, isOwner } = found
  const isWhole = can.has('session_stats') && can.has('cleanup_status')
  if (!isWhole && !isOwner) {
    unseen.push(
      `The rights on record, the purge, and the state of the table: role ${role} has not the right "cleanup" or "admin". Run this once more as one that has.`,
    )
    return { stats: undefined, cleanup: undefined, migration: undefined }
  }
  const database = new MaintenanceDatabase(pool, schema)
  const see = async <Result>(what: string, asked: Asked, look: () => Promise<Result>): Promise<Result | undefined> => {
    if (can.has(asked)) return await part(found, what, undefined, look)
    unseen.push(`${what}: the function ${asked} is missing.`)
    return undefined
  }
  const stats = await see('The state of the table', 'session_stats', async () => await database.sessionStats())
  const cleanup = await see('The purge', 'cleanup_status', async () => await database.cleanupStatus())
  const recorded = stats ? undefined : await part(found, 'The record of migrations', undefined, ledgerMigration)
  return { stats, cleanup, migration: stats ? stats.migration : recorded }
}

/** What `pgstore status` warns of too. Without `stats`, nothing is known to have expired. */
export function stateFindings(
  stats: SessionStats | undefined,
  cleanup: (CleanupStatus & { readonly now?: Date }) | undefined,
  schema: string,
): Finding[] {
  const expired = stats ?? (cleanup?.now && { expired: 0, oldestExpiredAt: undefined, now: cleanup.now })
  return [
    ...(cleanup && expired ? cleanupFindings(expired, cleanup, schema) : []),
    ...(stats ? tableFindings(stats, schema) : []),
  ]
}

async function settingsOf(found: Situation, roles: readonly ApplicationRole[]): Promise<Finding[]> {
  const server = async (of: string) =>
    await part(found, "The server's settings", undefined, async () => await serverSettings(found, of))
  const own = await server(found.role)
  const findings = own ? serverFindings(own, found.version) : []
  for (const role of roles) {
    findings.push(...roleFindings(role, found))
    const settings = await server(role.name)
    if (settings === undefined) continue
    const ofRole = new RoleSettings(role, settings, found.database)
    findings.push(...settingFindings(ofRole, role.is_superuser || role.is_owner))
  }
  return findings
}
