import { Logger, run } from 'graphile-worker'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type RunWorkerOptions, runWorker } from '../../src/cleanup/worker.ts'
import { migrate } from '../../src/index.ts'
import { addExpired, addLive, connections, countSessions, startOver, stopInBatch, terminate } from '../support/crowd.ts'
import {
  admin,
  closeAll,
  databaseUrl,
  emptyDatabase,
  rejection,
  row,
  sql,
  testStore,
  until,
} from '../support/harness.ts'
import { startProxy } from '../support/proxy.ts'

const running: { stop(): Promise<void> }[] = []
test.before.each(startOver)
test.after.each(async () => {
  await Promise.all(running.splice(0).map((worker) => worker.stop()))
})
test.after(closeAll)

interface Spoken {
  readonly level: string
  readonly message: string
}

/** A worker on this file's database, and what it says. */
async function start(options: Partial<RunWorkerOptions> = {}) {
  const said: Spoken[] = []
  const log = (level: string, message: string) => said.push({ level, message })
  const worker = await runWorker({ connectionString: databaseUrl, log, ...options })
  running.push(worker)
  return { worker, said, warnings: () => said.filter(({ level }) => level === 'warning').map(({ message }) => message) }
}

async function due(schema = 'pgstore'): Promise<number> {
  return (await countSessions(schema)).due
}

interface Job {
  readonly id: string
  readonly task_identifier: string
  readonly key: string | null
  readonly locked_by: string | null
  readonly attempts: number
  readonly run_at: Date
}

async function jobs(condition = "task_identifier = 'pgstore:purge'"): Promise<Job[]> {
  return await sql<Job>(
    `select id, task_identifier, key, locked_by, attempts, run_at from graphile_worker.jobs where ${condition} order by id`,
  )
}

// The schedule

test('a worker waits for a schedule, is notified at once, and purges', async () => {
  await addExpired(1500)
  await addLive(3)
  const { warnings } = await start()
  assert.equal(await jobs(), [])
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await until(async () => (await due()) === 0)
  assert.equal([await countSessions(), warnings()], [{ due: 0, live: 3 }, []])
})

test('it finds a schedule that was set before it started', async () => {
  await addExpired(1)
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await start()
  await until(async () => (await due()) === 0)
})

test('a change that nobody was listening for is found at the next connection', async () => {
  await start()
  await until(async () => (await connections('pgstore listen')) === 1)
  await addExpired(1)
  await sql(`update pgstore.cleanup set enabled = true, next_run_at = now()`)
  await terminate('pgstore listen')
  await until(async () => (await due()) === 0)
})

test('there is one job, for the next run; after a stop there is none', async () => {
  await Promise.all([start(), start(), start()])
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await until(async () => (await row('select last_run_at from pgstore.cleanup'))['last_run_at'] !== null)
  // Each worker sets it as far as it knows; the last of them knows it all.
  await until(async () => {
    const [job, ...more] = await jobs()
    const { next_run_at } = await row<{ next_run_at: Date }>('select next_run_at from pgstore.cleanup')
    return job?.key === 'pgstore:purge' && job.run_at.getTime() === next_run_at.getTime() && more.length === 0
  })
  await sql('select pgstore.cleanup_stop()')
  await until(async () => (await jobs()).length === 0)
})

test('each run is done by one of several workers', async () => {
  const workers = await Promise.all([start(), start(), start(), start()])
  const events = testStore({ connectionString: databaseUrl }).watchCleanup()
  assert.is((await events.next()).value.type, 'status')
  const runs = 10
  for (let run = 1; run <= runs; run++) {
    await sql(`select pgstore.cleanup_start(make_interval(hours => $1))`, run) // another interval is due at once
    for (const type of ['started', 'purged']) assert.is((await events.next()).value.type, type)
  }
  await sql('select pg_sleep(1)') // for another to do it again, if it would
  const purges = () => workers.flatMap(({ said }) => said).filter(({ message }) => message.startsWith('Purged'))
  await until(() => purges().length >= runs)
  assert.is(purges().length, runs)
  await events.return?.()
})

test('a worker does not wait for a lost job', async () => {
  await start()
  await sql(`select pgstore.cleanup_start('3 seconds')`)
  await until(async () => (await row('select last_run_at from pgstore.cleanup'))['last_run_at'] !== null)
  await until(async () => (await jobs()).length === 1)
  await sql('delete from graphile_worker._private_jobs')
  await addExpired(1)
  await until(async () => (await due()) === 0)
})

// A schema that is shared

test('a host application’s jobs in the same graphile_worker schema are left alone', async () => {
  const done: unknown[] = []
  const host = await run({
    connectionString: databaseUrl,
    taskList: { host_task: async (payload) => void done.push(payload) },
    noHandleSignals: true,
    logger: new Logger(() => () => {}),
  })
  running.push({ stop: () => host.stop() })
  const soon = `now() + interval '1 day'`
  await sql(`select graphile_worker.add_job('host_task', '{"n":1}', run_at => ${soon}, job_key => 'mine')`)
  await sql(`select graphile_worker.add_job('other_task', '{"n":2}', queue_name => 'queue', max_attempts => 1)`)
  await sql(`select graphile_worker.add_job('other_task', '{"n":3}')`)
  await sql(
    `update graphile_worker._private_jobs set locked_at = now() - interval '1 hour', locked_by = 'a host', attempts = 1
     where payload ->> 'n' = '3'`,
  )
  await sql(`update graphile_worker._private_job_queues set locked_at = now(), locked_by = 'a host'`)
  const theirs = () => sql(`select * from graphile_worker._private_jobs where payload ->> 'n' is not null order by id`)
  const queues = () => sql('select * from graphile_worker._private_job_queues')
  const before = [await theirs(), await queues()]
  await start()
  await sql(`select pgstore.cleanup_start('100 milliseconds')`)
  await addExpired(5)
  await until(async () => (await due()) === 0)
  await host.addJob('host_task', { n: 4 })
  await until(() => done.length > 0)
  await until(async () => (await theirs()).length === 3) // that one is done, and gone
  assert.equal(done, [{ n: 4 }])
  assert.equal([await theirs(), await queues()], before)
})

test('two schemas of pgstore in one database are purged separately', async () => {
  await migrate(admin, { schema: 'second' })
  await start()
  await sql(`select second.cleanup_start('300 milliseconds')`)
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await sql('select pg_sleep(1)') // time for the first worker to take the other's job, if it would
  await start({ schema: 'second' })
  for (let round = 0; round < 5; round++) {
    await addExpired(1, 'second')
    await until(async () => (await due('second')) === 0)
  }
  // While a job is done, the next is set already, and it has no key any more.
  await until(async () => {
    const names = (await jobs('true')).map(({ task_identifier, key }) => `${task_identifier} ${key}`)
    return names.sort().join() === 'pgstore:purge pgstore:purge,second:purge second:purge'
  })
})

test('graphile-worker’s schema may have another name', async () => {
  await start({ workerSchema: 'jobs_elsewhere' })
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await until(async () => (await sql('select from jobs_elsewhere.jobs')).length === 1)
})

test('jobs left locked by a killed process are cleared when another starts, but no younger ones', async () => {
  await start().then(({ worker }) => worker.stop())
  for (const [by, age] of [
    ['dead', '1 minute'],
    ['alive', '0 seconds'],
  ] as const) {
    const { id } = await row(`select id from graphile_worker.add_job('pgstore:purge', max_attempts => 1)`)
    await sql(
      `update graphile_worker._private_jobs set attempts = 1, locked_by = $2, locked_at = now() - $3::interval
       where id = $1`,
      id,
      by,
      age,
    )
  }
  await start()
  await until(async () => (await jobs()).length === 1)
  assert.equal(
    (await jobs()).map(({ locked_by }) => locked_by),
    ['alive'],
  )
})

// Faults

test('a batch that takes too long is retried with a smaller size', async () => {
  await sql(
    `create function public.slow() returns trigger language plpgsql as
     'begin if (select count(*) from gone) > 100 then perform pg_sleep(30); end if; return null; end'`,
  )
  await sql(
    `create trigger slow after delete on pgstore.sessions referencing old table as gone
     for each statement execute function public.slow()`,
  )
  const url = new URL(databaseUrl)
  url.searchParams.set('options', '-c statement_timeout=2000')
  await addExpired(250)
  const { said } = await start({ connectionString: url.href, pauseMs: 0 })
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await until(() => said.some(({ level }) => level === 'info'))
  await sql('drop trigger slow on pgstore.sessions; drop function public.slow()')
  assert.match(said.find(({ level }) => level === 'info')?.message ?? '', /^Purged 250 sessions/)
})

test('stopping waits for the current batch, records the run, and may be called twice', async () => {
  await stopInBatch(1200, async () => {
    const { worker } = await start({ batchSize: 500 })
    await sql(`select pgstore.cleanup_start('1 hour')`)
    return () => Promise.all([worker.stop(), worker.stop(), worker.done])
  })
  assert.is(await due(), 700)
  assert.equal(await row('select total_purged::integer as n from pgstore.cleanup'), { n: 500 })
})

test('a worker warns if its connection leads through a transaction pooler, and only then', async () => {
  const proxy = await startProxy({ isDeaf: true })
  const deaf = await start({ connectionString: proxy.url })
  const hearing = await start()
  await until(() => deaf.warnings().length > 0)
  assert.match(deaf.warnings().join(), /^This connection leads through a transaction pooler/)
  assert.equal(hearing.warnings(), [])
  await deaf.worker.stop()
  await proxy.close()
})

// Starting

test('a worker that cannot start says why, and leaves nothing behind', async () => {
  const attempts: [string, Partial<RunWorkerOptions>, RegExp][] = [
    ['invalid_option', { batchSize: 0, pauseMs: -1, schema: 'No' }, /schema must.*batchSize must.*pauseMs must/],
    ['invalid_option', { workerSchema: 'a"b' }, /workerSchema must/],
    ['invalid_option', { connectionString: undefined as unknown as string }, /connectionString/],
    ['unavailable', { connectionString: 'postgres://nobody:secret@127.0.0.1:1/none' }, /ECONNREFUSED/],
    ['not_installed', { connectionString: await emptyDatabase() }, /npx pgstore migrate/],
    ['not_installed', { schema: 'absent' }, /npx pgstore migrate/],
  ]
  for (const [code, options, pattern] of attempts) {
    const error = await rejection(start(options))
    assert.is(error.code, code, error.message)
    assert.match(error.message, pattern)
    assert.not.match(error.message, /secret/)
  }
  await until(async () => (await connections('pgstore worker')) === 0)
})

test('a schema of graphile-worker that is newer than the package is named as the reason', async () => {
  await start().then(({ worker }) => worker.stop())
  await sql('insert into graphile_worker.migrations (id, breaking) values (1000, true)')
  const { message } = await rejection(start())
  await sql('delete from graphile_worker.migrations where id = 1000')
  assert.match(message, /[Ww]orker/)
  assert.match(message, /1000/)
})

test.run()
