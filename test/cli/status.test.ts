import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { statusWarnings } from '../../src/cli/status.ts'
import { Database } from '../../src/database/session-functions.ts'
import { closeEverything, create } from '../sql/calls.ts'
import { admin, sql, until } from '../support/harness.ts'
import { pgstore, pgstoreJson } from './pgstore.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
  await sql('update pgstore.cleanup set enabled = false, worker_seen_at = null, next_run_at = null, last_error = null')
})
test.after(closeEverything)

const database = new Database(admin, 'pgstore')

// A table that has been vacuumed within the hour is given no warning of its dead rows.
test.before(async () => {
  await sql('alter table pgstore.sessions set (autovacuum_enabled = false)')
})

async function warnings(): Promise<string[]> {
  return statusWarnings(await database.sessionStats(), await database.cleanupStatus())
}

/** Sessions that expired this long ago. */
async function expired(ago: string, count = 1): Promise<void> {
  await sql(
    `insert into pgstore.sessions (id, created_at, updated_at, seen_at, expires_at, purge_at, version, key, data)
     select i, now(), now(), now(), now() - $1::interval, now() - $1::interval, 1, sha256(('expired ' || i)::text::bytea), '{}'
     from generate_series(1, $2::integer) as i`,
    ago,
    count,
  )
}

/** There is one warning now, which is about this. */
async function assertWarning(about: RegExp): Promise<void> {
  const found = await warnings()
  assert.is(found.length, 1, found.join('\n'))
  assert.match(found[0] ?? '', about)
}

test('a fresh installation has nothing to warn about', async () => {
  await create({}, { user_id: '1' })
  await create()
  const found = await pgstoreJson<Record<string, unknown>>(['status'])
  const expected = {
    schema: 'pgstore',
    pending_migrations: [],
    live: 2,
    expired: 0,
    anonymous: 1,
    is_estimate: false,
    oldest_expired_at: null,
    warnings: [],
  }
  assert.equal(Object.fromEntries(Object.keys(expected).map((name) => [name, found[name]])), expected)
  assert.is((found['cleanup'] as { enabled: boolean }).enabled, false)
})

test('the output for people is one fact per line', async () => {
  await create({}, { user_id: '1' })
  await expired('2 days')
  const { stdout, code } = await pgstore(['status'])
  assert.is(code, 0)
  assert.match(stdout, /^Schema: +pgstore, 0\d+-\w+\.sql$/m)
  assert.match(stdout, /^Live: +1, 0 of them anonymous$/m)
  assert.match(stdout, /^Expired: +1, the oldest since 20\d\d-/m)
  assert.match(stdout, /^Size: +\d+ kB: table 8 kB, indexes \d+ kB$/m)
  assert.match(stdout, /^Cleanup: +Off/m)
  assert.match(stdout, /^Warning: +The recurring purge is off, and 1 expired sessions have piled up\./m)
})

test('a purge that is off gives a warning when expired sessions are old or many', async () => {
  await expired('1 hour')
  assert.equal(await warnings(), [])
  await sql('truncate pgstore.sessions')
  await expired('1 hour', 10_000)
  await assertWarning(/purge is off, and 10,000 expired/)
  await sql('truncate pgstore.sessions')
  await expired('25 hours')
  await assertWarning(/purge is off, and 1 expired/)
})

test('a purge without a worker, or whose worker has disappeared, gives a warning', async () => {
  await sql('update pgstore.cleanup set enabled = true')
  await assertWarning(/^No worker has been seen yet/)
  await sql(`update pgstore.cleanup set worker_seen_at = now() - interval '6 minutes'`)
  await assertWarning(/^No worker has been seen since 20/)
  await sql('update pgstore.cleanup set worker_seen_at = now(), next_run_at = now()')
  assert.equal(await warnings(), [])
})

test('a purge that is overdue or failed gives a warning', async () => {
  await sql(
    `update pgstore.cleanup set enabled = true, worker_seen_at = now(), next_run_at = now() - interval '11 minutes'`,
  )
  await assertWarning(/^The purge has been overdue/)
  await sql(`update pgstore.cleanup set next_run_at = now(), last_error = '57014'`)
  await assertWarning(/failed with 57014/)
})

test('pending migrations, and a newer schema, give warnings', async () => {
  const rows = await sql<{ name: string; hash: string }>('select name, hash from pgstore.migrations order by name')
  const last = rows.at(-1)
  if (!last) throw new Error('No migrations.')
  await sql('delete from pgstore.migrations where name = $1', last.name)
  await assertWarning(/^Migrations are pending: .*\.sql\. Run "npx pgstore migrate"/)
  assert.ok((await warnings())[0]?.includes(last.name))
  await sql('insert into pgstore.migrations (name, hash) values ($1, $2)', last.name, last.hash)
  await sql(`insert into pgstore.migrations (name, hash) values ('999999-future.sql', '')`)
  await assertWarning(/newer than this package/)
  await sql(`delete from pgstore.migrations where name = '999999-future.sql'`)
})

test('updates that are not heap-only give a warning', async () => {
  await sql('create index spoiler on pgstore.sessions (version)')
  try {
    for (let i = 0; i < 100; i++) await create()
    for (let i = 0; i < 20; i++) await sql('update pgstore.sessions set version = version + 1')
    await until(async () => (await database.sessionStats()).updates >= 2000)
    await assertWarning(/^Only \d+ % of the updates are heap-only/)
  } finally {
    await sql('drop index pgstore.spoiler')
  }
})

test('a bloated table and dead rows give warnings', async () => {
  await sql(
    `insert into pgstore.sessions (id, created_at, updated_at, seen_at, expires_at, purge_at, version, key, data)
     select i, now(), now(), now(), now() + interval '1 day', now() + interval '1 day', 1, sha256(i::text::bytea),
       jsonb_build_object('text', (select string_agg(md5(i::text || j), '') from generate_series(1, 55) as j))
     from generate_series(1, 30000) as i`,
  )
  const isTold = async (about: RegExp) => (await warnings()).some((warning) => about.test(warning))
  assert.not.ok(await isTold(/^The table takes \d+ MB for rows of about/))
  await sql('delete from pgstore.sessions where id % 10 <> 0')
  await until(async () => (await database.sessionStats()).deadRows >= 20_000)
  assert.ok(await isTold(/^The table takes [\d.]+ MB for rows of about [\d.]+ MB/))
  assert.ok(await isTold(/dead rows are waiting for VACUUM/))
  await sql('vacuum pgstore.sessions')
  await until(async () => (await database.sessionStats()).deadRows < 10_000)
  assert.not.ok(await isTold(/dead rows are waiting/))
})

test('a missing schema is an error that says what to do', async () => {
  const { code, stderr } = await pgstore(['status', '--schema', 'nowhere'])
  assert.is(code, 1)
  assert.match(stderr, /run "npx pgstore migrate --schema nowhere"/)
})

test('every command has its own help, which lists only its own options', async () => {
  const overview = await pgstore(['--help'])
  assert.is(overview.code, 0)
  const names = [...overview.stdout.matchAll(/^ {2}pgstore ([a-z -]+?) {2,}/gm)].map(([, name]) => name)
  assert.ok(names.length >= 12, overview.stdout)
  assert.not.match(overview.stdout, /--dry-run/)
  for (const name of ['import connect-redis', 'status']) {
    const { stdout, code } = await pgstore([...name.split(' '), '--help'])
    assert.is(code, 0)
    assert.match(stdout, new RegExp(`^  pgstore ${name} {2}`, 'm'))
    assert.is(/--dry-run/.test(stdout), name.startsWith('import'))
  }
})

test.run()
