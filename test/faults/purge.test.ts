// Very many expired sessions, purged while visitors come.
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { addExpired, addLive } from '../support/crowd.ts'
import { closeAll, hashKey, until } from '../support/harness.ts'
import { duration, quantile, report, test } from './faults.ts'
import { Load } from './load.ts'
import { canStartServers, OwnServer } from './own-server.ts'

test.after(closeAll)

if (!canStartServers) console.log('Skipped: the tests run on a server that is not ours to stop.')
const serverTest = (name: string, body: () => Promise<void>) => (canStartServers ? test(name, body) : test.skip(name))

serverTest(
  'F20: a million expired sessions are purged under load: each once, no live one, and a standby keeps up',
  async () => {
    const [many, live] = [counts(20_000, 1_000_000), counts(2000, 100_000)]
    const primary = new OwnServer({ max_wal_size: '4GB', shared_buffers: '256MB' })
    await primary.install()
    const standby = await primary.standby()
    await primary.use(async (owner) => {
      const run = async (text: string, ...values: unknown[]) => (await owner.query(text, values)).rows
      const number = async (text: string) => Number(Object.values((await run(text))[0] ?? {})[0])
      await addLive(live, 'pgstore', run)
      await addExpired(many, 'pgstore', run)
      await run('vacuum analyze pgstore.sessions')
      await run('checkpoint')
      // It waits longer for a connection than a site should: this is not about a busy machine.
      const admin = new PGStore({ pool: owner, keyPairs: [hashKey] })
      const store = new PGStore({ connectionString: primary.clientUrl, keyPairs: [hashKey] })
      const load = new Load(store)
      await load.start()
      await load.more(counts(100, 2000))
      const base = quantile(load.reads, 0.99)
      const before = load.reads.length

      let lag = 0
      let isOver = false
      const watching = (async () => {
        while (!isOver) {
          const sent = await number("select pg_current_wal_lsn() - '0/0'")
          lag = Math.max(
            lag,
            await duration(() =>
              until(async () => {
                const [seen] = await standby.ask<{ n: string }>(`select pg_last_wal_replay_lsn() - '0/0' as n`)
                return Number(seen?.n) >= sent
              }, 60),
            ),
          )
        }
      })()
      let purged = 0
      const ms = await duration(async () => {
        purged = await admin.purgeExpired()
      })
      isOver = true
      await watching
      await load.more(20) // that the rest of what was under way counts too
      const during = quantile(load.reads.slice(before), 0.99)
      assert.is(purged, many)
      const kept = await number(`select count(*) from pgstore.sessions where data = '{}'`)
      assert.is(kept, live)

      // Autovacuum frees the room, and the next million takes no more. By hand: here, or it may come too late.
      await run('vacuum pgstore.sessions')
      const size = await number(`select pg_total_relation_size('pgstore.sessions')`)
      await addExpired(many, 'pgstore', run)
      const batches: number[] = []
      let left = 0
      do {
        const started = performance.now()
        const batch = await number('select pgstore.purge_expired()')
        batches.push(performance.now() - started)
        left = batch
        purged += batch
      } while (left === 1000)
      assert.is(purged, 2 * many)
      await run('vacuum pgstore.sessions')
      const growth = (100 * ((await number(`select pg_total_relation_size('pgstore.sessions')`)) - size)) / size
      const { text } = await load.judged()
      await store.close()
      await admin.close()
      const rate = Math.round(many / (ms / 1000))
      report(
        'F20',
        `${many} expired sessions purged beside ${live} live ones`,
        `${rate} rows/s; live deleted 0; ${text}`,
        {
          'p99 of reads': { is: during, most: Math.max(2 * base, 10) },
          'longest batch': { is: Math.max(...batches), most: 250 },
          'standby behind': { is: lag, most: 5000 },
          'table grown in the second cycle': { is: Math.max(0, growth), most: 5, unit: '%' },
        },
      )
    })
    await primary.remove()
    await standby.remove()
  },
)

test.run()
