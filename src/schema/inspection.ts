// What is in a schema before we touch it: nothing, an installation of ours, or objects of others that we must leave alone.
import type { PoolClient } from '../database/pool.ts'
import { PGStoreError } from '../errors.ts'
import { grantedFunctions } from './grants.ts'

export interface Inspection {
  /** pg_class.relkind of the table "sessions"; null if there is none. */
  readonly sessions: string | null
  /** Whether other tables inherit from it. */
  readonly is_parent: boolean
  /** The text columns of the table "migrations"; null if there is none. */
  readonly ledger: readonly string[] | null
  readonly has_grants: boolean
  readonly has_marks: boolean
  /** Whether the current role acts as the schema's owner. */
  readonly is_owner: boolean
  /** Whether any function is PL/Proxy's. */
  readonly is_proxy: boolean
  /** Functions with our names that are not in plpgsql. */
  readonly foreign_functions: readonly string[]
  /** A few of all the objects in the schema, as Postgres describes them. */
  readonly objects: readonly string[]
}

// Not by to_regclass(): within a transaction it may use a cache that misses what was committed in the meantime.
const query = `select
  (select c.relkind from tables as c where c.relname = 'sessions') as sessions,
  exists (
    select from pg_catalog.pg_inherits as i join tables as c on c.oid = i.inhparent where c.relname = 'sessions'
  ) as is_parent,
  (
    select array(
      select a.attname::pg_catalog.text
      from pg_catalog.pg_attribute as a
      where a.attrelid = c.oid and a.atttypid = 'pg_catalog.text'::regtype and a.attnum > 0 and not a.attisdropped
    )
    from tables as c where c.relname = 'migrations'
  ) as ledger,
  exists (select from tables as c where c.relname = 'grants') as has_grants,
  exists (select from tables as c where c.relname = 'marks') as has_marks,
  coalesce((select pg_has_role(n.nspowner, 'usage') from schema as n), false) as is_owner,
  exists (
    select from pg_catalog.pg_proc as p
    join pg_catalog.pg_language as l on l.oid = p.prolang
    where p.pronamespace = (select n.oid from schema as n) and l.lanname = 'plproxy'
  ) as is_proxy,
  array(
    select p.proname || ' (' || l.lanname || ')'
    from pg_catalog.pg_proc as p
    join pg_catalog.pg_language as l on l.oid = p.prolang
    where p.pronamespace = (select n.oid from schema as n) and p.proname = any ($2) and l.lanname <> 'plpgsql'
    order by 1
  ) as foreign_functions,
  array(
    select pg_describe_object(d.classid, d.objid, 0)
    from pg_catalog.pg_depend as d
    where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = (select n.oid from schema as n) and d.deptype = 'n'
    order by 1
    limit 3
  ) as objects`

/** Functions that a proxy would also have; the rules that are inlined into their callers are in language sql. */
const functionNames = grantedFunctions.admin.map((signature) => signature.split('(')[0])

export async function inspect(client: Pick<PoolClient, 'query'>, schema: string): Promise<Inspection> {
  const text = `with schema as (
  select n.oid, n.nspowner from pg_catalog.pg_namespace as n where n.nspname = $1
), tables as (
  select c.oid, c.relname, c.relkind from pg_catalog.pg_class as c where c.relnamespace = (select n.oid from schema as n) and c.relkind <> 'i'
)
${query}`
  const { rows } = await run(client, text, [schema, functionNames])
  return rows[0] as Inspection
}

/** @throws {PGStoreError} `migration` if our functions would not work with what is in the schema; those of a proxy do */
export function checkUsable(found: Inspection, schema: string): void {
  if (!found.is_proxy) checkWorkable(found, schema)
}

/** @throws {PGStoreError} `migration` if our functions cannot be installed in this schema, or would not work with what is in it */
export function checkWorkable(found: Inspection, schema: string): void {
  const [foreign] = found.foreign_functions
  if (found.is_proxy) {
    throw new PGStoreError(
      'migration',
      `Schema ${schema} of this database is a PL/Proxy proxy, whose functions run on its partitions: migrate each partition, then replace the proxy's functions by what "pgstore sql --engine plproxy" prints.`,
    )
  }
  if (foreign !== undefined) {
    throw new PGStoreError(
      'migration',
      `Function ${schema}.${foreign} is not in plpgsql, so it is not pgstore's: behind a proxy, migrate each database behind it separately.`,
    )
  }
  if (found.ledger === null && found.sessions === null) return
  if (found.sessions === 'p' || found.is_parent) {
    throw new PGStoreError(
      'migration',
      `Table ${schema}.sessions is partitioned, and pgstore's functions would change or delete the wrong sessions: make it an ordinary table again.`,
    )
  }
  if (found.sessions !== null && found.sessions !== 'r') {
    throw new PGStoreError(
      'migration',
      `${schema}.sessions is not an ordinary table, as pgstore's functions need: make it one, or choose another schema.`,
    )
  }
}

/**
 * Whether pgstore is installed in the schema.
 *
 * @param first name of the first migration, without which a ledger is not ours
 * @throws {PGStoreError} `migration` or `invalid_option` if the schema's objects were created by others
 */
export async function isInstalled(
  client: PoolClient,
  schema: string,
  found: Inspection,
  first: string | undefined,
): Promise<boolean> {
  if (found.ledger === null) {
    if (found.objects.length === 0) return false
    if (found.sessions !== null) {
      throw new PGStoreError(
        'migration',
        `Schema ${schema} has a table "sessions" but no record of pgstore's migrations, so it was created by other means. Choose another schema, or open the store with migrate: false.`,
      )
    }
    throw new PGStoreError(
      'invalid_option',
      `Schema ${schema} holds objects that are not pgstore's (${found.objects.join(', ')}): choose another schema for pgstore alone, or create an empty one with CREATE SCHEMA.`,
    )
  }
  const isLedger =
    ['name', 'hash'].every((column) => found.ledger?.includes(column)) &&
    (await run(client, `select from ${schema}.migrations where name = $1`, [first])).rows.length > 0
  if (!isLedger) {
    throw new PGStoreError(
      'invalid_option',
      `Table ${schema}.migrations is not pgstore's record of its migrations: choose another schema for pgstore alone, or create an empty one with CREATE SCHEMA.`,
    )
  }
  return true
}

/** With time to wait for another process and to build an index: the pool's limit is meant for sessions. */
export async function run(
  client: Pick<PoolClient, 'query'>,
  text: string,
  values: unknown[] = [],
): Promise<{ readonly rows: unknown[] }> {
  return await client.query({ text, values, query_timeout: 15 * 60_000 })
}
