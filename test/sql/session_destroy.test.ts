import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeEverything, count, create, expire, newKey, save, stored } from './calls.ts'

test.after(closeEverything)

test('a destroyed session is gone, and its row with it', async () => {
  const key = await create()
  assert.is(await count('session_destroy', { key }), 1)
  assert.is(await stored(key), undefined)
})

test('no other session ends with it', async () => {
  const [key, other] = [await create(), await create()]
  await count('session_destroy', { key })
  assert.ok(await stored(other))
})

test('ending a session that has ended succeeds', async () => {
  const key = await create()
  await count('session_destroy', { key })
  assert.is(await count('session_destroy', { key }), 0)
})

test('an expired session has ended already', async () => {
  const key = await create()
  await expire(key)
  assert.is(await count('session_destroy', { key }), 0)
  assert.is(await count('session_destroy', { keys: [key] }), 0)
})

for (const [kind, key] of [
  ['null', null],
  ['an unknown key', newKey()],
  ['an empty key', Buffer.alloc(0)],
  ['a key of 33 bytes', Buffer.alloc(33)],
] as const) {
  test(`${kind} ends nothing and is no error`, async () => {
    assert.is(await count('session_destroy', { key }), 0)
    assert.is(await count('session_destroy', { keys: [key] }), 0)
  })
}

test('several end in one call, each counted once', async () => {
  const keys = [await create(), await create(), await create()]
  await expire(keys[2] as Buffer)
  const [first, second] = keys
  assert.is(await count('session_destroy', { keys: [second, first, newKey(), null, ...keys] }), 2)
  assert.is(await stored(first as Buffer), undefined)
  assert.is(await stored(second as Buffer), undefined)
})

test('no keys end nothing', async () => {
  assert.is(await count('session_destroy', { keys: [] }), 0)
  assert.is(await count('session_destroy', { keys: null }), 0)
})

test('a save after it finds the session gone and does not bring it back', async () => {
  const key = await create()
  await count('session_destroy', { key })
  assert.is((await save(key, { set: '{"a":1}' })).status, 'gone')
  assert.is(await stored(key), undefined)
})

test.run()
