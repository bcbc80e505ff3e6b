// What a network does to calls: slow, cut, silent, and half of it gone.
import * as assert from 'uvu/assert'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, row, testStore, until, Visitor } from '../support/harness.ts'
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts'
import { endPrograms, Program } from '../support/program.ts'
import { type Proxy as DatabaseProxy, startProxy } from '../support/proxy.ts'
import { duration, quantile, report, test } from './faults.ts'
import { Load } from './load.ts'

test.after.each(endPrograms)
test.after(closeAll)

/** The load through a proxy, until `fault` is over. */
async function through(
  fault: (proxy: DatabaseProxy, load: Load) => Promise<unknown>,
): Promise<{ load: Load; text: string }> {
  const proxy = await startProxy({ url: clientUrl })
  const store = testStore({ connectionString: proxy.url })
  const load = new Load(store)
  await load.start()
  await load.more(50)
  await fault(proxy, load)
  const { text } = await load.judged()
  await store.close()
  await proxy.close()
  return { load, text }
}

test('F6: over a network that is 100 ms slower, a call takes one round trip more and nothing else', async () => {
  const proxy = await startProxy({ url: clientUrl })
  const store = testStore({ connectionString: proxy.url })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { n: 0 }))
  const measure = async () => {
    const took: number[] = []
    for (let n = 0; n < counts(10, 50); n++) took.push(await duration(() => store.get(visitor.request(), 'sid')))
    return quantile(took, 0.5)
  }
  const base = await measure()
  proxy.delayMs = 100
  const slow = await measure()
  await proxy.close()
  await store.close()
  // Two round trips would take 200.
  assert.ok(slow >= base + 95, `${slow}`)
  report('F6', 'every answer 100 ms later', `p50 of a read ${base.toFixed(1)} ms before`, {
    'p50 of a read': { is: slow, most: base + 110 },
  })
})

test('F6: over a network of 10 kB a second calls take their time or fail in time, and none is wrong', async () => {
  const { load, text } = await through(async (proxy, load) => {
    proxy.bytesPerSecond = 10_000
    await load.more(counts(60, 600), 120)
    proxy.bytesPerSecond = Number.POSITIVE_INFINITY
    await load.success()
  })
  report('F6', 'answers at 10 kB a second', text, { 'a call settles': { is: Math.max(...load.durations), most: 5500 } })
})

test('F6: calls of which one in twenty ends its connection with a reset lose nothing', async () => {
  let success = 0
  const { load, text } = await through(async (proxy, load) => {
    proxy.resets = 0.05
    await load.more(counts(300, 4000), 120)
    proxy.resets = 0
    success = await load.success()
  })
  const { read } = load.counts
  report('F6', '5 % of calls reset, before or after they ran', text, {
    'reads failed': { is: (1000 * read.failed) / read.calls, most: 10, unit: 'of 1000' },
    'first success after the last': { is: success, most: 1000 },
  })
})

for (const [name, begin, end] of [
  [
    'a black hole: connections are accepted and never answered',
    (proxy: DatabaseProxy) => {
      proxy.isSilent = true
    },
    (proxy: DatabaseProxy) => {
      proxy.isSilent = false
      proxy.sever()
    },
  ],
  ['half-open connections: the server’s half is gone', (proxy: DatabaseProxy) => proxy.strand(), () => {}],
] as const) {
  test(`F6: ${name}: calls end in time, and the pool fills again`, async () => {
    let success = 0
    const { load, text } = await through(async (proxy, load) => {
      begin(proxy)
      // Each client has waited for an answer that does not come, and been told so.
      await load.more(counts(16, 64), 120)
      end(proxy)
      success = await load.success()
      await load.more(50)
    })
    report('F6', name, text, {
      'a call settles': { is: Math.max(...load.durations), most: 5500 },
      'first success after it': { is: success, most: 10_000 },
    })
  })
}

const pooledTest = (name: string, body: () => Promise<void>) => (hasPgBouncer ? test(name, body) : test.skip(name))
if (!hasPgBouncer) console.log('Skipped: the experiment behind PgBouncer, which is not installed.')

pooledTest('F19: 16 clients over two server connections of PgBouncer get right answers', async () => {
  const pooler = await startPgBouncer()
  const stores = Array.from({ length: 4 }, () => testStore({ connectionString: pooler.through(clientUrl) }))
  const load = new Load(stores, { perSecond: counts(200, 1000) })
  await load.start()
  await load.more(counts(1000, 10_000), 300)
  const { text } = await load.judged()
  for (const store of stores) await store.close()
  pooler.close()
  report('F19', 'PgBouncer in transaction mode, pool_size 2, 16 clients', text, load.noneFailed)
})

pooledTest('F19: a worker behind PgBouncer sees that a schedule is started, by polling', async () => {
  if (counts(0, 1) === 0) return // it polls every 30 seconds
  const pooler = await startPgBouncer()
  const worker = new Program(['dist/cli/main.js', 'worker'], { DATABASE_URL: pooler.through() })
  await worker.line(/waiting/)
  const store = testStore()
  await row(`select from pgstore.cleanup_start('1 second')`)
  const seen = await duration(() =>
    until(async () => (await row('select last_run_at from pgstore.cleanup'))['last_run_at'] !== null, 90),
  )
  await row('select from pgstore.cleanup_stop()')
  await worker.end()
  await store.close()
  pooler.close()
  report('F19', 'a schedule started while the worker is behind PgBouncer', '', {
    'seen after': { is: seen, most: 31_000 },
  })
})

test.run()
