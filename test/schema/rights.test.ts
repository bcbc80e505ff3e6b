// Rights that stay: whatever gave rights on our objects besides `pgstore grant`, the next migrate or grant takes them away.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate, schemaSql } from '../../src/index.ts'
import { grantedFunctions, grantStatements, type Right } from '../../src/schema/grants.ts'
import { runMigrations } from '../../src/schema/migrate.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { pgstore, pgstoreJson } from '../cli/pgstore.ts'
import { closeAll, databaseUrl, emptyDatabase, rejection, sql } from '../support/harness.ts'

interface Database {
  readonly url: string
  readonly pool: pg.Pool
}

const databases: Database[] = []
const roles: string[] = []

test.after(async () => {
  await Promise.all(databases.map(({ pool }) => pool.end()))
  await closeAll() // and with the databases, the roles' rights in them
  const client = new pg.Client(databaseUrl)
  await client.connect()
  for (const role of roles) await client.query(`drop role ${role}`)
  await client.end()
})

async function newDatabase(): Promise<Database> {
  const url = await emptyDatabase()
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {})
  databases.push({ url, pool })
  return { url, pool }
}

async function installed(): Promise<Database> {
  const database = await newDatabase()
  await migrate(database.pool)
  return database
}

async function newRole(options = ''): Promise<string> {
  const role = `pgstore_test_${randomBytes(6).toString('hex')}`
  await sql(`create role ${role} ${options}`)
  roles.push(role)
  return role
}

async function give(pool: pg.Pool, role: string, ...rights: Right[]): Promise<void> {
  for (const statement of grantStatements(role, rights, 'pgstore')) await pool.query(statement)
}

/** Everything in the schema that a role can reach: names of functions, and other objects with what it may do with them. */
async function reach(pool: pg.Pool, role: string): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select format('%s(%s)', p.proname, array_to_string(
       array(select format_type(t, null) from unnest(p.proargtypes) as t), ', ')) as name
     from pg_proc as p
     where p.pronamespace = 'pgstore'::regnamespace and has_function_privilege($1::name, p.oid, 'execute')
     union all
     select c.relname || ' ' || p.privilege
     from pg_class as c, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as p (privilege)
     where c.relnamespace = 'pgstore'::regnamespace and c.relkind = 'r' and has_table_privilege($1::name, c.oid, p.privilege)
     union all
     select c.relname || '.' || a.attname
     from pg_class as c
     join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
     where c.relnamespace = 'pgstore'::regnamespace and c.relkind = 'r'
       and has_column_privilege($1::name, c.oid, a.attnum, 'select, insert, update, references')
     union all
     select c.relname || ' used'
     from pg_class as c
     where c.relnamespace = 'pgstore'::regnamespace
       and case c.relkind when 'S' then has_sequence_privilege($1::name, c.oid, 'usage, select, update') end
     union all
     select 'the schema''s ' || p.privilege
     from unnest(array['create', 'usage']) as p (privilege)
     where has_schema_privilege($1::name, 'pgstore', p.privilege)
     union all
     select 'the type'
     where has_type_privilege($1::name, 'pgstore.cleanup_state', 'usage')`,
    [role],
  )
  return rows.map(({ name }) => name).sort()
}

const granted = (...rights: Right[]) =>
  [...rights.flatMap((right) => grantedFunctions[right]), "the schema's usage"].sort()

const everythingByDefault = (role: string) =>
  ['functions', 'tables', 'sequences', 'types', 'schemas']
    .map((kind) => `alter default privileges grant all on ${kind} to ${role};`)
    .join('\n')

/** The result of a restore without privileges: every object has Postgres' default rights. */
const withoutPrivileges = `
  update pg_proc set proacl = null where pronamespace = 'pgstore'::regnamespace;
  update pg_class set relacl = null where relnamespace = 'pgstore'::regnamespace;
  update pg_type set typacl = null where typnamespace = 'pgstore'::regnamespace;
  update pg_namespace set nspacl = null where nspname = 'pgstore'`

async function warnings(url: string): Promise<string[]> {
  return (await pgstoreJson<{ warnings: string[] }>(['status'], { DATABASE_URL: url })).warnings
}

// Sources of rights

test('B1: rights that default privileges give on new objects are revoked by the migrate that creates them', async () => {
  const { url, pool } = await newDatabase()
  const app = await newRole()
  await pool.query(everythingByDefault(app))
  await migrate(pool)
  assert.equal(await reach(pool, app), [])
  assert.is((await pgstore(['grant', app, '--as', 'client'], { DATABASE_URL: url })).code, 0)
  assert.equal(await reach(pool, app), granted('client'))
  assert.equal(await warnings(url), [])
})

test('B1: the same holds when a host’s own history runs the printed SQL, and its search_path is not changed', async () => {
  const { pool } = await newDatabase()
  const app = await newRole()
  await pool.query(everythingByDefault(app))
  const client = await pool.connect()
  await client.query(`begin; set local search_path = public; ${schemaSql()}`)
  assert.equal((await client.query('show search_path')).rows, [{ search_path: 'public' }])
  await client.query('commit')
  client.release()
  assert.equal(await reach(pool, app), [])
  assert.equal(await migrate(pool), [])
})

test('B1: a right granted by hand, to a role, to PUBLIC, on a column or with grant option, is reported and revoked', async () => {
  const { url, pool } = await installed()
  const [app, friend] = [await newRole(), await newRole()]
  await give(pool, app, 'client')
  await pool.query(`
    grant execute on function pgstore.count_live() to public;
    grant execute on function pgstore.session_get(bytea), pgstore.session_all(bytea, integer) to ${app} with grant option;
    grant select (data) on pgstore.sessions to ${app};
    grant all on pgstore.sessions, pgstore.grants, pgstore.session_number to ${friend};
    grant create on schema pgstore to ${app} with grant option;
    set role ${app};
    grant execute on function pgstore.session_get(bytea), pgstore.session_all(bytea, integer) to ${friend};
    grant create on schema pgstore to ${friend};
    reset role`)
  const told = await warnings(url)
  for (const holder of ['PUBLIC', app, friend]) {
    assert.ok(
      told.some((warning) => warning.startsWith(`${holder} has a right that pgstore did not grant`)),
      told.join('\n'),
    )
  }
  assert.is(told.length, 3)
  assert.match(
    told.join('\n'),
    /EXECUTE on function pgstore\.count_live\(\)\. As the owner .* Run "npx pgstore migrate"/,
  )
  assert.equal(await migrate(pool), [])
  assert.equal(await reach(pool, app), granted('client'))
  assert.equal(await reach(pool, friend), [])
  assert.equal(await warnings(url), [])
})

for (const [name, mend] of [
  ['migrate', async (url: string) => await pgstore(['migrate'], { DATABASE_URL: url })],
  [
    'grant, to whomever,',
    async (url: string, other: string) => await pgstore(['grant', other, '--as', 'client'], { DATABASE_URL: url }),
  ],
] as const) {
  test(`B2: after a restore without privileges ${name} takes EXECUTE from PUBLIC and gives each role what it had`, async () => {
    const { url, pool } = await installed()
    const [app, worker, stranger, other] = [await newRole(), await newRole(), await newRole(), await newRole()]
    await give(pool, app, 'client', 'account')
    await give(pool, worker, 'cleanup')
    await pool.query(withoutPrivileges)
    const told = await warnings(url)
    assert.match(
      told.join('\n'),
      /^PUBLIC has a right that pgstore did not grant: EXECUTE on function .* and \d+ more\./m,
    )
    assert.match(
      told.join('\n'),
      new RegExp(`^${app} lacks a right that it was granted: EXECUTE on .* and \\d+ more\\.`, 'm'),
    )
    const { code, stderr } = await mend(url, other)
    assert.is(code, 0, stderr)
    assert.equal(await reach(pool, stranger), [])
    assert.equal(await reach(pool, app), granted('client', 'account'))
    assert.equal(await reach(pool, worker), granted('cleanup'))
    assert.equal(await warnings(url), [])
  })
}

test('a function that is created again gets back the rights that roles had on it', async () => {
  const { url, pool } = await installed()
  const app = await newRole()
  await give(pool, app, 'client')
  const { rows } = await pool.query<{ definition: string }>(
    `select pg_get_functiondef('pgstore.session_get(bytea)'::regprocedure) as definition`,
  )
  await pool.query(`drop function pgstore.session_get(bytea); ${rows[0]?.definition}`)
  assert.match(
    (await warnings(url)).join('\n'),
    new RegExp(`^${app} lacks a right that it was granted: EXECUTE on function pgstore.session_get`, 'm'),
  )
  await migrate(pool)
  assert.equal(await reach(pool, app), granted('client'))
  assert.equal(await warnings(url), [])
})

// Whose rights

test('a recorded role that no longer exists causes no failure', async () => {
  const { url, pool } = await installed()
  const role = await newRole()
  await give(pool, role, 'admin')
  await pool.query(`drop owned by ${role}; drop role ${role}`)
  roles.pop()
  await pool.query(
    `insert into pgstore.grants values ('we"ird ''role', 'client'), ($1, 'no such right')`.replace('$1', `'postgres'`),
  )
  assert.equal(await migrate(pool), [])
  assert.equal(await warnings(url), [])
  assert.is((await pgstore(['grant', await newRole(), '--as', 'client'], { DATABASE_URL: url })).code, 0)
})

test('other objects are not touched: their functions, tables and rights in the schema, and the access to them', async () => {
  const { url, pool } = await installed()
  const [app, reader] = [await newRole(), await newRole()]
  await pool.query(`
    create function pgstore.mine() returns integer language sql return 1;
    create table pgstore.also_mine (id integer);
    create function pgstore.session_get(p_mine text) returns integer language plpgsql as 'begin return 1; end';
    grant usage on schema pgstore to ${reader};
    grant select on pgstore.also_mine to ${reader};
    grant execute on function pgstore.count_live() to ${reader}`)
  const rights = async () => {
    const { rows } = await pool.query(
      `select proacl::text as acl from pg_proc where pronamespace = 'pgstore'::regnamespace and oid::regprocedure::text in ('pgstore.mine()', 'pgstore.session_get(text)')
       union all select relacl::text from pg_class where oid = 'pgstore.also_mine'::regclass
       union all select nspacl::text from pg_namespace where nspname = 'pgstore'`,
    )
    return rows
  }
  const before = await rights()
  assert.equal(await migrate(pool), [])
  assert.equal(await rights(), before)
  assert.is(
    (await pool.query(`select has_function_privilege($1::name, 'pgstore.count_live()', 'execute') as x`, [reader]))
      .rows[0].x,
    false,
  )
  assert.is((await pgstore(['grant', app, '--as', 'client'], { DATABASE_URL: url })).code, 0)
  assert.is((await pool.query(`select has_schema_privilege($1::name, 'pgstore', 'usage') as x`, [app])).rows[0].x, true)
})

test('a right that is deleted from the table of grants is revoked from the role by the next migrate', async () => {
  const { pool } = await installed()
  const app = await newRole()
  await give(pool, app, 'client', 'account')
  await pool.query(`delete from pgstore.grants where role = $1 and "right" = 'account'`, [app])
  await migrate(pool)
  assert.equal(await reach(pool, app), granted('client'))
})

test('a role that reads the ledger and owns nothing opens a store on a schema whose rights differ', async () => {
  const { url, pool } = await installed()
  const role = await newRole(`login password 'reader'`)
  await pool.query(`grant pg_read_all_data to ${role}; grant execute on function pgstore.count_live() to public`)
  const as = new URL(url)
  Object.assign(as, { username: role, password: 'reader' })
  const reader = new pg.Pool({ connectionString: as.href, max: 1 })
  try {
    assert.equal(await migrate(reader), [])
  } finally {
    await reader.end()
  }
  assert.match((await warnings(url)).join('\n'), /^PUBLIC has a right that pgstore did not grant/m)
})

// Before rights were put on record

test('an upgrade records what roles had by a grant, and of what default privileges gave only what an application needs', async () => {
  const { pool } = await newDatabase()
  const [app, worker, people, byDefault] = [await newRole(), await newRole(), await newRole(), await newRole()]
  await pool.query(`alter default privileges grant execute on functions to ${byDefault}`)
  await runMigrations(pool, 'pgstore', migrations.slice(0, 2))
  /** As the functions were called then. */
  const functions = async (...rights: Right[]) => {
    const names = rights.flatMap((right) => grantedFunctions[right]).map((signature) => signature.split('(')[0])
    const { rows } = await pool.query<{ all: string }>(
      `select string_agg(p.oid::regprocedure::text, ', ') as all
       from pg_proc as p where p.pronamespace = 'pgstore'::regnamespace and p.proname = any ($1)`,
      [names],
    )
    return rows[0]?.all
  }
  await pool.query(`
    grant usage on schema pgstore to ${app}, ${worker}, ${people}, ${byDefault};
    grant execute on function ${await functions('client', 'account')} to ${app};
    grant execute on function ${await functions('cleanup')} to ${worker};
    grant execute on function ${await functions('admin')} to ${people}`)
  await migrate(pool)
  assert.equal(await reach(pool, app), granted('client', 'account'))
  assert.equal(await reach(pool, worker), granted('cleanup'))
  assert.equal(await reach(pool, people), granted('admin'))
  assert.equal(await reach(pool, byDefault), granted('client'))
})

test('a fresh installation records nothing', async () => {
  const { pool } = await newDatabase()
  await pool.query(`alter default privileges grant execute on functions to ${await newRole()}`)
  await migrate(pool)
  assert.equal((await pool.query('select role, "right" from pgstore.grants')).rows, [])
})

test('B6: a publication for all tables does not stop the cleanup', async () => {
  const { pool } = await installed()
  await pool.query('create publication everything for all tables')
  for (const call of ['start()', 'beat()', 'begin_run()', 'end_run(0, 0)', 'stop()']) {
    assert.is((await pool.query(`select enabled from pgstore.cleanup_${call}`)).rows.length, 1)
  }
  const second = `insert into pgstore.cleanup (id, enabled, every, total_purged) values ($1, false, '1 day', 0)`
  assert.is((await rejection(pool.query(second, [true]))).code, '23505')
  assert.is((await rejection(pool.query(second, [false]))).code, '23514')
})

test.run()
