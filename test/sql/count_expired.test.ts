import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { call, closeEverything, count, create, expire } from './calls.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

test('while all sessions are live, none is due', async () => {
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

test('an expired session is dead at once, and counted when it is due for purging', async () => {
  const key = await create()
  await sql(`update pgstore.sessions set expires_at = now() - interval '1 second' where key = $1`, key)
  assert.equal([await call('session_get', { key }), await count('count_expired')], [[], 0])
  await sql(`update pgstore.sessions set purge_at = now() where key = $1`, key)
  assert.is(await count('count_expired'), 1)
})

test.run()
