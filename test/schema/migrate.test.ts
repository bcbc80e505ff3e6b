import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrationsModule } from '../../scripts/migration.ts'
import { migrate, PGStore, schemaSql } from '../../src/index.ts'
import { runMigrations } from '../../src/schema/migrate.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { rightsStatement } from '../../src/schema/rights.ts'
import { admin, closeAll, databaseUrl, emptyDatabase, hashKey, rejection, sql } from '../support/harness.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const names = migrations.map(({ name }) => name)
const pools: pg.Pool[] = []

test.after(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
  await closeAll()
})

function poolFor(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 4 })
  pool.on('error', () => {})
  pools.push(pool)
  return pool
}

async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = root) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env } })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code, stdout, stderr }
}

const cli = async (url: string, ...args: string[]) =>
  await run(process.execPath, ['dist/cli/main.js', ...args], { DATABASE_URL: url })

const graphileMigrate = async (folder: string, url: string, ...args: string[]) =>
  await run(
    path.join(root, 'node_modules/.bin/graphile-migrate'),
    args,
    { DATABASE_URL: url, SHADOW_DATABASE_URL: `${url}_shadow`, ROOT_DATABASE_URL: databaseUrl },
    folder,
  )

/** What a migration creates, as the catalog describes it. */
async function describe(pool: pg.Pool, schema: string): Promise<unknown[]> {
  const { rows } = await pool.query(
    `select 'function' as kind, pg_get_functiondef(p.oid) as definition, p.proacl::text as rights
       from pg_proc as p where p.pronamespace = $1::text::regnamespace
     union all
     select 'column', c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attnotnull, c.relacl::text || c.reloptions::text
       from pg_attribute as a join pg_class as c on c.oid = a.attrelid
       where c.relnamespace = $1::text::regnamespace and c.relname <> 'migrations' and c.relname <> 'migrations_pkey' and a.attnum > 0
     union all
     select 'index', indexdef, null from pg_indexes where schemaname = $1::text and tablename <> 'migrations'
     order by 1, 2`,
    [schema],
  )
  return rows
}

test('an empty database gets the schema; a second time there is nothing to do', async () => {
  const pool = poolFor(await emptyDatabase())
  assert.equal(await migrate(pool), names)
  assert.equal(await migrate(pool), [])
  assert.is((await pool.query('select pgstore.count_expired() as n')).rows[0].n, '0')
})

test('ten processes at once on an empty database: one installs, nine wait, all go on', async () => {
  const url = await emptyDatabase()
  const runs = await Promise.all(Array.from({ length: 10 }, () => cli(url, 'migrate', '--json')))
  assert.equal(
    runs.map(({ code, stderr }) => `${code}${stderr}`),
    Array(10).fill('0'),
  )
  const applied = runs.map(({ stdout }) => JSON.parse(stdout).applied.length)
  assert.equal(
    applied.sort((a, b) => a - b),
    [...Array(9).fill(0), names.length],
  )
})

test('two schemas in one database are independent', async () => {
  const pool = poolFor(await emptyDatabase())
  await migrate(pool, { schema: 'one' })
  await migrate(pool, { schema: 'two_2' })
  const rename = (rows: unknown) => JSON.stringify(rows).replaceAll('two_2', 'one')
  assert.is(rename(await describe(pool, 'two_2')), rename(await describe(pool, 'one')))
})

test('a name that is not a plain lower-case identifier is refused before anything happens', async () => {
  const pool = poolFor(await emptyDatabase())
  for (const schema of ['a".b; drop table x;--', 'Upper', '', 'pg_mine', 'x'.repeat(51), 'user', 'a-b', '1a']) {
    assert.is((await rejection(migrate(pool, { schema }))).code, 'invalid_option', schema)
  }
  assert.equal(
    (await pool.query("select from pg_namespace where nspname !~ '^pg_|public|information_schema'")).rows,
    [],
  )
})

test('a committed file that was changed after it was applied is refused, in a sentence', async () => {
  const pool = poolFor(await emptyDatabase())
  await migrate(pool)
  const changed = migrations.map((migration) => ({ ...migration, sql: `${migration.sql}-- changed\n` }))
  const error = await rejection(runMigrations(pool, 'pgstore', changed))
  assert.is(error.code, 'migration')
  assert.match(error.message, `Migration ${names[0]} was changed after it was applied`)
})

test('a database that is newer than the code is refused, with exit code 1 and a sentence', async () => {
  const url = await emptyDatabase()
  const pool = poolFor(url)
  await migrate(pool)
  await pool.query("insert into pgstore.migrations (name, hash) values ('999999-future.sql', '')")
  const { code, stdout, stderr } = await cli(url, 'migrate')
  assert.is(code, 1)
  assert.is(stdout, '')
  assert.match(
    stderr,
    /^Schema pgstore is newer than this version of pgstore: it has migration 999999-future\.sql.*\n$/,
  )
})

test('a role without rights gets an error that says what it lacks, and nothing is half done', async () => {
  const url = await emptyDatabase()
  const name = `weak_${process.pid}_${Date.now()}`
  await sql(`create role ${name} login password 'weak'`)
  const asWeak = new URL(url)
  asWeak.username = name
  asWeak.password = 'weak'
  const { code, stderr } = await cli(asWeak.href, 'migrate')
  assert.is(code, 1)
  assert.match(stderr, new RegExp(`^Role ${name} may not install or upgrade schema pgstore in database .*\\n$`))
  const pool = poolFor(url)
  assert.is((await pool.query("select to_regnamespace('pgstore') as schema")).rows[0].schema, null)
  // With its own schema it needs no right on the database.
  await pool.query(`create schema pgstore authorization ${name}`)
  assert.is((await cli(asWeak.href, 'migrate')).code, 0)
  await pool.query(`drop schema pgstore cascade`)
  await sql(`drop role ${name}`)
})

test('a migration that fails leaves nothing behind', async () => {
  const pool = poolFor(await emptyDatabase())
  const broken = [...migrations, { name: '999999-broken.sql', sql: 'select 1/0' }]
  assert.is((await rejection(runMigrations(pool, 'pgstore', broken))).code, 'database')
  assert.is((await pool.query("select to_regnamespace('pgstore') as schema")).rows[0].schema, null)
  assert.equal(await migrate(pool), names)
})

test('an upgrade applies what is new, and only that', async () => {
  const pool = poolFor(await emptyDatabase())
  await migrate(pool)
  const next = {
    name: '999998-next.sql',
    sql: 'create function :PGSTORE_SCHEMA.next_one() returns int language sql return 1',
  }
  assert.equal(await runMigrations(pool, 'pgstore', [...migrations, next]), [next.name])
  assert.equal(await runMigrations(pool, 'pgstore', [...migrations, next]), [])
})

test('a schema with a table of the same name that is not ours is left alone', async () => {
  const pool = poolFor(await emptyDatabase())
  await pool.query('create schema pgstore; create table pgstore.sessions (mine int)')
  const error = await rejection(migrate(pool))
  assert.is(error.code, 'migration')
  assert.match(error.message, /created by other means/)
})

test('a hostile search_path and types of the same name change nothing', async () => {
  const url = await emptyDatabase()
  const pool = poolFor(url)
  await pool.query('create schema evil; create type evil.text as (a int); create type evil.jsonb as (a int)')
  await pool.query(`alter database ${new URL(url).pathname.slice(1)} set search_path = evil, pg_catalog`)
  await migrate(poolFor(url))
  await pool.query(`alter database ${new URL(url).pathname.slice(1)} reset search_path`)
  const clean = poolFor(await emptyDatabase())
  await migrate(clean)
  assert.equal(await describe(poolFor(url), 'pgstore'), await describe(clean, 'pgstore'))
})

test('open as a role that may only use the schema says what to do', async () => {
  const url = await emptyDatabase()
  const pool = poolFor(url)
  await migrate(pool)
  const name = `user_${process.pid}_${Date.now()}`
  await pool.query(`create role ${name} login password 'weak'; grant usage on schema pgstore to ${name}`)
  const as = new URL(url)
  as.username = name
  as.password = 'weak'
  const error = await rejection(PGStore.open({ connectionString: as.href, keyPairs: [hashKey] }))
  assert.is(error.code, 'forbidden')
  assert.match(error.message, 'open the store with migrate: false')
  await pool.query(`drop owned by ${name}; drop role ${name}`)
})

test('pgstore sql prints what makes the same schema, ledger and all', async () => {
  const [url, other] = [await emptyDatabase(), await emptyDatabase()]
  const { code, stdout } = await cli('', 'sql', '--schema', 'mine')
  assert.is(code, 0)
  assert.is(stdout, schemaSql({ schema: 'mine' }))
  const printed = poolFor(url)
  await printed.query(`begin; ${stdout}; commit`)
  const migrated = poolFor(other)
  await migrate(migrated, { schema: 'mine' })
  assert.equal(await describe(printed, 'mine'), await describe(migrated, 'mine'))
  assert.equal(await migrate(printed, { schema: 'mine' }), [])
})

test('graphile-migrate itself applies the same files to an empty database', async () => {
  const url = await emptyDatabase()
  const { code, stderr } = await graphileMigrate(root, url, 'migrate')
  assert.is(code, 0, stderr)
  const migrated = poolFor(await emptyDatabase())
  await migrate(migrated)
  const committed = poolFor(url)
  await committed.query(rightsStatement('pgstore'))
  assert.equal(await describe(committed, 'pgstore'), await describe(migrated, 'pgstore'))
})

test('an application that uses graphile-migrate itself keeps its history, before us and after us', async () => {
  const url = await emptyDatabase()
  const pool = poolFor(url)
  await pool.query(`create database ${new URL(url).pathname.slice(1)}_shadow template template0`)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-host-'))
  fs.mkdirSync(path.join(folder, 'migrations'))
  fs.writeFileSync(path.join(folder, '.gmrc'), '{}')
  const commit = async (statement: string) => {
    fs.writeFileSync(path.join(folder, 'migrations/current.sql'), `${statement}\n`)
    const { code, stderr, stdout } = await graphileMigrate(folder, url, 'commit', '--message', 'host')
    assert.is(code, 0, stdout + stderr)
  }
  await commit('create table host_one (id int);')
  await migrate(pool)
  await commit('create table host_two (id int);')
  assert.equal(await migrate(pool), [])
  // A host may also keep our schema in its own history.
  await commit(schemaSql({ schema: 'hosted' }))
  assert.equal(await migrate(pool, { schema: 'hosted' }), [])
  const { rows } = await pool.query('select filename from graphile_migrate.migrations order by filename')
  assert.equal(rows, [{ filename: '000001.sql' }, { filename: '000002.sql' }, { filename: '000003.sql' }])
  assert.is((await graphileMigrate(folder, url, 'status')).code, 0)
  fs.rmSync(folder, { recursive: true })
  await pool.query(`drop database ${new URL(url).pathname.slice(1)}_shadow with (force)`)
})

test('src/schema/migrations.generated.ts is what migrations/committed says', () => {
  assert.is(fs.readFileSync(path.join(root, 'src/schema/migrations.generated.ts'), 'utf8'), migrationsModule())
})

test('the command line explains its usage, and exits with 2 on a usage error', async () => {
  const help = await cli('', '--help')
  assert.is(help.code, 0)
  assert.match(help.stdout, 'pgstore migrate')
  for (const args of [
    [],
    ['frobnicate'],
    ['migrate', 'extra'],
    ['migrate', '--frob'],
    ['migrate'],
    ['sql', '--schema', 'A"'],
  ]) {
    const { code, stderr } = await cli('', ...args)
    assert.is(code, 2, args.join(' '))
    assert.is.not(stderr, '')
  }
})

test('a database that cannot be reached is one plain sentence and exit code 1', async () => {
  const { code, stderr } = await cli('postgres://nobody:hunter2@127.0.0.1:1/none', 'migrate')
  assert.is(code, 1)
  assert.match(stderr, /^Installing the schema: connect ECONNREFUSED 127\.0\.0\.1:1\n$/)
})

test('a borrowed pool is returned intact', async () => {
  const before = admin.totalCount - admin.idleCount
  await migrate(admin)
  assert.is(admin.totalCount - admin.idleCount, before)
})

test.run()
