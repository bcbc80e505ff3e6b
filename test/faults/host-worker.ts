// An application's graphile-worker, of the version in the given folder: it adds a job now and then and tells of each that ran.
import { createRequire } from 'node:module'
import path from 'node:path'
import type { run as Run } from 'graphile-worker'

const [, , connectionString = '', folder = ''] = process.argv
const { run } = createRequire(path.join(folder, 'index.js'))(folder) as { run: typeof Run }
let jobs = 0
const runner = await run({
  connectionString,
  taskList: { host: async () => console.log(`ran ${++jobs}`) },
  concurrency: 1,
  pollInterval: 200,
  noHandleSignals: true,
})
runner.promise.then(
  () => process.exit(0),
  (error) => {
    console.log(`ended: ${String(error)}`)
    process.exit(1)
  },
)
console.log('running')
setInterval(() => void runner.addJob('host', {}).catch((error: unknown) => console.log(`ended: ${String(error)}`)), 200)
