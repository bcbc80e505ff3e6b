// A server that cleans up, watches and listens, and closes its store on a signal.
import { PGStore } from '../../src/index.ts'
import { hashKey } from '../support/harness.ts'

const store = new PGStore({ connectionString: process.argv[2], keyPairs: [hashKey] })
await store.startCleanup('1 second')
const events = store.events()
const cleanup = store.watchCleanup()
await Promise.all([events.ready, cleanup.ready])
process.once('SIGTERM', () => {
  const started = performance.now()
  void store.close().then(() => console.log(`closed after ${performance.now() - started} ms`))
})
console.log('ready')
for await (const _event of cleanup);
