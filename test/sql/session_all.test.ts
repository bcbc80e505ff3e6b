// Functions on all sessions, for administrators.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { call, closeEverything, count, create, expire, stored } from './calls.ts'

test.before.each(async () => {
  await sql('delete from pgstore.sessions')
})
test.after(closeEverything)

interface Listed {
  place: Buffer
  id: string
  data: object
}

/** All pages of session_all. */
async function pages(limit: number): Promise<Listed[][]> {
  const found: Listed[][] = []
  for (let after: Buffer | null = null; found.length < 100; ) {
    const page: Listed[] = await call<Listed>('session_all', { after, limit })
    found.push(page)
    if (page.length < limit) break
    after = page.at(-1)?.place ?? null
  }
  return found
}

test('every live session is on one page, in as many pages as it takes', async () => {
  for (let n = 0; n < 25; n++) await create({ n })
  const found = await pages(10)
  assert.equal(
    found.map((page) => page.length),
    [10, 10, 5],
  )
  assert.is(new Set(found.flat().map(({ id }) => id)).size, 25)
})

test('keys are not listed: the place of a page opens nothing', async () => {
  const key = await create({ a: 1 })
  const [listed] = await call<Listed>('session_all')
  assert.equal(listed?.place, key.subarray(0, 16))
  assert.not.ok(Object.values(listed ?? {}).some((value) => value instanceof Buffer && value.length >= 32))
})

test('expired sessions are neither listed nor counted', async () => {
  await create({})
  await expire(await create({}))
  assert.is((await call('session_all')).length, 1)
  assert.is(await count('count_live'), 1)
})

for (const limit of [0, -1, null]) {
  test(`a limit of ${limit} is answered`, async () => {
    await create({})
    assert.ok((await call('session_all', { limit })).length <= 1)
  })
}

test('an invalid place is not an error', async () => {
  await create({})
  for (const after of ['', '\\x00', `\\x${'ff'.repeat(16)}`, `\\x${'00'.repeat(40)}`]) {
    assert.ok((await call('session_all', { after })).length <= 1)
  }
})

test('clearing ends all sessions, batch by batch, live and expired', async () => {
  const keys = [await create({}), await create({}), await create({})]
  await expire(keys[0] as Buffer)
  assert.is(await count('session_clear', { limit: 2 }), 2)
  assert.is(await count('session_clear', { limit: 2 }), 1)
  assert.is(await count('session_clear', { limit: 2 }), 0)
  assert.equal(await Promise.all(keys.map(stored)), [undefined, undefined, undefined])
})

test('clearing with no limit at all ends nothing by accident', async () => {
  await create({})
  for (const limit of [null, 0, -5]) assert.is(await count('session_clear', { limit }), 0, String(limit))
  assert.is(await count('count_live'), 1)
})

test.run()
