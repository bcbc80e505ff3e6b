// A server under load, with the worker in it, until it is told to end.
import { PGStore, PGStoreError } from '../../src/index.ts'
import { hashKey, Visitor } from '../support/harness.ts'
import { History } from './history.ts'
import { Load } from './load.ts'

const [, , connectionString, file] = process.argv
const store = new PGStore({ connectionString, keyPairs: [hashKey] })
await store.startCleanup('200 milliseconds')
const load = new Load(store, { perSecond: 600, history: new History(file) })
let isEnding = false
process.once('SIGTERM', () => {
  isEnding = true
})
await load.start()
console.log('serving')
// Visitors who come once, soon to be purged.
while (!isEnding) {
  const visit = new Visitor().visit(store, ({ values, options }) => {
    Object.assign(values, { n: Math.random() })
    options.maxAge = 1
  })
  await visit.catch((error) => {
    if (!(error instanceof PGStoreError)) throw error // a machine may be too busy to answer in time
  })
  await new Promise((resolve) => setTimeout(resolve, 5))
}
await load.stop()
await store.close()
console.log(JSON.stringify({ done: load.calls, failed: load.failed }))
