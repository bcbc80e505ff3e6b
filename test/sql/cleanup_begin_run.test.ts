import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { call, closeClients, closeEverything, connect, untilBlocked } from './calls.ts'
import { announced, holds, resetSchedule, schedule, startDue } from './schedule.ts'

test.before.each(resetSchedule)
test.after.each(closeClients)
test.after(closeEverything)

test('a run that is due is claimed, and the next is set an interval from now', async () => {
  await startDue('-1 second')
  assert.is((await schedule('cleanup_begin_run')).status, 'due')
  assert.ok(await holds("c.next_run_at between now() + interval '59 minutes' and now() + interval '1 hour'"))
})

test('many missed runs become one: they are not made up for', async () => {
  await startDue('-10 hours')
  assert.is((await schedule('cleanup_begin_run')).status, 'due')
  assert.is((await schedule('cleanup_begin_run')).status, 'started')
})

test('if no run is due, the schedule does not change', async () => {
  await startDue('1 second')
  const before = await schedule('cleanup_status')
  assert.equal(await schedule('cleanup_begin_run'), before)
})

test('while the purge is off, no run is due', async () => {
  assert.is((await schedule('cleanup_begin_run')).status, 'stopped')
  await sql(`update pgstore.cleanup set next_run_at = now() - interval '1 hour'`)
  assert.is((await schedule('cleanup_begin_run')).status, 'stopped')
})

test('the next run is at a whole millisecond, as a worker asks for it', async () => {
  await startDue('-1 second')
  await call('cleanup_begin_run')
  assert.ok(await holds("c.next_run_at = date_trunc('milliseconds', c.next_run_at)"))
})

test('a worker that claims a run is recorded as seen', async () => {
  await startDue('-1 second')
  await call('cleanup_begin_run')
  assert.ok(await holds('c.worker_seen_at is not null'))
})

test('of two workers that ask at the same moment one gets the run', async () => {
  await startDue('-1 second')
  const [early, late] = [await connect(), await connect()]
  await early.query('begin')
  const first = await schedule('cleanup_begin_run', {}, early)
  const second = schedule('cleanup_begin_run', {}, late)
  await untilBlocked(late)
  await early.query('commit')
  assert.equal([first.status, (await second).status], ['due', 'started'])
})

test('a claim that was never committed leaves the run to others', async () => {
  await startDue('-1 second')
  const client = await connect()
  await client.query('begin')
  assert.is((await schedule('cleanup_begin_run', {}, client)).status, 'due')
  await client.query('rollback')
  assert.is((await schedule('cleanup_begin_run')).status, 'due')
})

test('it announces nothing', async () => {
  await startDue('-1 second')
  assert.equal(await announced(() => call('cleanup_begin_run')), [])
})

test.run()
