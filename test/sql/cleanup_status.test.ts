import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { call, closeClients, closeEverything, connect } from './calls.ts'
import { announced, resetSchedule, schedule } from './schedule.ts'

test.before.each(resetSchedule)
test.after.each(closeClients)
test.after(closeEverything)

test('in a new database the purge is off, and there is one row', async () => {
  assert.equal(await schedule('cleanup_status'), {
    enabled: false,
    every: '00:05:00',
    worker_seen_at: null,
    next_run_at: null,
    last_run_at: null,
    last_purged: null,
    last_ms: null,
    total_purged: 0,
    last_error: null,
    status: 'stopped',
  })
})

test('the columns come in the order that is documented', async () => {
  const [first = {}] = await call('cleanup_status')
  assert.equal(Object.keys(first), [
    'enabled',
    'every',
    'worker_seen_at',
    'next_run_at',
    'last_run_at',
    'last_purged',
    'last_ms',
    'total_purged',
    'last_error',
    'status',
  ])
})

test('it only reads: it works in a read-only transaction, and announces nothing', async () => {
  const client = await connect()
  await call('cleanup_start')
  const messages = await announced(async () => {
    await client.query('begin read only')
    assert.is((await schedule('cleanup_status', {}, client)).status, 'started')
    await client.query('commit')
  })
  assert.equal(messages, [])
})

test.run()
