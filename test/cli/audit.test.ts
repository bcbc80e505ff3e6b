// `pgstore audit on|off|status`.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, sql } from '../support/harness.ts'
import { pgstore, pgstoreJson } from './pgstore.ts'

test.after(closeAll)

test('on, status and off say what they did, and the time is kept until another is given', async () => {
  const said = async (...args: string[]) => {
    const { code, stdout, stderr } = await pgstore(['audit', ...args])
    assert.equal([code, stderr], [0, ''])
    return stdout.trimEnd()
  }
  assert.is(await said('on'), 'The history is on, and kept for 90 days.')
  assert.is(await said('on', '--keep', '30 days'), 'The history is on, and kept for 30 days.')
  assert.is(await said('status'), 'The history is on, and kept for 30 days.')
  assert.is(await said('off'), 'The history is off. What there is, is kept for 30 days.')
})

test('--json prints it for programs, with the consumers', async () => {
  assert.equal(await pgstoreJson(['audit', 'on', '--keep', '90 days']), { status: 'on', keep: '90 days' })
  await sql(`select pgstore.endings_take('mailer')`)
  await sql(`select pgstore.session_save(sha256('a'), '{}', p_version => 0), pgstore.session_destroy(sha256('a'))`)
  await sql(`select pgstore.endings_take('mailer', p_limit => 0)`)
  const { consumers, ...state } = await pgstoreJson<{ consumers: { oldest_at: string }[] }>(['audit', 'status'])
  assert.equal(state, { status: 'on', keep: '90 days' })
  assert.match(consumers[0]?.oldest_at as string, /^20.*Z$/)
  assert.equal(consumers, [{ consumer: 'mailer', waiting: 1, oldest_at: consumers[0]?.oldest_at }])
  const { stdout } = await pgstore(['audit', 'status'])
  assert.match(stdout, /\nConsumer mailer: 1 ending waits, the oldest of 20.*Z\.\n$/)
})

test('a time that is none is a usage error and changes nothing', async () => {
  for (const keep of ['soon', '-1 day', '0 days']) {
    const { code, stderr } = await pgstore(['audit', 'off', `--keep=${keep}`])
    assert.is(code, 2, keep)
    assert.match(stderr, /^keep must be an interval/)
  }
  assert.is((await pgstoreJson<{ status: string }>(['audit', 'status'])).status, 'on')
})

test.run()
