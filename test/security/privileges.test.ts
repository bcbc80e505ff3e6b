// What the application's role may do: run the functions, and nothing else; and that nobody can subvert what it runs.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate, PGStore } from '../../src/index.ts'
import { grantedFunctions, grantStatements } from '../../src/schema/grants.ts'
import { call, closeClients, connect, create, newKey, present, save } from '../sql/calls.ts'
import {
  admin,
  clientUrl,
  closeAll,
  databaseUrl,
  emptyDatabase,
  hashKey,
  row,
  sql,
  testStore,
} from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { newVisitor } from './visitors.ts'

const role = new URL(clientUrl).username
const database = new URL(databaseUrl).pathname.slice(1)
const roles: string[] = []

test.after.each(closeClients)
test.after(async () => {
  for (const name of roles) await sql(`drop owned by ${name} cascade`)
  for (const name of roles) await sql(`drop role ${name}`)
  await closeAll()
})

/** A role that may connect and nothing else, in this file's database. */
async function newRole(options = 'login'): Promise<{ name: string; url: string }> {
  const name = `pgstore_test_${randomBytes(6).toString('hex')}`
  const password = randomBytes(12).toString('hex')
  await sql(`create role ${name} ${options} password '${password}'`)
  await sql(`grant connect on database ${database} to ${name}`)
  roles.push(name)
  const url = new URL(databaseUrl)
  Object.assign(url, { username: name, password })
  return { name, url: url.href }
}

async function sqlState(client: pg.Client, text: string): Promise<string> {
  return await client.query(text).then(
    () => '',
    (error) => String(error.code),
  )
}

// S30: least privilege. All functions by right: test/schema/grants.test.ts.

requirement(
  'S30',
  'the application’s role has no right to any table, sequence or column, and cannot create',
  async () => {
    const found = await sql(
      `select c.relname, p.privilege
     from pg_class as c, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as p (privilege)
     where c.relnamespace = 'pgstore'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
       and has_table_privilege($1::name, c.oid, p.privilege)
     union all
     select c.relname || '.' || a.attname, p.privilege
     from pg_class as c
     join pg_attribute as a on a.attrelid = c.oid,
       unnest(array['select', 'insert', 'update', 'references']) as p (privilege)
     where c.relnamespace = 'pgstore'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
       and not a.attisdropped and has_column_privilege($1::name, c.oid, a.attnum, p.privilege)
     union all
     select c.relname, p.privilege
     from pg_class as c, unnest(array['usage', 'select', 'update']) as p (privilege)
     where c.relnamespace = 'pgstore'::regnamespace and c.relkind = 'S' and has_sequence_privilege($1::name, c.oid, p.privilege)
     union all
     select 'schema ' || n.nspname, 'create' from pg_namespace as n where has_schema_privilege($1::name, n.oid, 'create')
     union all
     select 'schema ' || n.nspname, 'usage' from pg_namespace as n
     where n.nspname in ('public') and has_schema_privilege($1::name, n.oid, 'usage')
     union all
     select 'database', p.privilege
     from unnest(array['create', 'temporary']) as p (privilege)
     where has_database_privilege($1::name, current_database(), p.privilege)`,
      role,
    )
    assert.equal(found, [])
  },
)

requirement('S30', 'it runs its functions and none of the others', async () => {
  const runs = await sql<{ oid: number }>(
    `select p.oid::integer from pg_proc as p
     where p.pronamespace = 'pgstore'::regnamespace and has_function_privilege($1::name, p.oid, 'execute')`,
    role,
  )
  const granted = await sql<{ oid: number }>(
    'select f::regprocedure::oid::integer as oid from unnest($1::text[]) as f',
    [...grantedFunctions.client, ...grantedFunctions.account].map((signature) => `pgstore.${signature}`),
  )
  const numbers = (rows: { oid: number }[]) => rows.map(({ oid }) => oid).sort((a, b) => a - b)
  assert.equal(numbers(runs), numbers(granted))
})

requirement('S30', 'every direct statement on the tables is refused', async () => {
  await create({ secret: 1 })
  const client = await connect(clientUrl)
  const relations = await sql<{ name: string; kind: string }>(
    `select relname as name, relkind as kind from pg_class where relnamespace = 'pgstore'::regnamespace and relkind in ('r', 'S')`,
  )
  assert.ok(relations.length >= 4)
  for (const { name, kind } of relations) {
    const statements =
      kind === 'S'
        ? [
            `select nextval('pgstore.${name}')`,
            `select last_value from pgstore.${name}`,
            `select setval('pgstore.${name}', 1)`,
          ]
        : [
            `select * from pgstore.${name}`,
            `select count(*) from pgstore.${name}`,
            `select xmin from pgstore.${name}`,
            `insert into pgstore.${name} default values`,
            `update pgstore.${name} set ctid = ctid`,
            `delete from pgstore.${name}`,
            `truncate pgstore.${name}`,
            `copy pgstore.${name} to stdout`,
            `do $$ begin lock table pgstore.${name} in access share mode; end $$`,
            `create index on pgstore.${name} ((1))`,
            `alter table pgstore.${name} disable row level security`,
            `create rule r as on select to pgstore.${name} do instead nothing`,
            `create trigger t after insert on pgstore.${name} execute function suppress_redundant_updates_trigger()`,
            `comment on table pgstore.${name} is 'mine'`,
            `drop table pgstore.${name}`,
          ]
    for (const statement of statements) {
      const state = await sqlState(client, statement)
      assert.ok(['42501', '0A000', '428C9', '42P17', '42601'].includes(state), `${statement}: ${state || 'done'}`)
    }
    if (kind === 'r') assert.is(await sqlState(client, `select * from pgstore.${name}`), '42501')
  }
  for (const statement of [
    `create or replace function pgstore.session_get(p_key bytea) returns void language sql as ''`,
    'alter function pgstore.session_get(bytea) owner to current_user',
    'alter function pgstore.session_get(bytea) security invoker',
    'alter function pgstore.session_get(bytea) reset all',
    'drop function pgstore.session_get(bytea)',
    'create table pgstore.mine ()',
    'create table public.mine ()',
    'create temp table mine ()',
    'create schema mine',
    `grant execute on function pgstore.count_expired() to ${role}`,
    'set role postgres',
    'set session authorization postgres',
    `alter role ${role} createrole`,
    `copy (select 1) to program 'true'`,
    `select pg_read_file('/etc/passwd')`,
    `select lo_import('/etc/passwd')`,
  ]) {
    assert.is(await sqlState(client, statement), '42501', statement)
  }
})

// S31

requirement(
  'S31',
  'a role that was not granted anything can run none of the functions, not even with USAGE on the schema',
  async () => {
    const { name, url } = await newRole()
    const client = await connect(url)
    const calls = await sql<{ text: string }>(
      `select format('select pgstore.%I(%s)', p.proname, array_to_string(array(
       select 'null::' || format_type(t, null) from unnest(p.proargtypes) as t), ', ')) as text
     from pg_proc as p where p.pronamespace = 'pgstore'::regnamespace and not p.proisstrict`,
    )
    calls.push({ text: `select pgstore.session_key('x')` })
    for (const grant of ['', `grant usage on schema pgstore to ${name}`]) {
      if (grant) await sql(grant)
      for (const { text } of calls) assert.is(await sqlState(client, text), '42501', text)
    }
  },
)

requirement(
  'S31',
  'functions are closed to PUBLIC in the transaction that creates them, whatever the owner’s default privileges say',
  async () => {
    const url = await emptyDatabase()
    const pool = new pg.Pool({ connectionString: url })
    const { name } = await newRole()
    try {
      await pool.query(
        `alter default privileges grant execute on functions to public; alter default privileges grant usage on schemas to public`,
      )
      await pool.query('alter default privileges grant select on tables to public')
      await migrate(pool)
      const { rows } = await pool.query(
        `select p.oid::regprocedure::text as object from pg_proc as p
       where p.pronamespace = 'pgstore'::regnamespace and has_function_privilege($1::name, p.oid, 'execute')
       union all
       select c.relname from pg_class as c
       where c.relnamespace = 'pgstore'::regnamespace and c.relkind = 'r' and has_table_privilege($1::name, c.oid, 'select')
       union all
       select 'schema' where has_schema_privilege($1::name, 'pgstore', 'usage')`,
        [name],
      )
      assert.equal(rows, [])
    } finally {
      await pool.end()
    }
  },
)

// S32

requirement(
  'S32',
  'a role that cannot log in and is not a superuser can own everything, and the store works',
  async () => {
    const owner = (await newRole('nologin')).name
    const { name: app, url } = await newRole()
    const target = new URL(await emptyDatabase())
    const pool = new pg.Pool({ connectionString: target.href, max: 1 })
    try {
      const name = target.pathname.slice(1)
      await pool.query(`revoke all on database ${name} from public; grant connect on database ${name} to ${app}`)
      // docs/operations.md, word for word.
      await pool.query(`create schema pgstore authorization ${owner}`)
      await pool.query(`set role ${owner}`)
      assert.ok((await migrate(pool)).length > 0)
      for (const statement of grantStatements(app, ['client'], 'pgstore')) await pool.query(statement)
      await pool.query('reset role')
      const { rows } = await pool.query(
        `select distinct r.rolname, r.rolcanlogin, r.rolsuper
       from pg_roles as r
       where r.oid in (
         select proowner from pg_proc where pronamespace = 'pgstore'::regnamespace
         union all select relowner from pg_class where relnamespace = 'pgstore'::regnamespace
         union all select nspowner from pg_namespace where nspname = 'pgstore'
         union all select typowner from pg_type where typnamespace = 'pgstore'::regnamespace
       )`,
      )
      assert.equal(rows, [{ rolname: owner, rolcanlogin: false, rolsuper: false }])
      const appUrl = new URL(url)
      appUrl.pathname = target.pathname
      const store = testStore({ connectionString: appUrl.href })
      const visitor = await newVisitor(store, { works: true })
      assert.equal((await store.get(visitor.request(), 'sid')).values, { works: true })
      await store.close()
      await pool.query(`drop schema pgstore cascade; drop owned by ${owner}`)
    } finally {
      await pool.end()
    }
  },
)

requirement('S32', 'a role with cleanup purges and reads no session', async () => {
  const { name, url } = await newRole()
  for (const statement of grantStatements(name, ['cleanup'], 'pgstore')) await sql(statement)
  const key = await create({ secret: 1 }, { user_id: 'ada' })
  await sql('update pgstore.sessions set expires_at = now(), purge_at = now() where key = $1', key)
  const client = await connect(url)
  assert.equal(await call('purge_expired', {}, client), [{ purge_expired: '1' }])
  for (const text of [
    `select pgstore.session_get('\\x'::bytea)`,
    `select pgstore.session_list('ada')`,
    `select pgstore.session_revoke('ada')`,
  ]) {
    assert.is(await sqlState(client, text), '42501')
  }
})

// S33

/** Objects of the caller's own that a body with an open path would take for Postgres's, each giving itself away. */
const hostileObjects = (schema: string) => `
  create function ${schema}.now() returns timestamptz language sql as $$ select '-infinity'::timestamptz $$;
  create function ${schema}.sha256(bytea) returns bytea language sql as $$ select '\\x00'::bytea $$;
  create function ${schema}.octet_length(bytea) returns integer language sql as $$ select 32 $$;
  create function ${schema}.pg_notify(text, text) returns void language sql as $$ select 1 / 0 $$;
  create function ${schema}.jsonb_typeof(jsonb) returns text language sql as $$ select 'object' $$;
  create function ${schema}.yes(bytea, bytea) returns boolean language sql immutable as $$ select true $$;
  create function ${schema}.yes(timestamptz, timestamptz) returns boolean language sql immutable as $$ select true $$;
  create function ${schema}.yes(text, text) returns boolean language sql immutable as $$ select true $$;
  create function ${schema}.mine(jsonb, jsonb) returns jsonb language sql immutable as $$ select '{"hijacked": true}'::jsonb $$;
  create operator ${schema}.= (leftarg = bytea, rightarg = bytea, function = ${schema}.yes);
  create operator ${schema}.= (leftarg = text, rightarg = text, function = ${schema}.yes);
  create operator ${schema}.> (leftarg = timestamptz, rightarg = timestamptz, function = ${schema}.yes);
  create operator ${schema}.|| (leftarg = jsonb, rightarg = jsonb, function = ${schema}.mine);
  create domain ${schema}.bytea as text;
  create domain ${schema}.jsonb as text;
  create table ${schema}.sessions (like pg_catalog.pg_class);
  create type ${schema}.disguised as (raw pg_catalog.bytea);
  create function ${schema}.undisguise(${schema}.disguised) returns pg_catalog.bytea language sql immutable as $$ select ($1).raw $$;
  create cast (${schema}.disguised as pg_catalog.bytea) with function ${schema}.undisguise(${schema}.disguised) as implicit;`

requirement(
  'S33',
  'the caller’s temporary tables, operators, functions, types, casts and search_path change no result',
  async () => {
    const { name, url } = await newRole()
    for (const statement of grantStatements(name, ['client', 'account'], 'pgstore')) await sql(statement)
    await sql(`grant temporary on database ${database} to ${name}; create schema hostile authorization ${name}`)
    const stranger = await create({ secret: 'of a stranger' }, { user_id: 'stranger' })
    const client = await connect(url)
    await client.query(hostileObjects('hostile'))
    await client.query(`
    create temp table sessions (key pg_catalog.bytea, expires_at timestamptz, data pg_catalog.jsonb, user_id text);
    create temp table cleanup (enabled boolean);
    create function pg_temp.now() returns timestamptz language sql as $$ select '-infinity'::timestamptz $$`)
    const paths = [
      'hostile, pg_catalog',
      'pg_temp, hostile, pg_catalog',
      'hostile, pgstore, pg_temp, pg_catalog',
      `''`,
      'pgstore',
    ]
    for (const path of paths) {
      await client.query(`set search_path = ${path}`)
      const key = newKey()
      const bytea = (key: Buffer) => `'\\x${key.toString('hex')}'::pg_catalog.bytea`
      const ask = async (text: string) => (await client.query(text)).rows
      const rest = `'30 days'::pg_catalog.interval`
      const status = async (text: string) => (await ask(`select status from pgstore.${text}`))[0]?.status
      assert.is(
        await status(
          `session_save(${bytea(key)}, '{"a":1}'::pg_catalog.jsonb, '{}'::pg_catalog.text[], ${rest}, 0, 'ada')`,
        ),
        'saved',
      )
      assert.is(await status(`session_save(${bytea(key)}, '{"b":2}'::pg_catalog.jsonb)`), 'saved')
      assert.is(await status(`session_save(${bytea(key)}, '[]'::pg_catalog.jsonb)`), 'invalid')
      assert.is(await status(`session_save('\\x00'::pg_catalog.bytea, '{"b":2}'::pg_catalog.jsonb)`), 'invalid')
      assert.equal((await present(key)).data, { a: 1, b: 2 })
      // With "=" and ">" of the caller's taken, these would be every session there is.
      assert.equal(await ask(`select data from pgstore.session_get(${bytea(key)})`), [{ data: { a: 1, b: 2 } }])
      assert.equal(await ask(`select data from pgstore.session_get(array[${bytea(newKey())}])`), [])
      assert.equal(await ask(`select data from pgstore.session_get(${bytea(newKey())})`), [])
      assert.equal(await ask(`select data from pgstore.session_list('nobody'::pg_catalog.text)`), [])
      const [digest] = await ask(`select pgstore.session_key('x')`)
      assert.is(digest.session_key.toString('hex'), '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881')
      assert.equal(await ask(`select pgstore.session_destroy(${bytea(newKey())}) as n`), [{ n: '0' }])
      assert.equal(await ask(`select pgstore.session_revoke('ada'::pg_catalog.text) as n`), [{ n: '1' }])
      await client.query('set search_path = pg_catalog')
      const [viaCast] = await ask(
        `select pgstore.session_destroy((row('\\x00'::pg_catalog.bytea)::hostile.disguised)::pg_catalog.bytea) as n`,
      )
      assert.is(viaCast.n, '0')
    }
    assert.equal((await present(stranger)).data, { secret: 'of a stranger' })
  },
)

requirement('S33', 'plpgsql settings of the caller do not change which column a name means', async () => {
  const client = await connect(clientUrl)
  for (const conflict of ['use_variable', 'use_column', 'error']) {
    // For superusers alone, but a role or a database may have it set.
    await sql(`alter role ${role} set plpgsql.variable_conflict = ${conflict}`).catch((error) => {
      if (error.code !== '42501') throw error
    })
    const fresh = await connect(clientUrl)
    const key = newKey()
    const steps = [
      (await save(key, { set: '{"a":1}', version: 0, user_id: 'conflict' }, fresh)).status,
      (await save(key, { set: '{"b":1}' }, fresh)).status,
      (await call('session_get', { key }, fresh)).length,
      (await call('session_list', { user_id: 'conflict' }, fresh)).length,
      (await call('session_revoke', { user_id: 'conflict' }, fresh))[0]?.['session_revoke'],
    ]
    assert.equal(steps, ['saved', 'saved', 1, 1, '1'], conflict)
  }
  await sql(`alter role ${role} reset all`)
  assert.is(await sqlState(client, 'select 1'), '')
})

requirement('S33', 'every function that runs as its owner has its path pinned', async () => {
  const open = await sql(
    `select p.oid::regprocedure from pg_proc as p
     where p.pronamespace = 'pgstore'::regnamespace and p.prosecdef
       and not coalesce(p.proconfig, '{}') && array['search_path=pg_catalog, pg_temp', 'search_path=""']`,
  )
  assert.equal(open, [])
})

// S34 and S35

requirement('S34', 'bodies contain no secret and run no SQL built from text', async () => {
  const bodies = await sql<{ body: string }>(
    `select prosrc as body from pg_proc where pronamespace = 'pgstore'::regnamespace`,
  )
  assert.ok(bodies.length > 15)
  for (const { body } of bodies) {
    const code = body.replaceAll(/--.*$/gm, '')
    assert.not.match(code, /\bexecute\b|\bformat\s*\(|quote_(ident|literal)|dblink|password|secret|postgres:\/\//i)
    assert.not.match(code, /'[\w+/=-]{32,}'/) // a key
  }
})

requirement(
  'S35',
  'a schema name that is not a lower-case identifier is refused everywhere, before any query',
  async () => {
    const names = [
      'a".b; drop table x;--',
      'A',
      'a b',
      "a'b",
      'a;b',
      '',
      'pg_x',
      'x'.repeat(51),
      'ä',
      'a\0b',
      '1a',
      'a.b',
      'a"b',
    ]
    const before = await row('select count(*)::integer as n from pg_class')
    for (const schema of names) {
      const codeOf = (work: () => unknown): string => {
        try {
          work()
          return ''
        } catch (error) {
          return (error as { code: string }).code
        }
      }
      assert.is(
        codeOf(() => new PGStore({ connectionString: clientUrl, keyPairs: [hashKey], schema })),
        'invalid_option',
        schema,
      )
      assert.is(
        codeOf(() => grantStatements('app', ['client'], schema)),
        'invalid_option',
        schema,
      )
      const refused = await migrate(admin, { schema }).catch((error) => error.code)
      assert.is(refused, 'invalid_option', schema)
    }
    const cli = spawnSync(process.execPath, ['dist/cli/main.js', 'purge', '--schema', names[0] ?? ''], {
      env: { ...process.env, DATABASE_URL: clientUrl },
      encoding: 'utf8',
    })
    assert.is(cli.status, 2)
    assert.equal(await row('select count(*)::integer as n from pg_class'), before)
  },
)

requirement('S35', 'the client’s queries are built only from constants and the checked schema name', () => {
  const page = fs.readFileSync(new URL('../../src/database/sql-functions.ts', import.meta.url), 'utf8')
  const queries = [...page.matchAll(/`select [^`]*`/g)].map(([query]) => query)
  const parts = queries.flatMap((query) => [...query.matchAll(/\{([^}]+)\}/g)].map(([, part]) => part))
  assert.ok(queries.length > 0)
  assert.equal(new Set(parts), new Set(['columns', 'this.#schema', 'name', 'parameters']))
})

test.run()
