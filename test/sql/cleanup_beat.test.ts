import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { call, closeClients, closeEverything } from './calls.ts'
import { announced, resetSchedule, schedule, startDue } from './schedule.ts'

test.before.each(resetSchedule)
test.after.each(closeClients)
test.after(closeEverything)

test('a worker is seen, and sees whether the purge is on', async () => {
  const off = await schedule('cleanup_beat')
  assert.is(off.status, 'stopped')
  assert.ok(off.worker_seen_at)
  await call('cleanup_start')
  assert.is((await schedule('cleanup_beat')).status, 'started')
})

test('a run that is due is not claimed by it', async () => {
  await startDue('-1 second')
  await call('cleanup_beat')
  assert.is((await schedule('cleanup_begin_run')).status, 'due')
})

test('it announces nothing', async () => {
  assert.equal(await announced(() => call('cleanup_beat')), [])
})

test.run()
