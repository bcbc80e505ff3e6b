import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql } from '../support/harness.ts'
import { type Client, closeClients, closeEverything, connect, count, create, expire, save, stored } from './calls.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after.each(closeClients)
test.after(closeEverything)

/** `many` sessions, the n-th of which expired n seconds ago. */
async function expired(many: number): Promise<void> {
  await row(
    `select count(*)
     from generate_series(1, $1::integer) as n,
       pgstore.session_save(sha256(n::text::bytea), jsonb_build_object('n', n), p_version => 0)`,
    many,
  )
  await sql(`update pgstore.sessions set expires_at = now() - make_interval(secs => (data ->> 'n')::integer)`)
}

/** Which of them are left. */
async function left(): Promise<number[]> {
  const rows = await sql<{ n: number }>(`select (data ->> 'n')::integer as n from pgstore.sessions order by n`)
  return rows.map(({ n }) => n)
}

/** A connection that fails where it would wait for a lock. */
async function impatient(): Promise<Client> {
  const client = await connect()
  await client.query("set lock_timeout = '5s'")
  return client
}

test('expired sessions are deleted and counted', async () => {
  await expired(3)
  assert.is(await count('purge_expired'), 3)
  assert.equal(await left(), [])
})

test('live sessions are not touched, however large the batch', async () => {
  const key = await create({ n: 1 })
  const before = await stored(key)
  assert.is(await count('purge_expired', { limit: 2_147_483_647 }), 0)
  assert.equal(await stored(key), before)
})

test('a batch takes the oldest', async () => {
  await expired(5)
  assert.is(await count('purge_expired', { limit: 2 }), 2)
  assert.equal(await left(), [1, 2, 3])
})

test('a batch is a thousand unless told', async () => {
  await expired(1001)
  assert.is(await count('purge_expired'), 1000)
  assert.is(await count('purge_expired'), 1)
  assert.is(await count('purge_expired'), 0)
})

for (const limit of [0, -1, -2_147_483_648, null]) {
  test(`a limit of ${limit} deletes nothing and is no error`, async () => {
    await expired(2)
    assert.is(await count('purge_expired', { limit }), 0)
    assert.equal(await left(), [1, 2])
  })
}

test('a session that somebody else holds is skipped, and nobody waits', async () => {
  await expired(3)
  const holder = await connect()
  await holder.query('begin')
  await holder.query(`select from pgstore.sessions where data ->> 'n' = '3' for update`)
  assert.is(await count('purge_expired', { limit: 2 }, await impatient()), 2)
  await holder.query('rollback')
  assert.equal(await left(), [3])
})

test('a session whose renewal is under way is not purged', async () => {
  const key = await create()
  const early = await connect()
  await early.query('begin')
  await early.query('select now()') // this transaction's clock stands before the session expires
  await sql('update pgstore.sessions set expires_at = clock_timestamp() where key = $1', key)
  const { status } = await save(key, { set: '{"a":1}' }, early)
  assert.is(await count('purge_expired', {}, await impatient()), 0)
  await early.query('commit')
  assert.is(status, 'saved')
  assert.is(await count('purge_expired'), 0)
  assert.ok(await stored(key))
})

test('several purges at once share the work: every row is deleted and counted once', async () => {
  await expired(2000)
  const purge = async () => {
    const client = await connect()
    let purged = 0
    for (let batch = -1; batch !== 0; purged += batch) batch = await count('purge_expired', { limit: 50 }, client)
    return purged
  }
  const purged = await Promise.all([purge(), purge(), purge(), purge()])
  const rest = await count('purge_expired') // a purge stops early where the others hold all that is left
  assert.is(
    purged.reduce((sum, one) => sum + one, rest),
    2000,
  )
  assert.equal(await left(), [])
})

test('a purged session stays gone', async () => {
  const key = await create()
  await expire(key)
  await count('purge_expired')
  assert.is((await save(key, { set: '{"a":1}' })).status, 'gone')
  assert.is(await stored(key), undefined)
})

test.run()
