import { createHash } from 'node:crypto'
import type { Pool, PoolClient } from '../database/pool.ts'
import { databaseError, PGStoreError, refuse } from '../errors.ts'
import { checkWorkable, type Inspection, inspect, isInstalled, run } from './inspection.ts'
import { type Migration, migrations as shipped } from './migrations.generated.ts'
import { rightsDifferences, rightsStatement } from './rights.ts'
import { schemaProblems } from './schema-name.ts'

export interface MigrateOptions {
  /** The schema to install into: a lower-case identifier. Default: 'pgstore'. */
  readonly schema?: string | undefined
}

/**
 * Installs or upgrades the schema in one transaction: all of it or nothing. Any number of processes may call it at once; one
 * works and the others wait for it. If the schema is up to date, it only reads. Rights on pgstore's objects that `pgstore grant`
 * did not grant are revoked each time, and those that it granted are granted again if they are missing. In a copy made by logical
 * replication, what `session_end_before` ended ends again.
 *
 * @returns the names of the migrations applied now; empty when there was nothing to do
 * @throws {PGStoreError} `migration` when an applied file has changed, when the database is newer than this package, or when the
 * schema was installed or changed by other means; `invalid_option` when it contains objects that are not pgstore's; `forbidden`
 * when the role lacks a right
 */
export async function migrate(pool: Pool, { schema = 'pgstore' }: MigrateOptions = {}): Promise<string[]> {
  return await runMigrations(pool, schema, shipped)
}

/**
 * The statements that `migrate` would run on an empty database, as one script for your own migration history. Run it in
 * one transaction: it does not begin one, as most migration tools do so themselves.
 */
export function schemaSql({ schema = 'pgstore' }: MigrateOptions = {}): string {
  checkSchema(schema)
  const steps = shipped.map((migration) => [
    `-- ${migration.name}`,
    // Without graphile-migrate's comments, which would confuse it in an application that uses it.
    withSchema(migration.sql, schema)
      .replaceAll(/^--!.*\n/gm, '')
      .trim(),
    `insert into ${schema}.migrations (name, hash) values ('${migration.name}', '${hash(migration)}');`,
  ])
  return `${[...ledger(schema), ...steps.flat(), keptComment(schema), rightsStatement(schema)].join('\n\n')}\n`
}

export async function runMigrations(pool: Pool, schema: string, migrations: readonly Migration[]): Promise<string[]> {
  checkSchema(schema)
  let client: PoolClient
  try {
    client = await pool.connect()
  } catch (error) {
    throw databaseError('Installing the schema', error)
  }
  let failure: PGStoreError | undefined
  try {
    return await upgrade(client, schema, migrations)
  } catch (error) {
    failure = await explain(client, schema, error)
    throw failure
  } finally {
    client.release(failure)
  }
}

async function upgrade(client: PoolClient, schema: string, migrations: readonly Migration[]): Promise<string[]> {
  await checkReservedWord(client, schema)
  // First without the lock: most starts find everything done.
  if (await isUpToDate(client, schema, migrations)) return []
  await run(client, 'begin')
  // Transaction-scoped settings and lock, which work behind a pooler too.
  await run(client, "select set_config('search_path', '', true), set_config('client_min_messages', 'warning', true)")
  await run(client, 'select pg_advisory_xact_lock($1)', [lockNumber(schema)])
  const { found, todo } = await pending(client, schema, migrations)
  const isUpgrade = todo.length < migrations.length
  if (!isUpgrade) for (const statement of ledger(schema)) await run(client, statement)
  const given = isUpgrade && !found.has_grants ? await rightsBefore(client, schema) : []
  for (const migration of todo) {
    await run(client, withSchema(migration.sql, schema))
    await run(client, `insert into ${schema}.migrations (name, hash) values ($1, $2)`, [
      migration.name,
      hash(migration),
    ])
  }
  if (!isUpgrade) await run(client, keptComment(schema))
  if ((await inspect(client, schema)).has_grants) {
    for (const { role, right } of given) {
      await run(client, `insert into ${schema}.grants (role, "right") values ($1, $2)`, [role, right])
    }
    await run(client, rightsStatement(schema))
  }
  if (found.has_marks && (await hasUnheededMarks(client, schema))) {
    await run(client, 'set local jit = off')
    await run(client, `select ${schema}.purge_marked(0)`)
  }
  await run(client, 'commit')
  return todo.map(({ name }) => name)
}

async function isUpToDate(client: PoolClient, schema: string, migrations: readonly Migration[]): Promise<boolean> {
  const { found, todo } = await pending(client, schema, migrations)
  if (todo.length > 0) return false
  // A role that can only read the ledger can repair nothing: `pgstore status` reports it.
  if (!found.has_grants || !found.is_owner) return true
  if ((await rightsDifferences({ query: ({ text }) => run(client, text) }, schema)).length > 0) return false
  return !(found.has_marks && (await hasUnheededMarks(client, schema)))
}

/**
 * Whether there are marks of `session_end_before` that no read looks for: a copy by logical replication has them as rows, and the gate
 * before them, a function and a sequence, as it was when the copy began.
 */
async function hasUnheededMarks(client: PoolClient, schema: string): Promise<boolean> {
  const { rows } = await run(
    client,
    `select isfinite(newest) and (not isfinite(gate) or newest > gate) as unheeded
     from (
       select
         (select greatest(w.everybody, (select max(m.not_before) from ${schema}.marks as m)) from ${schema}.watermark as w) as newest,
         ${schema}.mark_gate() as gate
     ) as marks`,
  )
  return (rows[0] as { unheeded: boolean | null }).unheeded === true
}

/** What is in the schema, and what is still to be applied. */
async function pending(
  client: PoolClient,
  schema: string,
  migrations: readonly Migration[],
): Promise<{ found: Inspection; todo: readonly Migration[] }> {
  const found = await inspect(client, schema)
  checkWorkable(found, schema)
  if (!(await isInstalled(client, schema, found, migrations[0]?.name))) return { found, todo: migrations }
  const { rows } = await run(client, `select name, hash from ${schema}.migrations order by name`)
  const applied = rows as { name: string; hash: string }[]
  for (const { name, hash: appliedHash } of applied) {
    const migration = migrations.find((candidate) => candidate.name === name)
    if (!migration) {
      throw new PGStoreError(
        'migration',
        `Schema ${schema} is newer than this version of pgstore: it has migration ${name}, which this version does not know. Upgrade the package.`,
      )
    }
    if (hash(migration) !== appliedHash) {
      throw new PGStoreError(
        'migration',
        `Migration ${name} was changed after it was applied to schema ${schema}: reinstall the package, or restore the file.`,
      )
    }
  }
  return { found, todo: migrations.slice(applied.length) }
}

/** Ends the transaction and returns an error that says what went wrong. */
async function explain(client: PoolClient, schema: string, error: unknown): Promise<PGStoreError> {
  const failure = databaseError('Installing the schema', error)
  try {
    await run(client, 'rollback')
    if (failure.code !== 'forbidden') return failure
    const { rows } = await run(client, 'select current_user as role, current_database() as database')
    const { role, database } = rows[0] as { role: string; database: string }
    return new PGStoreError(
      'forbidden',
      `Role ${role} may not install or upgrade schema ${schema} in database ${database}: run "npx pgstore migrate" as a role with CREATE on the database (or as the schema's owner), and open the store with migrate: false.`,
      failure.sqlState,
    )
  } catch {
    return failure // the connection is gone too, as the first failure says
  }
}

/**
 * The rights that roles have in a schema from before rights were recorded. If default privileges gave a role every function,
 * its intended rights are unknown: such a role keeps what an application needs.
 */
async function rightsBefore(client: PoolClient, schema: string): Promise<{ role: string; right: string }[]> {
  const { rows } = await run(
    client,
    `select distinct r.rolname as role, g.right
     from pg_catalog.pg_namespace as n
     join pg_catalog.pg_proc as p on p.pronamespace = n.oid
     join (
       values ('session_get', 'client'), ('session_get', 'account'), ('purge_expired', 'cleanup'), ('session_all', 'admin')
     ) as g (name, "right") on g.name = p.proname::text,
       aclexplode(p.proacl) as a
     join pg_catalog.pg_roles as r on r.oid = a.grantee
     where n.nspname = $1
       and a.grantee <> p.proowner
       and (
         g.right = 'client'
         or not exists (
           select
           from pg_catalog.pg_default_acl as d, aclexplode(d.defaclacl) as b
           where d.defaclobjtype = 'f'
             and d.defaclrole = p.proowner
             and d.defaclnamespace in (0, n.oid)
             and b.grantee = a.grantee
         )
       )`,
    [schema],
  )
  return rows as { role: string; right: string }[]
}

/**
 * The table that records what was applied, and the schema if there is none: "if not exists" would need CREATE on the
 * database regardless. The comment of an existing schema is kept for `keptComment`.
 */
function ledger(schema: string): string[] {
  return [
    `do $$ begin
  perform pg_catalog.set_config('pgstore.comment', (select pg_catalog.obj_description(oid, 'pg_namespace') from pg_catalog.pg_namespace where nspname = '${schema}'), true);
  if not exists (select from pg_catalog.pg_namespace where nspname = '${schema}') then create schema ${schema}; end if;
  if exists (select from pg_catalog.pg_proc as p join pg_catalog.pg_language as l on l.oid = p.prolang where p.pronamespace = '${schema}'::pg_catalog.regnamespace and l.lanname = 'plproxy') then raise exception 'Schema ${schema} of this database is a PL/Proxy proxy: install this on its partitions.'; end if;
end $$;`,
    `create table ${schema}.migrations (name text not null, hash text not null, applied_at timestamptz not null default now(), constraint migrations_pkey primary key (name));`,
    `comment on table ${schema}.migrations is 'Which of pgstore''s migrations were applied here.';`,
    `comment on column ${schema}.migrations.name is 'File name of the migration.';`,
    `comment on column ${schema}.migrations.hash is 'SHA-256 of its text.';`,
    `comment on column ${schema}.migrations.applied_at is 'When it was applied.';`,
  ]
}

/** Restores the comment of a schema that existed before, as the first migration overwrites it. */
function keptComment(schema: string): string {
  return `do $$ begin if pg_catalog.current_setting('pgstore.comment', true) <> '' then execute pg_catalog.format('comment on schema ${schema} is %L', pg_catalog.current_setting('pgstore.comment')); end if; end $$;`
}

function checkSchema(schema: unknown): void {
  const problems = schemaProblems(schema)
  refuse(problems)
}

/** The name is used unquoted: the server knows which words it reserves. Not by quote_ident(), which a setting lets quote every name. */
async function checkReservedWord(client: PoolClient, schema: string): Promise<void> {
  const text = `select from pg_catalog.pg_get_keywords() as k where k.word = $1 and k.catcode <> 'U'`
  const { rows } = await run(client, text, [schema])
  if (rows.length > 0) {
    throw new PGStoreError('invalid_option', `schema must not be a reserved word in SQL: ${schema}.`)
  }
}

function withSchema(sql: string, schema: string): string {
  return sql.replaceAll(/:PGSTORE_SCHEMA\b/g, schema)
}

function hash(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex')
}

/** The number of the advisory lock taken by every change of the schema or of rights on it. */
export function lockNumber(schema: string): string {
  return createHash('sha256').update(`pgstore migrate ${schema}`).digest().readBigInt64BE().toString()
}
