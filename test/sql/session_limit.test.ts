import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { call, closeEverything, connect, count, create, expire, newKey, save, stored } from './calls.ts'

test.after(closeEverything)

let users = 0
const newUser = (): string => `user ${++users}`

/** Sessions of a user, the first one signed in first. */
async function signedIn(user_id: string, many: number): Promise<Buffer[]> {
  const keys: Buffer[] = []
  for (let n = 0; n < many; n++) keys.push(await create({}, { user_id }))
  return keys
}

/** Which of these sessions are still stored. */
async function left(keys: readonly Buffer[]): Promise<boolean[]> {
  return await Promise.all(keys.map(async (key) => (await stored(key)) !== undefined))
}

test('the sessions that signed in last stay, the others end', async () => {
  const user_id = newUser()
  const keys = await signedIn(user_id, 4)
  assert.is(await count('session_limit', { user_id, max: 2 }), 2)
  assert.equal(await left(keys), [false, false, true, true])
})

test('as many as are allowed, or fewer, stay', async () => {
  const user_id = newUser()
  const keys = await signedIn(user_id, 2)
  assert.is(await count('session_limit', { user_id, max: 2 }), 0)
  assert.is(await count('session_limit', { user_id, max: 3 }), 0)
  assert.equal(await left(keys), [true, true])
})

test('an old anonymous session that signs in now is the newest', async () => {
  const user_id = newUser()
  const old = await create()
  const keys = await signedIn(user_id, 2)
  await save(old, { user_id })
  assert.is(await count('session_limit', { user_id, max: 1 }), 2)
  assert.equal(await left([old, ...keys]), [true, false, false])
})

test('so is one that changes hands, or its key while signing in; saving its data changes nothing', async () => {
  const user_id = newUser()
  const [first, second, third] = await signedIn(user_id, 3)
  const moved = newKey(second)
  const args = { ttl: '1 day', user_id: newUser() }
  await call('session_regenerate', { key: second, new_key: moved, ...args })
  await save(moved, { user_id })
  await save(first as Buffer, { set: '{"a":1}' })
  await save(first as Buffer, { set: '{"a":2}', user_id })
  assert.is(await count('session_limit', { user_id, max: 1 }), 2)
  assert.equal(await left([moved, first as Buffer, third as Buffer]), [true, false, false])
})

test('the one to spare is spared though it was regenerated meanwhile', async () => {
  const user_id = newUser()
  const [first, second] = await signedIn(user_id, 2)
  const [between, moved] = [newKey(first), newKey(first)]
  await call('session_regenerate', { key: first, new_key: between })
  await call('session_regenerate', { key: between, new_key: moved })
  assert.is(await count('session_limit', { user_id, max: 1, except: first }), 1)
  assert.equal(await left([moved, second as Buffer]), [true, false])
})

test('when a user is cleared, so is the time of signing in', async () => {
  const key = await create({}, { user_id: newUser() })
  await save(key, { user_id: '' })
  const [found] = await sql<{ signed_in_at: Date | null }>(
    'select signed_in_at from pgstore.sessions where key = $1',
    key,
  )
  assert.is(found?.signed_in_at, null)
})

test('expired sessions do not count, and are left to the purge', async () => {
  const user_id = newUser()
  const keys = await signedIn(user_id, 3)
  await expire(keys[2] as Buffer)
  assert.is(await count('session_limit', { user_id, max: 2 }), 0)
  assert.equal(await left(keys), [true, true, true])
})

test('other users and anonymous visitors are left alone', async () => {
  const user_id = newUser()
  const others = [await create(), await create({}, { user_id: newUser() })]
  await signedIn(user_id, 2)
  assert.is(await count('session_limit', { user_id, max: 1 }), 1)
  assert.equal(await left(others), [true, true])
})

for (const args of [
  { user_id: null, max: 1 },
  { user_id: 'nobody', max: 1 },
  { user_id: 'somebody', max: null },
  { user_id: 'somebody', max: 0 },
  { user_id: 'somebody', max: -1 },
]) {
  test(`${JSON.stringify(args)} ends nothing`, async () => {
    const keys = await signedIn('somebody', 2)
    assert.is(await count('session_limit', args), 0)
    assert.equal(await left(keys), [true, true])
  })
}

test('of 20 sign-ins at once, each followed by its call, the allowed number is left', async () => {
  for (let round = 0; round < 5; round++) {
    const user_id = newUser()
    const keys = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = await connect()
        const key = newKey()
        await save(key, { version: 0, user_id }, client)
        await count('session_limit', { user_id, max: 5 }, client)
        await client.end()
        return key
      }),
    )
    assert.is((await left(keys)).filter(Boolean).length, 5)
  }
})

test.run()
