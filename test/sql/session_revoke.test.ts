import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row } from '../support/harness.ts'
import { call, closeEverything, count, create, expire, newKey, present, stored } from './calls.ts'

test.after(closeEverything)

let users = 0

/** A user signed in on three devices. */
async function signedIn(): Promise<{ user_id: string; keys: [Buffer, Buffer, Buffer] }> {
  const user_id = `user ${++users}`
  return {
    user_id,
    keys: [await create({}, { user_id }), await create({}, { user_id }), await create({}, { user_id })],
  }
}

/** Which of these sessions are still stored. */
async function left(keys: readonly Buffer[]): Promise<boolean[]> {
  return await Promise.all(keys.map(async (key) => (await stored(key)) !== undefined))
}

test('all sessions of a user end at once', async () => {
  const { user_id, keys } = await signedIn()
  assert.is(await count('session_revoke', { user_id }), 3)
  assert.equal(await left(keys), [false, false, false])
})

test('one session ends by its number', async () => {
  const { user_id, keys } = await signedIn()
  const { id } = await present(keys[1])
  assert.is(await count('session_revoke', { user_id, id }), 1)
  assert.equal(await left(keys), [true, false, true])
})

test('all but the current one end: sign out everywhere else', async () => {
  const { user_id, keys } = await signedIn()
  assert.is(await count('session_revoke', { user_id, except: keys[2] }), 2)
  assert.equal(await left(keys), [false, false, true])
})

test('the one to spare is spared when it is named by number too', async () => {
  const { user_id, keys } = await signedIn()
  const { id } = await present(keys[0])
  assert.is(await count('session_revoke', { user_id, id, except: keys[0] }), 0)
  assert.equal(await left(keys), [true, true, true])
})

test('the one to spare is spared though it was regenerated meanwhile, by user and by tag', async () => {
  const user_id = `user ${++users}`
  const tag = `tag of ${user_id}`
  const key = await create({}, { user_id, tags: [tag] })
  const new_key = newKey(key)
  await create({}, { user_id })
  await create({}, { tags: [tag] })
  const between = newKey(key)
  await call('session_regenerate', { key, new_key: between })
  await call('session_regenerate', { key: between, new_key })
  assert.is(await count('session_revoke', { user_id, except: key }), 1)
  assert.is(await count('session_revoke_tag', { tag, except: key }), 1)
  assert.ok(await stored(new_key))
})

test('an unknown key spares nothing', async () => {
  const { user_id, keys } = await signedIn()
  assert.is(await count('session_revoke', { user_id, except: newKey() }), 3)
  assert.equal(await left(keys), [false, false, false])
})

test("a number of another user's session ends nothing", async () => {
  const { user_id } = await signedIn()
  const other = await signedIn()
  const { id } = await present(other.keys[0])
  assert.is(await count('session_revoke', { user_id, id }), 0)
  assert.equal(await left(other.keys), [true, true, true])
})

test("another user's sessions stay", async () => {
  const { user_id } = await signedIn()
  const other = await signedIn()
  await count('session_revoke', { user_id })
  assert.equal(await left(other.keys), [true, true, true])
})

test('anonymous sessions cannot be revoked: visitors stay', async () => {
  const visitor = await create()
  for (const user_id of [null, '']) assert.is(await count('session_revoke', { user_id }), 0)
  const { id } = await present(visitor)
  assert.is(await count('session_revoke', { user_id: null, id }), 0)
  assert.ok(await stored(visitor))
})

test('an expired session has ended already and is not counted', async () => {
  const { user_id, keys } = await signedIn()
  await expire(keys[0])
  assert.is(await count('session_revoke', { user_id }), 2)
})

test('two thousand sessions end in one call', async () => {
  await row(
    `select count(*)
     from generate_series(1, 2000) as n,
       pgstore.session_save(sha256(('crowd ' || n)::bytea), p_version => 0, p_user_id => 'crowd')`,
  )
  assert.is(await count('session_revoke', { user_id: 'crowd' }), 2000)
})

test.run()
