import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { closeEverything, connect, count, create, expire } from './calls.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

test('where all sessions live, none is due', async () => {
  await create()
  assert.is(await count('count_expired'), 0)
})

test('every expired session is due until it is purged', async () => {
  await create()
  await expire(await create())
  await expire(await create({}, { user_id: '42' }))
  assert.is(await count('count_expired'), 2)
  await count('purge_expired', { limit: 1 })
  assert.is(await count('count_expired'), 1)
})

test('a session is either due or live, at the very instant of its expiry too', async () => {
  const key = await create()
  const client = await connect()
  await client.query('begin')
  await client.query('update pgstore.sessions set expires_at = now() where key = $1', [key])
  const due = await count('count_expired', {}, client)
  await client.query('rollback')
  assert.is(due, 1)
})

test.run()
