// A save of a live session must not touch an index: its update is heap-only, and the table does not bloat.
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

/** How many updates of the sessions table `work` made, all over one connection. */
async function updatesBy(expected: number, work: (client: Client) => Promise<void>): Promise<Updates> {
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
       where relid = 'pgstore.sessions'::regclass`,
    )
    if (found) updates = found
    return updates.all >= expected
  })
  return updates
}

function shareHeapOnly(updates: Updates): number {
  return updates.heapOnly / updates.all
}

/** An open transaction anywhere on the server, so a test next door, keeps dead versions and takes their room: five tries. */
async function isNearlyAlwaysHeapOnly(expected: number, work: (client: Client) => Promise<void>): Promise<void> {
  let updates: Updates = { all: 1, heapOnly: 0 }
  for (let round = 0; round < 5 && shareHeapOnly(updates) < 0.95; round++) updates = await updatesBy(expected, work)
  assert.is(updates.all, expected)
  assert.ok(shareHeapOnly(updates) >= 0.95, JSON.stringify(updates))
}

/** Keys of new sessions. */
async function sessions(count: number): Promise<Buffer[]> {
  const rows = await sql<{ key: Buffer }>(
    `select s.key
     from generate_series(1, $1::integer) as n,
       pgstore.session_save(sha256(($1 || ' ' || n)::bytea), '{"a":1}', p_version => 0, p_user_id => n::text) as s`,
    count,
  )
  return rows.map(({ key }) => key)
}

test('saves of live sessions are heap-only updates', async () => {
  const keys = await sessions(200)
  const save2000 = async (client: Client) => {
    for (let n = 0; n < 2000; n++) {
      await save(keys[n % keys.length] as Buffer, { set: `{"last":${n}}`, ttl: '30 days' }, client)
    }
  }
  await isNearlyAlwaysHeapOnly(2000, save2000)
})

test('so are the saves of a batch', async () => {
  const keys = await sessions(20_000)
  await isNearlyAlwaysHeapOnly(2000, async (client) => {
    for (let n = 0; n < 20; n++) {
      const batch = keys.filter((_, index) => index % 200 === n)
      const args = {
        keys: batch,
        sets: batch.map(() => `{"last":${n}}`),
        unsets: batch.map(() => null),
        ttls: batch.map(() => '30 days'),
        versions: batch.map(() => null),
        user_ids: batch.map(() => null),
        max_length: 4096,
        lifetime: '90 days',
      }
      await call('session_save', args, client)
    }
  })
})

test('so are touches, and the saves of sessions that live half an hour', async () => {
  const keys = await sessions(199)
  await isNearlyAlwaysHeapOnly(2000, async (client) => {
    for (let n = 0; n < 2000; n++) {
      const set = n % 2 === 0 ? '{}' : `{"last":${n}}`
      await save(keys[n % keys.length] as Buffer, { set, ttl: '30 minutes' }, client)
    }
  })
})

test.run()
