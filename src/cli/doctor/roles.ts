// The roles that the application connects as: what else they can reach than what they were granted.
import { rightsDifferences } from '../../schema/rights.ts'
import { type Finding, listed, pgstoreCommand, quoted, warning, wrong } from './finding.ts'
import { part } from './part.ts'
import type { Situation } from './situation.ts'

/** A role of the application, as far as every role may know it. */
export interface ApplicationRole {
  readonly name: string
  readonly is_superuser: boolean
  /** Is, or can become, the owner of the schema. */
  readonly is_owner: boolean
  /** Powerful roles of Postgres that it is a member of. */
  readonly powers: string[]
  readonly creates_roles: boolean
  readonly replicates: boolean
  /** -1: no limit. */
  readonly connection_limit: number
  /** What is set for it in the catalog, the strongest last: where, and `name=value`. */
  readonly settings: { readonly scope: SettingScope; readonly setting: string }[]
}

export type SettingScope = 'all' | 'database' | 'role' | 'role in database'

const powerful = [
  'pg_read_all_data',
  'pg_write_all_data',
  'pg_execute_server_program',
  'pg_read_server_files',
  'pg_write_server_files',
]

/**
 * The roles with the right client; if none is on record, or the record may not be read, the one that is connected, unless it only
 * runs the worker or looks after the installation.
 */
export async function applicationRoles(found: Situation): Promise<ApplicationRole[]> {
  const { pool, schema, can, role, options } = found
  const granted = can.has('rights_granted')
    ? await part(found, 'The rights on record', undefined, async (of) => await grantedRoles(of, 'client'))
    : []
  const isApplications = granted?.length === 0 && (found.isOwner || can.has('session_get'))
  const names = options.role !== undefined ? [options.role] : isApplications ? [role] : (granted ?? [])
  const { rows } = await pool.query<ApplicationRole>(
    `select
       r.rolname::text as name,
       r.rolsuper as is_superuser,
       coalesce(pg_has_role(r.oid, n.nspowner, 'member'), false) as is_owner,
       array(
         select p.rolname::text
         from pg_catalog.pg_roles as p
         where p.rolname = any ($3) and pg_has_role(r.oid, p.oid, 'member')
         order by 1
       ) as powers,
       r.rolcreaterole as creates_roles,
       r.rolreplication as replicates,
       r.rolconnlimit as connection_limit,
       coalesce(
         (
           select json_agg(
             json_build_object(
               'scope',
               case
                 when s.setrole = 0 and s.setdatabase = 0 then 'all'
                 when s.setrole = 0 then 'database'
                 when s.setdatabase = 0 then 'role'
                 else 'role in database'
               end,
               'setting', one.setting
             )
             order by s.setrole <> 0, s.setdatabase <> 0
           )
           from pg_catalog.pg_db_role_setting as s
           cross join unnest(s.setconfig) as one (setting)
           where s.setrole in (0, r.oid)
             and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database as d where d.datname = current_database()))
         ),
         '[]'
       ) as settings
     from pg_catalog.pg_roles as r
     left join pg_catalog.pg_namespace as n on n.nspname = $1
     where r.rolname = any ($2)
     order by 1`,
    [schema, names, powerful],
  )
  return rows
}

async function grantedRoles({ pool, schema }: Situation, right: string): Promise<string[]> {
  const { rows } = await pool.query<{ role: string }>(
    `select g.role::text as role from ${schema}.rights_granted() as g where g."right" = $1`,
    [right],
  )
  return rows.map(({ role }) => role)
}

export function roleFindings(role: ApplicationRole, { schema, owner = '' }: Situation): Finding[] {
  const name = quoted(role.name)
  const reach = 'it reads and changes every session, as does an SQL injection into the application'
  if (role.is_superuser) {
    const says = `The application's role ${role.name} is a superuser: ${reach}. Create a role of its own for it, grant that role the right client, and open the store with migrate: false.`
    // Not to change the superuser: it may be the only one.
    return [wrong('superuser_as_application', says, pgstoreCommand('grant ROLE --as client', schema))]
  }
  if (role.name === owner) {
    const says = `The application connects as ${role.name}, the owner of the schema: ${reach}. Create another role for it, grant that role what it needs, and open the store with migrate: false.`
    return [warning('owner_as_application', says, `${pgstoreCommand('grant ROLE --as client,account', schema)}`)]
  }
  const found: Finding[] = []
  if (role.is_owner) {
    const says = `The application's role ${role.name} is a member of ${owner}, the owner of the schema: ${reach}.`
    found.push(wrong('member_of_owner', says, `revoke ${quoted(owner)} from ${name};`))
  }
  if (role.powers.length > 0) {
    const says = `The application's role ${role.name} is a member of ${listed(role.powers)}, beside what pgstore granted: ${reach}.`
    found.push(wrong('powerful_member', says, `revoke ${role.powers.join(', ')} from ${name};`))
  }
  if (role.replicates) {
    const says = `The application's role ${role.name} may replicate: it can copy the whole database, sessions included.`
    found.push(warning('replication_role', says, `alter role ${name} noreplication;`))
  }
  if (role.creates_roles) {
    const says = `The application's role ${role.name} may create roles: before PostgreSQL 16 it can make itself a member of any that is not a superuser.`
    found.push(warning('createrole_as_application', says, `alter role ${name} nocreaterole;`))
  }
  // A store's pool has 10 connections; fewer make it wait and fail.
  if (role.connection_limit >= 0 && role.connection_limit < 10) {
    const says = `The application's role ${role.name} may have ${role.connection_limit} connections at once; one store opens up to 10, and one more to listen.`
    found.push(warning('connection_limit', says, `alter role ${name} connection limit 100;`))
  }
  return found
}

/** Rights that differ from those on record: one finding for each role, as default privileges grant dozens at once. */
export async function rightsFindings({ pool, schema }: Pick<Situation, 'pool' | 'schema'>): Promise<Finding[]> {
  const differences = await rightsDifferences(pool, schema)
  const migrate = pgstoreCommand('migrate', schema)
  return [false, true].flatMap((isMissing) => {
    const of = differences.filter((difference) => difference.isMissing === isMissing)
    return [...new Set(of.map(({ holder }) => holder))].map((holder) => {
      const privileges = of.filter((difference) => difference.holder === holder).map(({ privilege }) => privilege)
      const more = privileges.length > 1 ? ` and ${privileges.length - 1} more` : ''
      return isMissing
        ? wrong(
            'right_missing',
            `${holder} lacks a right that it was granted: ${privileges[0]}${more}. As the owner of the schema, grant it again.`,
            migrate,
          )
        : wrong(
            'right_not_granted',
            `${holder} has a right that pgstore did not grant: ${privileges[0]}${more}. As the owner of the schema, revoke it, or keep it by "npx pgstore grant".`,
            migrate,
          )
    })
  })
}

/** The record of rights, compared with the roles that there are. */
export async function recordFindings({ pool, schema }: Situation): Promise<Finding[]> {
  const { rows } = await pool.query<{ role: string }>(
    `select distinct g.role::text as role
     from ${schema}.rights_granted() as g
     where not exists (select from pg_catalog.pg_roles as r where r.rolname = g.role)
     order by 1`,
  )
  return rows.map((row) => {
    const says = `Rights are on record for role ${row.role}, which does not exist: it was dropped or renamed. After a rename, grant again.`
    return warning(
      'granted_role_missing',
      says,
      `delete from ${schema}.grants where role = '${row.role.replaceAll("'", "''")}';`,
    )
  })
}

/** A role that may run none of our functions. */
export function rightlessFinding({ schema, role, can, isOwner }: Situation): Finding[] {
  if (isOwner || can.size > 0) return []
  const says = `Role ${role} has no right on schema ${schema}: every call of the store fails with "forbidden". As the owner of the schema, grant it one.`
  return [wrong('no_right', says, pgstoreCommand(`grant ${role} --as client,account`, schema))]
}

/** The functions run as the owner, and so do not protect the rest of the server from a fault in them if that is a superuser. */
export async function ownerRoleFindings(
  { pool, owner = '', schema }: Situation,
  roles: readonly ApplicationRole[],
): Promise<Finding[]> {
  const { rows } = await pool.query(
    'select from pg_catalog.pg_roles as r join pg_catalog.pg_namespace as n on n.nspowner = r.oid where n.nspname = $1 and r.rolsuper',
    [schema],
  )
  // As the application's role, it is named elsewhere.
  if (rows.length === 0 || roles.some(({ name }) => name === owner)) return []
  const says = `Schema ${schema} belongs to ${owner}, a superuser, as whom its functions run. Give it, and what is in it, to a role that nobody logs in as (docs/operations.md, "Roles").`
  return [warning('superuser_owns', says)]
}
