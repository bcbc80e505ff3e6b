// `pgstore worker` as a process, whose end is the point.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { addExpired, countSessions, holdPurge, startOver } from '../support/crowd.ts'
import { closeAll, row, sql, until } from '../support/harness.ts'
import { endPrograms, pgstore, soon } from '../support/program.ts'
import { startProxy } from '../support/proxy.ts'

test.before.each(startOver)
test.after.each(endPrograms)
test.after(closeAll)

const due = async () => (await countSessions()).due

test('a connection that is lost as the job is reported done ends neither the process nor the schedule', async () => {
  const program = pgstore('worker')
  await program.line(/waiting/)
  await sql(
    `create function public.lose() returns trigger language plpgsql as
     'begin perform pg_terminate_backend(pg_backend_pid()); return old; end'`,
  )
  await sql(
    'create trigger lose before delete on graphile_worker._private_jobs for each row execute function public.lose()',
  )
  await sql(`select pgstore.cleanup_start('500 milliseconds')`)
  await until(
    async () =>
      Number((await row('select count(*) from graphile_worker.jobs where locked_at is not null'))['count']) > 0,
  )
  await sql('drop trigger lose on graphile_worker._private_jobs; drop function public.lose()')
  await addExpired(1)
  await until(async () => (await due()) === 0)
  const { code, signal } = await program.end()
  assert.equal({ code, signal }, { code: 0, signal: null })
})

test('stopping takes only seconds even if the database no longer responds', async () => {
  const proxy = await startProxy()
  const program = pgstore('worker', '--database-url', proxy.url)
  await program.line(/waiting/)
  await addExpired(10)
  const hold = await holdPurge()
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await hold.untilHeld()
  proxy.isSilent = true
  const { code, ms } = await program.end()
  await hold.release()
  await proxy.close()
  assert.is(code, 0)
  assert.ok(ms < soon, `${ms} ms`)
})

test.run()
