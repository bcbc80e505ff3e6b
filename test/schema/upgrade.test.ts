// A database of the first two migrations, with sessions in it, is upgraded: no visitor is signed out, and programs that call
// the functions as they were, by position, go on.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate } from '../../src/index.ts'
import { runMigrations } from '../../src/schema/migrate.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { closeAll, emptyDatabase } from '../support/harness.ts'

const pools: pg.Pool[] = []

test.after(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
  await closeAll()
})

/** A database as the first release left it. */
async function oldDatabase(): Promise<pg.Pool> {
  const pool = new pg.Pool({ connectionString: await emptyDatabase(), max: 3 })
  pool.on('error', () => {})
  pools.push(pool)
  await runMigrations(pool, 'pgstore', migrations.slice(0, 2))
  return pool
}

const kept =
  'select key, id, user_id, data, version, created_at, updated_at, expires_at from pgstore.sessions order by key'

async function first(pool: pg.Pool, text: string, ...values: unknown[]): Promise<Record<string, unknown>> {
  return (await pool.query(text, values)).rows[0]
}

/** Creates a session as the old clients do: eight arguments by position. */
async function create(pool: pg.Pool, data: object, ttl: string, userId: string | null = null): Promise<Buffer> {
  const key = randomBytes(32)
  const { status } = await first(
    pool,
    "select * from pgstore.session_save($1, $2, '{}', $3, 0, $4, 4096, '90 days')",
    key,
    data,
    ttl,
    userId,
  )
  assert.is(status, 'saved')
  return key
}

test('an upgrade keeps key, user, data, version and expiry of each session, live or expired, and the purge deletes the expired', async () => {
  const pool = await oldDatabase()
  const live = await create(pool, { cart: [1, 2] }, '1 day')
  const named = await create(pool, { n: 1 }, '30 days', 'ann')
  await pool.query(`select pgstore.session_save($1, '{"n": 2}', '{}', '30 days')`, [named])
  const expired = await create(pool, { old: true }, '1 day')
  const expiredNamed = await create(pool, {}, '1 day', 'bob')
  await pool.query("update pgstore.sessions set expires_at = now() - interval '1 hour' where key = any ($1)", [
    [expired, expiredNamed],
  ])
  const before = (await pool.query(kept)).rows
  assert.is(before.length, 4)
  assert.is((await migrate(pool)).length, migrations.length - 2)
  assert.equal((await pool.query(kept)).rows, before)

  const { rows } = await pool.query('select key from pgstore.session_get($1::bytea[])', [before.map(({ key }) => key)])
  assert.equal(
    new Set(rows.map(({ key }) => key.toString('hex'))),
    new Set([live, named].map((key) => key.toString('hex'))),
  )
  assert.is((await first(pool, 'select pgstore.count_expired()'))['count_expired'], '2')
  assert.is((await first(pool, 'select pgstore.purge_expired(1000)'))['purge_expired'], '2')
  assert.is((await first(pool, 'select pgstore.purge_expired(1000)'))['purge_expired'], '0')
  const left = before.filter(({ key }) => !expired.equals(key) && !expiredNamed.equals(key))
  assert.equal((await pool.query(kept)).rows, left)
  const { seen_at, signed_in_at, user_id } = await first(pool, 'select * from pgstore.sessions where key = $1', named)
  assert.ok(seen_at instanceof Date && signed_in_at instanceof Date)
  assert.is(user_id, 'ann')
})

test('an upgraded session that expires later is purged too', async () => {
  const pool = await oldDatabase()
  const key = await create(pool, {}, '1 hour')
  await pool.query("update pgstore.sessions set expires_at = now() + interval '300 milliseconds' where key = $1", [key])
  await migrate(pool)
  await pool.query("select pg_sleep_until(max(purge_at) + interval '10 milliseconds') from pgstore.sessions")
  assert.is((await first(pool, 'select pgstore.purge_expired(1000)'))['purge_expired'], '1')
})

test('after an upgrade old clients’ positional calls still work: get, save, single and in arrays', async () => {
  const pool = await oldDatabase()
  const key = await create(pool, { a: 1 }, '1 day', 'ann')
  await migrate(pool)
  const one = await first(pool, 'select * from pgstore.session_get($1::bytea)', key)
  assert.equal([one['data'], one['user_id'], one['version']], [{ a: 1 }, 'ann', 1])
  assert.is((await pool.query('select * from pgstore.session_get($1::bytea[])', [[key, randomBytes(32)]])).rowCount, 1)

  const lone =
    "select * from pgstore.session_save($1::bytea, $2::jsonb, $3::text[], '1 day', $4::integer, null, 4096, null)"
  const saved = await first(pool, lone, key, { b: 2 }, ['a'], 1)
  assert.equal([saved['status'], saved['version']], ['saved', 2])
  assert.is((await first(pool, lone, randomBytes(32), {}, [], null))['status'], 'gone')

  const fresh = randomBytes(32)
  const { rows } = await pool.query(
    `select * from pgstore.session_save(
       $1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], 4096, '90 days')`,
    [
      [key, fresh],
      ['{"c": 3}', '{"d": 4}'],
      [null, null],
      ['1 day', '1 day'],
      [null, 0],
      [null, 'bob'],
    ],
  )
  assert.equal(
    rows.map(({ status }) => status),
    ['saved', 'saved'],
  )
  assert.equal((await first(pool, 'select data from pgstore.session_get($1::bytea)', key))['data'], { b: 2, c: 3 })
  assert.equal((await first(pool, 'select user_id from pgstore.session_get($1::bytea)', fresh))['user_id'], 'bob')
})

test('after an upgrade old clients’ positional calls still work: regenerate, destroy, list, revoke, limit', async () => {
  const pool = await oldDatabase()
  const old = await create(pool, { a: 1 }, '1 day', 'ann')
  await create(pool, {}, '1 day', 'ann')
  await create(pool, {}, '1 day', 'ann')
  await migrate(pool)
  const [moved, again] = [randomBytes(32), randomBytes(32)]
  const short = await first(
    pool,
    "select * from pgstore.session_regenerate($1::bytea, $2::bytea, '1 day'::interval, null::text, null::interval)",
    old,
    moved,
  )
  assert.is(short['status'], 'saved')
  const long = await first(
    pool,
    `select * from pgstore.session_regenerate(
       $1::bytea, $2::bytea, '1 day'::interval, 'ann', '90 days'::interval, '{"b": 2}'::jsonb, '{a}'::text[], 4096, 1)`,
    moved,
    again,
  )
  assert.is(long['status'], 'saved')
  assert.equal((await first(pool, 'select data from pgstore.session_get($1::bytea)', again))['data'], { b: 2 })
  const listed = (await pool.query("select * from pgstore.session_list('ann'::text)")).rows
  assert.is(listed.length, 3)
  assert.is((await first(pool, "select pgstore.session_limit('ann'::text, 2)"))['session_limit'], '1')
  assert.is((await first(pool, "select pgstore.session_revoke('ann', null, $1::bytea)", again))['session_revoke'], '1')
  assert.is((await first(pool, 'select pgstore.session_destroy($1::bytea)', again))['session_destroy'], '1')
  assert.is((await first(pool, "select pgstore.session_revoke('ann')"))['session_revoke'], '0')
})

test.run()
