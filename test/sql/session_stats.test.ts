import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql, until } from '../support/harness.ts'
import { call, closeEverything, create, expire, save } from './calls.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

interface Stats {
  live: string
  expired: string
  anonymous: string
  is_estimate: boolean
  oldest_expired_at: Date | null
  table_bytes: string
  used_bytes: string
  index_bytes: string
  total_bytes: string
  updates: string
  heap_only_updates: string
  dead_rows: string
  vacuumed_at: Date | null
  migration: string | null
}

async function stats(pages?: number | null): Promise<Stats> {
  const [first] = await call<Stats>('session_stats', pages === undefined ? {} : { pages })
  if (!first) throw new Error('No row.')
  return first
}

/** Rows, as fast as they can be made: every third has a user, every tenth has expired, one second after the other. */
async function fill(count: number): Promise<void> {
  await sql(
    `insert into pgstore.sessions (id, created_at, updated_at, seen_at, expires_at, purge_at, version, key, user_id, data)
     select i, now(), now(), now(), expiry.at, expiry.at, 1,
       sha256(i::text::bytea), case when i % 3 = 0 then 'user ' || i end, jsonb_build_object('text', repeat('x', 300))
     from generate_series(1, $1::integer) as i,
       lateral (select now() + case when i % 10 = 0 then -1 else 1 end * make_interval(secs => i)) as expiry (at)`,
    count,
  )
}

test('live, expired and anonymous sessions of a small table are counted', async () => {
  for (const user_id of ['1', '2', null]) await create({}, { user_id })
  await expire(await create())
  await expire(await create())
  const { live, expired, anonymous, is_estimate } = await stats()
  assert.equal(
    { live, expired, anonymous, is_estimate },
    { live: '3', expired: '2', anonymous: '1', is_estimate: false },
  )
})

test('an empty table is one row of zeros', async () => {
  const { live, expired, anonymous, is_estimate, oldest_expired_at, table_bytes, used_bytes } = await stats()
  assert.equal([live, expired, anonymous, table_bytes, used_bytes], ['0', '0', '0', '0', '0'])
  assert.equal([is_estimate, oldest_expired_at], [false, null])
})

test('the oldest expired session is named', async () => {
  await fill(100)
  const { oldest } = await row<{ oldest: Date }>('select min(expires_at) as oldest from pgstore.sessions')
  assert.equal((await stats()).oldest_expired_at, oldest)
})

test('of a table with more pages than asked for, a sample is read and the rest estimated', async () => {
  await fill(4000) // some 200 pages
  const { live, expired, anonymous, used_bytes, is_estimate } = await stats(100)
  assert.is(is_estimate, true)
  assert.is(expired, '400') // counted: few among many would not show in a sample
  assert.ok(Math.abs(Number(live) - 3600) < 1800, live)
  assert.ok(Math.abs(Number(anonymous) - 2400) < 1200, anonymous)
  const exact = await stats()
  assert.is(exact.is_estimate, false)
  assert.ok(Math.abs(Number(used_bytes) / Number(exact.used_bytes) - 1) < 0.5, used_bytes)
})

test('a sample costs what it reads, and not the table', async () => {
  await fill(4000)
  await sql('delete from pgstore.sessions where expires_at < now()')
  await sql('vacuum pgstore.sessions')
  const blocks = async (pages: number) => {
    const { plan } = await row<{ plan: { Plan: Record<string, number> }[] }>(
      'select pgstore_explain($1) as plan',
      pages,
    )
    const { Plan } = plan[0] as { Plan: Record<string, number> }
    return (Plan['Shared Hit Blocks'] ?? 0) + (Plan['Shared Read Blocks'] ?? 0)
  }
  await sql(
    `create or replace function pgstore_explain(p_pages integer) returns json language plpgsql as $$
     declare v_plan json;
     begin
       execute format('explain (analyze, buffers, format json) select * from pgstore.session_stats(%s)', p_pages) into v_plan;
       return v_plan;
     end $$`,
  )
  await blocks(1) // fills the catalog's caches
  const [few, all] = [await blocks(1), await blocks(1_000_000)]
  assert.ok(few < all - 100, `${few} blocks of ${all}`)
})

test('many expired sessions are counted up to a limit, and estimated beyond', async () => {
  await fill(2000)
  await sql(
    `update pgstore.sessions set (expires_at, purge_at) = (select t, t from (select now() - interval '1 hour') as past (t))`,
  )
  assert.equal([(await stats()).expired, (await stats()).is_estimate], ['2000', false])
  await sql('truncate pgstore.sessions')
  await fill(12_000)
  await sql(
    `update pgstore.sessions set (expires_at, purge_at) = (select t, t from (select now() - interval '1 hour') as past (t))`,
  )
  const { expired, is_estimate, live } = await stats(1_000_000)
  assert.equal([expired, is_estimate, live], ['12000', true, '0'])
})

test('the sizes are those that Postgres reports, and the rows take up most of them', async () => {
  await fill(2000)
  const found = await stats()
  const sizes = await row(
    `select pg_relation_size('pgstore.sessions') as table_bytes, pg_indexes_size('pgstore.sessions') as index_bytes,
       pg_total_relation_size('pgstore.sessions') as total_bytes`,
  )
  const { table_bytes, index_bytes, total_bytes } = found
  assert.equal({ table_bytes, index_bytes, total_bytes }, sizes)
  const share = Number(found.used_bytes) / Number(table_bytes)
  assert.ok(share > 0.7 && share < 1, String(share)) // pages are filled to 85 %
})

test('updates and how many of them were heap-only are reported', async () => {
  await sql('truncate pgstore.sessions') // a page with room for all versions, whoever still needs them
  const before = await stats()
  const key = await create()
  for (let i = 0; i < 10; i++) await save(key, { set: `{"n": ${i}}` })
  // Not by the updates: those of the tests before are told late, too.
  await until(async () => Number((await stats()).heap_only_updates) - Number(before.heap_only_updates) >= 9)
  const after = await stats()
  assert.ok(Number(after.updates) - Number(before.updates) >= 10, JSON.stringify(after))
})

test('the newest migration is reported, and none if the ledger is missing', async () => {
  const { name } = await row('select max(name) as name from pgstore.migrations')
  assert.is((await stats()).migration, name as string)
  await sql('alter table pgstore.migrations rename to elsewhere')
  try {
    assert.is((await stats()).migration, null)
  } finally {
    await sql('alter table pgstore.elsewhere rename to migrations')
  }
})

test('any number of pages is accepted', async () => {
  await fill(100)
  for (const pages of [null, -1, 0, 2 ** 31 - 1]) assert.ok(Number((await stats(pages)).expired) === 10)
})

test.run()
