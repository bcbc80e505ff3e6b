import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { presets, type SessionTable } from '../../src/cli/import/presets.ts'
import { sessionTable } from '../../src/cli/import/session-table.ts'
import { sessionKey } from '../../src/session/token.ts'
import { closeEverything, connect, present, save, stored } from '../sql/calls.ts'
import { admin, databaseUrl, emptyDatabase, rejection, row, sql, until } from '../support/harness.ts'
import { pgstore } from './pgstore.ts'
import { counts, importCounts, take } from './reports.ts'

const day = 86400

// As connect-pg-simple's table.sql makes it.
const table = 'create table session (sid varchar primary key, sess json not null, expire timestamp(6) not null)'

test.before.each(async () => {
  await sql('drop table if exists session cascade')
  await sql(table)
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

interface Old {
  sess?: string
  /** In seconds from now. */
  life?: number
}

function sess(more: object = {}): string {
  return JSON.stringify({
    cookie: { originalMaxAge: day * 1000, expires: '2030-01-01T00:00:00.000Z', path: '/' },
    ...more,
  })
}

/** Sessions in the old table, in one statement. */
async function insert(olds: Readonly<Record<string, Old>>): Promise<void> {
  const rows = Object.entries(olds).map(([sid, old]) => ({ sid, sess: old.sess ?? sess(), life: old.life ?? day }))
  await sql(
    `insert into session (sid, sess, expire)
     select o.sid, o.sess::json, now() + make_interval(secs => o.life)
     from json_to_recordset($1::json) as o (sid text, sess text, life float8)`,
    JSON.stringify(rows),
  )
}

function many(count: number): Record<string, Old> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`sid ${String(i).padStart(6, '0')}`, {}]))
}

const command = ['connect-pg-simple']
const names = presets['connect-pg-simple'] as SessionTable
const old = () => sessionTable(databaseUrl, names)

test('a session is imported with its id, its data, its user and its remaining life', async () => {
  await insert({ 'its sid': { sess: sess({ passport: { user: 42 }, cart: ['tea', { n: 1.5 }] }), life: 3600 } })
  assert.equal(await importCounts([...command, '--user-key', 'passport.user']), { read: 1, taken: 1, users: 1 })
  const session = await present(sessionKey('its sid'))
  // As pgstore/express-session stores it: if the cookie's expiry moves with each visit, it is kept only in the row.
  const cookie = { originalMaxAge: day * 1000, path: '/' }
  assert.equal(session.data, { cookie, passport: { user: 42 }, cart: ['tea', { n: 1.5 }] })
  assert.is(session.user_id, '42')
  const [left] = await sql<{ over: number }>(
    'select extract(epoch from $1::timestamptz - expire)::float8 as over from session',
    session.expires_at,
  )
  assert.ok(left && left.over > -1 && left.over <= 97, `${left?.over} seconds more`) // a hundredth more, plus the delays of a busy machine
})

test("a cookie's expiry that does not move is kept", async () => {
  const cookie = { originalMaxAge: null, expires: '2030-01-01T00:00:00.000Z' }
  await insert({
    fixed: { sess: JSON.stringify({ cookie }) },
    none: { sess: '{"user": 1}' },
    odd: { sess: '{"cookie": 7}' },
  })
  assert.equal(await take(old()), { read: 3, taken: 3 })
  assert.equal((await present(sessionKey('fixed'))).data, { cookie })
  assert.equal((await present(sessionKey('odd'))).data, { cookie: 7 })
})

test('expired, unreadable and too large sessions are skipped, and counted with the reason', async () => {
  await insert({
    expired: { life: -1 },
    'no object': { sess: '[1]' },
    'a NUL': { sess: '{"a": "\\u0000"}' },
    'half a pair': { sess: '{"a": "\\ud800"}' },
    'beyond a double': { sess: '{"a": 1e400}' },
    large: { sess: sess({ text: 'x'.repeat(5000) }) },
    good: {},
  })
  assert.equal(await take(old(), { maxLength: 5000 }), {
    read: 7,
    taken: 1,
    expired: 1,
    too_large: 1,
    unreadable: 4,
    problems: { 'not a JSON object': 1, 'a value that a session cannot store': 3 },
  })
  assert.ok(await stored(sessionKey('good')))
})

test('without a limit a session of any size is imported, up to a few megabytes', async () => {
  await insert({
    large: { sess: sess({ text: 'x'.repeat(3_000_000) }) },
    monstrous: { sess: sess({ text: 'x'.repeat(5_000_000) }) },
  })
  assert.equal(await take(old()), { read: 2, taken: 1, too_large: 1 })
})

test('no session lives longer than the lifetime', async () => {
  await insert({ long: { life: 365 * day } })
  await take(old(), { lifetimeSeconds: 3600 })
  const { left } = await row<{ left: number }>(
    'select extract(epoch from expires_at - now())::float8 as left from pgstore.sessions',
  )
  assert.ok(left > 3500 && left <= 3600, String(left))
})

test('a session without an expiry is imported', async () => {
  await insert({ endless: {} })
  await sql(`update session set expire = 'infinity'`)
  assert.equal(await take(old(), { lifetimeSeconds: null }), { read: 1, taken: 1 })
})

test('a user that is neither text nor a number is ignored', async () => {
  await insert({
    object: { sess: sess({ user: { id: 1 } }) },
    none: { sess: sess({ user: null }) },
    inherited: { sess: sess({ user: [] }) },
    text: { sess: sess({ user: 'reese' }) },
  })
  await take(old(), { userPath: ['user'] })
  assert.equal(await sql('select user_id from pgstore.sessions where user_id is not null'), [{ user_id: 'reese' }])
  await sql('truncate pgstore.sessions')
  await take(old(), { userPath: ['user', 'length'] })
  assert.equal(await sql('select count(*) from pgstore.sessions where user_id is not null'), [{ count: '1' }])
})

test('the import may run again: existing sessions are left alone, and new ones are imported', async () => {
  await insert({ first: {}, second: {} })
  await take(old())
  await save(sessionKey('first'), { set: '{"changed": true}' })
  await insert({ third: {} })
  assert.equal(await take(old()), { read: 3, taken: 1, already_there: 2 })
  assert.is((await present(sessionKey('first'))).data['changed'], true)
})

test('a table of many batches is read to its end, whatever its sids are', async () => {
  await insert(many(1200))
  await insert({ Ünïcode: {}, ' ': {}, '~': {}, 'ZZ"\\\'': {} })
  assert.equal(await take(old()), { read: 1204, taken: 1204 })
})

test('a dry run counts as the real one does, and writes nothing', async () => {
  await insert(many(300))
  await insert({
    'zz large': { sess: sess({ a: [1, 2, { b: 'ü' }], text: 'x'.repeat(100) }) },
    'zz expired': { life: -5 },
  })
  await take(old()) // and so all are here but the two below
  await insert({ 'zz 1': {}, 'zz 2': { sess: sess({ a: [1, 2, { b: 'ü' }], text: 'x'.repeat(101) }) } })
  const { cookie: _, ...rest } = JSON.parse(sess({ a: [1, 2, { b: 'ü' }], text: 'x'.repeat(100) }))
  const kept = { cookie: { originalMaxAge: day * 1000, path: '/' }, ...rest }
  const { limit } = await row<{ limit: number }>('select octet_length($1::jsonb::text) as limit', kept)
  const before = await sql('select key, version from pgstore.sessions order by key')
  const rehearsed = await take(old(), { maxLength: limit, dryRun: true })
  assert.equal(rehearsed, { read: 304, taken: 1, already_there: 301, expired: 1, too_large: 1 })
  assert.equal(await sql('select key, version from pgstore.sessions order by key'), before)
  const done = await take(old(), { maxLength: limit })
  assert.equal(done, rehearsed)
})

test('an interrupted import finishes its batch and says so; run again, it imports the rest', async () => {
  await insert(many(1250))
  const blocker = await connect()
  await blocker.query('begin')
  await save(sessionKey('sid 000600'), { version: 0 }, blocker)
  const outcome = await pgstore(['import', ...command, '--json'], {}, async (child) => {
    await until(async () => {
      const waiting = await sql(
        `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
      )
      return waiting.length === 1
    })
    child.kill('SIGINT')
    await blocker.query('rollback')
  })
  assert.is(outcome.code, 1)
  // The third batch was running when the signal was sent, and may be answered before the signal arrives.
  const { read = 0, ...rest } = counts(outcome)
  assert.ok([750, 1000].includes(read), `${read} read`)
  assert.equal(rest, { taken: read, interrupted: true })
  assert.equal(await take(old()), { read: 1250, taken: 1250 - read, already_there: read })
})

test('a role that may only read the old table is enough, in another database and under another name', async () => {
  const url = await emptyDatabase()
  const there = await connect(url)
  await there.query('create schema web')
  await there.query(
    `create table web."Session" (sid text primary key, sess jsonb not null, expire timestamptz not null)`,
  )
  await there.query(`insert into web."Session" values ('elsewhere', '{"cookie": {}}', now() + interval '1 day')`)
  const role = `reader_${Date.now()}`
  await there.query(`create role ${role} login password 'example'`)
  await there.query(`grant usage on schema web to ${role}; grant select on web."Session" to ${role}`)
  const from = new URL(url)
  from.username = role
  from.password = 'example'
  try {
    const args = [...command, '--from', from.href, '--table', 'web.Session']
    assert.equal(await importCounts(args), { read: 1, taken: 1 })
  } finally {
    await there.query(`drop owned by ${role}; drop role ${role}`)
  }
  assert.ok(await stored(sessionKey('elsewhere')))
})

test('the old table is read in read-only transactions, and is not changed', async () => {
  await insert(many(300))
  const state = `select md5(string_agg(s::text || s.xmin || s.ctid, ',' order by sid)) as sum from session as s`
  const before = await row(state)
  await take(old())
  assert.equal(await row(state), before)
  await sql('create sequence written')
  await sql(`create view writes as select sid, sess, expire + nextval('written') * interval '0' as expire from session`)
  const failure = await rejection(take(sessionTable(databaseUrl, { ...names, table: 'writes' })))
  assert.match(failure.message, /read-only transaction/)
})

test('a session with characters that the database cannot store does not affect the others', async () => {
  const { name } = await row<{ name: string }>(`select current_database() || '_latin' as name`)
  await sql(`create database ${name} encoding 'LATIN1' locale 'C' template template0`)
  const url = new URL(databaseUrl)
  url.pathname = `/${name}`
  try {
    await insert({ one: {}, two: { sess: sess({ fox: '🦊' }) }, three: {} })
    assert.is((await pgstore(['migrate'], { DATABASE_URL: url.href })).code, 0)
    assert.equal(await importCounts([...command, '--from', databaseUrl], { DATABASE_URL: url.href }), {
      read: 3,
      taken: 2,
      unreadable: 1,
      problems: { 'a value that a session cannot store': 1 },
    })
  } finally {
    await admin.query(`drop database ${name} with (force)`)
  }
})

test('the output for people is a sentence with the counts, and why sessions were skipped', async () => {
  await insert({ good: {}, bad: { sess: '7' } })
  const { stdout, code } = await pgstore(['import', ...command, '--dry-run'])
  assert.is(code, 0)
  assert.match(
    stdout,
    /Of 2 sessions read, 1 would be imported, 0 are here already, 0 have expired, 0 are too large, 1 are unreadable\./,
  )
  assert.match(stdout, /Unreadable: 1 × not a JSON object\./)
  assert.match(stdout, /nothing was written/)
})

test('a missing table and invalid options are reported in a sentence', async () => {
  const missing = await pgstore(['import', ...command, '--table', 'elsewhere'])
  assert.equal(
    { code: missing.code, stderr: missing.stderr },
    { code: 1, stderr: 'Table elsewhere does not exist: name the table with --table.\n' },
  )
  const columns = await pgstore(['import', ...command, '--table', 'pgstore.cleanup'])
  assert.is(columns.code, 1)
  assert.match(columns.stderr, /^Table pgstore.cleanup has no column "sid": name it with --id\.$/m)
  for (const args of [
    ['--table', 'a.b.c'],
    ['--table', 'x"; drop table session; --'],
    ['--max-length', 'many'],
    ['--prefix', 'x'],
  ]) {
    assert.is((await pgstore(['import', ...command, ...args])).code, 2, args.join(' '))
  }
  assert.is((await pgstore(['import', 'connect-sqlite'])).code, 2)
})

test.run()
