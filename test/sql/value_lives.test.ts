// Values with a life of their own: session_save and session_regenerate give it, and every function that shows data goes by it.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row } from '../support/harness.ts'
import { call, closeEverything, create, newKey, present, type SaveArguments, type Saved, save } from './calls.ts'

test.after(closeEverything)

async function saveLives(key: Buffer, lives: unknown, args: SaveArguments = {}): Promise<Saved> {
  const [saved] = await call<Saved>('session_save', {
    key,
    set: '{}',
    unset: [],
    ttl: '30 days',
    version: null,
    user_id: null,
    max_length: 4096,
    lifetime: null,
    label: null,
    tags: null,
    announce: false,
    relaxed: false,
    lives: JSON.stringify(lives),
    ...args,
  })
  return saved as Saved
}

/** Lets time go on for the values of a session. */
async function later(key: Buffer, seconds: number): Promise<void> {
  await row(
    `update pgstore.sessions as s
     set value_ends = (select jsonb_object_agg(e.key, e.value::numeric - $2) from jsonb_each(s.value_ends) as e)
     where key = $1 returning id`,
    key,
    seconds,
  )
}

async function data(key: Buffer): Promise<unknown> {
  const [live] = await call('session_get', { key })
  return live?.['data']
}

async function ends(key: Buffer): Promise<Record<string, number> | null> {
  const { value_ends } = await row<{ value_ends: Record<string, number> | null }>(
    'select value_ends from pgstore.sessions where key = $1',
    key,
  )
  return value_ends
}

test('a value is there until its life is over, and the session goes on', async () => {
  const key = newKey()
  const { status, version } = await saveLives(key, { otp: 300 }, { set: '{"otp": 7, "a": 1}', version: 0 })
  assert.equal([status, version], ['saved', 1])
  assert.ok(Math.abs(((await ends(key))?.['otp'] ?? 0) - Date.now() / 1000 - 300) < 10)
  await later(key, 299)
  assert.equal(await data(key), { a: 1, otp: 7 })
  await later(key, 1)
  assert.equal(await data(key), { a: 1 })
  const [listed] = await call('session_get', { keys: [key] })
  assert.equal(listed?.['data'], { a: 1 })
})

test('every function that shows data goes by it', async () => {
  const user_id = 'ends'
  const key = newKey()
  await saveLives(key, { otp: 300 }, { set: '{"otp": 7, "a": 1}', version: 0, user_id })
  await later(key, 300)
  assert.equal(
    (await call('session_list', { user_id, data: true })).map((one) => one['data']),
    [{ a: 1 }],
  )
  assert.equal((await call('session_all', {})).find((one) => one['user_id'] === user_id)?.['data'], { a: 1 })
  assert.equal((await save(key, { set: '{}', version: 0 })).data, { a: 1 })
  assert.equal((await save(key, { set: '{"b":1}', version: 9 })).data, { a: 1 })
  assert.equal(await call('session_take', { key, name: 'otp' }), [{ status: 'none', value: null }])
  assert.equal(await call('session_take', { key, name: null }), [{ status: 'taken', value: { a: 1 } }])
})

test('the next change removes what has ended, and a value set after that lives as long as the session', async () => {
  const key = newKey()
  await saveLives(key, { otp: 300, code: 300 }, { set: '{"otp": 7, "code": 1}', version: 0 })
  await later(key, 300)
  await save(key, { set: '{"otp": 8}' })
  assert.equal((await present(key)).data, { otp: 8 })
  assert.is(await ends(key), null)
})

test('a value that is set again keeps its life, one that is removed loses it', async () => {
  const key = newKey()
  await saveLives(key, { otp: 300, code: 300 }, { set: '{"otp": 7, "code": 1}', version: 0 })
  await save(key, { set: '{"otp": 8}', unset: ['code'] })
  await save(key, { set: '{"code": 2}' })
  assert.equal(Object.keys((await ends(key)) ?? {}), ['otp'])
})

test('so do the arrays of session_save', async () => {
  const key = newKey()
  await saveLives(key, { otp: 300, code: 600 }, { set: '{"otp": 7, "code": 1}', version: 0 })
  await later(key, 300)
  const args = { keys: [key], sets: ['{"n":1}'], unsets: [null], ttls: ['1 day'], versions: [null], user_ids: [null] }
  const [saved] = await call('session_save', { ...args, max_length: 4096, lifetime: null })
  assert.is(saved?.['status'], 'saved')
  assert.equal((await present(key)).data, { code: 1, n: 1 })
  assert.equal(Object.keys((await ends(key)) ?? {}), ['code'])
})

test('a life can be given to what is stored, changed, and taken back; it is no version', async () => {
  const key = await create({ a: 1, b: 1 })
  assert.is((await saveLives(key, { a: 300, none: 300 })).version, 1)
  assert.equal(Object.keys((await ends(key)) ?? {}), ['a'])
  await saveLives(key, { a: 900, b: 60 })
  await later(key, 300)
  assert.equal(await data(key), { a: 1 })
  await saveLives(key, { a: null })
  assert.is(await ends(key), null)
  assert.equal(await data(key), { a: 1, b: 1 }, 'what has ended is still stored: nothing was changed')
})

test('a counter keeps its life while it is counted, and begins anew after it', async () => {
  const key = await create({ n: 1 })
  await saveLives(key, { n: 300 })
  await call('session_increment', { key, name: 'n' })
  assert.equal(Object.keys((await ends(key)) ?? {}), ['n'])
  await later(key, 300)
  assert.equal(await call('session_increment', { key, name: 'n' }), [{ status: 'saved', value: '1' }])
  assert.is(await ends(key), null)
})

test('a take or a put leaves no life behind', async () => {
  const key = await create({ a: 1, b: 1 })
  await saveLives(key, { a: 300, b: 300 })
  await call('session_take', { key, name: 'a' })
  assert.equal(Object.keys((await ends(key)) ?? {}), ['b'])
  await call('session_put', { key, data: '{"b": 2}' })
  assert.is(await ends(key), null)
})

test('a regenerated session keeps the lives, and can be given some', async () => {
  const [key, new_key, newer_key] = [await create({ a: 1 }), newKey(), newKey()]
  await saveLives(key, { a: 300 })
  await call('session_regenerate', { key, new_key })
  assert.equal(Object.keys((await ends(new_key)) ?? {}), ['a'])
  const args = { ttl: '1 day', user_id: null, lifetime: null, set: '{"b":1}', unset: [], max_length: 0, version: null }
  const rest = { label: null, tags: null, announce: false, relaxed: false, lives: '{"b": 60}' }
  const [moved] = await call<Saved>('session_regenerate', { key: new_key, new_key: newer_key, ...args, ...rest })
  assert.is(moved?.status, 'saved')
  assert.equal(Object.keys((await ends(newer_key)) ?? {}).sort(), ['a', 'b'])
})

test('what has ended does not count against the limit', async () => {
  const key = newKey()
  await saveLives(key, { big: 300 }, { set: JSON.stringify({ big: 'x'.repeat(3000) }), version: 0 })
  const more = { set: JSON.stringify({ more: 'x'.repeat(3000) }) }
  assert.is((await save(key, more)).status, 'too_large')
  await later(key, 300)
  assert.is((await save(key, more)).status, 'saved')
})

test('lives are positive numbers of seconds up to a hundred years, or null', async () => {
  const key = await create({ a: 1 })
  for (const lives of [null, [], 1, 'a', { a: 0 }, { a: -1 }, { a: '60' }, { a: 1e10 }, { a: true }, { a: {} }]) {
    assert.is((await saveLives(key, lives, { set: '{"b":1}' })).status, 'invalid', JSON.stringify(lives))
  }
  assert.equal((await present(key)).data, { a: 1 })
  assert.is((await saveLives(newKey(), { a: 1 })).status, 'gone')
})

test.run()
