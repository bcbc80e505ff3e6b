// What a reviewer would check in the schema, checked in the catalog.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { databaseUrl, row, sql } from '../support/harness.ts'
import { type Client, call, closeClients, closeEverything, connect, create, newKey, save } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

const folder = new URL('../../sql/', import.meta.url)
const files = fs.readdirSync(folder).filter((name) => name.endsWith('.sql'))

/** Rules in language sql, which the planner writes into the expressions of their callers: as definers they could not be. */
const inlined: Readonly<Record<string, string>> = {
  valid_life: `(s.expires_at - s.created_at)`,
  // As session_save passes it: what is looked at three times is written in only while it is cheap.
  purge_time: `(
    greatest(
      case when s.version < 0 then s.expires_at end,
      pgstore.expiry(s.updated_at, interval '1 day', interval '2 days', s.created_at, pgstore.signed_in_when(s.signed_in_at, s.user_id, s.user_id, s.seen_at))
    ),
    s.expires_at - s.created_at,
    s.purge_at
  )`,
  expiry: `(s.updated_at, interval '1 day', interval '2 days', s.created_at, s.signed_in_at)`,
  past_lifetime: `(s.updated_at, interval '2 days', s.created_at, s.signed_in_at)`,
  signed_in_when: `(s.signed_in_at, s.user_id, s.data ->> 'user', s.seen_at)`,
  live_data: `(s.data, s.value_ends, s.updated_at)`,
  ending: `(s.id, s.user_id, s.label, s.tags, s.expires_at)`,
  is_renamed: `(s.user_id, s.data ->> 'user', s.label, s.data, s.tags, null)`,
  is_standing: `(s.created_at, s.signed_in_at, s.user_id, s.tags, s.seen_at)`,
  mark_gate: '()',
  no_marks: '()',
  entry_proof: `(s.key, s.user_id)`,
  is_entered: `(s.key, s.user_id)`,
}
const isCalled = ({ name }: { name: string }): boolean => !Object.hasOwn(inlined, name)

/** Functions that are not volatile: those that only compute. */
const volatility: Readonly<Record<string, string>> = {
  session_key: 'immutable',
  valid_label: 'immutable',
  valid_life: 'immutable',
  valid_lives: 'immutable',
  live_data: 'stable',
  drop_ended: 'stable',
  next_ends: 'stable',
  ending: 'stable',
  past_lifetime: 'stable',
  purge_time: 'stable',
  signed_in_when: 'immutable',
  is_renamed: 'immutable',
  expiry: 'stable',
  is_standing: 'stable',
  no_marks: 'stable',
  is_marked: 'stable',
  entry_proof: 'stable',
  is_entered: 'stable',
  current_session_id: 'stable',
  current_session_user: 'stable',
}

/**
 * They read a table and are stable all the same: the first is asked within a statement and must see what that sees; the others are
 * for policies, which the planner is to look up in an index, and read what no standby can lack: their own transaction's setting.
 */
const stableReaders = ['is_marked', 'current_session_id', 'current_session_user']

interface Definition {
  name: string
  volatility: string
  is_definer: boolean
  language: string
  settings: string[]
  comment: string | null
  body: string
  parameters: string[]
  executable_by_public: boolean
}

/** Every function of the schema. */
async function functions(): Promise<Definition[]> {
  return await sql<Definition>(
    `select
       p.proname as name,
       case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end as volatility,
       p.prosecdef as is_definer,
       l.lanname as language,
       coalesce(p.proconfig, '{}') as settings,
       obj_description(p.oid, 'pg_proc') as comment,
       p.prosrc as body,
       array(
         select coalesce(a.name, '')
         from unnest(p.proargnames, coalesce(p.proargmodes, array_fill('i'::"char", array[p.pronargs::integer])))
           as a (name, mode)
         where a.mode in ('i', 'b', 'v')
       ) as parameters,
       exists (
         select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as acl
         where acl.grantee = 0
       ) as executable_by_public
     from pg_proc as p
     join pg_language as l on l.oid = p.prolang
     where p.pronamespace = 'pgstore'::regnamespace
     order by p.oid::regprocedure::text`,
  )
}

/** The names of those functions that fail the question; none should. */
async function failing(
  question: (definition: Definition) => boolean,
  asked: (definition: Definition) => boolean = () => true,
): Promise<string[]> {
  const all = (await functions()).filter(asked)
  if (all.length === 0) throw new Error('No functions.')
  return all.filter((definition) => !question(definition)).map(({ name }) => name)
}

// Functions

test('every function is commented', async () => {
  assert.equal(await failing(({ comment }) => /^[A-Z].*[.)]$/s.test(comment ?? '')), [])
})

test('every function runs as its owner, on a path that nobody else can put an object on', async () => {
  const safe = /^search_path=(""|pg_catalog, pg_temp)$/
  assert.equal(await failing(({ is_definer }) => is_definer, isCalled), [])
  assert.equal(await failing(({ settings }) => settings.some((setting) => safe.test(setting)), isCalled), [])
})

test('every function is plpgsql, which keeps its plans', async () => {
  assert.equal(await failing(({ language }) => language === 'plpgsql', isCalled), [])
})

test('no function is executable by PUBLIC', async () => {
  assert.equal(await failing(({ executable_by_public }) => !executable_by_public), [])
})

test('every parameter is called p_ something', async () => {
  assert.equal(await failing(({ parameters }) => parameters.every((name) => /^p_[a-z_]+$/.test(name))), [])
})

test('A7: every function is volatile, those that only read too, but the few that only compute', async () => {
  const all = await functions()
  assert.equal(
    all.map((one) => [one.name, one.volatility]),
    all.map(({ name }) => [name, volatility[name] ?? 'volatile']),
  )
})

test('A7: no function that reads a table is called anything but volatile, in sql/ either', async () => {
  const isOther = ({ name }: { name: string }) => !stableReaders.includes(name)
  assert.equal(
    await failing(({ body, volatility }) => volatility === 'volatile' || !/\bfrom pgstore\./.test(body), isOther),
    [],
  )
  for (const file of files.filter((file) => isOther({ name: file.replace('.sql', '') }))) {
    const text = fs.readFileSync(new URL(file, folder), 'utf8')
    if (/\bfrom :PGSTORE_SCHEMA\./.test(text)) assert.not.match(text, /^ {2}(stable|immutable) parallel/m, file)
  }
})

for (const [name, parameters] of Object.entries(inlined)) {
  test(`${name} costs no call: the planner writes it into its callers`, async () => {
    const plan = await sql<{ 'QUERY PLAN': string }>(
      `explain (verbose, costs off) select pgstore.${name}${parameters} from pgstore.sessions as s`,
    )
    const output = plan.map((line) => line['QUERY PLAN']).join('\n')
    assert.match(output, /Output:/)
    assert.not.match(output, name)
  })
}

test('the rules that are inlined into callers are written nowhere else', async () => {
  const rules = [
    / \/ 5\b/,
    /\b100 years\b/,
    /\+ \w*lifetime\b [<>]/,
    /\+ \w*\.?\w*ttl\b/,
    /is distinct from (s\.|p_)?(user_id|label|tags)/,
  ]
  const found = await functions()
  for (const rule of rules) {
    const holders = found.filter(({ body }) => rule.test(body)).map(({ name }) => name)
    assert.is(holders.length, 1, `${rule}: ${holders.join()}`)
    assert.ok(Object.hasOwn(inlined, holders[0] ?? ''), String(holders))
  }
})

test('no function runs SQL that it built from text', async () => {
  const code = (body: string) => body.replaceAll(/--.*$/gm, '').replaceAll(/\/\*.*?\*\//gs, '')
  assert.equal(await failing(({ body }) => !/\bexecute\b/i.test(code(body))), [])
})

test('no function takes an advisory lock or makes a table; one replaces another', async () => {
  const isFree = ({ body }: Definition) => !/\bpg_(try_)?advisory|\bcreate\b|\block table\b/i.test(body)
  assert.equal(await failing(isFree), ['mark_gate_switch'])
})

test('every function has its documented parameters', async () => {
  const found = await sql<{ text: string }>(
    `select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as text
     from pg_proc as p
     where p.pronamespace = 'pgstore'::regnamespace`,
  )
  const signatures = found.map(({ text }) => text.replaceAll(/, OUT [^,)]+/g, ''))
  const promised = [
    'session_key(p_token text)',
    'session_get(p_key bytea)',
    'session_get(p_keys bytea[])',
    'session_save(p_key bytea, p_set jsonb, p_unset text[], p_ttl interval, p_version integer, p_user_id text, p_max_length integer, p_lifetime interval, p_label jsonb, p_tags text[], p_announce boolean, p_relaxed boolean)',
    'session_destroy(p_key bytea, p_reason text)',
    'session_destroy(p_keys bytea[], p_reason text)',
    'session_revoke_tag(p_tag text, p_except bytea, p_reason text)',
    'session_changed(p_user_id text)',
    'session_end_before(p_scope text, p_at timestamp with time zone)',
    'session_enter(p_key bytea)',
    'current_session_id()',
    'current_session_user()',
    'session_bind(p_key bytea, p_id bigint, p_public_key bytea, p_alg text, p_hash bytea)',
    'session_rebind(p_key bytea, p_old_hash bytea, p_new_hash bytea, p_ttl interval, p_lifetime interval)',
    'announcement_number()',
    'session_regenerate(p_key bytea, p_new_key bytea, p_ttl interval, p_user_id text, p_lifetime interval)',
    'session_list(p_user_id text, p_data boolean)',
    'session_revoke(p_user_id text, p_id bigint, p_except bytea, p_reason text)',
    'session_history(p_user_id text, p_before bigint, p_limit integer)',
    'endings_take(p_consumer text, p_done bigint[], p_holder text, p_limit integer, p_lease interval)',
    'endings_forget(p_consumer text)',
    'audit_set(p_on boolean, p_keep interval)',
    'audit_status()',
    'history_erase(p_user_id text)',
    'session_limit(p_user_id text, p_max integer, p_except bytea, p_reason text)',
    'session_take(p_key bytea, p_name text)',
    'session_increment(p_key bytea, p_name text, p_by numeric, p_ttl interval, p_max_length integer)',
    'session_put(p_key bytea, p_data jsonb, p_ttl interval, p_user_id text, p_max_length integer, p_lifetime interval)',
    'count_expired()',
    'purge_expired(p_limit integer)',
    'cleanup_start(p_every interval)',
    'cleanup_stop()',
    'cleanup_status()',
  ]
  assert.equal(
    promised.filter((signature) => !signatures.includes(signature)),
    [],
  )
})

// Tables

test('the schema and every table, column and sequence in it is commented', async () => {
  const uncommented = await sql(
    `select c.relname as relation, a.attname as column
     from pg_class as c
     left join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v')
     where c.relnamespace = 'pgstore'::regnamespace
       and c.relkind in ('r', 'p', 'v', 'm', 'S')
       and (
         obj_description(c.oid, 'pg_class') is null
         or (a.attnum is not null and col_description(c.oid, a.attnum) is null)
       )
     union all
     select 'the schema', null
     where obj_description('pgstore'::regnamespace, 'pg_namespace') is null`,
  )
  assert.equal(uncommented, [])
})

test('indexes and constraints are named after their table and columns', async () => {
  const misnamed = await sql(
    `select i.relname as name
     from pg_index as x
     join pg_class as i on i.oid = x.indexrelid
     join pg_class as t on t.oid = x.indrelid
     where t.relnamespace = 'pgstore'::regnamespace
       and x.indexprs is null
       and i.relname <> case
         when x.indisprimary then t.relname || '_pkey'
         else t.relname || '_' || (
           select string_agg(a.attname, '_' order by array_position(x.indkey::smallint[], a.attnum))
           from pg_attribute as a
           where a.attrelid = t.oid and a.attnum = any (x.indkey)
         ) || case when x.indisunique then '_key' else '_idx' end
       end
     union all
     select c.conname
     from pg_constraint as c
     join pg_class as t on t.oid = c.conrelid
     where t.relnamespace = 'pgstore'::regnamespace
       and c.contype <> 'p'
       and c.conname !~ ('^' || t.relname || '_[a-z_]+_(key|check|fkey|not_null1?)$')`, // 18 numbers what a renamed column keeps the name of
  )
  assert.equal(misnamed, [])
})

test('a violated constraint would print its row: the sessions table has only its primary key', async () => {
  const constraints = await sql(
    `select conname, contype from pg_constraint where conrelid = 'pgstore.sessions'::regclass and contype <> 'n'`,
  )
  assert.equal(constraints, [{ conname: 'sessions_pkey', contype: 'p' }])
})

test('B6: every table has a primary key, so that a publication for all tables blocks no update', async () => {
  const keyless = await sql(
    `select relname
     from pg_class as c
     where relnamespace = 'pgstore'::regnamespace
       and relkind in ('r', 'p')
       and not exists (select from pg_index as i where i.indrelid = c.oid and i.indisprimary)`,
  )
  assert.equal(keyless, [])
})

test('there are no triggers, rules or partitions', async () => {
  const found = await sql(
    `select relname
     from pg_class
     where relnamespace = 'pgstore'::regnamespace
       and (relhastriggers or relhasrules or relispartition or relkind = 'p' or relpersistence <> 'p')`,
  )
  assert.equal(found, [])
})

test('PUBLIC has no right to the schema, nor to a table, column, sequence or type in it', async () => {
  const rights = await sql(
    `select n.nspname as object, acl.privilege_type
     from pg_namespace as n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as acl
     where n.nspname = 'pgstore' and acl.grantee = 0
     union all
     select c.relname, acl.privilege_type
     from pg_class as c,
       aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's'::"char" else 'r' end, c.relowner))) as acl
     where c.relnamespace = 'pgstore'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S') and acl.grantee = 0
     union all
     select a.attname, acl.privilege_type
     from pg_attribute as a
     join pg_class as c on c.oid = a.attrelid, aclexplode(a.attacl) as acl
     where c.relnamespace = 'pgstore'::regnamespace and acl.grantee = 0`,
  )
  assert.equal(rights, [])
})

// Files

test('every function has a file of its name, and every file a function', async () => {
  const names = new Set((await functions()).map(({ name }) => `${name}.sql`))
  assert.equal(files, [...names].sort())
})

for (const file of files) {
  test(`sql/${file} defines the function of its name and says what the server would assume`, () => {
    const text = fs.readFileSync(new URL(file, folder), 'utf8')
    const name = file.replace('.sql', '')
    const definitions = [...text.matchAll(/^create or replace function :PGSTORE_SCHEMA\.(\w+)\(/gm)]
    const phrases = [
      /^ {2}language (plpgsql|sql)$/gm,
      /^ {2}(immutable|stable|volatile) parallel (safe|restricted|unsafe)\b/gm,
      ...(isCalled({ name }) ? [/^ {2}security definer$/gm, /^ {2}set search_path = /gm] : []),
      /^comment on function :PGSTORE_SCHEMA\./gm,
    ]
    assert.equal(new Set(definitions.map(([, found]) => found)), new Set([name]))
    assert.equal(
      phrases.map((phrase) => [...text.matchAll(phrase)].length),
      phrases.map(() => definitions.length),
    )
  })
}

test('applying sql/ again changes nothing: no file was left out of the migrations', async () => {
  const catalog = async (client: Client) => {
    const { rows } = await client.query(
      `select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition, p.proacl::text as acl,
         obj_description(p.oid, 'pg_proc') as comment
       from pg_proc as p
       where p.pronamespace = 'pgstore'::regnamespace
       union all
       select c.relname, c.relkind::text, c.relacl::text, null
       from pg_class as c
       where c.relnamespace = 'pgstore'::regnamespace
       union all
       select n.nspname, null, n.nspacl::text, obj_description(n.oid, 'pg_namespace')
       from pg_namespace as n
       where n.nspname = 'pgstore'
       order by name`,
    )
    return rows
  }
  const client = await connect()
  const before = await catalog(client)
  await client.query('begin')
  for (const file of files) {
    const text = fs.readFileSync(new URL(file, folder), 'utf8')
    await client.query(text.replaceAll(/:PGSTORE_SCHEMA\b/g, 'pgstore'))
  }
  const after = await catalog(client)
  await client.query('rollback')
  assert.ok(before.length > files.length)
  assert.equal(after, before)
})

// Roles

/** Runs `work` with a connection of a role that may log in and nothing else, and drops the role. */
async function asFreshRole(work: (client: Client, role: string) => Promise<void>): Promise<void> {
  const role = `pgstore_test_${randomBytes(6).toString('hex')}`
  const password = randomBytes(12).toString('hex')
  await sql(`create role ${role} login password '${password}'`)
  await sql(`grant connect, temporary on database ${new URL(databaseUrl).pathname.slice(1)} to ${role}`)
  const url = new URL(databaseUrl)
  url.username = role
  url.password = password
  const client = await connect(url.href)
  try {
    await work(client, role)
  } finally {
    await client.query('rollback')
    await sql(`drop owned by ${role}`)
    await sql(`drop role ${role}`)
  }
}

/** The SQLSTATE that each text ends with; '' if it succeeds. */
async function sqlStates(client: Client, texts: readonly string[]): Promise<string[]> {
  const states: string[] = []
  for (const text of texts) states.push(await sqlState(client, text))
  return states
}

async function sqlState(client: Client, text: string): Promise<string> {
  return await client.query(text).then(
    () => '',
    (error) => String(error.code),
  )
}

const readings = ['sessions', 'migrations', 'session_number'].map((name) => `select * from pgstore.${name}`)
const writings = [
  'delete from pgstore.sessions',
  'truncate pgstore.sessions',
  `update pgstore.sessions set data = '{}'`,
  'do $$ begin lock table pgstore.sessions in access share mode; end $$',
  `select nextval('pgstore.session_number')`,
  `copy pgstore.sessions to stdout`,
]

/** One call of each function: with nulls, which a strict function is not even asked about. */
async function calls(): Promise<string[]> {
  const found = await sql<{ text: string }>(
    `select format('select pgstore.%I(%s)', p.proname, array_to_string(array(
       select 'null::' || format_type(t, null) from unnest(p.proargtypes) as t), ', ')) as text
     from pg_proc as p
     where p.pronamespace = 'pgstore'::regnamespace and not p.proisstrict`,
  )
  return [`select pgstore.session_key('a token')`, ...found.map(({ text }) => text)]
}

test('a fresh role can execute none of it and read nothing', async () => {
  await asFreshRole(async (client) => {
    const texts = [...(await calls()), ...readings, ...writings]
    assert.ok(texts.length > 15)
    assert.equal(await sqlStates(client, texts), Array(texts.length).fill('42501'))
  })
})

test('nor can it with USAGE on the schema', async () => {
  await asFreshRole(async (client, role) => {
    await sql(`grant usage on schema pgstore to ${role}`)
    const texts = [...(await calls()), ...readings, ...writings, 'create table pgstore.mine ()']
    assert.equal(await sqlStates(client, texts), Array(texts.length).fill('42501'))
  })
})

test('a role that may execute the functions needs no other right, and gets rows only through them', async () => {
  await asFreshRole(async (client, role) => {
    await sql(`grant usage on schema pgstore to ${role}`)
    await sql(`grant execute on all functions in schema pgstore to ${role}`)
    const [key, new_key] = [newKey(), newKey()]
    assert.is((await save(key, { set: '{"a":1}', version: 0, user_id: 'ada' }, client)).status, 'saved')
    assert.is((await call('session_get', { key }, client)).length, 1)
    assert.is((await call('session_list', { user_id: 'ada' }, client)).length, 1)
    await call('session_regenerate', { key, new_key }, client)
    assert.equal(await call('session_revoke', { user_id: 'ada' }, client), [{ session_revoke: '1' }])
    const texts = [...readings, ...writings]
    assert.equal(await sqlStates(client, texts), Array(texts.length).fill('42501'))
  })
})

test('objects that the caller puts on its own path are not mistaken for ours', async () => {
  const key = await create({ a: 1 })
  await asFreshRole(async (client, role) => {
    await sql(`grant usage on schema pgstore to ${role}`)
    await sql(`grant execute on all functions in schema pgstore to ${role}`)
    await client.query(`
      create temp table sessions (like pg_class);
      create function pg_temp.now() returns timestamptz language sql as 'select null::timestamptz';
      create function pg_temp.octet_length(bytea) returns integer language sql as 'select 0';
      create function pg_temp.pg_notify(text, text) returns void language sql as 'select 1 / 0';
      set search_path = pg_temp, pg_catalog`)
    assert.is((await save(key, { set: '{"b":2}' }, client)).status, 'saved')
    assert.equal(await call('session_destroy', { key }, client), [{ session_destroy: '1' }])
  })
})

test('settings that a caller may change do not change a result', async () => {
  await asFreshRole(async (client, role) => {
    await sql(`grant usage on schema pgstore to ${role}`)
    await sql(`grant execute on all functions in schema pgstore to ${role}`)
    for (const setting of [
      `plpgsql.extra_errors = 'all'`,
      `plpgsql.extra_warnings = 'all'`,
      `datestyle = 'sql, dmy'`,
      `intervalstyle = 'sql_standard'`,
      `timezone = 'Antarctica/Troll'`,
      `bytea_output = 'escape'`,
      `standard_conforming_strings = off`,
      `array_nulls = off`,
      `transform_null_equals = on`,
      `enable_indexscan = off`,
      `force_parallel_mode = on`,
      `debug_parallel_query = on`,
      `default_transaction_isolation = 'serializable'`,
      `check_function_bodies = off`,
      `row_security = off`,
    ]) {
      const state = await sqlState(client, `set ${setting}`)
      assert.ok(['', '42704'].includes(state), `${setting}: ${state}`) // some versions know fewer settings
      if (state) continue
      const key = newKey()
      const steps = [
        (await save(key, { set: '{"a":1}', version: 0, user_id: 'ada' }, client)).status,
        (await save(key, { set: '{"b":1}', unset: ['a'], lifetime: '1 year' }, client)).status,
        (await save(key, {}, client)).status,
        (await save(key, { set: '[]' }, client)).status,
        (await call('session_get', { key }, client))[0]?.['data'],
        (await call('session_revoke', { user_id: 'ada' }, client))[0]?.['session_revoke'],
      ]
      assert.equal(steps, ['saved', 'saved', 'saved', 'invalid', { b: 1 }, '1'], setting)
      await client.query('reset all')
    }
  })
})

test('the statistics about users and data are not shown to others', async () => {
  await create({ secret: 'value' }, { user_id: 'ada' })
  await sql('analyze pgstore.sessions')
  await asFreshRole(async (client) => {
    const { rows } = await client.query(`select * from pg_stats where schemaname = 'pgstore'`)
    assert.equal(rows, [])
  })
  assert.ok(Number((await row(`select count(*) as n from pg_stats where schemaname = 'pgstore'`))['n']) > 0)
})

test.run()
