// What reads and saves cost others: no notification, and so none of the lock that each takes at its commit.
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import { closeClients, connect } from '../sql/calls.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, row, sql, testStore, until, Visitor } from '../support/harness.ts'
import { quantile, report, test } from './faults.ts'

test.after.each(closeClients)
test.after(closeAll)

/** Saves per second of 16 visitors, each of whom reads before. */
async function savesPerSecond(visitors: readonly Visitor[], store: PGStore): Promise<number> {
  const many = counts(20, 100)
  const started = performance.now()
  await Promise.all(
    visitors.map(async (visitor) => {
      for (let n = 0; n < many; n++)
        await visitor.visit(store, ({ values }) => {
          values['n'] = Math.random()
        })
    }),
  )
  return (1000 * many * visitors.length) / (performance.now() - started)
}

test('F27: reads and saves notify nobody, and listeners do not slow them down', async () => {
  const store = testStore({ connectionString: clientUrl })
  const visitors = Array.from({ length: 16 }, () => new Visitor())
  await Promise.all(visitors.map((visitor) => visitor.visit(store, ({ values }) => Object.assign(values, { n: 0 }))))
  const heard: unknown[] = []
  const listen = async () => {
    const client = await connect()
    client.on('notification', (message) => heard.push(message))
    await client.query('listen pgstore_sessions; listen pgstore_cleanup')
    return client
  }
  let locks = 0
  let isOver = false
  // NOTIFY takes this lock when it commits: https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/commands/async.c
  const watching = (async () => {
    while (!isOver) {
      const { n } = await row<{ n: number }>(
        `select count(*)::integer as n from pg_locks
         where locktype = 'object' and classid = 'pg_database'::regclass and objid = 0 and mode = 'AccessExclusiveLock'`,
      )
      locks += n
    }
  })()
  const [alone, beside]: [number[], number[]] = [[], []]
  for (let round = 0; round < counts(1, 5); round++) {
    alone.push(await savesPerSecond(visitors, store))
    const listeners = await Promise.all(Array.from({ length: counts(10, 100) }, listen))
    beside.push(await savesPerSecond(visitors, store))
    await Promise.all(listeners.map((client) => client.end()))
  }
  isOver = true
  await watching
  // One that is heard, so that silence says something.
  await listen()
  await sql(`select pg_notify('pgstore_sessions', '{}')`)
  await until(() => heard.length > 0)
  assert.is(heard.length, 1)
  assert.is(locks, 0)
  const [before, after] = [quantile(alone, 0.5), quantile(beside, 0.5)]
  report(
    'F27',
    'reads and saves beside listeners',
    `0 notifications, 0 such locks, ${Math.round(before)} saves/s without`,
    {
      'saves/s lost beside them': { is: Math.max(0, (100 * (before - after)) / before), most: 10, unit: '%' },
    },
  )
})

test('F28: a listener that stays in a transaction fills no queue and delays nobody', async () => {
  const many = counts(1000, 10_000)
  const store = testStore()
  const visitor = new Visitor()
  const listener = await connect()
  await listener.query('listen pgstore_cleanup; listen pgstore_sessions; begin')
  const events = testStore().events()
  await events.ready
  for (let done = 0; done < many; done += 500) {
    await sql(
      `select pgstore.cleanup_announce('purged', jsonb_build_object('purged', n, 'ms', 1)) from generate_series(1, 500) as n`,
    )
    await visitor.visit(store, ({ values }) => Object.assign(values, { done }))
  }
  const { usage } = await row<{ usage: number }>('select pg_notification_queue_usage() as usage')
  await listener.query('commit')
  await events.return?.()
  assert.ok(usage < 0.01, `${usage}`)
  report(
    'F28',
    `${many} announcements past a listener in a transaction`,
    `queue ${(100 * usage).toFixed(3)} % full, saves went on`,
  )
})

test.run()
