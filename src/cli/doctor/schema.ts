// What is installed: pgstore of this version, unaltered, or something else.
import { PGStoreError } from '../../errors.ts'
import { checkUsable, inspect } from '../../schema/inspection.ts'
import { migrations } from '../../schema/migrations.generated.ts'
import { type Finding, listed, pgstoreCommand, quoted, warning, wrong } from './finding.ts'
import type { Situation } from './situation.ts'

/** Any of these in the schema tells that pgstore was installed there: one alone may have been dropped. */
const telling = ['session_get', 'session_save', 'session_regenerate', 'purge_expired']

/** Nothing of ours is there; undefined if something is. */
export async function missingSchema({ pool, schema, database }: Situation): Promise<Finding | undefined> {
  const { rows } = await pool.query<{ name: string }>(
    `select n.nspname::text as name
     from pg_catalog.pg_proc as p
     join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
     where p.proname = 'session_get' or (n.nspname = $1 and p.proname = any ($2))
     group by n.nspname
     order by n.nspname <> $1, n.nspname
     limit 3`,
    [schema, telling],
  )
  const places = rows.map(({ name }) => name)
  if (places.includes(schema)) return undefined
  const [other] = places
  const says = `pgstore is not installed in schema ${schema} of database ${database}`
  if (other === undefined) return wrong('not_installed', `${says}.`, pgstoreCommand('migrate', schema))
  const named = `${says}, but in ${listed(places)}: name that schema in the store's options (schema) and here (--schema).`
  return wrong('other_schema', named, pgstoreCommand('doctor', other))
}

/** Whether the functions are those of a proxy, and what is elsewhere. */
export async function isProxy({ pool, schema }: Situation): Promise<boolean> {
  return (await inspect(pool, schema)).is_proxy
}

/** What other means have made of our objects: partitions, functions of another language. */
export async function foreignFindings({ pool, schema }: Situation): Promise<Finding[]> {
  try {
    checkUsable(await inspect(pool, schema), schema)
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

/** The newest migration on record, for a role that may read the record itself; undefined if it may not, or there is none. */
export async function ledgerMigration({ pool, schema }: Situation): Promise<string | undefined> {
  const table = `${schema}.migrations`
  const { rows } = await pool.query<{ may: boolean | null }>(
    `select has_table_privilege(to_regclass($1), 'select') and has_schema_privilege($2, 'usage') as may`,
    [table, schema],
  )
  if (!rows[0]?.may) return undefined
  const newest = await pool.query<{ name: string | null }>(`select max(m.name) as name from ${table} as m`)
  return newest.rows[0]?.name ?? undefined
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
  if (table === undefined) return [] // among the missing
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
