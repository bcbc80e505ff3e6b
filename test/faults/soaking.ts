// A server for half an hour: its cache, its events and its worker on, visitors at a low rate, and what it holds in memory.
import { PGStore, PGStoreError } from '../../src/index.ts'
import { hashKey, Visitor } from '../support/harness.ts'
import { History } from './history.ts'
import { Load } from './load.ts'

const [, , connectionString, file] = process.argv
const store = new PGStore({ connectionString, keyPairs: [hashKey], cache: true })
await store.startCleanup('1 second')
const events = store.events()
await events.ready
let heard = 0
void (async () => {
  for await (const _event of events) heard++
})()
const load = new Load(store, { perSecond: 50, history: new History(file) })
await load.start()
let isOver = false
let missed = 0
const passing = (async () => {
  while (!isOver) {
    const visit = new Visitor().visit(store, ({ values, options }) => {
      Object.assign(values, { passing: true })
      options.maxAge = 1 // purged a moment later
    })
    await visit.catch((error) => {
      if (!(error instanceof PGStoreError)) throw error // a machine may be too busy to answer in time
      missed++
    })
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
})()
const sampling = setInterval(() => {
  for (const times of [load.durations, load.reads]) times.length = 0 // this program's, which would grow
  globalThis.gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  console.log(JSON.stringify({ rss, heapUsed, external }))
}, 5000)
const end = async () => {
  clearInterval(sampling)
  isOver = true
  await passing
  await load.stop()
  await load.sweep()
  const { cache } = store.stats()
  await store.close()
  const { regenerate } = load.counts
  const regenerated = regenerate.calls - regenerate.failed
  const strange = load.strange.map(String)
  console.log(
    JSON.stringify({ calls: load.calls, failed: load.failed + missed, heard, hits: cache?.hits, regenerated, strange }),
  )
}
process.once('SIGTERM', () => void end())
console.log('soaking')
