// A server under load, with the worker in it, until it is told to end.
import { PGStore } from '../../src/index.ts'
import { hashKey, TestResponse } from '../support/harness.ts'
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
  const req = { headers: {} }
  const session = await store.get(req, 'sid')
  session.values['n'] = Math.random()
  session.options.maxAge = 1
  await store.save(req, new TestResponse(), session)
  await new Promise((resolve) => setTimeout(resolve, 5))
}
await load.stop()
await store.close()
console.log(JSON.stringify({ done: load.calls, failed: load.failed }))
