// A save of a live session must not touch an index, nor a beat of the worker: their updates are heap-only, and no table bloats.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql, until } from '../support/harness.ts'
import { type Client, call, closeClients, closeEverything, connect, save } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

interface Updates {
  all: number
  heapOnly: number
}

/** How many updates of the table `work` made, all over one connection. */
async function updatesBy(
  table: 'sessions' | 'cleanup',
  expected: number,
  work: (client: Client) => Promise<void>,
): Promise<Updates> {
  await sql('select pg_stat_reset()')
  const client = await connect()
  await work(client)
  const flush = `do $$ begin perform pg_stat_force_next_flush(); exception when undefined_function then null; end $$`
  let updates: Updates = { all: 0, heapOnly: 0 }
  await until(async () => {
    await client.query(flush) // before 15 a connection sends its numbers when it next has something to do
    const [found] = await sql<Updates>(
      `select n_tup_upd::integer as "all", n_tup_hot_upd::integer as "heapOnly"
       from pg_stat_user_tables
       where relid = $1::regclass`,
      `pgstore.${table}`,
    )
    if (found) updates = found
    return updates.all >= expected
  })
  return updates
}

/**
 * One row in ten, so that every page has room: an open transaction anywhere on the server, so a test next door, keeps dead versions,
 * and their room with them.
 */
async function isHeapOnly(
  ttl: string,
  work: (keys: readonly Buffer[], client: Client) => Promise<void>,
): Promise<void> {
  const keys = (await sessions(10_000, ttl)).filter((_, index) => index % 10 === 0)
  const updates = await updatesBy('sessions', keys.length, async (client) => await work(keys, client))
  assertHeapOnly(updates, keys.length)
}

function assertHeapOnly(updates: Updates, expected: number): void {
  assert.is(updates.all, expected)
  assert.ok(updates.heapOnly >= 0.95 * updates.all, JSON.stringify(updates))
}

/** Keys of new sessions. */
async function sessions(count: number, ttl: string): Promise<Buffer[]> {
  await sql('truncate pgstore.sessions')
  const rows = await sql<{ key: Buffer }>(
    `select s.key
     from generate_series(1, $1::integer) as n,
       pgstore.session_save(sha256(n::text::bytea), '{"a":1}', p_version => 0, p_user_id => n::text, p_ttl => $2) as s`,
    count,
    ttl,
  )
  return rows.map(({ key }) => key)
}

for (const ttl of ['30 days', '30 minutes']) {
  test(`saves of live sessions are heap-only updates, and touches, where they live ${ttl}`, async () => {
    await isHeapOnly(ttl, async (keys, client) => {
      for (const [n, key] of keys.entries()) await save(key, { set: n % 2 === 0 ? '{}' : `{"last":${n}}`, ttl }, client)
    })
  })

  test(`so are the saves of a batch, where they live ${ttl}`, async () => {
    await isHeapOnly(ttl, async (keys, client) => {
      for (let from = 0; from < keys.length; from += 100) {
        const batch = keys.slice(from, from + 100)
        const args = {
          keys: batch,
          sets: batch.map(() => `{"last":${from}}`),
          unsets: batch.map(() => null),
          ttls: batch.map(() => ttl),
          versions: batch.map(() => null),
          user_ids: batch.map(() => null),
          max_length: 4096,
          lifetime: '90 days',
        }
        await call('session_save', args, client)
      }
    })
  })
}

test('and the beats of a worker', async () => {
  const beats = 500
  const updates = await updatesBy('cleanup', beats, async (client) => {
    for (let beat = 0; beat < beats; beat++) await call('cleanup_beat', {}, client)
  })
  assertHeapOnly(updates, beats)
})

test.run()
