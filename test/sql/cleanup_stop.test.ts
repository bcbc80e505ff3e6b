import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { call, closeClients, closeEverything, connect } from './calls.ts'
import { announced, resetSchedule, schedule, startDue } from './schedule.ts'

test.before.each(resetSchedule)
test.after.each(closeClients)
test.after(closeEverything)

test('stopping switches the purge off: no run is due any more, and the interval is remembered', async () => {
  await startDue('-1 second')
  const { enabled, every, next_run_at, status } = await schedule('cleanup_stop')
  assert.equal(
    { enabled, every, next_run_at, status },
    { enabled: false, every: '01:00:00', next_run_at: null, status: 'stopped' },
  )
  assert.is((await schedule('cleanup_begin_run')).status, 'stopped')
})

test('stopping what is off already succeeds', async () => {
  assert.is((await schedule('cleanup_stop')).status, 'stopped')
  assert.is((await schedule('cleanup_stop')).status, 'stopped')
})

test('it is announced', async () => {
  assert.equal(await announced(() => call('cleanup_stop')), [{ type: 'stopped' }])
})

test('nothing is announced by a stop that is rolled back', async () => {
  const client = await connect()
  const messages = await announced(async () => {
    await client.query('begin')
    await call('cleanup_stop', {}, client)
    await client.query('rollback')
  })
  assert.equal(messages, [])
})

test.run()
