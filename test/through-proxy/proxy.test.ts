// A proxy and four partitions: what is the same as on one node, and what only a proxy has to see to.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { grantedFunctions } from '../../src/schema/grants.ts'
import { schemaSql } from '../../src/schema/migrate.ts'
import { proxySql } from '../../src/schema/proxy.ts'
import { call, closeEverything, connect, count, create, expire, newKey, type Saved, save } from '../sql/calls.ts'
import { clientUrl, databaseUrl, rejection, row, sql, testStore, Visitor } from '../support/harness.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const partitions = (process.env['PGSTORE_TEST_PARTITION_URLS'] ?? '')
  .split(' ')
  .map((connectionString) => new pg.Pool({ connectionString, max: 2 }))
for (const pool of partitions) pool.on('error', () => {})

test.after(async () => {
  await Promise.all(partitions.map((pool) => pool.end()))
  await closeEverything()
})

/** A key of each partition, and of another with the same number modulo four. */
const spread = [0, 1, 2, 3, 4, 5, 6, 7].map((byte) => Buffer.from([byte]))
const keys = () => spread.map((first) => newKey(first))

async function onEach<Row extends object>(text: string, values: unknown[] = []): Promise<Row[][]> {
  return await Promise.all(partitions.map(async (pool) => (await pool.query<Row>(text, values)).rows))
}

// The functions

const functions = `select format('%s(%s) returns %s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)) as signature
from pg_proc as p
where p.pronamespace = 'pgstore'::regnamespace and p.proname !~ '^proxy_'
order by 1`

test('a proxy has every granted function, with the same parameters, defaults and results as a partition', async () => {
  const names = new Set(grantedFunctions.admin.map((signature) => signature.split('(')[0] ?? ''))
  const granted = (rows: { signature: string }[] | undefined) =>
    rows?.map(({ signature }) => signature).filter((one) => names.has(one.split('(')[0] ?? ''))
  const [there] = await onEach<{ signature: string }>(functions)
  assert.equal(granted(await sql<{ signature: string }>(functions)), granted(there))
})

test('the tables that a proxy has of its own have the same columns as on one node', async () => {
  const columns = `select c.relname as table, a.attname as column, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as is_required,
      pg_get_expr(d.adbin, d.adrelid) as default
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'pgstore'::regnamespace and c.relname in ('grants', 'cleanup', 'cleanup_state')
    order by 1, a.attnum`
  const [there] = await onEach(columns)
  assert.equal(await sql(columns), there)
})

test('an application’s role runs the functions, and neither their helpers nor anything on a partition', async () => {
  const client = await connect(clientUrl)
  const key = await create({ a: 1 })
  assert.is((await call('session_get', { key }, client)).length, 1)
  const helpers = await sql<{ name: string }>(
    `select p.oid::regprocedure::text as name from pg_proc as p
     where p.pronamespace = 'pgstore'::regnamespace and p.proname ~ '^proxy_' and has_function_privilege($1::name, p.oid, 'execute')`,
    new URL(clientUrl).username,
  )
  assert.equal(helpers, [])
  const used = await row(`select has_server_privilege($1, 'pgstore', 'usage') as is_used`, new URL(clientUrl).username)
  assert.is(used['is_used'], false)
})

test('running the SQL again keeps the rights, and default privileges give nobody a helper', async () => {
  const role = new URL(clientUrl).username
  await sql(`alter default privileges grant execute on functions to ${role}`)
  try {
    const client = await connect()
    await client.query('begin')
    await client.query(proxySql({ schema: 'pgstore', partitions: 4 }))
    await client.query('commit')
    const rights = await sql<{ name: string }>(
      `select p.proname::text as name from pg_proc as p
       where p.pronamespace = 'pgstore'::regnamespace and has_function_privilege($1::name, p.oid, 'execute')`,
      role,
    )
    const { client: own, account } = grantedFunctions
    assert.equal(
      rights.map(({ name }) => name).sort(),
      [...own, ...account].map((signature) => signature.split('(')[0] ?? '').sort(),
    )
  } finally {
    await sql(`alter default privileges revoke execute on functions from ${role}`)
  }
})

test('pgstore grant works on a proxy', async () => {
  const { pathname } = new URL(databaseUrl)
  const role = `${pathname.slice(1)}_worker`
  await sql(`create role ${role}`)
  try {
    const env = { ...process.env, DATABASE_URL: databaseUrl }
    const granted = spawnSync(process.execPath, ['dist/cli/main.js', 'grant', role, '--as', 'cleanup'], {
      cwd: root,
      env,
    })
    assert.is(granted.status, 0, granted.stderr.toString())
    const { can } = await row(
      `select has_function_privilege($1, 'pgstore.purge_expired(integer)', 'execute') as can`,
      role,
    )
    assert.is(can, true)
  } finally {
    await sql(`drop owned by ${role}; drop role ${role}`)
    await sql(`delete from pgstore.grants where role = $1`, role)
  }
})

function command(...args: string[]): { status: number | null; output: string; errors: string } {
  const env = { ...process.env, DATABASE_URL: databaseUrl }
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], { cwd: root, env })
  return { status, output: stdout.toString(), errors: stderr.toString() }
}

test('pgstore status and doctor find a healthy proxy healthy, and say what it is', async () => {
  await create({ a: 1 })
  const status = command('status', '--json')
  assert.is(status.status, 0, status.errors)
  const { live, migration, warnings } = JSON.parse(status.output)
  assert.ok(live > 0)
  assert.match(migration, /^\d{6}-/)
  const isOfTheSchema = (text: string) => /migrat|partition|proxy/i.test(text)
  assert.equal(warnings.filter(isOfTheSchema), [])
  const doctor = command('doctor')
  assert.match(doctor.output, /A PL\/Proxy proxy: what is said of sessions is the sum of its partitions/)
  assert.not.match(doctor.output, /foreign_objects|migrate/)
})

test('the right "proxy" is refused on a proxy', () => {
  const { status, errors } = command('grant', new URL(clientUrl).username, '--as', 'proxy')
  assert.is(status, 2)
  assert.match(errors, /grant it on each partition/)
})

// What must not happen to it

test('migrate refuses on a proxy, through open as well, and so does the schema that is printed', async () => {
  const open = PGStore.open({ connectionString: databaseUrl, keys: ['an example hash key of 32 bytes!'] })
  const refused = await rejection(open)
  assert.is(refused.code, 'migration')
  assert.match(refused.message, /PL\/Proxy proxy.*migrate each partition/)
  const client = await connect()
  await client.query('begin')
  const failure = await rejection(client.query(schemaSql()))
  assert.match(failure.message, /PL\/Proxy proxy/)
  await client.query('rollback')
})

test('the proxy’s SQL refuses on a partition', async () => {
  const [partition] = partitions
  const failure = await rejection((partition as pg.Pool).query(proxySql({ schema: 'pgstore', partitions: 4 })))
  assert.match(failure.message, /it is a partition, not a proxy/)
})

test('a store over a client in a transaction refuses in a sentence', async () => {
  const client = await connect(clientUrl)
  await client.query('begin')
  const store = testStore().withClient(client)
  for (let calls = 0; calls < 2; calls++) {
    const refused = await rejection(store.list('ann'))
    assert.is(refused.code, 'invalid_option')
    assert.match(refused.message, /PL\/Proxy proxy, where each call commits by itself/)
  }
  await client.query('rollback')
})

test('endings in transactions refuse in the same words, and at once', async () => {
  const store = testStore()
  await sql('select pgstore.audit_set(true)')
  const refused = await rejection(store.endings({ consumer: 'mailer', transaction: true }).next())
  assert.is(refused.code, 'invalid_option')
  assert.match(refused.message, /^endings with transaction: true: .* PL\/Proxy proxy/)
})

// Where a session is

test('each session is on the partition of its key’s first byte, and numbers are unique', async () => {
  const all = keys()
  await Promise.all(all.map((key) => create({ a: 1 }, {}, key)))
  const found = await onEach<{ first: number; id: string }>(
    'select get_byte(key, 0) & 3 as first, id from pgstore.sessions where key = any ($1)',
    [all],
  )
  assert.equal(
    found.map((rows) => rows.map(({ first }) => first)),
    [
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  )
  assert.is(new Set(found.flat().map(({ id }) => id)).size, all.length)
})

test('a regenerate to a key with another first byte is invalid and changes nothing; the client’s has the same', async () => {
  for (const name of ['short', 'long', 'lives']) {
    const key = await create({ a: 1 }, {}, newKey(Buffer.from([1])))
    const args = { ttl: '1 day', user_id: null, lifetime: null }
    const data = { set: '{}', unset: [], max_length: 0, version: null }
    const lives = { label: null, tags: null, announce: false, relaxed: false, lives: '{}' }
    const more = { short: {}, long: { ...args, ...data }, lives: { ...args, ...data, ...lives } }[name]
    const new_key = newKey(Buffer.from([2]))
    const [moved] = await call<Saved>('session_regenerate', { key, new_key, ...more })
    assert.equal([moved?.status, moved?.key], ['invalid', key], name)
    assert.is((await call('session_get', { key })).length, 1)
  }
  const [store, visitor] = [testStore(), new Visitor()]
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  await visitor.visit(store, async (session, req, res) => await store.regenerate(req, res, session))
  assert.equal((await store.get(visitor.request(), 'sid')).values, { a: 1 })
})

// Arguments

test('null and empty keys answer as on one node, alone and among others', async () => {
  const key = await create({ a: 1 })
  for (const none of [null, Buffer.alloc(0)]) {
    assert.equal(await call('session_get', { key: none }), [])
    assert.is((await save(none, { version: 0 })).status, 'invalid')
    assert.is(await count('session_destroy', { key: none }), 0)
    assert.equal(await call('session_take', { key: none, name: 'a' }), [{ status: 'gone', value: null }])
    const [moved] = await call<Saved>('session_regenerate', { key: none, new_key: newKey() })
    assert.is(moved?.status, 'invalid')
    assert.is((await call('session_get', { keys: [none, key] })).length, 1)
  }
  for (const keys of [[], null]) {
    assert.equal((await sql('select * from pgstore.session_get($1::bytea[])', keys)).length, 0)
    assert.equal((await sql('select * from pgstore.session_try_destroy($1::bytea[])', keys)).length, 0)
    assert.equal(await sql('select pgstore.session_destroy($1::bytea[])', keys), [{ session_destroy: '0' }])
  }
})

const huge = `{"n":[${Array(9000).fill('1e131071').join()}]}` // 80 kB as sent, a gigabyte as printed

test('data that would print as more than a gigabyte is too large, wherever it is given', async () => {
  const key = await create({ a: 1 })
  assert.is((await save(key, { set: huge })).status, 'too_large')
  assert.is((await save(newKey(), { set: huge, version: 0 })).status, 'too_large')
  assert.is((await save(newKey(), { set: huge })).status, 'gone')
  assert.is((await save(key, { set: huge, unset: ['n'] })).status, 'invalid')
  assert.is((await save(key, { set: `[${huge}]` })).status, 'invalid')
  const put = await call<Saved>('session_put', { key, data: huge })
  assert.is(put[0]?.status, 'too_large')
  const args = { ttl: '1 day', user_id: null, lifetime: null, unset: [], max_length: 4096, version: null }
  const moved = await call<Saved>('session_regenerate', { key, new_key: newKey(key), set: huge, ...args })
  assert.is(moved[0]?.status, 'too_large')
  assert.equal((await call('session_get', { key }))[0]?.['data'], { a: 1 })
})

test('so it is among many, whose own saves go through', async () => {
  const all = await Promise.all(keys().map((key) => create({ a: 1 }, {}, key)))
  const sets = all.map((_, n) => (n === 3 ? huge : n === 4 ? `[${huge}]` : `{"b":${n}}`))
  const rows = await many(all, sets)
  const expected = all.map((_, n) => (n === 3 ? 'too_large' : n === 4 ? 'invalid' : 'saved'))
  assert.equal(
    all.map((key) => rows.find((row) => row.key?.equals(key))?.status),
    expected,
  )
})

test('arrays of different lengths: what is too long is invalid, the rest goes through', async () => {
  const all = await Promise.all(keys().map((key) => create({ a: 1 }, {}, key)))
  const rows = await many(all, ['{"b":1}', '{"b":2}', '{"b":3}'])
  assert.equal(
    all.map((key) => rows.find((row) => row.key?.equals(key))?.status),
    all.map((_, n) => (n < 3 ? 'saved' : 'invalid')),
  )
})

/** Merges these sets, one for each key. */
async function many(all: readonly Buffer[], sets: readonly string[]): Promise<Saved[]> {
  return await sql<Saved>(
    'select * from pgstore.session_save($1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], 4096, null)',
    all,
    sets,
    all.map(() => null),
    all.map(() => '1 day'),
    all.map(() => null),
    all.map(() => null),
  )
}

// All partitions

test('a list is sorted over all partitions, and one, all but one or all of a user’s sessions can be revoked', async () => {
  const all = keys()
  for (const key of all) await create({}, { user_id: 'ann' }, key)
  const list = await call<{ id: string; created_at: Date }>('session_list', { user_id: 'ann' })
  const found = await sql<{ id: string }>(
    `select id from pgstore.sessions where user_id = 'ann' order by created_at desc, id desc`,
  )
  assert.equal(
    list.map(({ id }) => id),
    found.map(({ id }) => id),
  )
  assert.is(await count('session_revoke', { user_id: 'ann', id: list[3]?.id }), 1)
  assert.is(await count('session_revoke', { user_id: 'bea', id: list[4]?.id }), 0)
  assert.is(await count('session_revoke', { user_id: 'ann', except: all[0] }), 6)
  assert.is(await count('session_revoke', { user_id: 'ann' }), 1)
})

test('a cap holds over all partitions: who signed in last stays, and the one that is named', async () => {
  const all = keys()
  for (const key of all) await create({}, { user_id: 'cap' }, key)
  assert.is(await count('session_limit', { user_id: 'cap', max: 3, except: all[0] }), 5)
  const left = await call<{ key: Buffer }>('session_get', { keys: all })
  const places = left.map(({ key }) => all.findIndex((one) => one.equals(key)))
  assert.equal(
    places.sort((one, other) => one - other),
    [0, 6, 7],
  )
})

test('of sign-ins at once under a cap of one, one is left', async () => {
  for (let round = 0; round < 3; round++) {
    const user_id = `crowd ${round}`
    await Promise.all(
      keys().map(async (key) => {
        const client = await connect()
        await create({}, { user_id }, key)
        await count('session_limit', { user_id, max: 1, except: key }, client)
      }),
    )
    assert.is((await call('session_list', { user_id })).length, 1)
  }
})

test('a purge and a clearing go on until they return less than the limit, though it is each partition’s', async () => {
  for (const [name, left] of [
    ['purge_expired', 'count_expired'],
    ['session_clear', 'count_live'],
  ] as const) {
    const all = [...keys(), ...keys(), ...keys()]
    await Promise.all(all.map((key) => create({}, {}, key)))
    if (name === 'purge_expired') await Promise.all(all.map(expire))
    let [calls, gone, ended] = [0, 0, 0]
    do {
      gone = await count(name, { limit: 2 })
      ended += gone
      calls++
    } while (gone >= 2 && calls < 100)
    assert.ok(ended >= all.length)
    assert.is(await count(left), 0)
  }
})

test('pages of all sessions are in the order of their places, and none is left out', async () => {
  const all = keys()
  await Promise.all(all.map((key) => create({}, { user_id: 'page' }, key)))
  const places: string[] = []
  for (let after: Buffer | null = null; ; ) {
    const page: { place: Buffer }[] = await call<{ place: Buffer }>('session_all', { after, limit: 3 })
    places.push(...page.map(({ place }) => place.toString('hex')))
    after = page.at(-1)?.place ?? null
    if (page.length < 3) break
  }
  assert.equal(places, [...places].sort())
  for (const key of all) assert.ok(places.includes(key.toString('hex', 0, 16)))
})

test('the history and the endings are those of all partitions, with who ended them', async () => {
  await call('audit_set', { on: true })
  const store = testStore()
  const endings = async () => await call<{ status: string; id: string }>('endings_take', { consumer: 'mail' })
  assert.equal(await endings(), [])
  for (const key of keys()) await create({}, { user_id: 'dan' }, key)
  assert.is(await store.revoke('dan', { actor: 'operator' }), 8)
  const history = await store.history('dan', { limit: 100 })
  const ended = history.filter(({ type }) => type === 'ended')
  assert.equal(
    ended.map(({ actor, reason }) => [actor, reason]),
    ended.map(() => ['operator', 'revoked']),
  )
  assert.equal([ended.length, history.length], [8, 16])
  const taken = await endings()
  assert.is(taken.length, 8)
  assert.equal(await call('endings_take', { consumer: 'mail', done: taken.map(({ id }) => id), holder: 'a' }), [])
  assert.equal((await call('endings_take', { consumer: 'mail', lease: null }))[0]?.['status'], 'invalid')
  await call('audit_set', { on: false })
  assert.equal((await endings())[0]?.status, 'off')
  const states = await onEach<{ is_on: boolean }>('select is_on from pgstore.audit')
  assert.equal(states.flat(), Array(4).fill({ is_on: false }))
})

test('counts and sizes are the sums of the partitions’', async () => {
  const before = await count('count_live')
  await Promise.all(keys().map((key) => create({}, {}, key)))
  assert.is(await count('count_live'), before + 8)
  const [stats] = await call<{ live: string; table_bytes: string; migration: string }>('session_stats')
  const sizes = await onEach<{ bytes: string }>(`select pg_relation_size('pgstore.sessions') as bytes`)
  assert.is(Number(stats?.live), before + 8)
  assert.is(
    Number(stats?.table_bytes),
    sizes.flat().reduce((sum, { bytes }) => sum + Number(bytes), 0),
  )
})

// As the command prints it

test('the printed file installs a proxy by psql, whose functions belong to the schema’s owner, and run as it', async () => {
  if (spawnSync('psql', ['--version']).status !== 0) return
  const { pathname } = new URL(databaseUrl)
  const owner = `${pathname.slice(1)}_owner`
  await sql(`create role ${owner}`)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-proxy-'))
  try {
    const file = path.join(folder, 'proxy.sql')
    fs.writeFileSync(file, proxySql({ schema: 'visits', partitions: 1 }))
    await sql(`create server visits foreign data wrapper plproxy options (p0 'dbname=nowhere')`)
    await sql(`create schema visits authorization ${owner}`)
    const args = ['-qX1', '-v', 'ON_ERROR_STOP=1', '-f', file, databaseUrl]
    const { status, stderr } = spawnSync('psql', args, { encoding: 'utf8' })
    assert.equal([status, stderr], [0, ''])
    const { owners } = await row<{ owners: string[] }>(
      `select array_agg(distinct p.proowner::regrole::text) as owners from pg_proc as p where p.pronamespace = 'visits'::regnamespace`,
    )
    assert.equal(owners, [owner])
    const refused = await rejection(sql(`select visits.count_live()`))
    assert.match(refused.message, /permission denied for foreign server visits/)
  } finally {
    fs.rmSync(folder, { recursive: true })
    await sql('drop schema if exists visits cascade')
    await sql('drop server if exists visits cascade')
    await sql(`drop role ${owner}`)
  }
})

test.run()
