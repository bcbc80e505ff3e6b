// Whether everything of ours is there, and whom it belongs to. The catalog tells every role.
import { grantedFunctions, internalFunctions, ownObjects } from '../../schema/grants.ts'
import { type Finding, pgstoreCommand, quoted, wrong } from './finding.ts'
import type { Situation } from './situation.ts'

const history = ['history_note', 'audit_status', 'endings_take']

/**
 * Tables and sequences, and functions that use each: where there is none of these, the schema is older than the table. Not the
 * record of migrations: an application that keeps its own history may have left it out.
 */
const users: Readonly<Record<string, readonly string[]>> = {
  sessions: [],
  session_number: [],
  cleanup: ['cleanup_status', 'cleanup_start'],
  announcement: ['announcement_number'],
  grants: ['rights_granted'],
  audit: history,
  history,
  ending_consumers: history,
  ending_deliveries: history,
  history_number: history,
}

export async function missingFindings({ pool, schema }: Situation): Promise<Finding[]> {
  const kinds = (['table', 'sequence'] as const).flatMap((kind) =>
    ownObjects[kind].map((name) => ({ kind, name, functions: users[name] })),
  )
  const { rows } = await pool.query<{ kind: string; name: string }>(
    `with schema as (select n.oid from pg_catalog.pg_namespace as n where n.nspname = $1)
     select o.kind, o.name
     from json_to_recordset($2) as o (kind text, name text, functions json)
     where o.functions is not null
       and not exists (
         select
         from pg_catalog.pg_class as c
         where c.relnamespace = (select s.oid from schema as s)
           and c.relname = o.name
           and (c.relkind = 'S') = (o.kind = 'sequence')
           and c.relkind <> 'i'
       )
       and (
         json_array_length(o.functions) = 0
         or exists (
           select
           from pg_catalog.pg_proc as p
           join json_array_elements_text(o.functions) as f (name) on f.name = p.proname
           where p.pronamespace = (select s.oid from schema as s)
         )
       )`,
    [schema, JSON.stringify(kinds)],
  )
  return rows.map(({ kind, name }) => {
    const says = `${kind === 'table' ? 'Table' : 'Sequence'} ${schema}.${name} is missing: every call that uses it fails. If it was renamed or moved, undo that; else restore it from a backup, as "npx pgstore migrate" does not create it anew.`
    return wrong('table_missing', says)
  })
}

/** How the migrations on record compare with those of this package. */
export type Recorded = 'same' | 'newer' | 'unknown'

/** The functions of this version that are not there: readable by every role. */
export async function functionFindings({ pool, schema }: Situation, recorded: Recorded): Promise<Finding[]> {
  const wanted = [...new Set([...grantedFunctions.admin, ...internalFunctions])]
  const { rows } = await pool.query<{ signature: string }>(
    `select s.signature
     from unnest($2::text[]) as s (signature)
     where not exists (
       select
       from pg_catalog.pg_proc as p
       join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
       where n.nspname = $1 and p.proname || '(' || oidvectortypes(p.proargtypes) || ')' = s.signature
     )`,
    [schema, wanted],
  )
  if (rows.length === 0) return []
  const [first] = rows
  const more = rows.length > 1 ? ` and ${rows.length - 1} more` : ''
  const lacks = `Schema ${schema} lacks functions of this version: ${first?.signature}${more}.`
  const migrate = pgstoreCommand('migrate', schema)
  if (recorded === 'newer')
    return [wrong('functions_missing', `${lacks} It is newer than the package.`, 'npm install pgstore@latest')]
  if (recorded === 'unknown')
    return [wrong('functions_missing', `${lacks} It is older than the package, or they were dropped.`, migrate)]
  // Each may stand there several times, as migrations replaced it.
  const says = `${lacks} All migrations are on record, so they were dropped or renamed, and "${migrate}" does not create them. As the owner of the schema, run the last "create or replace function" of each in what "${pgstoreCommand('sql', schema)}" prints, and then "${migrate}", which grants the rights on them again.`
  return [wrong('functions_missing', says)]
}

interface Owned {
  readonly kind: string
  readonly name: string
  readonly owner: string
}

/** Everything of ours belongs to the owner of the schema: functions run as their owner, and must reach the tables. */
export async function ownerFindings({ pool, schema, owner = '' }: Situation): Promise<Finding[]> {
  const tables = [...ownObjects.table, ...ownObjects.sequence]
  const functions = [...grantedFunctions.admin, ...internalFunctions].map((signature) => signature.split('(')[0])
  const { rows } = await pool.query<Owned>(
    `with schema as (select n.oid from pg_catalog.pg_namespace as n where n.nspname = $1)
     select case c.relkind when 'S' then 'sequence' else 'table' end as kind, c.oid::regclass::text as name, r.rolname::text as owner
     from pg_catalog.pg_class as c
     join schema as s on s.oid = c.relnamespace
     join pg_catalog.pg_roles as r on r.oid = c.relowner
     where c.relname = any ($2) and c.relkind in ('r', 'p', 'S')
     union all
     select 'function', p.oid::regprocedure::text, r.rolname::text
     from pg_catalog.pg_proc as p
     join schema as s on s.oid = p.pronamespace
     join pg_catalog.pg_roles as r on r.oid = p.proowner
     where p.proname = any ($3)
     order by 1 desc, 2`,
    [schema, tables, functions],
  )
  const others = rows.filter((row) => row.owner !== owner)
  const [first] = others
  if (first === undefined) return []
  // Where nothing belongs to the schema's owner, it is the schema that changed hands.
  if (others.length === rows.length && others.every((row) => row.owner === first.owner)) {
    const says = `Schema ${schema} belongs to ${owner}, and all that is in it to ${first.owner}: functions run as their owner, who must own the schema too.`
    return [wrong('owners_differ', says, `alter schema ${schema} owner to ${quoted(first.owner)};`)]
  }
  const more = others.length > 1 ? `, as do ${others.length - 1} more` : ''
  const says = `The ${first.kind} ${first.name} belongs to ${first.owner}${more}, and the schema to ${owner}: functions run as their owner, who must own the tables too.`
  const mend = others.map(({ kind, name }) => `alter ${kind} ${name} owner to ${quoted(owner)};`).join(' ')
  return [wrong('owners_differ', says, mend)]
}
