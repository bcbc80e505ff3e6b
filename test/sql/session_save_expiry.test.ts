// When a session ends: the expiry that session_save sets, its touch, and the lifetime that caps both.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql } from '../support/harness.ts'
import { age, closeEverything, create, expire, newKey, present, save, stored, without } from './calls.ts'

test.after(closeEverything)

const ttls = [
  '1 millisecond',
  '2 milliseconds',
  '17 milliseconds',
  '1 second',
  '1.5 seconds',
  '7 minutes',
  '1 hour',
  '36 hours',
  '30 days',
  '1 month',
  '1 month 1 day',
  '90 days',
  '1 year',
  '10 years',
  '100 years',
]

/** Whether an expiry that was set in this statement is exact; in SQL, whose times have microseconds. */
const isExact = 's.expires_at = statement_timestamp() + ttl'

for (const ttl of ttls) {
  test(`a ttl of ${ttl} is kept exactly`, async () => {
    const key = newKey()
    const text = `
      select s.status, ${isExact} as ok
      from (select $2::interval as ttl) as given, pgstore.session_save($1, $3, p_ttl => ttl, p_version => $4) as s`
    const created = await row(text, key, ttl, '{}', 0)
    await sql(`update pgstore.sessions set expires_at = 'infinity' where key = $1`, key) // or it ends before the next call
    const merged = await row(text, key, ttl, '{"a":1}', null)
    await sql(`update pgstore.sessions set expires_at = now() + interval '1 minute' where key = $1`, key)
    assert.equal([created, merged], Array(2).fill({ status: 'saved', ok: true }))
  })
}

test('every ttl of whole milliseconds from one to a year is kept exactly', async () => {
  const wrong = await sql(
    `select ttl, s.status, s.expires_at - statement_timestamp() as lasts
     from generate_series(1, 2000) as n,
       lateral (select make_interval(secs => round(exp(random() * ln(31536000000.0)))::float8 / 1000) as ttl where n > 0) as t,
       lateral pgstore.session_save(sha256(('ttl ' || n)::bytea), p_ttl => ttl, p_version => 0) as s
     where s.status <> 'saved' or not (${isExact})`,
  )
  assert.equal(wrong, [])
})

for (const ttl of [
  '-1 year 361 days',
  '-4 years 1461 days',
  '1 year -359 days',
  '1 month -29 days',
  '1 day -23:59:59',
  '71582788 months -2147483639 days',
  '106751990 days -2562047737 hours',
]) {
  test(`an interval whose parts cancel out, ${ttl}, is answered with a status`, async () => {
    const statuses = ['saved', 'gone', 'invalid']
    const key = await create()
    assert.ok(statuses.includes((await save(key, { set: '{"a":1}', ttl })).status))
    assert.ok(statuses.includes((await save(newKey(), { version: 0, ttl })).status))
    assert.ok(statuses.includes((await save(key, { set: '{"a":1}', lifetime: ttl })).status))
  })
}

// The expiry of a save

test('saves within a fifth of the ttl move the expiry, and leave the indexed purge time as it is', async () => {
  const key = await create({}, { ttl: '10 years' })
  const purgeTime = async () =>
    (await row<{ purge_at: Date }>('select purge_at from pgstore.sessions where key = $1', key)).purge_at
  const age = async (by: string) =>
    await sql(
      'update pgstore.sessions set purge_at = purge_at - $2::interval, expires_at = expires_at - $2::interval where key = $1',
      key,
      by,
    )
  const [before, { expires_at }] = [await purgeTime(), await present(key)]
  for (const n of [1, 2, 3]) await save(key, { set: `{"n":${n}}`, ttl: '10 years' })
  assert.equal(await purgeTime(), before)
  assert.ok((await present(key)).expires_at > expires_at)
  await age('700 days')
  const older = await purgeTime()
  await save(key, { set: '{"n":4}', ttl: '10 years' })
  assert.equal(await purgeTime(), older)
  await age('40 days')
  await save(key, { set: '{"n":5}', ttl: '10 years' })
  assert.ok((await purgeTime()).getTime() > older.getTime() + 600 * 86_400_000, 'a whole fifth after the expiry again')
})

test('a save with a shorter ttl is due for purging sooner', async () => {
  const key = await create({}, { ttl: '30 days' })
  await save(key, { set: '{"a":1}', ttl: '1 hour' })
  const { soon } = await row<{ soon: boolean }>(
    `select purge_at <= expires_at + interval '12 minutes' as soon from pgstore.sessions where key = $1`,
    key,
  )
  assert.ok(soon)
})

test('a save extends the expiry', async () => {
  const key = await create({}, { ttl: '1 hour' })
  const before = await present(key)
  await save(key, { set: '{"a":1}', ttl: '2 hours' })
  assert.ok((await present(key)).expires_at > before.expires_at)
})

test('a save with a shorter ttl ends the session sooner', async () => {
  const key = await create({}, { ttl: '30 days' })
  await save(key, { set: '{"a":1}', ttl: '1 hour' })
  const { expires_at } = await present(key)
  assert.ok(expires_at.getTime() < Date.now() + 2 * 3600_000)
})

test('a refused save leaves the expiry', async () => {
  const key = await create({}, { ttl: '1 hour' })
  const before = await stored(key)
  await save(key, { set: '{"a":1}', ttl: '30 days', version: 9 })
  await save(key, { set: JSON.stringify({ a: 'x'.repeat(5000) }), ttl: '30 days' })
  assert.equal(await stored(key), before)
})

// Touch

test('a touch extends the expiry and leaves everything else', async () => {
  const key = await create({ a: 1 }, { ttl: '1 hour', user_id: '42' })
  await sql(`update pgstore.sessions set updated_at = '2026-01-01' where key = $1`, key)
  const { place, expires_at, seen_at, ...before } = await present(key)
  const touched = await save(key, { ttl: '2 hours' })
  const after = await present(key)
  assert.equal(touched, { key, status: 'saved', id: before.id, version: 1, expires_at: after.expires_at, data: null })
  assert.ok(after.expires_at > expires_at)
  assert.ok(after.seen_at >= seen_at)
  assert.equal({ ...after, place, expires_at, seen_at }, { ...before, place, expires_at, seen_at })
})

test('a touch never shortens the expiry: it records the visit, and leaves everything else', async () => {
  const key = await create({}, { ttl: '30 days' })
  await sql(`update pgstore.sessions set seen_at = '2026-01-01' where key = $1`, key)
  const before = await present(key)
  const { status, expires_at } = await save(key, { ttl: '1 hour' })
  assert.equal({ status, expires_at }, { status: 'saved', expires_at: before.expires_at })
  const after = await present(key)
  assert.ok(after.seen_at > before.seen_at)
  assert.equal(without(after, 'place', 'seen_at'), without(before, 'place', 'seen_at'))
})

test('empty and missing lists make a touch alike', async () => {
  const key = await create()
  for (const unset of [[], null]) assert.is((await save(key, { set: '{}', unset })).version, 1)
})

test('a touch may ask for a version, and a wrong one is a conflict', async () => {
  const key = await create({ a: 1 }, { ttl: '1 hour' })
  assert.is((await save(key, { version: 1, ttl: '2 hours' })).status, 'saved')
  const before = await stored(key)
  const { status, version, data } = await save(key, { version: 2, ttl: '3 hours' })
  assert.equal({ status, version, data }, { status: 'conflict', version: 1, data: { a: 1 } })
  assert.equal(await stored(key), before)
})

// Lifetime

test('a session is created to live no longer than its lifetime', async () => {
  const found = await row(
    `select s.expires_at = statement_timestamp() + interval '1 hour' as ok
     from pgstore.session_save($1, p_ttl => '30 days', p_version => 0, p_lifetime => '1 hour') as s`,
    newKey(),
  )
  assert.equal(found, { ok: true })
})

for (const [kind, set] of [
  ['a save', '{"a":1}'],
  ['a touch', '{}'],
] as const) {
  test(`${kind} extends a session to the end of its lifetime and no further`, async () => {
    const key = await create({}, { ttl: '1 minute' })
    await age(key, '50 minutes')
    assert.is((await save(key, { set, ttl: '30 days', lifetime: '1 hour' })).status, 'saved')
    const found = await row(
      `select expires_at = created_at + interval '1 hour' as ok from pgstore.sessions where key = $1`,
      key,
    )
    assert.equal(found, { ok: true })
  })

  test(`${kind} finds a session past its lifetime gone, its expiry notwithstanding`, async () => {
    const key = await create({ secret: 1 })
    await age(key, '2 hours')
    const before = await stored(key)
    for (const version of [null, 1]) {
      const { status, data } = await save(key, { set, version, lifetime: '1 hour' })
      assert.equal({ status, data }, { status: 'gone', data: null })
    }
    assert.equal(await stored(key), before)
  })

  test(`${kind} within the lifetime is not cut short by it`, async () => {
    const key = await create({}, { ttl: '1 minute' })
    const { expires_at } = await save(key, { set, ttl: '1 hour', lifetime: '1 year' })
    assert.ok(expires_at && expires_at.getTime() > Date.now() + 3500_000)
  })
}

test('without a lifetime a session may live for ever', async () => {
  const key = await create()
  await age(key, '50 years')
  assert.is((await save(key, { set: '{"a":1}' })).status, 'saved')
})

test('an expired session has no lifetime left', async () => {
  const key = await create()
  await expire(key)
  assert.is((await save(key, { lifetime: '100 years' })).status, 'gone')
})

test.run()
