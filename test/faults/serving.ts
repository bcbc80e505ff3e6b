// A server under load, with the worker in it: 16 visitors at once, until it is stopped.
import { PGStore } from '../../src/index.ts'
import { hashKey, TestResponse } from '../support/harness.ts'

const store = new PGStore({ connectionString: process.argv[2], keyPairs: [hashKey] })
await store.startCleanup('200 milliseconds')
let isEnding = false
process.once('SIGTERM', () => {
  isEnding = true
})
const counts = { done: 0, failed: 0 }
async function visit(): Promise<void> {
  const req = { headers: {} }
  const session = await store.get(req, 'sid')
  session.values['n'] = Math.random()
  session.options.maxAge = 1 // soon to be purged
  await store.save(req, new TestResponse(), session)
}
console.log('serving')
await Promise.all(
  Array.from({ length: 16 }, async () => {
    while (!isEnding) {
      await visit().then(
        () => counts.done++,
        () => counts.failed++,
      )
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }),
)
await store.close()
console.log(JSON.stringify(counts))
