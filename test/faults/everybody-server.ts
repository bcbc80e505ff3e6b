// A server with a cache whose visitors never rest: it reads one session after the other, and tells which it took for live, and when.
import { PGStore } from '../../src/index.ts'
import { hashKey } from '../support/harness.ts'

const [url = '', visitors = '0'] = process.argv.slice(2)
if (!process.send) throw new Error('It is forked by everybody.test.ts.')
const store = new PGStore({ connectionString: url, keys: [hashKey], cache: { maxStale: 60 } })
const [codec] = store.codecs
const cookies = Array.from({ length: Number(visitors) }, (_, n) => `sid=${codec?.encode('sid', `token ${n + 1}`)}`)

/** When the last read began that found a session, and how many were begun since a time that found one. */
let since = Number.POSITIVE_INFINITY
let [reads, late, newest] = [0, 0, 0]
let isOver = false

process.on('message', (message: { readonly since?: number; readonly tell?: true; readonly end?: true }) => {
  if (message.since !== undefined) since = message.since
  if (message.tell) process.send?.({ reads, late, newest, hits: store.stats().cache?.hits ?? 0 })
  if (message.end) isOver = true
})

async function visit(): Promise<void> {
  for (let n = 0; !isOver; n++) {
    const cookie = cookies[Math.floor(Math.random() * cookies.length)] as string
    const began = Date.now()
    // A machine that is busy with other things may refuse a connection in time: that lets nobody in.
    const session = await store.get({ headers: { cookie } }, 'sid').catch(() => undefined)
    if (!session) await new Promise((resolve) => setTimeout(resolve, 100))
    const isNew = session?.isNew ?? true
    reads++
    if (!isNew) newest = began
    if (!isNew && began > since) late++
    if (n % 10 === 0) await new Promise(setImmediate)
  }
}

await Promise.all(Array.from({ length: 8 }, visit))
await store.close()
process.disconnect?.()
