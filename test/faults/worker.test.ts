// What happens to the recurring purge when its workers, connections and clients fail.
import * as assert from 'uvu/assert'
import { closeClients, connect } from '../sql/calls.ts'
import { counts } from '../support/counts.ts'
import { addExpired, addLive, connections, countSessions, holdPurge, startOver, terminate } from '../support/crowd.ts'
import { closeAll, databaseUrl, row, sql, testStore, until } from '../support/harness.ts'
import { endPrograms, type Program, pgstore } from '../support/program.ts'
import { duration, quantile, report, test } from './faults.ts'

test.before.each(startOver)
test.after.each(endPrograms)
test.after.each(closeClients)
test.after(closeAll)

async function workers(many: number): Promise<Program[]> {
  const programs = Array.from({ length: many }, () => pgstore('worker'))
  await Promise.all(programs.map((program) => program.line(/waiting/, 60)))
  return programs
}

async function due(): Promise<number> {
  return (await countSessions()).due
}

async function jobRows(): Promise<number> {
  return Number(
    (await row(`select count(*) from graphile_worker.jobs where task_identifier = 'pgstore:purge'`))['count'],
  )
}

/** The number of sessions purged, from a worker's messages. */
function purgedBy({ lines }: Program): number {
  return lines.reduce((sum, line) => sum + Number(/^Purged (\d+) sessions/.exec(line)?.[1] ?? 0), 0)
}

async function deadlocks(): Promise<number> {
  const { deadlocks } = await row<{ deadlocks: string }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  return Number(deadlocks)
}

test('F12: four workers that purge at once delete every expired session once, count it once, and nothing else', async () => {
  const many = counts(20_000, 100_000)
  const before = await deadlocks()
  await addLive(500)
  const programs = await workers(4)
  let ms = 0
  let shares: number[] = []
  // Again if one of them was so fast that it left the others nothing.
  for (let round = 1; shares.filter((share) => share > 0).length < 2; round++) {
    assert.ok(round <= 5, `only one worked, in ${round - 1} rounds`)
    await addExpired(many)
    const events = testStore({ connectionString: databaseUrl }).watchCleanup()
    await events.ready
    ms = await duration(async () => {
      await sql(`select pgstore.cleanup_start('100 milliseconds')`)
      await until(async () => (await due()) === 0, 120)
    })
    await sql('select pgstore.cleanup_stop()')
    await until(() => programs.reduce((sum, program) => sum + purgedBy(program), 0) >= many * round)
    let announced = 0
    for (let event = await events.next(); event.value.type !== 'stopped'; event = await events.next()) {
      assert.is.not(event.value.type, 'failed')
      if (event.value.type === 'purged') announced += event.value.purged
    }
    for (; announced < many; ) {
      const { value } = await events.next() // of runs that were still in progress
      if (value.type === 'purged') announced += value.purged
    }
    await events.return?.()
    shares = programs.map(purgedBy)
    const { total } = await row<{ total: number }>('select total_purged::integer as total from pgstore.cleanup')
    assert.equal([announced, total, await countSessions()], [many, many * round, { due: 0, live: 500 }])
    assert.is(await deadlocks(), before)
  }
  report(
    'F12',
    `4 workers purge ${many} sessions`,
    `announced exactly, shares ${shares.join(' ')}, deadlocks 0, ${(ms / 1000).toFixed(1)} s`,
  )
})

test('F13: a worker killed in the middle of a purge delays the next by no more than its restart, and leaves two jobs at most', async () => {
  const kills = counts(4, 20)
  const interval = 1000
  await addLive(500)
  const waits: number[] = []
  let mostJobs = 0
  let added = 0
  let left = 0
  await sql(`select pgstore.cleanup_start('1 second')`)
  for (let kill = 0; kill < kills; kill++) {
    await addExpired(10_000)
    added += 10_000
    const full = left + 10_000
    const hold = await holdPurge()
    const [worker] = await workers(1)
    await hold.untilHeld()
    await worker?.end('SIGKILL')
    await hold.release()
    await until(async () => {
      const active = await sql(
        `select from pg_stat_activity
         where datname = current_database() and application_name = 'pgstore worker' and state = 'active' and query ~ 'purge_expired'`,
      )
      return active.length === 0
    })
    left = await due()
    assert.ok(left > 0, 'it was not killed in the middle')
    assert.is((full - left) % 1000, 0) // the current batch was committed whole, or not at all
    mostJobs = Math.max(mostJobs, await jobRows())
    const [next] = await workers(1)
    waits.push(await duration(() => until(async () => (await due()) < left, 30)))
    await next?.end('SIGTERM')
    left = await due()
    mostJobs = Math.max(mostJobs, await jobRows())
  }
  assert.ok(mostJobs <= 2, `${mostJobs} jobs`)
  await workers(1)
  await until(async () => (await due()) === 0, 60)
  assert.equal(await countSessions(), { due: 0, live: 500 })
  report(
    'F13',
    `worker killed ${kills} times mid-purge`,
    `${added} purged, live deleted 0, job rows at most ${mostJobs}`,
    {
      'next run after restart': { is: Math.max(...waits), most: interval + 5000 },
    },
  )
})

test('F14: after a hundred starts and stops by 8 clients the last command counts, and one job is pending at most', async () => {
  const rounds = counts(25, 100)
  await workers(2)
  const listener = await connect()
  const announcements: { type: string; every_ms?: number }[] = []
  listener.on('notification', ({ payload = '' }) => announcements.push(JSON.parse(payload)))
  await listener.query('listen pgstore_cleanup')
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect()))
  await Promise.all(
    clients.map(async (client, who) => {
      for (let n = who; n < rounds; n += clients.length) {
        const call = Math.random() < 0.5 ? 'cleanup_stop()' : `cleanup_start(make_interval(secs => ${3600 + n}))`
        await client.query(`select pgstore.${call}`)
      }
    }),
  )
  const commands = () => announcements.filter(({ type }) => type === 'started' || type === 'stopped')
  await until(() => commands().length === rounds)
  const last = commands().at(-1)
  const state = await row<{ enabled: boolean; ms: number }>(
    `select enabled, (extract(epoch from every) * 1000)::integer as ms from pgstore.cleanup`,
  )
  assert.is(state.enabled, last?.type === 'started')
  if (last?.every_ms !== undefined) assert.is(state.ms, last.every_ms)
  await until(async () => (await jobRows()) === (state.enabled ? 1 : 0))
  await sql('select pg_sleep(1)')
  const pending = await jobRows()
  assert.ok(pending <= 1)
  report(
    'F14',
    `${rounds} starts and stops by 8 clients`,
    `final state ${last?.type} as commanded last, ${pending} job pending`,
  )
})

test('F14: once a stop is acknowledged, at most the current batch is purged', async () => {
  const rounds = counts(3, 20)
  await workers(2)
  let most = 0
  for (let round = 0; round < rounds; round++) {
    await sql('truncate pgstore.sessions')
    await addExpired(5000)
    const hold = await holdPurge()
    await sql(`select pgstore.cleanup_start('1 hour')`)
    await hold.untilHeld()
    await sql('select pgstore.cleanup_stop()')
    await hold.release()
    await sql('select pg_sleep(0.5)')
    most = Math.max(most, 5000 - (await due()))
  }
  assert.ok(most <= 1000, `${most} purged`)
  report('F14', `stop during a purge, ${rounds} times`, `at most ${most} purged after the answer`)
})

test('F15: a LISTEN connection that is terminated again and again comes back each time, and the state is right', async () => {
  const kills = counts(20, 100)
  const store = testStore({ connectionString: databaseUrl })
  const events = store.watchCleanup()
  await events.ready
  let seen: string | undefined
  const watching = (async () => {
    for await (const event of events) {
      if (event.type === 'status') seen = event.status.enabled ? 'started' : 'stopped'
      else if (event.type === 'started' || event.type === 'stopped') seen = event.type
    }
  })()
  const [reconnects, corrections]: [number[], number[]] = [[], []]
  for (let kill = 0; kill < kills; kill++) {
    const isOn = kill % 2 === 0
    await until(async () => (await terminate('pgstore listen')) === 1)
    await sql(isOn ? `select pgstore.cleanup_start('1 hour')` : 'select pgstore.cleanup_stop()')
    const started = performance.now()
    await until(async () => (await connections('pgstore listen')) > 0)
    reconnects.push(performance.now() - started)
    await until(() => seen === (isOn ? 'started' : 'stopped'))
    corrections.push(performance.now() - started)
  }
  assert.is(await connections('pgstore listen'), 1)
  await events.return?.()
  await watching
  report('F15', `LISTEN connection terminated ${kills} times`, '1 listening connection at the end', {
    'reconnect, p99': { is: quantile(reconnects, 0.99), most: 1000 },
    'state right after': { is: Math.max(...corrections), most: 2000 },
  })
})

test('F1: a worker whose connections are terminated again and again goes on purging', async () => {
  const kills = counts(20, 100)
  const [worker] = await workers(1)
  await sql(`select pgstore.cleanup_start('100 milliseconds')`)
  let killed = 0
  while (killed < kills) {
    killed += await terminate('pgstore worker')
    await sql('select pg_sleep(random() * 0.1)')
  }
  await addExpired(100)
  const ms = await duration(() => until(async () => (await due()) === 0, 60))
  assert.ok(worker?.isRunning)
  await sql(`select pgstore.cleanup_start('1 hour')`)
  report('F1', `worker's connections terminated ${killed} times`, 'same process', {
    'next purge after the last': { is: ms, most: 5000 },
  })
})

test('F30: a worker told to end in the middle of a purge ends with 0, and leaves no connection and no locked job', async () => {
  const rounds = counts(3, 10)
  const ends: number[] = []
  const disconnects: number[] = []
  for (let round = 0; round < rounds; round++) {
    await sql('truncate pgstore.sessions')
    await addExpired(20_000)
    const hold = await holdPurge()
    await sql(`select pgstore.cleanup_stop()`)
    await sql(`select pgstore.cleanup_start('1 hour')`)
    const [worker] = await workers(1)
    await hold.untilHeld()
    const ending = worker?.end('SIGTERM')
    await hold.release()
    const { code, signal, ms } = (await ending) ?? {}
    disconnects.push(
      await duration(() =>
        until(async () => (await connections('pgstore worker')) + (await connections('pgstore listen')) === 0),
      ),
    )
    assert.equal({ code, signal }, { code: 0, signal: null })
    ends.push(ms ?? 0)
    assert.ok((await due()) > 0)
    assert.equal(await sql('select from graphile_worker.jobs where locked_at is not null'), [])
  }
  report('F30', `worker told to end mid-purge, ${rounds} times`, 'exit 0, no locked job', {
    end: { is: Math.max(...ends), most: 5000 },
    'no connection left': { is: Math.max(...disconnects), most: 1000 },
  })
})

test.run()
