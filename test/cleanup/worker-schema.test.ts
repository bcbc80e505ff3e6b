// graphile-worker's schema when an application has another version of it: the worker changes nothing there, and says so.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runWorker } from '../../src/cleanup/worker.ts'
import { addExpired, countSessions, startOver } from '../support/crowd.ts'
import { closeAll, databaseUrl, rejection, row, sql, testStore, until } from '../support/harness.ts'
import { endPrograms, pgstore } from '../support/program.ts'

test.before.each(startOver)
test.after.each(endPrograms)
test.after(closeAll)

const start = async (workerSchema: string) =>
  await runWorker({ connectionString: databaseUrl, workerSchema, log: () => {} })

/** An application's schema of graphile-worker, as a version leaves it whose last revision is this many below or above ours. */
async function hostSchema(name: string, difference: number): Promise<{ ours: number; theirs: number }> {
  await sql(`drop schema if exists ${name} cascade`)
  await (await start(name)).stop()
  const { ours } = await row<{ ours: number }>(`select max(id)::integer as ours from ${name}.migrations`)
  const theirs = ours + difference
  await sql(`delete from ${name}.migrations where id > $1`, theirs)
  await sql(`insert into ${name}.migrations (id) select generate_series($1::integer + 1, $2::integer)`, ours, theirs)
  return { ours, theirs }
}

const revisions = async (name: string) => await sql(`select id, ts, breaking from ${name}.migrations order by id`)

for (const [name, difference] of [
  ['older', -1],
  ['much_older', -5],
  ['newer', 1],
] as const) {
  test(`B7: a worker does not start on a schema that is ${name.replace('_', ' ')} than its graphile-worker, and changes nothing there`, async () => {
    const { ours, theirs } = await hostSchema(name, difference)
    const before = await revisions(name)
    const exitCode = process.exitCode
    const { code, message } = await rejection(start(name))
    assert.is(code, 'invalid_option', message)
    assert.match(
      message,
      new RegExp(`^Schema ${name} is at revision ${theirs} of graphile-worker's, .* needs ${ours}:`),
    )
    assert.match(message, /workerSchema, --worker-schema/)
    assert.equal(await revisions(name), before)
    assert.is(process.exitCode, exitCode)
  })
}

test('B7: the store’s own worker refuses it too, sets no schedule, and starts with a separate schema', async () => {
  await hostSchema('graphile_worker', -1)
  const before = await revisions('graphile_worker')
  const store = testStore({ connectionString: databaseUrl })
  assert.match((await rejection(store.startCleanup('1 hour'))).message, /^Schema graphile_worker is at revision/)
  assert.is((await store.cleanupStatus()).enabled, false)
  const cleanup = await store.startCleanup('1 hour', { workerSchema: 'ours_alone' })
  await until(async () => (await sql('select from ours_alone.jobs')).length === 1)
  await cleanup.stop()
  assert.equal(await revisions('graphile_worker'), before)
})

test('B7: pgstore worker ends with a message there, and accepts --worker-schema', async () => {
  await hostSchema('graphile_worker', -1)
  const refused = pgstore('worker')
  assert.is((await refused.ended).code, 2)
  assert.match(refused.errors, /^Schema graphile_worker is at revision \d+ of graphile-worker's, .*\n$/)
  const worker = pgstore('worker', '--worker-schema', 'of_the_command')
  await worker.line(/^The worker is waiting/)
  assert.is((await worker.end()).code, 0)
  await revisions('of_the_command')
  const unnamed = pgstore('worker', '--worker-schema', 'No')
  assert.is((await unnamed.ended).code, 2)
  assert.match(unnamed.errors, /workerSchema must be/)
})

test('F45: a worker does not start on a schema whose table of migrations is not graphile-worker’s', async () => {
  await sql('create schema somebodys; create table somebodys.migrations (name text)')
  const { code, message } = await rejection(start('somebodys'))
  assert.equal(
    [code, /somebodys has a table "migrations" that is not graphile-worker's/.test(message)],
    ['invalid_option', true],
  )
  assert.equal(await sql('select name from somebodys.migrations'), [])
})

test('F45: installing a schema ends no runner of another one, and a migration elsewhere does not end this worker', async () => {
  await sql(`select pgstore.cleanup_start('1 second')`)
  const first = pgstore('worker', '--worker-schema', 'first_one')
  await first.line(/waiting/)
  const second = pgstore('worker', '--worker-schema', 'second_one')
  await second.line(/waiting/)
  assert.not.match(first.output + first.errors, /breaking/)
  for (const worker of [first, second]) {
    await until(async () => {
      await sql('select pg_notify($1, $2)', 'worker:migrate', '{"migrationNumber":1,"breaking":true}') // once it listens
      return /breaking migration/.test(worker.output + worker.errors)
    }, 60)
  }
  for (let run = 0; run < 2; run++) {
    await addExpired(5)
    await until(async () => (await countSessions()).due === 0, 60)
  }
  for (const worker of [first, second]) assert.is((await worker.end()).code, 0)
})

test('B7: of several workers that install a schema at once each starts', async () => {
  const workers = await Promise.all(Array.from({ length: 4 }, () => start('at_once')))
  await Promise.all(workers.map((worker) => worker.stop()))
})

test.run()
