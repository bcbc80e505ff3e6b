import { createHash } from 'node:crypto'
import type { Pool, PoolClient } from '../database/pool.ts'
import { databaseError, PGStoreError } from '../errors.ts'
import { type Migration, migrations as shipped } from './migrations.generated.ts'
import { schemaProblems } from './schema-name.ts'

export interface MigrateOptions {
  /** The schema to install into: a lower-case identifier. Default: 'pgstore'. */
  readonly schema?: string | undefined
}

/**
 * Installs the schema, or upgrades it: all of it in one transaction or nothing. Any number of processes may call it at once;
 * one works and the others wait for it. Installed and up to date already, it reads one small table.
 *
 * @returns the names of the migrations applied now; empty when there was nothing to do
 * @throws {PGStoreError} `migration` when an applied file has changed, when the database is newer than this package, or when
 *   the schema was installed by other means; `forbidden` when the role lacks a right
 */
export async function migrate(pool: Pool, { schema = 'pgstore' }: MigrateOptions = {}): Promise<string[]> {
  return await runMigrations(pool, schema, shipped)
}

/**
 * The statements that `migrate` would run on an empty database, as one script for a host's own history. Run it in one
 * transaction: it begins none, as most migration tools do so themselves.
 */
export function schemaSql({ schema = 'pgstore' }: MigrateOptions = {}): string {
  checkSchema(schema)
  const steps = shipped.map((migration) => [
    `-- ${migration.name}`,
    // Without graphile-migrate's own comments: a host that uses it would have it stumble over them.
    withSchema(migration.sql, schema)
      .replaceAll(/^--!.*\n/gm, '')
      .trim(),
    `insert into ${schema}.migrations (name, hash) values ('${migration.name}', '${hash(migration)}');`,
  ])
  return `${[...ledger(schema), ...steps.flat()].join('\n\n')}\n`
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
  // Without the lock first: most starts find everything done.
  if ((await pending(client, schema, migrations))?.length === 0) return []
  await run(client, 'begin')
  // Transaction-scoped settings and lock: right behind a pooler too.
  await run(client, "select set_config('search_path', '', true), set_config('client_min_messages', 'warning', true)")
  await run(client, 'select pg_advisory_xact_lock($1)', [lockNumber(schema)])
  let todo = await pending(client, schema, migrations)
  if (todo === undefined) {
    for (const statement of ledger(schema)) await run(client, statement)
    todo = [...migrations]
  }
  for (const migration of todo) {
    await run(client, withSchema(migration.sql, schema))
    await run(client, `insert into ${schema}.migrations (name, hash) values ($1, $2)`, [
      migration.name,
      hash(migration),
    ])
  }
  await run(client, 'commit')
  return todo.map(({ name }) => name)
}

/** What is still to be applied; undefined where nothing is installed. */
async function pending(
  client: PoolClient,
  schema: string,
  migrations: readonly Migration[],
): Promise<Migration[] | undefined> {
  // Not by to_regclass(): in one transaction it may answer from a cache that knows nothing of what was committed meanwhile.
  const found = await run(
    client,
    `select c.relname as table from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relname in ('migrations', 'sessions')`,
    [schema],
  )
  const tables = found.rows.map((row) => (row as { table: string }).table)
  if (!tables.includes('migrations')) {
    if (!tables.includes('sessions')) return undefined
    throw new PGStoreError(
      'migration',
      `Schema ${schema} has a table "sessions" but no ledger of pgstore: it was made by other means. Choose another schema, or open the store with migrate: false.`,
    )
  }
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
        `Migration ${name} was changed after it was applied to schema ${schema}: install the package anew, or restore the file.`,
      )
    }
  }
  return migrations.slice(applied.length)
}

/** Ends the transaction and says in a sentence what stood in the way. */
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
    return failure // the connection is gone too, which the first failure says
  }
}

/** The table that remembers what was applied. "if not exists" for a schema would ask for CREATE on the database regardless. */
function ledger(schema: string): string[] {
  return [
    `do $$ begin if not exists (select from pg_catalog.pg_namespace where nspname = '${schema}') then create schema ${schema}; end if; end $$;`,
    `create table ${schema}.migrations (name text not null, hash text not null, applied_at timestamptz not null default now(), constraint migrations_pkey primary key (name));`,
    `comment on table ${schema}.migrations is 'Which of pgstore''s migrations were applied here.';`,
    `comment on column ${schema}.migrations.name is 'File name of the migration.';`,
    `comment on column ${schema}.migrations.hash is 'SHA-256 of its text.';`,
    `comment on column ${schema}.migrations.applied_at is 'When it was applied.';`,
  ]
}

function checkSchema(schema: unknown): void {
  const problems = schemaProblems(schema)
  if (problems.length > 0) throw new PGStoreError('invalid_option', `${problems.join('; ')}.`)
}

/** The name stands unquoted: the server knows which words it reserves. */
async function checkReservedWord(client: PoolClient, schema: string): Promise<void> {
  const { rows } = await run(client, 'select quote_ident($1) <> $1 as reserved', [schema])
  if ((rows[0] as { reserved: boolean }).reserved) {
    throw new PGStoreError('invalid_option', `schema must not be a reserved word of SQL: ${schema}.`)
  }
}

/** With time to wait for another process and to build an index: the pool's own limit is meant for sessions. */
async function run(client: PoolClient, text: string, values: unknown[] = []): Promise<{ readonly rows: unknown[] }> {
  return await client.query({ text, values, query_timeout: 15 * 60_000 })
}

function withSchema(sql: string, schema: string): string {
  return sql.replaceAll(/:PGSTORE_SCHEMA\b/g, schema)
}

function hash(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex')
}

function lockNumber(schema: string): string {
  return createHash('sha256').update(`pgstore migrate ${schema}`).digest().readBigInt64BE().toString()
}
