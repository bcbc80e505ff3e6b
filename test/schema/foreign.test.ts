// Schemas in which others' objects stand: migrate says so in a sentence and changes nothing.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate, PGStore } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { pgstore } from '../cli/pgstore.ts'
import { admin, closeAll, databaseUrl, emptyDatabase, hashKey, rejection } from '../support/harness.ts'

const names = migrations.map(({ name }) => name)
const pools: pg.Pool[] = []

test.after(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
  await closeAll()
})

async function newDatabase(before = ''): Promise<{ url: string; pool: pg.Pool }> {
  const url = await emptyDatabase()
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {})
  pools.push(pool)
  await pool.query(before)
  return { url, pool }
}

/** All that migrate could change, as the catalog has it: a row that was rewritten has another xmin. */
async function everything(pool: pg.Pool): Promise<unknown[]> {
  const catalogs = ['pg_namespace', 'pg_class', 'pg_attribute', 'pg_proc', 'pg_type', 'pg_description', 'pg_depend']
  const { rows } = await pool.query(
    catalogs
      .map(
        (name) =>
          `select '${name}' as name, count(*), max(xmin::text::bigint) from ${name} where xmin::text::bigint > 2`,
      )
      .join(' union all '),
  )
  return rows
}

/** migrate is refused with this code and sentence, and nothing has changed. */
async function assertRefused(pool: pg.Pool, code: string, sentence: RegExp, schema = 'pgstore'): Promise<void> {
  const before = await everything(pool)
  const error = await rejection(migrate(pool, { schema }))
  assert.is(error.code, code, error.message)
  assert.match(error.message, sentence)
  assert.equal(await everything(pool), before)
}

test('B3: public and the schemas of Postgres are refused by migrate, grant, the store and the command line', async () => {
  for (const schema of ['public', 'information_schema', 'pg_catalog', 'pg_toast', 'pg_mine']) {
    await assertRefused(admin, 'invalid_option', /schema must be .*pg(_|store)/, schema)
    assert.throws(() => grantStatements('app', ['client'], schema), /schema must be/)
    assert.throws(
      () => new PGStore({ connectionString: databaseUrl, keyPairs: [hashKey], schema }),
      ({ code }: { code: string }) => code === 'invalid_option',
    )
  }
  for (const args of [['migrate'], ['sql'], ['grant', 'app', '--as', 'client', '--print']]) {
    const { code, stdout } = await pgstore([...args, '--schema', 'public'])
    assert.equal({ code, stdout }, { code: 2, stdout: '' }, args.join(' '))
  }
})

for (const [kind, statement, described] of [
  ['table', 'create table app.users (id integer)', /table app\.users/],
  ['view', 'create view app.all as select 1 as one', /view app\./],
  ['function', 'create function app.f() returns integer language sql return 1', /function app\.f\(\)/],
  ['type', `create type app.color as enum ('red')`, /type app\.color/],
  ['sequence', 'create sequence app.numbers', /sequence app\.numbers/],
] as const) {
  test(`B3: a schema that holds a ${kind} of others is refused, and the sentence names it and says what to do`, async () => {
    const { url, pool } = await newDatabase(`create schema app; comment on schema app is 'Ours'; ${statement}`)
    await assertRefused(pool, 'invalid_option', described, 'app')
    await assertRefused(pool, 'invalid_option', /choose another schema.*CREATE SCHEMA/, 'app')
    assert.is((await pgstore(['migrate', '--schema', 'app'], { DATABASE_URL: url })).code, 2)
    assert.equal(await migrate(pool), names) // beside it
  })
}

test('B3: an empty schema is used as it is, and keeps its comment if it has one', async () => {
  const { pool } = await newDatabase(`create schema one; create schema two; comment on schema two is 'The app''s'`)
  const comment = async (schema: string) =>
    (await pool.query(`select obj_description($1::text::regnamespace, 'pg_namespace') as text`, [schema])).rows[0].text
  assert.equal(await migrate(pool, { schema: 'one' }), names)
  assert.equal(await migrate(pool, { schema: 'two' }), names)
  assert.match(await comment('one'), /pgstore/)
  assert.is(await comment('two'), "The app's")
})

test('B3: the printed SQL keeps the comment of an empty schema too', async () => {
  const { url, pool } = await newDatabase(`create schema two; comment on schema two is 'The app''s'`)
  const { stdout } = await pgstore(['sql', '--schema', 'two'], { DATABASE_URL: url })
  await pool.query(`begin; ${stdout}; commit`)
  const { rows } = await pool.query(`select obj_description('two'::regnamespace, 'pg_namespace') as text`)
  assert.equal(rows, [{ text: "The app's" }])
})

for (const [name, statement] of [
  ['of other columns', 'create table pgstore.migrations (id integer, run_on timestamptz)'],
  [
    'with our columns and other names',
    `create table pgstore.migrations (name text, hash text); insert into pgstore.migrations values ('001_users.js', 'x')`,
  ],
  [
    'with our columns and no row',
    'create table pgstore.migrations (name text, hash text, applied_at timestamptz default now())',
  ],
  ['with our columns in other types', 'create table pgstore.migrations (name integer, hash bytea)'],
  ['that is a view', `create view pgstore.migrations as select 'a'::text as name, 'b'::text as hash`],
] as const) {
  test(`B4: a table "migrations" ${name} is not taken for ours, nor written into`, async () => {
    const { pool } = await newDatabase(`create schema pgstore; ${statement}`)
    const rows = async () => (await pool.query('select * from pgstore.migrations')).rows
    const before = await rows()
    await assertRefused(
      pool,
      'invalid_option',
      /^Table pgstore\.migrations is not pgstore's record.*choose another schema/,
    )
    assert.equal(await rows(), before)
  })
}

for (const [name, statement] of [
  [
    'session_get in sql',
    `create or replace function pgstore.session_get(p_key bytea, out key bytea, out id bigint) returns setof record language sql as 'select null::bytea, null::bigint'`,
  ],
  [
    'session_destroy in sql',
    `create or replace function pgstore.session_destroy(p_key bytea) returns bigint language sql as 'select 0::bigint'`,
  ],
  [
    'cleanup_beat in an internal language',
    `create or replace function pgstore.cleanup_beat(p_text text) returns text language internal as 'textin'`,
  ],
] as const) {
  test(`B9: where a proxy's functions stand in place of ours, as ${name}, migrate refuses and replaces none`, async () => {
    const { url, pool } = await newDatabase()
    await migrate(pool)
    if (name === 'session_get in sql') await pool.query('drop function pgstore.session_get(bytea)')
    await pool.query(statement)
    const [, language = ''] = / in (?:an )?(\w+)/.exec(name) ?? []
    await assertRefused(pool, 'migration', new RegExp(`^Function pgstore\\.\\w+ \\(${language}\\) is not in plpgsql`))
    await pool.query(`delete from pgstore.migrations where name <> $1`, [names[0]])
    await assertRefused(pool, 'migration', /is not in plpgsql.*migrate each database behind it/)
    assert.is((await pgstore(['migrate'], { DATABASE_URL: url })).code, 1)
  })
}

test('B9: the same holds in a schema with a proxy’s functions and no table', async () => {
  const { pool } = await newDatabase(
    `create schema pgstore; create function pgstore.session_get(p_key bytea) returns integer language sql as 'select 1'`,
  )
  await assertRefused(pool, 'migration', /^Function pgstore\.session_get \(sql\)/)
})

for (const [name, statements] of [
  [
    'partitioned by key',
    `create table pgstore.sessions (like pgstore.old including defaults, primary key (key)) partition by hash (key);
     create table pgstore.p0 partition of pgstore.sessions for values with (modulus 2, remainder 0);
     create table pgstore.p1 partition of pgstore.sessions for values with (modulus 2, remainder 1)`,
  ],
  [
    'partitioned, with no partition yet',
    'create table pgstore.sessions (like pgstore.old) partition by range (expires_at)',
  ],
  [
    'split by inheritance',
    'create table pgstore.sessions (like pgstore.old including all); create table pgstore.p0 () inherits (pgstore.sessions)',
  ],
  ['a view', 'create view pgstore.sessions as select * from pgstore.old'],
] as const) {
  test(`A10: sessions ${name} are refused by migrate and status`, async () => {
    const { url, pool } = await newDatabase()
    await migrate(pool)
    await pool.query(`alter table pgstore.sessions rename to old; ${statements}`)
    const sentence =
      name === 'a view' ? /^pgstore\.sessions is not an ordinary table/ : /^Table pgstore\.sessions is partitioned/
    await assertRefused(pool, 'migration', sentence)
    for (const command of ['migrate', 'status']) {
      const { code, stdout, stderr } = await pgstore([command], { DATABASE_URL: url })
      assert.is(code, 1)
      assert.is(stdout, '')
      assert.match(stderr, sentence)
    }
    await pool.query(
      `drop ${name === 'a view' ? 'view' : 'table'} pgstore.sessions cascade; alter table pgstore.old rename to sessions`,
    )
    assert.equal(await migrate(pool), [])
  })
}

test.run()
