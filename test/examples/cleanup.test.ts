// docs/cleanup.md: its question to the database, and the unit that it proposes.
import fs from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { addExpired, startOver } from '../support/crowd.ts'
import { closeAll, row, sql } from '../support/harness.ts'

const text = fs.readFileSync(new URL('../../docs/cleanup.md', import.meta.url), 'utf8')
const [, question = ''] = /```sql\n(select[^`]+)```/.exec(text) ?? []

test.before.each(startOver)
test.after(closeAll)

async function alerts(): Promise<Record<string, unknown>> {
  return await row(question)
}

const nothing = { no_worker: false, overdue: false, last_error: null, expired: '0' }

test('the alerts are silent while the purge is off', async () => {
  assert.equal(await alerts(), nothing)
})

test('they are silent while a worker is there and runs are done', async () => {
  await sql(`select pgstore.cleanup_start('1 hour'), pgstore.cleanup_begin_run()`)
  assert.equal(await alerts(), nothing)
})

test('they report that no worker was ever seen, or none for two minutes', async () => {
  await sql(`select pgstore.cleanup_start('1 hour')`)
  assert.is((await alerts())['no_worker'], true)
  await sql('select pgstore.cleanup_beat()')
  assert.is((await alerts())['no_worker'], false)
  await sql(`update pgstore.cleanup set worker_seen_at = now() - interval '3 minutes'`)
  assert.is((await alerts())['no_worker'], true)
})

test('they report a missed run, a failed one, and a backlog', async () => {
  await addExpired(7)
  await sql(`select pgstore.cleanup_start('1 hour'), pgstore.cleanup_end_run(0, 1, '57014')`)
  await sql(`update pgstore.cleanup set next_run_at = now() - interval '2 minutes'`)
  assert.equal(await alerts(), { no_worker: false, overdue: true, last_error: '57014', expired: '7' })
})

test('the program that the unit and the container start is the one that is installed', () => {
  const { bin } = JSON.parse(fs.readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  assert.is(text.split(`node_modules/pgstore/${bin.pgstore}`).length, 3)
})

test.run()
