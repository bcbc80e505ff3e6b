// A server with a cache, a listener and a loop over its events, which is to be frozen: `GET /` tells whose session a cookie leads to.
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { PGStore } from '../../src/index.ts'
import { hashKey } from '../support/harness.ts'

const store = new PGStore({ connectionString: process.argv[2], keys: [hashKey], cache: { maxStale: 60 } })
let lost = 0
const events = store.events()
void (async () => {
  for await (const { type } of events) if (type === 'missed') lost++
})()
await events.ready
const server = http.createServer((req, res) => {
  store.get(req, 'sid').then(
    ({ userId = null, isNew }) => {
      const { hits = 0, state = '' } = store.stats().cache ?? {}
      res.end(JSON.stringify({ userId, isNew, hits, state, lost }))
    },
    ({ code }) => res.writeHead(503).end(JSON.stringify({ code })),
  )
})
server.keepAliveTimeout = 600_000
server.listen(0, '127.0.0.1', () => console.log(`port ${(server.address() as AddressInfo).port}`))
