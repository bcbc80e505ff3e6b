// Whose session a transaction works for, as current_session_id and current_session_user tell it.
import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql } from '../support/harness.ts'
import { call, closeClients, closeEverything, connect, create, expire, newKey, present } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

interface Known {
  id: string | null
  user: string | null
}

const nobody: Known = { id: null, user: null }

async function known(client: pg.Client): Promise<Known> {
  const { rows } = await client.query<Known>(
    'select pgstore.current_session_id() as id, pgstore.current_session_user() as user',
  )
  return rows[0] as Known
}

const enter = async (client: pg.Client, key: Buffer | null) => (await call('session_enter', { key }, client))[0]
const setting = async (client: pg.Client): Promise<string> =>
  (await client.query(`select current_setting('pgstore.entered') as text`)).rows[0].text

/** A session, and whose it is. */
async function someone(user_id: string): Promise<{ key: Buffer; is: Known }> {
  const key = await create({}, { user_id })
  return { key, is: { id: (await present(key)).id, user: user_id || null } }
}

test('a transaction that has entered knows its session and its user, until it ends', async () => {
  const client = await connect()
  const { key, is } = await someone('ann')
  assert.equal(await known(client), nobody)
  await client.query('begin')
  assert.equal(await enter(client, key), { id: is.id, user_id: 'ann' })
  assert.equal(await known(client), is)
  assert.equal(await known(client), is)
  await client.query('commit')
  assert.equal(await known(client), nobody)
  await client.query('begin')
  assert.equal(await known(client), nobody)
})

test('users of any text are told as they are, and an anonymous session has a number and no user', async () => {
  const client = await connect()
  for (const user of ['a:b', ':', "o'neill \u00e9\u{1f600}", 'x'.repeat(1024), '']) {
    const { key, is } = await someone(user)
    await client.query('begin')
    await enter(client, key)
    assert.equal(await known(client), is)
    await client.query('rollback')
  }
})

test('an unknown, an expired, an ended or a missing key is nobody, also after somebody', async () => {
  const client = await connect()
  const { key } = await someone('ann')
  const [expired, destroyed] = [await create({}, { user_id: 'x' }), await create({}, { user_id: 'y' })]
  await expire(expired)
  await call('session_destroy', { key: destroyed })
  for (const other of [expired, destroyed, newKey(), Buffer.alloc(0), null]) {
    await client.query('begin')
    await enter(client, key)
    assert.equal(await enter(client, other), { id: null, user_id: null })
    assert.equal(await known(client), nobody)
    await client.query('rollback')
  }
})

test('a rollback to a savepoint goes back to who it was then', async () => {
  const client = await connect()
  const [ann, bob] = [await someone('ann'), await someone('bob')]
  await client.query('begin')
  await client.query('savepoint before')
  await enter(client, ann.key)
  await client.query('savepoint one')
  await enter(client, bob.key)
  assert.equal(await known(client), bob.is)
  await client.query('rollback to savepoint one')
  assert.equal(await known(client), ann.is)
  await enter(client, bob.key)
  await client.query('release savepoint one')
  assert.equal(await known(client), bob.is)
  await client.query('rollback to savepoint before')
  assert.equal(await known(client), nobody)
})

test('what the setting held in another transaction, or on another connection, is worth nothing', async () => {
  const [one, other] = [await connect(), await connect()]
  const { key, is } = await someone('ann')
  await one.query('begin')
  await enter(one, key)
  const seen = await setting(one)
  await other.query('begin')
  await other.query(`select set_config('pgstore.entered', $1, true)`, [seen])
  assert.equal(await known(other), nobody)
  await one.query(`select set_config('pgstore.entered', '', true)`)
  assert.equal(await known(one), nobody)
  await one.query(`select set_config('pgstore.entered', $1, true)`, [seen])
  assert.equal(await known(one), is) // its own
  await one.query('commit')
  await one.query(`select set_config('pgstore.entered', $1, false)`, [seen]) // left behind, as on a pooled connection
  assert.equal(await known(one), nobody)
  await one.query('begin')
  assert.equal(await known(one), nobody)
})

test('a note that is changed in any place is nobody, and raises nothing', async () => {
  const client = await connect()
  const { key, is } = await someone('ann')
  await client.query('begin')
  await enter(client, key)
  const seen = await setting(client)
  const changed = Array.from({ length: seen.length }, (_, place) => {
    const other = seen[place] === 'a' ? 'b' : 'a'
    return seen.slice(0, place) + other + seen.slice(place + 1)
  })
  for (const text of [
    ...changed,
    seen.slice(1),
    `${seen}x`,
    ` ${seen}`,
    seen.toUpperCase(),
    ':',
    '::',
    '\u00e9',
    'x'.repeat(1e5),
  ]) {
    await client.query(`select set_config('pgstore.entered', $1, true)`, [text])
    assert.equal(await known(client), nobody, text.slice(0, 100))
  }
  await client.query(`select set_config('pgstore.entered', $1, true)`, [seen])
  assert.equal(await known(client), is)
})

test('in a read-only transaction too, and nothing is written: no transaction number, no row', async () => {
  const client = await connect()
  const { key, is } = await someone('ann')
  for (const level of ['read committed', 'repeatable read', 'serializable']) {
    await client.query(`begin isolation level ${level} read only`)
    await enter(client, key)
    assert.equal(await known(client), is)
    const { rows } = await client.query('select pg_current_xact_id_if_assigned() as number')
    assert.equal(rows, [{ number: null }])
    await client.query('commit')
  }
})

test('the purge renews the secret each hour, and a transaction under way stays who it is', async () => {
  const client = await connect()
  const { key, is } = await someone('ann')
  const secret = async () => (await row<{ newest: Buffer }>('select newest from pgstore.entry_keys')).newest
  const first = await secret()
  assert.is(first.length, 64)
  await call('purge_expired')
  assert.equal(await secret(), first)
  await client.query('begin')
  await enter(client, key)
  await sql(`update pgstore.entry_keys set made_at = made_at - interval '1 hour'`)
  await call('purge_expired')
  const second = await secret()
  assert.not.equal(second, first)
  assert.is(second.length, 64)
  assert.equal(await known(client), is)
  await sql(`update pgstore.entry_keys set made_at = made_at - interval '1 hour'`)
  await call('purge_expired')
  assert.equal(await known(client), nobody) // two hours are too long
})

test('the planner looks the user up in an index, once a statement', async () => {
  const client = await connect()
  await client.query('create temp table notes (owner text, body text)')
  await client.query(`insert into notes select 'user ' || n, 'x' from generate_series(1, 5000) as n`)
  await client.query('create index on notes (owner)')
  await client.query('analyze notes')
  for (const who of ['pgstore.current_session_user()', '(select pgstore.current_session_user())']) {
    const { rows } = await client.query(`explain select * from notes where owner = ${who}`)
    assert.match(JSON.stringify(rows), /Index (Only )?Scan|Bitmap Index Scan/)
  }
})

test.run()
