// A database's settings change the text that Postgres prints, never what we install: nothing that they change is compared as text.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate, PGStore, PGStoreError } from '../../src/index.ts'
import { runMigrations } from '../../src/schema/migrate.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { pgstore, pgstoreJson } from '../cli/pgstore.ts'
import { admin, closeAll, emptyDatabase, hashKey, rejection, sql } from '../support/harness.ts'

const role = `pgstore_test_${randomBytes(6).toString('hex')}`
const pools: pg.Pool[] = []

test.before(async () => {
  await admin.query(`create role ${role}`)
})

test.after(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
  await sql(`drop owned by ${role}`)
  await closeAll()
})

/** An empty database with a setting, and a pool whose connections have it. */
async function databaseWith(setting: string): Promise<{ url: string; pool: pg.Pool }> {
  const url = await emptyDatabase()
  await admin.query(`alter database ${new URL(url).pathname.slice(1)} set ${setting}`)
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {})
  pools.push(pool)
  return { url, pool }
}

for (const setting of ['quote_all_identifiers = on', "search_path = ''", 'standard_conforming_strings = off']) {
  test(`A1: in a database with ${setting} all goes as elsewhere: open, migrate, grant, status, and an upgrade`, async () => {
    const { url, pool } = await databaseWith(setting)
    await (await PGStore.open({ connectionString: url, keys: [hashKey] })).close()
    assert.equal(await migrate(pool), [])
    const env = { DATABASE_URL: url }
    assert.equal((await pgstoreJson<{ warnings: string[] }>(['grant', role, '--as', 'admin'], env)).warnings, [])
    const status = await pgstoreJson<{ warnings: string[]; migration: string }>(['status'], env)
    assert.equal([status.warnings, status.migration], [[], migrations.at(-1)?.name])
    assert.equal(await migrate(pool), [])

    assert.is((await runMigrations(pool, 'older', migrations.slice(0, 2))).length, 2)
    await pool.query(`grant execute on function older.session_get(bytea) to ${role}`)
    assert.is((await migrate(pool, { schema: 'older' })).length, migrations.length - 2)
    const { rows } = await pool.query('select role, "right" from older.grants order by 2')
    assert.equal(rows, [
      { role, right: 'account' },
      { role, right: 'client' },
    ])
    await pool.query(`drop owned by ${role}`)
  })
}

test('A1: reserved words are refused with and without quote_all_identifiers, and words that are only known are not', async () => {
  for (const setting of ['quote_all_identifiers = on', 'quote_all_identifiers = off']) {
    const { url, pool } = await databaseWith(setting)
    for (const schema of ['user', 'table', 'left', 'between']) {
      const error = await rejection(migrate(pool, { schema }))
      assert.ok(error instanceof PGStoreError)
      assert.match(error.message, `schema must not be a reserved word in SQL: ${schema}.`)
    }
    assert.is((await pgstore(['migrate', '--schema', 'sessions'], { DATABASE_URL: url })).code, 0)
    assert.is((await migrate(pool, { schema: 'temporary' })).length, migrations.length)
  }
})

test.run()
