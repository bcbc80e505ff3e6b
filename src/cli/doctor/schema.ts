// What is installed: pgstore of this version, whole and unaltered, or something else.
import { PGStoreError } from '../../errors.ts'
import { grantedFunctions, internalFunctions, ownObjects } from '../../schema/grants.ts'
import { checkWorkable, inspect } from '../../schema/inspection.ts'
import { migrations } from '../../schema/migrations.generated.ts'
import { type Finding, listed, pgstoreCommand, quoted, warning, wrong } from './finding.ts'
import type { Situation } from './situation.ts'

/** Nothing of ours is there; undefined if something is. */
export async function missingSchema({ pool, schema, database }: Situation): Promise<Finding | undefined> {
  const { rows } = await pool.query<{ name: string }>(
    `select n.nspname::text as name
     from pg_catalog.pg_proc as p
     join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
     where p.proname = 'session_get'
     group by n.nspname
     order by n.nspname
     limit 3`,
  )
  const places = rows.map(({ name }) => name)
  if (places.includes(schema)) return undefined
  const [other] = places
  const says = `pgstore is not installed in schema ${schema} of database ${database}`
  if (other === undefined) return wrong('not_installed', `${says}.`, pgstoreCommand('migrate', schema))
  const named = `${says}, but in ${listed(places)}: name that schema in the store's options (schema) and here (--schema).`
  return wrong('other_schema', named, pgstoreCommand('doctor', other))
}

/** What other means have made of our objects: partitions, a proxy's functions. */
export async function foreignFindings({ pool, schema }: Situation): Promise<Finding[]> {
  try {
    checkWorkable(await inspect(pool, schema), schema)
    return []
  } catch (error) {
    if (!(error instanceof PGStoreError)) throw error
    return [wrong('foreign_objects', error.message)]
  }
}

/** Names of the migrations that this package has and the database lacks. */
export function pendingMigrations(migration: string | undefined): string[] {
  const names = migrations.map(({ name }) => name)
  return migration === undefined ? [] : names.filter((name) => name > migration)
}

/** @param migration the newest applied; undefined if the application keeps its own history */
export function migrationFindings(migration: string | undefined, schema: string): Finding[] {
  const pending = pendingMigrations(migration)
  if (pending.length > 0) {
    const says = `Migrations are pending: ${pending.join(', ')}.`
    return [wrong('schema_older', says, pgstoreCommand('migrate', schema))]
  }
  if (migration === undefined || migrations.some(({ name }) => name === migration)) return []
  const says = 'The schema is newer than this package. Upgrade the package.'
  return [warning('schema_newer', says, 'npm install pgstore@latest')]
}

/** The functions of this version that are not there: readable by every role. */
export async function functionFindings({ pool, schema }: Situation): Promise<Finding[]> {
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
  const says = `Schema ${schema} lacks functions of this version: ${first?.signature}${more}. It is older than the package, or they were dropped.`
  return [wrong('functions_missing', says, pgstoreCommand('migrate', schema))]
}

/** The indexes of "sessions", and what makes each anew: a test compares them with a fresh installation. */
const ourIndexes: ReadonlyMap<string, string> = new Map(
  Object.entries({
    sessions_pkey: 'alter table sessions add constraint sessions_pkey primary key (key);',
    sessions_purge_at_idx: 'create index concurrently sessions_purge_at_idx on sessions (purge_at);',
    sessions_user_id_idx:
      'create index concurrently sessions_user_id_idx on sessions (user_id) where user_id is not null;',
    sessions_tags_idx:
      'create index concurrently sessions_tags_idx on sessions using gin (tags) where tags is not null;',
    sessions_former_keys_idx:
      'create index concurrently sessions_former_keys_idx on sessions using gin (former_keys) with (fastupdate = off) where former_keys is not null;',
  }),
)

interface Relation {
  readonly is_unlogged: boolean
  readonly autovacuum_off: boolean
  readonly triggers: string[]
  readonly indexes: { readonly name: string; readonly is_valid: boolean }[]
}

/** What was done to the table and its indexes besides. */
export async function relationFindings({ pool, schema }: Situation): Promise<Finding[]> {
  const { rows } = await pool.query<Relation>(
    `select
       c.relpersistence = 'u' as is_unlogged,
       coalesce(array_to_string(c.reloptions, ' ') ~* 'autovacuum_enabled=(off?|f|false|no?|0)( |$)', false) as autovacuum_off,
       array(select t.tgname::text from pg_catalog.pg_trigger as t where t.tgrelid = c.oid and not t.tgisinternal order by 1)
         as triggers,
       coalesce(
         (
           select json_agg(json_build_object('name', i.relname, 'is_valid', x.indisvalid) order by i.relname)
           from pg_catalog.pg_index as x
           join pg_catalog.pg_class as i on i.oid = x.indexrelid
           where x.indrelid = c.oid
         ),
         '[]'
       ) as indexes
     from pg_catalog.pg_class as c
     join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relname = 'sessions'`,
    [schema],
  )
  const [table] = rows
  if (table === undefined) return [wrong('table_missing', `Table ${schema}.sessions is missing.`)]
  const name = `${schema}.sessions`
  const found: Finding[] = []
  if (table.is_unlogged)
    found.push(
      wrong(
        'unlogged',
        `Table ${name} is unlogged: a crash of the server empties it.`,
        `alter table ${name} set logged;`,
      ),
    )
  if (table.autovacuum_off) {
    const says = `Autovacuum is switched off for table ${name}: it grows, and reads get slower.`
    found.push(warning('table_autovacuum_off', says, `alter table ${name} reset (autovacuum_enabled);`))
  }
  if (table.triggers.length > 0) {
    const says = `Table ${name} has triggers that are not pgstore's (${listed(table.triggers)}): each runs with every save, and sees the sessions' data.`
    found.push(
      warning(
        'foreign_trigger',
        says,
        table.triggers.map((each) => `drop trigger ${quoted(each)} on ${name};`).join(' '),
      ),
    )
  }
  return [...found, ...indexFindings(table, schema)]
}

function indexFindings({ indexes }: Relation, schema: string): Finding[] {
  const lacking = [...ourIndexes.keys()].filter((name) => !indexes.some((index) => index.name === name))
  const found = lacking.map((name) => {
    const says = `Index ${schema}.${name} is missing: what it finds takes a look at every session.`
    return wrong(
      'index_missing',
      says,
      ourIndexes.get(name)?.replace(/\b(on|table) sessions/, `$1 ${schema}.sessions`) ?? null,
    )
  })
  for (const { name, is_valid: isValid } of indexes) {
    const path = `${schema}.${quoted(name)}`
    if (!isValid) {
      const says = `Index ${path} is invalid, as a CREATE INDEX CONCURRENTLY that failed leaves it: every save writes it, and nothing reads it.`
      found.push(
        warning('index_invalid', says, ourIndexes.has(name) ? `reindex index ${path};` : `drop index ${path};`),
      )
    } else if (!ourIndexes.has(name)) {
      const says = `Index ${path} is not pgstore's. If it is on a column that saves change, it makes each write every index (heap-only updates).`
      found.push(warning('extra_index', says, `drop index ${path};`))
    }
  }
  return found
}

/** Everything of ours belongs to the owner of the schema: functions run as their owner, and must reach the tables. */
export async function ownerFindings({ pool, schema, owner = '' }: Situation): Promise<Finding[]> {
  const tables = [...ownObjects.table, ...ownObjects.sequence]
  const functions = [...grantedFunctions.admin, ...internalFunctions].map((signature) => signature.split('(')[0])
  const { rows } = await pool.query<{ kind: string; name: string; owner: string }>(
    `with schema as (select n.oid, n.nspowner from pg_catalog.pg_namespace as n where n.nspname = $1)
     select case c.relkind when 'S' then 'sequence' else 'table' end as kind, c.oid::regclass::text as name, c.relowner::regrole::text as owner
     from pg_catalog.pg_class as c
     join schema as s on s.oid = c.relnamespace
     where c.relname = any ($2) and c.relkind in ('r', 'p', 'S') and c.relowner <> s.nspowner
     union all
     select 'function', p.oid::regprocedure::text, p.proowner::regrole::text
     from pg_catalog.pg_proc as p
     join schema as s on s.oid = p.pronamespace
     where p.proname = any ($3) and p.proowner <> s.nspowner
     order by 1 desc, 2`,
    [schema, tables, functions],
  )
  const [first] = rows
  if (first === undefined) return []
  const more = rows.length > 1 ? `, as do ${rows.length - 1} more` : ''
  const says = `The ${first.kind} ${first.name} belongs to ${first.owner}${more}, and the schema to ${owner}: functions run as their owner, who must own the tables too.`
  const mend = rows.map(({ kind, name }) => `alter ${kind} ${name} owner to ${owner};`).join(' ')
  return [wrong('owners_differ', says, mend)]
}
