// What every subject needs to know first: who is connected to what, and what that role may ask.
import type pg from 'pg'
import type { PGStoreError } from '../../errors.ts'

export interface DiagnoseOptions {
  /** The environment that the application runs with. Default: none, and its keys are not looked at. */
  readonly env?: NodeJS.ProcessEnv | undefined
  /** The application's folder, whose packages are looked at. Default: none, and they are not. */
  readonly folder?: string | undefined
  /** The application's role. Default: those with the right client; without any, the one that is connected. */
  readonly role?: string | undefined
  /** How long to wait for a notification, in milliseconds. Default: 10,000. */
  readonly patienceMs?: number | undefined
  /** This machine's clock, in milliseconds since 1970. Default: Date.now. */
  readonly now?: (() => number) | undefined
}

/** Our functions that the doctor calls, or that tell what a role was granted. */
const asked = ['session_get', 'session_stats', 'cleanup_status', 'rights_granted'] as const

export type Asked = (typeof asked)[number]

/** A part of the examination that failed: its subject, and why. */
interface Failure {
  readonly what: string
  readonly error: PGStoreError
}

export interface Situation {
  readonly pool: pg.Pool
  readonly schema: string
  readonly options: DiagnoseOptions
  /** The role whose rights count in this connection. */
  readonly role: string
  readonly database: string
  /** As in 180004. */
  readonly version: number
  /** The owner of the schema, unquoted; undefined if there is no such schema. */
  readonly owner: string | undefined
  /** Whether the role acts as the owner, or is a superuser. */
  readonly isOwner: boolean
  /** The functions that it may run. */
  readonly can: ReadonlySet<Asked>
  /** What could not be looked at, and why, one sentence each: filled by the subjects. */
  readonly unseen: string[]
  /** The parts that the database refused. */
  readonly failures: Failure[]
  /** Whether the role that the options name exists; true if they name none. */
  readonly hasRole: boolean
}

interface Row {
  readonly role: string
  readonly database: string
  readonly version: number
  readonly owner: string | null
  readonly is_owner: boolean | null
  readonly has_role: boolean
  readonly can: Asked[]
}

// As text: a name has a type that node-postgres does not read arrays of.
const query = `select
  current_user::text as role,
  current_database()::text as database,
  current_setting('server_version_num')::integer as version,
  n.owner,
  n.is_owner,
  $3::text is null or exists (select from pg_catalog.pg_roles as r where r.rolname = $3) as has_role,
  array(
    select distinct p.proname::text
    from pg_catalog.pg_proc as p
    where p.pronamespace = n.oid
      and p.proname = any ($2)
      and has_schema_privilege(n.oid, 'usage')
      and has_function_privilege(p.oid, 'execute')
  ) as can
from (select) as one
left join lateral (
  select s.oid, pg_get_userbyid(s.nspowner)::text as owner, pg_has_role(s.nspowner, 'usage') as is_owner
  from pg_catalog.pg_namespace as s
  where s.nspname = $1
) as n on true`

export async function situation(pool: pg.Pool, schema: string, options: DiagnoseOptions): Promise<Situation> {
  const { rows } = await pool.query<Row>(query, [schema, asked, options.role ?? null])
  const { owner, is_owner: isOwner, has_role: hasRole, can, ...row } = rows[0] as Row
  return {
    pool,
    schema,
    options,
    ...row,
    owner: owner ?? undefined,
    isOwner: isOwner === true,
    can: new Set(can),
    unseen: [],
    failures: [],
    hasRole,
  }
}
