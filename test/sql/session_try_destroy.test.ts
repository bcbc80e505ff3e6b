import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { call, closeClients, closeEverything, connect, create, expire, newKey, stored } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

interface Verdict {
  key: Buffer
  status: string
}

/** The status of each of these keys. */
async function tryDestroy(keys: readonly Buffer[]): Promise<(string | undefined)[]> {
  const rows = await call<Verdict>('session_try_destroy', { keys })
  return keys.map((key) => rows.find((row) => row.key.equals(key))?.status)
}

test('live sessions end, and what is unknown or expired is gone', async () => {
  const [live, other, expired] = [await create({}), await create({}), await create({})]
  await expire(expired)
  const statuses = await tryDestroy([live, newKey(), expired, other])
  assert.equal(statuses, ['destroyed', 'gone', 'gone', 'destroyed'])
  assert.is(await stored(live), undefined)
  assert.ok(await stored(expired))
})

test('a session locked elsewhere is not waited for', async () => {
  const [held, free] = [await create({}), await create({})]
  const holder = await connect()
  await holder.query('begin')
  await holder.query('select from pgstore.sessions where key = $1 for update', [held])
  assert.equal(await tryDestroy([held, free]), ['locked', 'destroyed'])
  assert.ok(await stored(held))
  await holder.query('rollback')
  assert.equal(await tryDestroy([held]), ['destroyed'])
})

test('a key given twice has one row', async () => {
  const key = await create({})
  assert.is((await call('session_try_destroy', { keys: [key, key] })).length, 1)
})

for (const keys of [null, [], [null], [Buffer.alloc(0)], [Buffer.alloc(31)]]) {
  test(`${JSON.stringify(keys)} ends nothing`, async () => {
    const before = await sql('select from pgstore.sessions')
    const rows = await call<Verdict>('session_try_destroy', { keys })
    assert.ok(rows.every(({ status }) => status === 'gone'))
    assert.is((await sql('select from pgstore.sessions')).length, before.length)
  })
}

test.run()
