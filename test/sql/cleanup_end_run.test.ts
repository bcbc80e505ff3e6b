import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql } from '../support/harness.ts'
import { call, closeClients, closeEverything, create, expire } from './calls.ts'
import { announced, holds, resetSchedule, schedule, startDue } from './schedule.ts'

test.before.each(resetSchedule)
test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after.each(closeClients)
test.after(closeEverything)

test('a run is recorded, and the total goes up', async () => {
  await call('cleanup_end_run', { purged: 5, ms: 12 })
  const { last_purged, last_ms, total_purged, last_error } = await schedule('cleanup_end_run', { purged: 3, ms: 40 })
  assert.equal(
    { last_purged, last_ms, total_purged, last_error },
    { last_purged: 3, last_ms: 40, total_purged: 8, last_error: null },
  )
  assert.ok(await holds('c.last_run_at = c.worker_seen_at'))
})

test('it announces how many were purged, how long it took and how many are left', async () => {
  await create()
  await expire(await create())
  const messages = await announced(() => call('cleanup_end_run', { purged: 3_000_000_000, ms: 40 }))
  assert.equal(messages, [{ type: 'purged', purged: 3_000_000_000, ms: 40, remaining: 1 }])
})

test('a failure is recorded and announced with its code, until a run succeeds', async () => {
  const messages = await announced(() => call('cleanup_end_run', { purged: 2, ms: 9, error: '57014' }))
  assert.equal(messages, [{ type: 'failed', purged: 2, ms: 9, remaining: 0, code: '57014' }])
  const { last_error, total_purged } = await schedule('cleanup_status')
  assert.equal({ last_error, total_purged }, { last_error: '57014', total_purged: 2 })
  assert.is((await schedule('cleanup_end_run', { purged: 0, ms: 1 })).last_error, null)
})

test('it does not change the schedule', async () => {
  await startDue('10 minutes')
  const { next_run_at } = await schedule('cleanup_status')
  assert.is((await schedule('cleanup_end_run', { purged: 0, ms: 0 })).next_run_at, next_run_at)
  await call('cleanup_stop')
  assert.is((await schedule('cleanup_end_run', { purged: 0, ms: 0 })).status, 'stopped')
})

test('impossible numbers count as zero, and a long code is cut: the message stays short', async () => {
  const args = { purged: -5, ms: null, error: 'x'.repeat(10_000) }
  const [message] = await announced(() => call('cleanup_end_run', args))
  assert.equal(message, { type: 'failed', purged: 0, ms: 0, remaining: 0, code: 'x'.repeat(100) })
  assert.is((await schedule('cleanup_status')).total_purged, 0)
})

test.run()
