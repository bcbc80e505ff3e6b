// Now is the statement's time: a transaction that began long ago neither shortens a life nor dates a session back.
import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql, until } from '../support/harness.ts'
import { age, call, closeClients, closeEverything, connect, count, create, newKey, present, save } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

/** A connection in a transaction that began two seconds ago. */
async function oldTransaction(): Promise<pg.Client> {
  const client = await connect()
  await client.query('begin')
  await client.query('select now()')
  await until(async () => {
    const { rows } = await client.query(`select statement_timestamp() - now() > interval '2 seconds' as old`)
    return rows[0].old
  })
  return client
}

/** How long the session lives, by the clock that the next statement has. */
async function remaining(key: Buffer): Promise<number> {
  const { seconds } = await row<{ seconds: number }>(
    'select extract(epoch from expires_at - clock_timestamp())::float8 as seconds from pgstore.sessions where key = $1',
    key,
  )
  return seconds
}

for (const [kind, args] of [
  ['a save', { set: '{"a":1}' }],
  ['a touch', {}],
  ['a save at a version', { set: '{"a":1}', version: 1 }],
] as const) {
  test(`A6: ${kind} in a transaction that began before the session expires lives its whole ttl`, async () => {
    const key = await create({}, { ttl: '1.5 seconds' })
    const client = await oldTransaction()
    // Expired by now; another request keeps it alive in time.
    await sql(`update pgstore.sessions set expires_at = now() + interval '10 seconds' where key = $1`, key)
    const { status } = await save(key, { ...args, ttl: '60 seconds' }, client)
    await client.query('commit')
    assert.is(status, 'saved')
    assert.ok((await remaining(key)) > 58.5, String(await remaining(key)))
  })
}

test('A6: a session that is created in an old transaction begins now', async () => {
  const client = await oldTransaction()
  const key = newKey()
  await save(key, { version: 0, ttl: '60 seconds', user_id: '42' }, client)
  const { young } = (
    await client.query(
      `select created_at > now() + interval '1 second' and updated_at = created_at and seen_at = created_at
         and signed_in_at = created_at as young
       from pgstore.sessions where key = $1`,
      [key],
    )
  ).rows[0]
  await client.query('commit')
  assert.is(young, true)
  assert.ok((await remaining(key)) > 58.5)
})

test('A6: a regenerate in an old transaction signs in now, and so does an array save', async () => {
  const [key, new_key, other] = [await create(), newKey(), await create()]
  const client = await oldTransaction()
  await call('session_regenerate', { key, new_key, ttl: '60 seconds', user_id: '42' }, client)
  await call(
    'session_save',
    {
      keys: [other],
      sets: ['{"a":1}'],
      unsets: [null],
      ttls: ['60 seconds'],
      versions: [null],
      user_ids: [null],
      max_length: 0,
      lifetime: null,
    },
    client,
  )
  const { young } = (
    await client.query(
      `select signed_in_at > now() + interval '1 second' as young from pgstore.sessions where key = $1`,
      [new_key],
    )
  ).rows[0]
  await client.query('commit')
  assert.is(young, true)
  for (const one of [new_key, other]) assert.ok((await remaining(one)) > 58.5)
})

test('A6: what expired since the transaction began is dead inside it: read, listed, saved, moved, ended, counted', async () => {
  await sql('truncate pgstore.sessions')
  const key = await create({}, { user_id: 'old' })
  const client = await oldTransaction()
  await sql(
    `update pgstore.sessions set (expires_at, purge_at) = (select t, t from (select clock_timestamp()) as past (t))
     where key = $1`,
    key,
  )
  assert.equal(await call('session_get', { key }, client), [])
  assert.equal(await call('session_get', { keys: [key] }, client), [])
  assert.equal(await call('session_list', { user_id: 'old' }, client), [])
  assert.equal(await call('session_all', {}, client), [])
  assert.is((await save(key, { set: '{"a":1}' }, client)).status, 'gone')
  const [moved] = await call<{ status: string }>('session_regenerate', { key, new_key: newKey() }, client)
  assert.is(moved?.status, 'gone')
  assert.is(await count('session_destroy', { key }, client), 0)
  assert.is(await count('session_revoke', { user_id: 'old' }, client), 0)
  assert.is(await count('count_expired', {}, client), 1)
  assert.is(await count('purge_expired', {}, client), 1)
  await client.query('commit')
})

// The lifetime counts from the sign-in

for (const [kind, move] of [
  ['a save that changes the user', false],
  ['a regenerate that names the user again', true],
] as const) {
  test(`the lifetime counts from the sign-in: ${kind} begins it again`, async () => {
    const [key, new_key] = [await create({}, { user_id: move ? '42' : null }), newKey()]
    await age(key, '80 days')
    await sql(`update pgstore.sessions set signed_in_at = created_at where user_id is not null and key = $1`, key)
    const args = { ttl: '1 year', lifetime: '90 days', user_id: '42' }
    if (move) await call('session_regenerate', { key, new_key, ...args })
    else await save(key, { set: '{"a":1}', ...args })
    const { days } = await row(
      `select round(extract(epoch from expires_at - signed_in_at) / 86400)::integer as days
       from pgstore.sessions where key = $1 and signed_in_at > now() - interval '1 minute'`,
      move ? new_key : key,
    )
    assert.is(days, 90)
  })
}

test('saving data, or the same user again, signs nobody in', async () => {
  const key = await create({}, { user_id: '42' })
  await age(key, '80 days')
  await sql(`update pgstore.sessions set signed_in_at = created_at where key = $1`, key)
  const { signed_in_at } = await present(key)
  await save(key, { set: '{"a":1}', user_id: '42', ttl: '1 year', lifetime: '90 days' })
  await save(key, { set: '{"a":1}', ttl: '1 year', lifetime: '90 days' })
  const after = await present(key)
  assert.equal(after.signed_in_at, signed_in_at)
  assert.ok((await remaining(key)) < 10.1 * 86400)
})

test('clearing the user clears the time of the sign-in, and naming none leaves it', async () => {
  const key = await create({}, { user_id: '42' })
  const new_key = newKey()
  const { signed_in_at } = await present(key)
  await call('session_regenerate', { key, new_key })
  assert.equal((await present(new_key)).signed_in_at, signed_in_at)
  await save(new_key, { user_id: '' })
  assert.is((await present(new_key)).signed_in_at, null)
})

// What a row remembers

test('seen_at is the last save, touch or regenerate, whatever it wrote', async () => {
  let key = await create()
  const seen = async (work: () => Promise<unknown>) => {
    await sql(`update pgstore.sessions set seen_at = '2026-01-01' where key = $1`, key)
    await work()
    return (await present(key)).seen_at > new Date('2026-01-02')
  }
  assert.ok(await seen(() => save(key, { set: '{"a":1}' })))
  assert.ok(await seen(() => save(key)))
  assert.ok(
    await seen(async () => {
      const new_key = newKey()
      await call('session_regenerate', { key, new_key })
      key = new_key
    }),
  )
  assert.not(await seen(() => call('session_get', { key })))
})

test('a version that would not fit goes on at 1', async () => {
  const key = await create({}, { user_id: '42' })
  const last = () => sql('update pgstore.sessions set version = 2147483647')
  await last()
  assert.is((await save(key, { set: '{"a":1}', version: 2147483647 })).version, 1)
  await last()
  assert.is((await save(key, { label: '"Firefox"' })).version, 1)
  await last()
  const args = { sets: ['{"a":1}'], unsets: [null], ttls: ['1 day'], versions: [null], user_ids: [null] }
  const [saved] = await call<{ version: number }>('session_save', {
    keys: [key],
    ...args,
    max_length: 0,
    lifetime: null,
  })
  assert.is(saved?.version, 1)
  await last()
  assert.is((await save(key)).version, 2147483647) // a touch counts nothing
  const [moved] = await call<{ version: number }>('session_regenerate', { key, new_key: newKey(), user_id: '43' })
  assert.is(moved?.version, 1)
})

for (const [kind, args, status] of [
  ['a label of 512 bytes', { label: JSON.stringify('x'.repeat(510)) }, 'saved'],
  ['a label of 513 bytes', { label: JSON.stringify('x'.repeat(511)) }, 'invalid'],
  ['16 tags', { tags: Array.from({ length: 16 }, (_, n) => `tag ${n}`) }, 'saved'],
  ['17 tags', { tags: Array.from({ length: 17 }, (_, n) => `tag ${n}`) }, 'invalid'],
  ['an empty tag', { tags: [''] }, 'invalid'],
  ['no tag among tags', { tags: ['a', null] }, 'invalid'],
  ['a tag of 256 bytes', { tags: ['é'.repeat(128)] }, 'invalid'],
  ['a tag of 255 bytes', { tags: [`${'é'.repeat(127)}.`] }, 'saved'],
] as const) {
  test(`${kind} is ${status}, at a create, a save and a regenerate`, async () => {
    const key = await create()
    const given = { ...args, tags: 'tags' in args ? [...args.tags] : null }
    assert.is((await save(newKey(), { version: 0, ...given })).status, status)
    assert.is((await save(key, given)).status, status)
    const long = { ttl: '1 day', user_id: null, lifetime: null, set: '{}', unset: [], max_length: 0, version: null }
    const [moved] = await call<{ status: string }>('session_regenerate', { key, new_key: newKey(), ...long, ...given })
    assert.is(moved?.status, status)
  })
}

test('label and tags are left where null, and cleared by JSON null and no tags', async () => {
  const key = await create({}, { label: '{"agent":"Firefox"}', tags: ['acme'] })
  await save(key, { set: '{"a":1}' })
  const { label, tags } = await present(key)
  assert.equal({ label, tags }, { label: { agent: 'Firefox' }, tags: ['acme'] })
  await save(key, { label: 'null', tags: [] })
  const cleared = await present(key)
  assert.equal([cleared.label, cleared.tags], [null, null])
})

test('session_revoke_tag ends the live sessions with a tag but one, and no others', async () => {
  const [spared, ended, expired, other] = [
    await create({}, { tags: ['acme', 'eu'] }),
    await create({}, { tags: ['acme'] }),
    await create({}, { tags: ['acme'] }),
    await create({}, { tags: ['acme2'] }),
  ]
  await sql(`update pgstore.sessions set expires_at = now() where key = $1`, expired)
  assert.is(await count('session_revoke_tag', { tag: 'acme', except: spared }), 1)
  assert.equal(await call('session_get', { key: ended }), [])
  assert.is((await call('session_get', { keys: [spared, other] })).length, 2)
  for (const tag of ['ACME', '', '%', null]) assert.is(await count('session_revoke_tag', { tag }), 0)
  assert.is(await count('session_revoke_tag', { tag: 'acme' }), 1)
})

test.run()
