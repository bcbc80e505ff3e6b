// A server's clock that was ahead, and came back: the next run is never further away than the interval.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql } from '../support/harness.ts'
import { call, closeClients, closeEverything, connect } from './calls.ts'
import { holds, resetSchedule, schedule } from './schedule.ts'

test.before.each(resetSchedule)
test.after.each(closeClients)
test.after(closeEverything)

async function startFarAhead(): Promise<void> {
  await call('cleanup_start', { every: '1 hour' })
  await sql(`update pgstore.cleanup set next_run_at = now() + interval '30 days'`)
}

const isNear = "between now() + interval '59 minutes' and now() + interval '1 hour'"

for (const name of ['cleanup_begin_run', 'cleanup_beat', 'cleanup_status'] as const) {
  test(`D9: ${name} shows no next run further ahead than the interval`, async () => {
    await startFarAhead()
    const { status, next_run_at } = await schedule(name)
    assert.is(status, 'started')
    const { near } = await row<{ near: boolean }>(`select $1::timestamptz ${isNear} as near`, next_run_at)
    assert.ok(near, String(next_run_at))
    if (name !== 'cleanup_status') assert.ok(await holds(`c.next_run_at ${isNear}`))
  })
}

test('D9: starting again what is on pulls the next run back', async () => {
  await startFarAhead()
  await call('cleanup_start', { every: '1 hour' })
  assert.ok(await holds(`c.next_run_at ${isNear}`))
})

test('D9: a next run within the interval is left alone, and none is set while the purge is off', async () => {
  await call('cleanup_start', { every: '1 hour' })
  await sql(`update pgstore.cleanup set next_run_at = now() + interval '30 minutes'`)
  const { next_run_at } = await schedule('cleanup_status')
  for (const name of ['cleanup_beat', 'cleanup_begin_run', 'cleanup_start'] as const) {
    await call(name, name === 'cleanup_start' ? { every: '1 hour' } : {})
    assert.is((await schedule('cleanup_status')).next_run_at, next_run_at, name)
  }
  await call('cleanup_stop')
  for (const name of ['cleanup_beat', 'cleanup_begin_run', 'cleanup_status'] as const) {
    assert.is((await schedule(name)).next_run_at, null)
  }
})

test('A6: in a transaction the next run and the purge go by the time of the statement', async () => {
  const client = await connect()
  await client.query('begin')
  const [{ begun } = {}] = (await client.query('select now() as begun, pg_sleep(0.3)')).rows
  await schedule('cleanup_start', { every: '1 hour' }, client)
  await schedule('cleanup_begin_run', {}, client)
  await schedule('cleanup_end_run', { purged: 0, ms: 0 }, client)
  await client.query('commit')
  const least = `'${begun.toISOString()}'::timestamptz + interval '0.29 seconds'`
  assert.ok(await holds(`c.worker_seen_at >= ${least} and c.last_run_at >= ${least}`))
  assert.ok(await holds(`c.next_run_at >= ${least} + interval '1 hour'`))
})

test.run()
