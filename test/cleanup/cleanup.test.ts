import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CleanupEvent } from '../../src/cleanup/cleanup-events.ts'
import type { EventStream } from '../../src/events/channel-events.ts'
import {
  addExpired,
  addLive,
  connections,
  countSessions,
  holdAtTrigger,
  holdPurge,
  startOver,
  stopInBatch,
  terminate,
} from '../support/crowd.ts'
import { closeAll, databaseUrl, hashKey, rejection, row, sql, testStore, until } from '../support/harness.ts'

const store = testStore({ connectionString: databaseUrl })
const open: EventStream<CleanupEvent>[] = []
test.before.each(startOver)
test.after.each(async () => {
  for (const events of open.splice(0)) await events.return?.()
})
test.after(closeAll)

/** The server takes a moment to notice that a connection was ended. */
async function untilDisconnected(): Promise<void> {
  await until(async () => (await connections('pgstore worker')) + (await connections('pgstore listen')) === 0)
}

function watch(watched = store): EventStream<CleanupEvent> {
  const events = watched.watchCleanup()
  open.push(events)
  return events
}

/** The events up to the first of this type. */
async function upTo(events: EventStream<CleanupEvent>, type: CleanupEvent['type']): Promise<CleanupEvent[]> {
  const seen: CleanupEvent[] = []
  for (let i = 0; i < 1000; i++) {
    const { value, done } = await events.next()
    if (done) break
    seen.push(value)
    if (value.type === type) return seen
  }
  throw new Error(`No ${type} in ${JSON.stringify(seen)}`)
}

async function next(events: EventStream<CleanupEvent>, type: CleanupEvent['type']): Promise<CleanupEvent> {
  return (await upTo(events, type)).at(-1) as CleanupEvent
}

// Starting and stopping

test('expired sessions are gone within an interval of startCleanup, and live ones stay', async () => {
  await addExpired(2500)
  await addLive(50)
  assert.is(await store.countExpiredSessions(), 2500)
  await using _cleanup = await store.startCleanup('1 second')
  await until(async () => (await store.countExpiredSessions()) === 0)
  assert.equal(await countSessions(), { due: 0, live: 50 })
})

test('the next runs follow by themselves', async () => {
  await using _cleanup = await store.startCleanup('200 milliseconds')
  for (let run = 1; run <= 3; run++) {
    await addExpired(1)
    await until(async () => (await store.cleanupStatus()).totalPurged === run)
  }
})

test('a handle’s stop ends the worker of this process, and the schedule stays', async () => {
  const cleanup = await store.startCleanup('1 second')
  assert.ok((await connections('pgstore worker')) > 0)
  await cleanup.stop()
  await cleanup.stop()
  await cleanup.done
  await untilDisconnected()
  assert.ok((await store.cleanupStatus()).enabled)
})

test('`await using` does so at the end of the block', async () => {
  let done: Promise<void> | undefined
  {
    await using cleanup = await store.startCleanup('1 second')
    done = cleanup.done
    assert.ok((await connections('pgstore worker')) > 0)
  }
  await done
  await untilDisconnected()
})

test('two callers that start it on one store share one worker, which ends with the last of them', async () => {
  await untilDisconnected()
  const one = await store.startCleanup('1 second')
  const two = await store.startCleanup('1 second')
  await until(async () => (await connections('pgstore listen')) === 1)
  await one.stop()
  await one.done // this one's part has ended, whatever the other's does
  assert.is(await connections('pgstore listen'), 1)
  let isDone = false
  void two.done.then(() => {
    isDone = true
  })
  await addExpired(1)
  await until(async () => (await store.countExpiredSessions()) === 0)
  assert.not(isDone)
  await two.stop()
  await two.done
  await untilDisconnected()
})

test('a worker may be started again after the last has ended, and while it ends', async () => {
  const one = await store.startCleanup('1 second')
  const ending = one.stop()
  const two = await store.startCleanup('1 second')
  await ending
  await addExpired(1)
  await until(async () => (await store.countExpiredSessions()) === 0)
  await two.stop()
})

test('with worker: false the schedule is set, nothing runs here, and done is settled', async () => {
  await untilDisconnected() // those of the tests before
  const cleanup = await store.startCleanup('10 seconds', { worker: false })
  await cleanup.done
  await cleanup.stop()
  assert.equal([await connections('pgstore worker'), (await store.cleanupStatus()).every], [0, '00:00:10'])
})

test('starting with another interval changes it for all servers', async () => {
  await store.startCleanup('1 hour', { worker: false })
  await store.startCleanup('00:00:30', { worker: false })
  assert.is((await testStore({ connectionString: databaseUrl }).cleanupStatus()).every, '00:00:30')
})

const noIntervals = [
  '',
  '5',
  'five minutes',
  '-5 minutes',
  '5 minutes ago',
  "5 minutes'; select 1",
  'infinity',
  '5 moons',
]
const wrongIntervals = ['0 s', '99 ms', '367 days', '999999999 years', '1:99', '5 minutes 5 minutes']
for (const every of [...noIntervals, ...wrongIntervals]) {
  test(`an interval of "${every}" is refused by name, nothing is started, and no connection is lost over it`, async () => {
    const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 })
    const backend = async () => (await pool.query('select pg_backend_pid() as pid')).rows[0].pid
    const before = await backend()
    const { code, message } = await rejection(testStore({ pool }).startCleanup(every))
    assert.is(code, 'invalid_option')
    assert.match(message, /^every must be an interval/)
    assert.is(await backend(), before)
    await pool.end()
    assert.not((await store.cleanupStatus()).enabled)
  })
}

test('an interval that is not a string is refused', async () => {
  for (const every of [null, 300, { minutes: 5 }]) {
    assert.is((await rejection(store.startCleanup(every as unknown as string))).code, 'invalid_option')
  }
})

test('stopCleanup switches it off for all servers; workers wait for the next start', async () => {
  await using cleanup = await store.startCleanup('1 second')
  await until(async () => (await store.cleanupStatus()).lastRunAt !== undefined) // no batch is running
  const status = await testStore({ connectionString: databaseUrl }).stopCleanup()
  assert.equal([status.enabled, status.nextRunAt], [false, undefined])
  await addExpired(10)
  await sql('select pg_sleep(1.5)')
  assert.equal(await countSessions(), { due: 10, live: 0 })
  await store.startCleanup('1 hour', { worker: false })
  await until(async () => (await countSessions()).due === 0)
  await cleanup.stop()
})

test('a purge in progress ends after the current batch when it is switched off', async () => {
  await addExpired(3500)
  const events = watch()
  const hold = await holdPurge()
  await using _cleanup = await store.startCleanup('1 hour')
  await hold.untilHeld()
  await store.stopCleanup()
  await hold.release()
  const purged = await next(events, 'purged')
  assert.equal(purged.type === 'purged' && [purged.purged, purged.remaining], [1000, 2500])
})

test('a run that was claimed before stopCleanup deletes nothing after its answer', async () => {
  const events = watch()
  await store.startCleanup('1 hour').then((cleanup) => cleanup.stop()) // for graphile-worker's tables
  await store.stopCleanup()
  await next(events, 'stopped')
  // A run is claimed, then the job for the next is set, and then it begins.
  const hold = await holdAtTrigger(
    `before insert on graphile_worker._private_jobs for each row when (new.run_at > now() + interval '1 minute')`,
  )
  await using _cleanup = await store.startCleanup('2 hours')
  await hold.untilHeld()
  await store.stopCleanup()
  await addExpired(10)
  await hold.release()
  await sql('select pg_sleep(0.5)')
  assert.is((await countSessions()).due, 10)
  await store.startCleanup('3 hours', { worker: false })
  const types = (await upTo(events, 'purged')).map(({ type }) => type)
  assert.equal(types, ['started', 'stopped', 'started', 'purged'])
})

// The state

test('the status shows the schedule, the last run and when a worker was seen', async () => {
  await addExpired(3)
  const before = await store.cleanupStatus()
  assert.equal(before, {
    enabled: false,
    every: '00:05:00',
    workerSeenAt: undefined,
    nextRunAt: undefined,
    lastRunAt: undefined,
    lastPurged: undefined,
    lastMs: undefined,
    totalPurged: 0,
    lastError: undefined,
  })
  await using _cleanup = await store.startCleanup('1 hour')
  await until(async () => (await store.cleanupStatus()).lastRunAt !== undefined)
  const { enabled, every, workerSeenAt, nextRunAt, lastRunAt, lastPurged, lastMs, totalPurged, lastError } =
    await store.cleanupStatus()
  assert.equal([enabled, every, lastPurged, totalPurged, lastError], [true, '01:00:00', 3, 3, undefined])
  assert.ok(workerSeenAt && nextRunAt && lastRunAt && lastMs !== undefined)
  assert.ok(nextRunAt.getTime() - lastRunAt.getTime() > 3_500_000)
})

test('times are exact to the millisecond', async () => {
  await sql(
    `update pgstore.cleanup set last_run_at = '2026-03-01 00:00:00.123+00', worker_seen_at = '2039-12-31 23:59:59.999+00'`,
  )
  const { lastRunAt, workerSeenAt } = await store.cleanupStatus()
  assert.equal([lastRunAt, workerSeenAt], [new Date('2026-03-01T00:00:00.123Z'), new Date('2039-12-31T23:59:59.999Z')])
})

// Watching

test('a watcher sees the current state first, then what happens, in order', async () => {
  await store.startCleanup('1 hour', { worker: false })
  await addExpired(5)
  const events = watch()
  const [first] = await upTo(events, 'status')
  assert.ok(first?.type === 'status' && first.status.enabled && first.status.every === '01:00:00')
  const cleanup = await store.startCleanup('100 milliseconds')
  await next(events, 'started')
  const purged = await next(events, 'purged')
  assert.equal(purged.type === 'purged' && [purged.purged, purged.remaining], [5, 0])
  await store.stopCleanup()
  await next(events, 'stopped')
  await cleanup.stop()
})

test('several watchers see the same, and a later one begins with the state at that time', async () => {
  const early = watch()
  await early.ready
  await store.startCleanup('1 hour', { worker: false })
  await next(early, 'started')
  const late = watch()
  const [first] = await upTo(late, 'status')
  assert.ok(first?.type === 'status' && first.status.enabled)
  await store.stopCleanup()
  for (const events of [early, late]) await next(events, 'stopped')
})

test('after each outage of its connection a watcher gets the state again, which covers what it missed', async () => {
  const events = watch()
  await next(events, 'status')
  for (let outage = 1; outage <= 3; outage++) {
    await terminate('pgstore listen')
    await sql(`select pgstore.cleanup_start(make_interval(hours => $1))`, outage) // may be announced without listeners
    await until(async () => {
      const event = await next(events, 'status')
      return event.type === 'status' && event.status.every === `0${outage}:00:00`
    })
  }
})

test('a watcher waits for a state that cannot be read at first: nothing comes before it', async () => {
  const pool = new pg.Pool({ connectionString: databaseUrl })
  let failures = 3
  const failing = {
    options: pool.options,
    connect: () => pool.connect(),
    query: async (query: pg.QueryConfig) => {
      if (failures-- > 0) throw Object.assign(new Error('Connection terminated unexpectedly'))
      return await pool.query(query)
    },
  }
  const events = watch(testStore({ pool: failing as unknown as pg.Pool, directConnectionString: databaseUrl }))
  await until(async () => (await connections('pgstore listen')) > 0)
  await store.startCleanup('7 hours', { worker: false })
  const { value } = await events.next()
  assert.ok(value?.type === 'status' && value.status.every === '07:00:00')
  await pool.end()
})

test('forged announcements are ignored', async () => {
  const events = watch()
  await next(events, 'status')
  for (const payload of [
    '',
    'no json',
    '{"type":"started"}',
    '{"type":"purged","purged":-1,"ms":1,"remaining":0}',
    '{"type":"failed","purged":1,"ms":1,"remaining":0}',
    '{"type":"probe","probe":1}',
    '[]',
    'null',
  ]) {
    await sql('select pg_notify($1, $2)', 'pgstore_cleanup', payload)
  }
  await store.stopCleanup()
  assert.equal((await events.next()).value, { type: 'stopped' })
})

test('a run that fails is announced and recorded with its code, and the next is tried at its time', async () => {
  const url = new URL(databaseUrl)
  url.searchParams.set('options', '-c statement_timeout=1000')
  const hasty = testStore({ directConnectionString: url.href, connectionString: databaseUrl })
  await addExpired(10)
  const events = watch()
  const holder = new pg.Client(databaseUrl)
  await holder.connect()
  await holder.query('begin; lock table pgstore.sessions in exclusive mode')
  await using _cleanup = await hasty.startCleanup('500 milliseconds')
  const failed = await next(events, 'failed')
  const { ms, ...rest } = failed as CleanupEvent & { ms: number }
  assert.ok(ms >= 1000)
  assert.equal(rest, { type: 'failed', code: '57014', purged: 0, remaining: 10 })
  assert.is((await store.cleanupStatus()).lastError, '57014')
  await holder.query('commit')
  await holder.end()
  assert.equal(await next(events, 'purged').then((event) => event.type === 'purged' && event.purged), 10)
  assert.is((await store.cleanupStatus()).lastError, undefined)
})

// Purging now

test('purgeExpired purges everything expired, in batches, and counts it', async () => {
  await addExpired(2500)
  await addLive(2)
  assert.is(await store.purgeExpired({ limit: 700 }), 2500)
  assert.is(await store.purgeExpired(), 0)
  assert.equal(await countSessions(), { due: 0, live: 2 })
})

for (const limit of [0, -1, 1.5, Number.NaN, '10']) {
  test(`a limit of ${JSON.stringify(limit)} is refused`, async () => {
    const { code } = await rejection(store.purgeExpired({ limit: limit as number }))
    assert.is(code, 'invalid_option')
  })
}

// Closing

test('closing the store ends its worker and its watchers, and it does not start again', async () => {
  const closing = testStore({ connectionString: databaseUrl })
  const cleanup = await closing.startCleanup('1 second')
  const events = closing.watchCleanup()
  await upTo(events, 'status')
  const rest = (async () => {
    for await (const _event of events);
  })()
  await closing.close()
  await Promise.all([cleanup.done, rest])
  await untilDisconnected()
  assert.is((await rejection(closing.startCleanup('1 second'))).code, 'closed')
  assert.throws(() => closing.watchCleanup(), /closed/)
  await cleanup.stop()
})

test('closing during a purge lets the current batch finish, and records the run', async () => {
  await stopInBatch(2500, async () => {
    const closing = testStore({ connectionString: databaseUrl })
    await closing.startCleanup('1 hour')
    return () => closing.close()
  })
  assert.is((await countSessions()).due, 1500)
  assert.equal(await row('select total_purged::integer as n, last_error from pgstore.cleanup'), {
    n: 1000,
    last_error: null,
  })
})

test('closing while a worker starts ends it', async () => {
  const closing = testStore({ connectionString: databaseUrl })
  const starting = closing.startCleanup('1 second')
  const outcome = starting.then(
    () => 'started',
    (error) => error.code,
  )
  await closing.close()
  assert.is(await outcome, 'closed')
  assert.not((await store.cleanupStatus()).enabled)
})

test('closing without a database succeeds, even while a worker tries to start', async () => {
  const away = testStore({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
  const starting = rejection(away.startCleanup('1 second'))
  const events = away.watchCleanup()
  await away.close()
  assert.is((await starting).code, 'unavailable')
  assert.is((await events.next()).done, true)
})

// Stores without a separate connection

test('a store over a caller’s client sets the schedule in its transaction, and runs no worker', async () => {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  const inside = store.withClient(client)
  await client.query('begin')
  await inside.startCleanup('10 minutes', { worker: false })
  await client.query('rollback')
  assert.not((await store.cleanupStatus()).enabled)
  assert.is((await rejection(inside.startCleanup('10 minutes'))).code, 'invalid_option')
  assert.throws(() => inside.watchCleanup(), /separate connection/)
  assert.throws(() => inside.events(), /separate connection/)
  await client.end()
})

test('a pool that the caller owns shows where to connect, and stays open', async () => {
  const pool = new pg.Pool({ connectionString: databaseUrl })
  const borrowing = testStore({ pool, keyPairs: [hashKey] })
  const cleanup = await borrowing.startCleanup('1 second')
  await addExpired(1)
  await until(async () => (await countSessions()).due === 0)
  await cleanup.stop()
  await borrowing.close()
  assert.is((await pool.query('select 1')).rowCount, 1)
  await pool.end()
})

test.run()
