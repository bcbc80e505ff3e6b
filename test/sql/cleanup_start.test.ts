import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { call, closeClients, closeEverything, connect, untilBlocked } from './calls.ts'
import { announced, holds, resetSchedule, schedule, startDue } from './schedule.ts'

test.before.each(resetSchedule)
test.after.each(closeClients)
test.after(closeEverything)

test('starting switches the purge on, and it is due at once', async () => {
  const { enabled, every, status } = await schedule('cleanup_start', { every: '10 minutes' })
  assert.equal({ enabled, every, status }, { enabled: true, every: '00:10:00', status: 'started' })
  assert.ok(await holds("c.next_run_at between now() - interval '10 seconds' and now()"))
})

test('the default interval is five minutes', async () => {
  assert.is((await schedule('cleanup_start')).every, '00:05:00')
})

// A year is 365 days, or 366, or what Postgres makes of '1 year'; all are a year.
for (const every of [
  '100 milliseconds',
  '0.1 s',
  '1 second',
  '90 seconds',
  '1 month',
  '365 days',
  '1 year',
  '366 days',
]) {
  test(`an interval of ${every} is taken`, async () => {
    assert.is((await schedule('cleanup_start', { every })).status, 'started')
    assert.ok(await holds(`c.enabled and c.every = interval '${every}'`))
  })
}

for (const every of [
  null,
  '0',
  '99 milliseconds',
  '-5 minutes',
  '367 days',
  '13 months',
  '2 years',
  '178000000 years',
  // nothing, or less, if the month is long
  '-1 month 31 days',
  '1 month -30 days',
  '1 day -23 hours',
]) {
  test(`an interval of ${every} is invalid and changes nothing, silently`, async () => {
    await startDue('1 hour')
    const before = await schedule('cleanup_status')
    let answer = before
    const messages = await announced(async () => {
      answer = await schedule('cleanup_start', { every })
    })
    assert.equal(answer, { ...before, status: 'invalid' })
    assert.equal(await schedule('cleanup_status'), before)
    assert.equal(messages, [])
  })
}

test('an infinite interval, which PostgreSQL has from 17 on, is invalid', async () => {
  const client = await connect()
  const isKnown = await client.query(`select interval 'infinity'`).then(
    () => true,
    () => false,
  )
  if (!isKnown) return
  assert.is((await schedule('cleanup_start', { every: 'infinity' })).status, 'invalid')
  assert.is((await schedule('cleanup_start', { every: '-infinity' })).status, 'invalid')
})

test('starting what is on already does not reset the next run, as every server of a fleet does it', async () => {
  await startDue('40 minutes')
  const before = await schedule('cleanup_status')
  assert.equal(await schedule('cleanup_start', { every: '60 minutes' }), before)
})

test('another interval resets the next run', async () => {
  await startDue('40 minutes')
  await schedule('cleanup_start', { every: '2 hours' })
  assert.ok(await holds("c.next_run_at <= now() and c.every = interval '2 hours'"))
})

test('starting again after a stop is due at once', async () => {
  await startDue('40 minutes')
  await call('cleanup_stop')
  await schedule('cleanup_start', { every: '1 hour' })
  assert.ok(await holds('c.next_run_at <= now()'))
})

test('it announces the interval, each time', async () => {
  const messages = await announced(async () => {
    await call('cleanup_start', { every: '1.5 s' })
    await call('cleanup_start', { every: '1 year' })
  })
  assert.equal(messages, [
    { type: 'started', every_ms: 1500 },
    { type: 'started', every_ms: 31_557_600_000 },
  ])
})

test('the record of earlier runs is kept', async () => {
  await call('cleanup_end_run', { purged: 7, ms: 12 })
  const { last_purged, last_ms, total_purged } = await schedule('cleanup_start')
  assert.equal({ last_purged, last_ms, total_purged }, { last_purged: 7, last_ms: 12, total_purged: 7 })
})

test('of a concurrent start and stop, the second counts and is announced second', async () => {
  for (const [first, second] of [
    ['cleanup_start', 'cleanup_stop'],
    ['cleanup_stop', 'cleanup_start'],
  ] as const) {
    const [early, late] = [await connect(), await connect()]
    const messages = await announced(async () => {
      await early.query('begin')
      await call(first, {}, early)
      const waiting = call(second, {}, late)
      await untilBlocked(late)
      await early.query('commit')
      await waiting
    })
    const isStarted = second === 'cleanup_start'
    assert.is((await schedule('cleanup_status')).enabled, isStarted)
    assert.equal(
      messages.map((message) => (message as { type: string }).type),
      isStarted ? ['stopped', 'started'] : ['started', 'stopped'],
    )
  }
})

test.run()
