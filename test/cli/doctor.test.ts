// `pgstore doctor` on an installation as docs/operations.md describes it: it finds nothing there, and each fault that a test makes.
// What is the server's is set for a role in this file's database: other files run on the same server.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DiagnoseOptions, diagnose, examine, type Finding } from '../../src/cli/doctor/diagnose.ts'
import { serverFindings } from '../../src/cli/doctor/settings.ts'
import { migrate, type PGStoreError } from '../../src/index.ts'
import { grantStatements, type Right } from '../../src/schema/grants.ts'
import { runMigrations } from '../../src/schema/migrate.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { closeAll, databaseUrl, emptyDatabase, sql } from '../support/harness.ts'
import { startPooler } from '../support/pooler.ts'
import { pgstore } from './pgstore.ts'

const prefix = `pgstore_doctor_${randomBytes(4).toString('hex')}`
const [owner, app, cleaner] = [`${prefix}_owner`, `${prefix}_app`, `${prefix}_cleaner`]
const password = randomBytes(12).toString('hex')

let url: URL
let database = ''
let master: pg.Pool

async function sqlOf<Row extends pg.QueryResultRow>(text: string): Promise<Row[]> {
  return (await master.query<Row>(text)).rows
}

/** The same database as another role. */
function as(role: string): string {
  const { href } = Object.assign(new URL(url), { username: role, password })
  return href
}

/** As the owner, whom nobody logs in as. */
function asOwner(): string {
  return `${url.href}?options=-c%20role%3D${owner}`
}

async function run(text: string): Promise<void> {
  await master.query(text)
}

test.before(async () => {
  url = new URL(await emptyDatabase())
  database = url.pathname.slice(1)
  master = new pg.Pool({ connectionString: url.href, max: 2 })
  master.on('error', () => {})
  await run(`create role ${owner} nologin`)
  for (const role of [app, cleaner]) await run(`create role ${role} login password '${password}'`)
  await run(`create schema pgstore authorization ${owner}`)
  await run(`revoke all on database ${database} from public`)
  await run(`grant connect on database ${database} to ${app}, ${cleaner}`)
  const deployer = new pg.Pool({ connectionString: url.href, options: `-c role=${owner}` })
  deployer.on('error', () => {})
  await migrate(deployer)
  for (const [role, rights] of [
    [app, ['client', 'account']],
    [cleaner, ['cleanup']],
  ] as [string, Right[]][])
    for (const statement of grantStatements(role, rights, 'pgstore')) await deployer.query(statement)
  await deployer.end()
  for (const setting of [
    "statement_timeout = '3s'",
    "lock_timeout = '1s'",
    "idle_in_transaction_session_timeout = '5s'",
  ])
    await run(`alter role ${app} in database ${database} set ${setting}`)
  await run(`alter role ${app} set log_parameter_max_length = 0`)
})

test.after(async () => {
  for (const role of [app, cleaner, owner]) await run(`drop owned by ${role} cascade`)
  for (const role of [app, cleaner, owner]) await run(`drop role ${role}`)
  await master.end()
  await closeAll()
})

test.before.each(async () => {
  await run(
    `update pgstore.cleanup set enabled = true, worker_seen_at = now(), next_run_at = now() + interval '1 hour', last_error = null`,
  )
})

/** What is the server's: those of the tests do not sync, and other files may use many connections. */
const unsafe = new Set(['fsync_off', 'full_page_writes_off', 'connections_scarce', 'notification_queue'])

async function findings(connectionString: string, options: DiagnoseOptions = {}): Promise<readonly Finding[]> {
  const pool = new pg.Pool({ connectionString, max: 2 })
  pool.on('error', () => {})
  try {
    // A notification that does arrive is waited for no longer than it takes.
    return (await diagnose(pool, 'pgstore', { patienceMs: 60_000, ...options })).filter(({ id }) => !unsafe.has(id))
  } finally {
    await pool.end()
  }
}

/** A fault: what makes it and what undoes it; where no `undo` is given, the finding's own advice must. */
interface Fault {
  readonly id: string
  readonly level?: 'wrong' | 'warning'
  readonly make: string
  readonly undo?: string
  /** Who is connected. Default: the role with the right cleanup. */
  readonly by?: string
  /** What follows from the fault besides. */
  readonly besides?: readonly string[]
}

const session = `insert into pgstore.sessions (id, created_at, updated_at, seen_at, expires_at, purge_at, version, key, data)
  select 1, now(), now(), now(), now() - interval '2 days', now() - interval '2 days', 1, sha256('x'), '{}'`
const cleanup = (changes: string) => `update pgstore.cleanup set ${changes}`
const set = (setting: string) => `alter role ${app} in database ${'DATABASE'} set ${setting}`
const key = 'update pgstore.migrations set name = name'

const faults: readonly Fault[] = [
  { id: 'cleanup_off', make: `${cleanup('enabled = false')}; ${session}`, undo: 'truncate pgstore.sessions' },
  { id: 'worker_unseen', make: cleanup('worker_seen_at = null'), undo: key },
  { id: 'worker_lost', make: cleanup(`worker_seen_at = now() - interval '1 day'`), undo: key },
  { id: 'purge_late', make: cleanup(`next_run_at = now() - interval '1 hour'`), undo: key },
  { id: 'purge_failed', make: cleanup(`last_error = '57014'`), undo: key },
  { id: 'purge_behind', level: 'warning', make: session, undo: 'truncate pgstore.sessions' },
  {
    id: 'schema_older',
    make: `create table public.taken as select * from pgstore.migrations; delete from pgstore.migrations where name = (select max(name) from pgstore.migrations)`,
    undo: 'insert into pgstore.migrations select * from public.taken except select * from pgstore.migrations; drop table public.taken',
  },
  {
    id: 'schema_newer',
    level: 'warning',
    make: `insert into pgstore.migrations (name, hash) values ('999999-future.sql', '')`,
    undo: `delete from pgstore.migrations where name = '999999-future.sql'`,
  },
  {
    id: 'functions_missing',
    make: 'alter function pgstore.session_clear(integer) rename to cleared',
    undo: 'alter function pgstore.cleared(integer) rename to session_clear',
  },
  { id: 'index_missing', make: 'drop index pgstore.sessions_purge_at_idx' },
  { id: 'extra_index', level: 'warning', make: 'create index spoiler on pgstore.sessions (version)' },
  { id: 'unlogged', make: 'alter table pgstore.sessions set unlogged' },
  {
    id: 'table_autovacuum_off',
    level: 'warning',
    make: 'alter table pgstore.sessions set (autovacuum_enabled = false)',
  },
  {
    id: 'foreign_trigger',
    level: 'warning',
    make: 'create trigger spy before update on pgstore.sessions for each row execute function suppress_redundant_updates_trigger()',
  },
  { id: 'owners_differ', make: `alter function pgstore.count_live() owner to ${cleaner}` },
  {
    id: 'right_not_granted',
    make: 'grant execute on function pgstore.count_live() to public',
    undo: 'revoke execute on function pgstore.count_live() from public',
  },
  {
    id: 'right_missing',
    make: `revoke execute on function pgstore.session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval, boolean) from ${app}`,
    undo: `grant execute on function pgstore.session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval, boolean) to ${app}`,
  },
  {
    id: 'granted_role_missing',
    level: 'warning',
    make: `insert into pgstore.grants (role, "right") values ('nobody''s', 'client')`,
  },
  {
    id: 'superuser_as_application',
    make: `alter role ${app} superuser`,
    undo: `alter role ${app} nosuperuser`,
  },
  { id: 'member_of_owner', make: `grant ${owner} to ${app}` },
  { id: 'powerful_member', make: `grant pg_read_all_data to ${app}` },
  { id: 'createrole_as_application', level: 'warning', make: `alter role ${app} createrole` },
  { id: 'replication_role', level: 'warning', make: `alter role ${app} replication` },
  { id: 'connection_limit', level: 'warning', make: `alter role ${app} connection limit 5` },
  { id: 'read_only', make: set('default_transaction_read_only = on') },
  { id: 'isolation', level: 'warning', make: set('default_transaction_isolation = serializable') },
  { id: 'asynchronous_commit', level: 'warning', make: set('synchronous_commit = off') },
  { id: 'statement_timeout_short', make: set(`statement_timeout = '50ms'`) },
  { id: 'no_time_limit', level: 'warning', make: set(`lock_timeout = '1min'`) },
  { id: 'plans', level: 'warning', make: set('enable_tidscan = off') },
  { id: 'jit', level: 'warning', make: set('jit_above_cost = 0') },
  {
    id: 'parameters_logged',
    level: 'warning',
    make: `${set(`log_statement = 'all'`)}; ${set(`log_parameter_max_length = '1kB'`)}`,
  },
  { id: 'parameters_logged_on_error', level: 'warning', make: set('log_parameter_max_length_on_error = -1') },
  { id: 'plans_logged', level: 'warning', make: set('auto_explain.log_min_duration = 0') },
]

test('it finds nothing on a right installation, whoever asks', async () => {
  for (const role of [app, cleaner]) assert.equal(await findings(as(role)), [], role)
  assert.equal(await findings(asOwner()), [])
})

for (const { id, level = 'wrong', make, undo, by } of faults) {
  test(`it finds the fault ${id}${undo === undefined ? ', and its advice mends it' : ''}`, async () => {
    const statements = (text: string) => text.replaceAll('DATABASE', database).split(/;\s*/).filter(Boolean)
    let mend = undo ?? ''
    try {
      for (const statement of statements(make)) await run(statement)
      const found = await findings(as(by ?? cleaner))
      assert.equal(
        found.map((finding) => [finding.id, finding.level]),
        [[id, level]],
        JSON.stringify(found, null, 1),
      )
      mend = undo ?? found[0]?.mend ?? ''
    } finally {
      for (const statement of statements(mend)) await run(statement)
    }
    await run(cleanup('enabled = true, worker_seen_at = now(), next_run_at = now(), last_error = null'))
    assert.equal(await findings(as(cleaner)), [])
  })
}

/** What these roles find alike, while the fault is there. */
async function seenByAll(make: string, undo: string, roles: readonly string[] = [as(cleaner), asOwner(), url.href]) {
  await run(make)
  try {
    const seen: (readonly Finding[])[] = []
    for (const role of roles) seen.push(await findings(role))
    return seen
  } finally {
    await run(undo)
  }
}

const ids = (found: readonly Finding[]) => found.map(({ id }) => id)

for (const table of ['sessions', 'cleanup', 'grants', 'migrations', 'history']) {
  test(`a wrong owner of table ${table} is found by every role, and its advice mends it`, async () => {
    const taken = `alter table pgstore.${table} owner to current_user`
    const seen = await seenByAll(taken, `alter table pgstore.${table} owner to ${owner}`)
    for (const found of seen) assert.equal(ids(found), ['owners_differ'], JSON.stringify(found, null, 1))
    assert.is(seen[0]?.[0]?.mend, `alter table pgstore.${table} owner to ${owner};`)
  })
}

test('a schema that has another owner than all that is in it is found, and goes back to that owner', async () => {
  const back = `alter schema pgstore owner to ${owner}`
  for (const found of await seenByAll('alter schema pgstore owner to current_user', back)) {
    const first = found.find(({ id }) => id === 'owners_differ')
    assert.is(first?.mend, `${back};`, JSON.stringify(found, null, 1))
    assert.not.ok(ids(found).includes('no_right'))
  }
})

test('what the database refuses of the examination is named, and --json still has findings', async () => {
  await run('alter table pgstore.sessions owner to current_user')
  let outcome: Awaited<ReturnType<typeof pgstore>>
  try {
    outcome = await pgstore(['doctor', '--json'], { DATABASE_URL: as(cleaner) })
  } finally {
    await run(`alter table pgstore.sessions owner to ${owner}`)
  }
  const report = JSON.parse(outcome.stdout) as { findings: Finding[]; not_looked_at: string[] }
  assert.ok(ids(report.findings).includes('owners_differ'))
  assert.match(report.not_looked_at.join('\n'), /^The state of the table: permission denied for table sessions\.$/m)
  assert.is(outcome.code, 1)
})

test('a refusal that nothing else explains is a finding', async () => {
  const [found] = await seenByAll(
    `revoke all on table pgstore.cleanup from ${owner}`,
    `grant all on table pgstore.cleanup to ${owner}`,
    [as(cleaner)],
  )
  assert.equal(ids(found ?? []), ['unusable'])
  assert.match(found?.[0]?.says ?? '', /The purge: permission denied for table cleanup\.$/)
})

for (const table of ['sessions', 'cleanup', 'grants', 'audit', 'history', 'ending_consumers', 'ending_deliveries']) {
  test(`a missing table ${table} is found by every role`, async () => {
    const undo = `alter table pgstore.elsewhere rename to ${table}`
    const roles = [as(app), as(cleaner), asOwner(), url.href]
    for (const found of await seenByAll(`alter table pgstore.${table} rename to elsewhere`, undo, roles)) {
      assert.equal(ids(found), ['table_missing'], JSON.stringify(found, null, 1))
      assert.match(found[0]?.says ?? '', new RegExp(`^Table pgstore\\.${table} is missing`))
    }
  })
}

test('a missing sequence is found', async () => {
  for (const name of ['session_number', 'announcement', 'history_number']) {
    const make = `alter sequence pgstore.${name} rename to elsewhere`
    const [found] = await seenByAll(make, `alter sequence pgstore.elsewhere rename to ${name}`, [as(cleaner)])
    assert.equal(ids(found ?? []), ['table_missing'])
    assert.match(found?.[0]?.says ?? '', new RegExp(`^Sequence pgstore\\.${name} is missing`))
  }
})

test('tables that an older schema does not have yet are not missed', async () => {
  const { schema, pool } = { schema: 'earlier', pool: new pg.Pool({ connectionString: url.href, max: 2 }) }
  try {
    await runMigrations(pool, schema, migrations.slice(0, 3))
    const found = await diagnose(pool, schema, { patienceMs: 60_000 })
    assert.ok(ids(found).includes('schema_older'), JSON.stringify(found, null, 1))
    assert.not.ok(ids(found).includes('table_missing'), JSON.stringify(found, null, 1))
  } finally {
    await pool.end()
    await run(`drop schema if exists ${schema} cascade`)
  }
})

test('a missing function that no migration brings back is explained in words', async () => {
  for (const name of ['session_clear', 'session_get', 'session_stats']) {
    const signature = (
      await sqlOf<{ args: string }>(
        `select pg_get_function_identity_arguments(p.oid) as args from pg_proc as p where p.proname = '${name}' and p.pronamespace = 'pgstore'::regnamespace`,
      )
    ).map((row) => row.args)
    assert.ok(signature.length > 0)
    const rename = async (from: string, to: string) => {
      for (const each of signature) await run(`alter function pgstore.${from}(${each}) rename to ${to}`)
    }
    await rename(name, 'elsewhere')
    try {
      for (const role of [asOwner(), url.href]) {
        const found = await findings(role)
        assert.equal(ids(found), ['functions_missing'], JSON.stringify(found, null, 1))
        assert.is(found[0]?.mend, null)
        assert.match(found[0]?.says ?? '', /"npx pgstore sql"/)
      }
    } finally {
      await rename('elsewhere', name)
    }
  }
})

test('a superuser as the application is not to be changed', async () => {
  const [found] = await seenByAll(`alter role ${app} superuser`, `alter role ${app} nosuperuser`, [as(cleaner)])
  assert.is(found?.[0]?.mend, 'npx pgstore grant ROLE --as client')
})

test('a schema that belongs to a superuser is found, whoever is connected', async () => {
  const everything = async (from: string, to: string) => {
    const rows = await sqlOf<{ statement: string }>(
      `select format('alter %s %s owner to ${to}', kind, name) as statement
       from (
         select 'table' as kind, c.oid::regclass::text as name from pg_class as c
         where c.relnamespace = 'pgstore'::regnamespace and c.relkind = 'r' and c.relowner = '${from}'::regrole
         union all
         select 'sequence', c.oid::regclass::text from pg_class as c
         where c.relnamespace = 'pgstore'::regnamespace and c.relkind = 'S' and c.relowner = '${from}'::regrole
         union all
         select 'function', p.oid::regprocedure::text from pg_proc as p
         where p.pronamespace = 'pgstore'::regnamespace and p.proowner = '${from}'::regrole
         union all
         select 'schema', 'pgstore'
       ) as o`,
    )
    await run(rows.map(({ statement }) => statement).join('; '))
  }
  const [me = ''] = (await sqlOf<{ name: string }>('select current_user::text as name')).map(({ name }) => name)
  await everything(owner, `"${me}"`)
  try {
    for (const role of [as(app), as(cleaner), url.href])
      assert.equal(ids(await findings(role)), ['superuser_owns'], role === url.href ? 'superuser' : 'role')
  } finally {
    await everything(me, owner)
  }
  assert.equal(await findings(as(cleaner)), [])
})

test('a role of the application that does not exist is refused', async () => {
  try {
    await findings(as(cleaner), { role: 'nope' })
    assert.unreachable()
  } catch (error) {
    assert.is((error as PGStoreError).code, 'invalid_option')
    assert.match((error as PGStoreError).message, /role nope does not exist/)
  }
  const outcome = await pgstore(['doctor', '--role', 'nope', '--json'], { DATABASE_URL: as(cleaner) })
  assert.is(outcome.code, 2)
  assert.is(JSON.parse(outcome.stdout).error, 'invalid_option')
})

test('a server that does not sync, vacuum or take more connections is told', async () => {
  const right = { fsync: 'on', full_page_writes: 'on', autovacuum: 'on', track_counts: 'on', max_connections: '100' }
  const ids = (changes: Record<string, string>, version = 180000) =>
    serverFindings(new Map(Object.entries({ ...right, ...changes })), version).map(({ id }) => id)
  assert.equal(ids({ 'connections used': '70', 'notification queue': '0' }), [])
  for (const name of ['fsync', 'full_page_writes', 'autovacuum', 'track_counts'])
    assert.equal(ids({ [name]: 'off' }), [`${name}_off`])
  assert.equal(ids({ 'connections used': '95' }), ['connections_scarce'])
  assert.equal(ids({ 'notification queue': '0.7' }), ['notification_queue'])
  assert.equal(ids({}, 130020), ['server_version'])
})

test('a role that sees less is told what was not looked at', async () => {
  const pool = new pg.Pool({ connectionString: as(app), max: 2 })
  const { unseen, roles } = await examine(pool, 'pgstore')
  await pool.end()
  assert.equal(roles, [app])
  assert.match(unseen.join('\n'), /has not the right "cleanup" or "admin"/)
})

test('a role without any right is told so', async () => {
  const role = `${prefix}_stranger`
  await run(`create role ${role} login password '${password}'`)
  await run(`grant connect on database ${database} to ${role}`)
  try {
    const found = await findings(as(role))
    assert.equal(
      found.map(({ id }) => id),
      ['no_right'],
    )
    assert.is(found[0]?.mend, `npx pgstore grant ${role} --as client,account`)
  } finally {
    await run(`drop owned by ${role}`)
    await run(`drop role ${role}`)
  }
})

test('a database that is not there, or a wrong password, is a finding with advice', async () => {
  assert.equal(ids(await findings('postgres://127.0.0.1:1/nowhere')), ['unreachable'])
  const [unknown] = await findings(Object.assign(new URL(url), { pathname: '/pgstore_no_such' }).href)
  assert.is(unknown?.id, 'no_database')
  // The command takes either.
  assert.match(unknown?.says ?? '', /DATABASE_URL, or PGDATABASE/)
})

test('a schema that is missing, or somewhere else, is a finding that names the schema', async () => {
  const pool = new pg.Pool({ connectionString: as(cleaner), max: 2 })
  const [elsewhere] = await diagnose(pool, 'shop').then((found) => found.filter(({ id }) => !unsafe.has(id)))
  await pool.end()
  assert.is(elsewhere?.id, 'other_schema')
  const empty = new pg.Pool({ connectionString: await emptyDatabase(), max: 2 })
  const [missing] = await diagnose(empty, 'shop').then((found) => found.filter(({ id }) => !unsafe.has(id)))
  await empty.end()
  assert.is(missing?.id, 'not_installed')
  assert.is(missing?.mend, 'npx pgstore migrate --schema shop')
})

test('behind a pooler in transaction mode, notifications that are not heard are told', async () => {
  const pooler = await startPooler(as(cleaner), { perTransaction: true })
  try {
    const found = await findings(pooler.url, { patienceMs: 500 })
    assert.equal(
      found.map(({ id }) => id),
      ['transaction_pooler'],
    )
  } finally {
    await pooler.close()
  }
})

test('a clock that differs from the database is told', async () => {
  for (const ms of [60_000, -60_000]) {
    const found = await findings(as(cleaner), { now: () => Date.now() + ms })
    assert.equal(
      found.map(({ id }) => id),
      ['clock'],
    )
  }
})

test('keys that are short, guessable or have a line break are told, and never shown', async () => {
  const good = randomBytes(32).toString('base64url')
  const of = async (SESSION_KEY: string) => await findings(as(cleaner), { env: { SESSION_KEY } })
  assert.equal(await of(good), [])
  for (const [bad, id] of [
    ['mellon', 'key_short'],
    ['a'.repeat(40), 'key_guessable'],
    ['this is the secret that nobody will ever guess', 'key_guessable'],
    [`${good}\n`, 'key_space'],
  ] as const) {
    const found = await of(bad)
    assert.is(found[0]?.id, id)
    assert.not.ok(JSON.stringify(found).includes(bad.trim()))
  }
})

test('packages of other versions than supported are told', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-doctor-'))
  const install = (name: string, version: string) => {
    fs.mkdirSync(path.join(folder, 'node_modules', name), { recursive: true })
    fs.writeFileSync(path.join(folder, 'node_modules', name, 'package.json'), JSON.stringify({ name, version }))
  }
  try {
    const ids = async () => (await findings(as(cleaner), { folder })).map(({ says }) => says.split(' is')[0])
    assert.equal(await ids(), [])
    for (const [pgVersion, worker, expected] of [
      ['8.23.1', '0.17.3', []],
      ['8.99.0', '0.18.4', []],
      ['8.9.0', '0.16.6', ['pg 8.9.0', 'graphile-worker 0.16.6']],
      ['9.0.0', '0.19.0', ['pg 9.0.0', 'graphile-worker 0.19.0']],
    ] as const) {
      install('pg', pgVersion)
      install('graphile-worker', worker)
      assert.equal(await ids(), expected)
    }
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
})

test('the command exits with 1 for what is wrong and 0 for warnings, and prints findings with their commands', async () => {
  const isSafe = (await sql<{ fsync: string }>('show fsync'))[0]?.fsync === 'on'
  await run(`alter role ${app} connection limit 5`)
  const env = { DATABASE_URL: as(cleaner), SESSION_KEY: undefined, SESSION_SECRET: undefined }
  const warned = await pgstore(['doctor', '--json'], env)
  await run(`alter role ${app} connection limit -1`)
  const report = JSON.parse(warned.stdout) as { findings: Finding[]; live: number }
  assert.is(warned.code, isSafe ? 0 : 1)
  assert.is(report.live, 0)
  assert.ok(report.findings.some(({ id, level }) => id === 'connection_limit' && level === 'warning'))
  await run(cleanup('worker_seen_at = null'))
  const told = await pgstore(['doctor'], env)
  assert.is(told.code, 1)
  assert.match(told.stdout, /^Wrong: +No worker has been seen yet, so nothing is purged\.\n +\$ npx pgstore worker$/m)
  assert.is(told.stderr, '')
})

test("the command line takes libpq's variables in place of a URL", async () => {
  const { hostname, port, username, password: secret } = new URL(databaseUrl)
  const names = { PGHOST: hostname, PGPORT: port, PGUSER: decodeURIComponent(username), PGDATABASE: database }
  const env = { ...names, PGPASSWORD: decodeURIComponent(secret), DATABASE_URL: '' }
  const { code, stdout } = await pgstore(['status', '--json'], env)
  assert.is(code, 0)
  assert.is(JSON.parse(stdout).schema, 'pgstore')
  const none = await pgstore(['status'], { DATABASE_URL: '', PGHOST: '', PGPORT: '', PGUSER: '', PGDATABASE: '' })
  assert.is(none.code, 2)
  assert.match(none.stderr, /^Database URL missing/)
})

test('errors name what to do with the options that were given, and no function', async () => {
  for (const command of [['status'], ['purge'], ['cleanup', 'start'], ['cleanup', 'status']]) {
    const missing = await pgstore([...command, '--schema', 'nope'])
    assert.is(missing.code, 1)
    assert.match(missing.stderr, /"npx pgstore migrate --schema nope"/)
    const forbidden = await pgstore(command, { DATABASE_URL: as(app) })
    assert.is(forbidden.code, 1)
    assert.match(forbidden.stderr, /"npx pgstore grant ROLE --as cleanup"/)
    for (const { stderr } of [missing, forbidden]) assert.not.match(stderr, /\w+_(stats|expired|status|start)/)
  }
  const down = await pgstore(['purge'], { DATABASE_URL: 'postgres://127.0.0.1:1/nowhere' })
  assert.match(down.stderr, /^connect ECONNREFUSED/)
})

test.run()
