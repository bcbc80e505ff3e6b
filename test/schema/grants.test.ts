// The rights: what each may run, that they cover everything in the schema, and the command that grants them.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runWorker } from '../../src/cleanup/worker.ts'
import { migrate } from '../../src/index.ts'
import {
  grantedFunctions,
  grantStatements,
  internalFunctions,
  ownObjects,
  type Right,
} from '../../src/schema/grants.ts'
import { admin, closeAll, databaseUrl, rejection, row, sql, testStore, until, Visitor } from '../support/harness.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const database = new URL(databaseUrl).pathname.slice(1)
const roles: string[] = []

test.after(async () => {
  for (const role of roles) await sql(`drop owned by ${pg.escapeIdentifier(role)} cascade`)
  for (const role of roles) await sql(`drop role ${pg.escapeIdentifier(role)}`)
  await closeAll()
})

/** A role that may connect and nothing else; returns its connection string. */
async function newRole(
  name = `pgstore_test_${randomBytes(6).toString('hex')}`,
): Promise<{ role: string; url: string }> {
  const password = randomBytes(12).toString('hex')
  await sql(`create role ${pg.escapeIdentifier(name)} login password '${password}'`)
  roles.push(name)
  await sql(`grant connect on database ${database} to ${pg.escapeIdentifier(name)}`)
  const url = new URL(databaseUrl)
  Object.assign(url, { username: encodeURIComponent(name), password })
  return { role: name, url: url.href }
}

/** As the command does, and faster. */
async function give(role: string, ...rights: Right[]): Promise<void> {
  for (const statement of grantStatements(role, rights, 'pgstore')) await sql(statement)
}

async function cli(...args: string[]) {
  return await cliAs(databaseUrl, ...args)
}

async function cliAs(url: string, ...args: string[]) {
  const env = { ...process.env, DATABASE_URL: url }
  const child = spawn(process.execPath, ['dist/cli/main.js', ...args], { cwd: root, env })
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

/** The functions of a schema that a role may execute, written as in src/schema/grants.ts. */
async function executable(role: string, schema = 'pgstore'): Promise<string[]> {
  const found = await sql<{ signature: string }>(
    `select format('%s(%s)', p.proname, array_to_string(
       array(select format_type(t, null) from unnest(p.proargtypes) as t), ', ')) as signature
     from pg_proc as p
     where p.pronamespace = $2::text::regnamespace
       and has_function_privilege($1::name, p.oid, 'execute')`,
    role,
    schema,
  )
  return found.map(({ signature }) => signature).sort()
}

const sorted = (names: readonly string[]) => [...names].sort()

// The rights

test('every function of the schema belongs to a right, or is internal and belongs to none', async () => {
  assert.equal(await executable('postgres'), sorted([...internalFunctions, ...grantedFunctions.proxy]))
})

test('the rights on every table, sequence and type of the schema are managed', async () => {
  const found = await sql<{ kind: string; names: string[] }>(
    `select k.kind, array_agg(k.name order by k.name) as names
     from (
       select case relkind when 'S' then 'sequence' when 'c' then 'type' else 'table' end as kind, relname::text as name
       from pg_class
       where relnamespace = 'pgstore'::regnamespace and relkind <> 'i'
       union all
       select 'type', typname from pg_type where typnamespace = 'pgstore'::regnamespace and typtype not in ('b', 'c')
     ) as k
     group by k.kind`,
  )
  assert.equal(
    Object.fromEntries(found.map(({ kind, names }) => [kind, names])),
    Object.fromEntries(Object.entries(ownObjects).map(([kind, names]) => [kind, sorted(names)])),
  )
})

test('admin has everything the other rights have, which share nothing but what client has of entry, and alone the functions on all users’ sessions', () => {
  const { client, entry, account, cleanup, admin: all } = grantedFunctions
  assert.equal(
    entry.filter((signature) => !client.includes(signature)),
    [],
  )
  const each = [...client, ...account, ...cleanup]
  assert.is(new Set(each).size, each.length)
  assert.equal(
    each.filter((signature) => !all.includes(signature)),
    [],
  )
  assert.equal(
    all.filter((signature) => !each.includes(signature)),
    [
      'count_live()',
      'session_all(bytea, integer)',
      'session_changed(text)',
      'session_clear(integer)',
      'session_end_before(text, timestamp with time zone)',
      'audit_set(boolean, interval)',
      'audit_status()',
      'endings_forget(text)',
      'history_erase(text)',
    ],
  )
})

for (const right of ['client', 'entry', 'account', 'cleanup', 'admin', 'proxy'] as const) {
  test(`grant --as ${right} gives a role those functions, and no table, sequence or column`, async () => {
    const { role } = await newRole()
    const { code, stdout, stderr } = await cli('grant', role, '--as', right)
    assert.equal(
      { code, stdout, stderr },
      { code: 0, stdout: `Role ${role} has ${right} on schema pgstore.\n`, stderr: '' },
    )
    assert.equal(await executable(role), sorted(grantedFunctions[right]))
    const relations = await sql(
      `select c.relname
       from pg_class as c
       where c.relnamespace = 'pgstore'::regnamespace
         and (
           c.relkind in ('r', 'v') and has_any_column_privilege($1::name, c.oid, 'select, insert, update, references')
           or c.relkind in ('r', 'v') and has_table_privilege($1::name, c.oid, 'delete, truncate, trigger')
           or c.relkind = 'S' and has_sequence_privilege($1::name, c.oid, 'usage, select, update')
         )`,
      role,
    )
    assert.equal(relations, [])
    assert.is((await row(`select has_schema_privilege($1, 'pgstore', 'create') as x`, role))['x'], false)
  })
}

test('a role with cleanup counts and purges, and sees no session', async () => {
  const { role, url } = await newRole()
  await give(role, 'cleanup')
  const store = testStore({ connectionString: url })
  assert.is(await store.countExpiredSessions(), 0)
  assert.is(await store.purgeExpired(), 0)
  assert.is((await store.cleanupStatus()).enabled, false)
  assert.is((await rejection(store.list('42'))).code, 'forbidden')
})

test('a role with client sees sessions, and neither counts, purges nor sets the schedule', async () => {
  const store = testStore()
  const { session } = await new Visitor().visit(store, (session) => {
    session.values['a'] = 1
  })
  assert.is(session.isNew, false)
  for (const call of [
    () => store.countExpiredSessions(),
    () => store.purgeExpired(),
    () => store.cleanupStatus(),
    () => store.stopCleanup(),
    () => store.startCleanup('1 minute', { worker: false }),
  ]) {
    assert.is((await rejection(call())).code, 'forbidden')
  }
})

test('a role with cleanup runs a worker that owns graphile-worker’s schema, and needs CREATE on the database at the first start alone', async () => {
  const { role, url } = await newRole()
  await give(role, 'cleanup')
  const run = () => runWorker({ connectionString: url, workerSchema: 'worker_of_its_own', log: () => {} })
  const refused = await rejection(run())
  assert.is(refused.code, 'forbidden')
  await sql(`grant create on database ${database} to ${role}`)
  await (await run()).stop()
  await sql(`revoke create on database ${database} from ${role}`)
  const { session } = await new Visitor().visit(testStore(), (session) => {
    session.values['a'] = 1
  })
  await sql(`update pgstore.sessions set expires_at = now(), purge_at = now() where id = $1`, session.id)
  const worker = await run()
  try {
    await sql(`select pgstore.cleanup_start('1 second')`)
    await until(async () => (await sql('select from pgstore.sessions where id = $1', session.id)).length === 0, 30)
  } finally {
    await sql('select pgstore.cleanup_stop()')
    await worker.stop()
  }
})

test('granting again succeeds; a replaced function keeps its grants, and granting again covers a new one', async () => {
  const { role } = await newRole()
  for (let i = 0; i < 2; i++) assert.is((await cli('grant', role, '--as', 'client')).code, 0)
  const [{ definition } = { definition: '' }] = await sql<{ definition: string }>(
    `select pg_get_functiondef('pgstore.session_get(bytea)'::regprocedure) as definition`,
  )
  await sql(definition) // "create or replace", as a migration does
  assert.equal(await executable(role), sorted(grantedFunctions.client))
  await sql(`drop function pgstore.session_get(bytea); ${definition}`)
  await sql('revoke all on function pgstore.session_get(bytea) from public')
  assert.is((await executable(role)).includes('session_get(bytea)'), false)
  await give(role, 'client')
  assert.equal(await executable(role), sorted(grantedFunctions.client))
})

test('a right on one schema gives none on another', async () => {
  await migrate(admin, { schema: 'second' })
  const { role } = await newRole()
  assert.is((await cli('grant', role, '--as', 'admin', '--schema', 'second')).code, 0)
  assert.equal(await executable(role, 'second'), sorted(grantedFunctions.admin))
  assert.equal(await executable(role), [])
})

// The command

test('--print prints SQL that needs no database and does the same', async () => {
  const { role } = await newRole()
  const { stdout, code } = await cliAs('', 'grant', role, '--as', 'client', '--print')
  assert.is(code, 0)
  await sql(stdout)
  assert.equal(await executable(role), sorted(grantedFunctions.client))
  const json = await cliAs('', 'grant', role, '--as', 'client', '--print', '--json')
  assert.equal(JSON.parse(json.stdout), { role, as: 'client', schema: 'pgstore', sql: stdout.trimEnd() })
})

test('--json shows what was granted', async () => {
  const { role } = await newRole()
  const { stdout } = await cli('grant', role, '--as', 'client', '--json')
  assert.equal(JSON.parse(stdout), { role, as: 'client', schema: 'pgstore', warnings: [] })
})

test('a role that does not exist is one plain sentence, and exit code 1', async () => {
  assert.equal(await cli('grant', 'nobody here', '--as', 'client'), {
    code: 1,
    stdout: '',
    stderr: 'Role "nobody here" does not exist: create it first.\n',
  })
})

test('a role’s name is only ever a name', async () => {
  const { role } = await newRole(`we"ird; drop schema pgstore; -- 'x' ${randomBytes(4).toString('hex')}`)
  assert.is((await cli('grant', role, '--as', 'client')).code, 0)
  assert.equal(await executable(role), sorted(grantedFunctions.client))
})

test('a longer name is not taken for the role that its first 63 bytes name', async () => {
  const { role } = await newRole(`pgstore_test_${randomBytes(25).toString('hex')}`)
  assert.is(role.length, 63)
  const { code, stderr } = await cli('grant', `${role}x`, '--as', 'client')
  assert.is(code, 2)
  assert.match(stderr, /1 to 63 bytes/)
  assert.equal(await executable(role), [])
})

test('PUBLIC and unknown rights are refused: a usage error, and nothing is granted', async () => {
  for (const [role, as] of [
    ['public', 'client'],
    ['none', 'client'],
    ['', 'client'],
    ['app', 'owner'],
    ['app', '__proto__'],
    ['app', ''],
  ] as const) {
    assert.throws(() => grantStatements(role, [as as Right], 'pgstore'))
  }
  const uses = [
    ['public', '--as', 'client', '--print'],
    ['app'],
    ['--as', 'client'],
    ['app', '--as', 'x', '--print'],
    ['app', '--as', 'client,x', '--print'],
  ]
  for (const use of uses) assert.is((await cli('grant', ...use)).code, 2, use.join(' '))
})

test('a role that does not own the schema cannot grant and gets an error, though Postgres merely warns', async () => {
  const [{ role: other }, { role, url }] = [await newRole(), await newRole()]
  for (const prepare of [async () => {}, async () => await give(role, 'admin')]) {
    await prepare()
    const { code, stderr } = await cliAs(url, 'grant', other, '--as', 'client')
    assert.is(code, 1)
    assert.match(stderr, /^Schema pgstore belongs to postgres: only that role can grant rights on it\.$/m)
  }
  assert.equal(await executable(other), [])
})

test('if nothing is installed, the message says how to install', async () => {
  const { role } = await newRole()
  const { code, stderr } = await cli('grant', role, '--as', 'client', '--schema', 'nowhere')
  assert.is(code, 1)
  assert.match(stderr, /npx pgstore migrate/)
})

test('a role that can access the tables by another right is granted, with a warning', async () => {
  const [reader, superuser] = [await newRole(), await newRole()]
  await sql(`grant pg_read_all_data to ${reader.role}; alter role ${superuser.role} superuser`)
  const { code, stdout } = await cli('grant', reader.role, '--as', 'client')
  assert.is(code, 0)
  assert.match(
    stdout,
    /Warning: it can access the tables directly \(audit, bindings, cleanup, ending_consumers, ending_deliveries, entry_keys, grants, history, marks, migrations, sessions, sweep, watermark\)/,
  )
  const { warnings } = JSON.parse((await cli('grant', superuser.role, '--as', 'client', '--json')).stdout)
  assert.match(
    warnings[0],
    /audit, bindings, cleanup, ending_consumers, ending_deliveries, entry_keys, grants, history, marks, migrations, sessions, sweep, watermark/,
  )
})

test.run()
