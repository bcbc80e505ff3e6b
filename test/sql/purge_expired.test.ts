import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql, until } from '../support/harness.ts'
import {
  type Client,
  call,
  closeClients,
  closeEverything,
  connect,
  count,
  create,
  expire,
  newKey,
  save,
  stored,
} from './calls.ts'

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
  await sql(
    `update pgstore.sessions
     set (expires_at, purge_at) = (select t, t from (select now() - make_interval(secs => (data ->> 'n')::integer)) as past (t))`,
  )
}

/** Which of them are left. */
async function left(): Promise<number[]> {
  const rows = await sql<{ n: number }>(`select (data ->> 'n')::integer as n from pgstore.sessions order by n`)
  return rows.map(({ n }) => n)
}

/** A connection that fails if it would have to wait for a lock. */
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

test('an expired session that is not due yet waits, and so does a live one whose column says due', async () => {
  const [waiting, live] = [await create(), await create()]
  const minute = (key: Buffer, expires: number, purge: number) =>
    sql(
      `update pgstore.sessions set expires_at = now() + $2 * interval '1 minute', purge_at = now() + $3 * interval '1 minute'
       where key = $1`,
      key,
      expires,
      purge,
    )
  await minute(waiting, -1, 1)
  await minute(live, 1, -1) // no function of ours writes that; a hand or a restored column might
  assert.is(await count('purge_expired'), 0)
  await minute(waiting, -2, -1)
  assert.is(await count('purge_expired'), 1)
  assert.ok(await stored(live))
})

for (const ttl of ['1 second', '30 minutes', '30 days', '10 years']) {
  test(`a session of ${ttl} is due for purging within a fifth of that after its expiry, never before`, async () => {
    const key = await create({}, { ttl })
    const dueIn = async (its = key) =>
      await row(
        `select purge_at >= expires_at as after, purge_at <= expires_at + extract(epoch from $2::interval) / 5 * interval '1 second' as soon
         from pgstore.sessions
         where key = $1`,
        its,
        ttl,
      )
    assert.equal(await dueIn(), { after: true, soon: true })
    await sql(`update pgstore.sessions set expires_at = now() + interval '1 minute' where key = $1`, key)
    await save(key, { set: '{"a":1}', ttl })
    assert.equal(await dueIn(), { after: true, soon: true })
    const new_key = newKey()
    await sql(`update pgstore.sessions set expires_at = now() + interval '1 minute' where key = $1`, key)
    await call('session_regenerate', { key, new_key, ttl })
    assert.equal(await dueIn(new_key), { after: true, soon: true })
  })
}

test('a batch takes the oldest', async () => {
  await expired(5)
  assert.is(await count('purge_expired', { limit: 2 }), 2)
  assert.equal(await left(), [1, 2, 3])
})

test('the default batch is a thousand', async () => {
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

test('a session locked elsewhere is skipped, and nobody waits', async () => {
  await expired(3)
  const holder = await connect()
  await holder.query('begin')
  await holder.query(`select from pgstore.sessions where data ->> 'n' = '3' for update`)
  assert.is(await count('purge_expired', { limit: 2 }, await impatient()), 2)
  await holder.query('rollback')
  assert.equal(await left(), [3])
})

test('a session that is being renewed is not purged', async () => {
  const key = await create()
  await sql(
    `update pgstore.sessions set (expires_at, purge_at) = (now() + interval '2 seconds', now()) where key = $1`,
    key,
  )
  const early = await connect()
  await early.query('begin')
  const { status } = await save(key, { set: '{"a":1}' }, early)
  // What other transactions see of it expires meanwhile.
  await until(async () => (await call('session_get', { key })).length === 0)
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
  const rest = await count('purge_expired') // a purge stops early if the others have locked all that is left
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
