// What docs/node-http.md says about a store without a middleware, unless the framework tests cover it already.
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Browser } from '../support/browser.ts'
import { closeAll, rejection, sql, testStore, until } from '../support/harness.ts'

const store = testStore<{ visits?: number }>()
const events = store.events()
const server = http.createServer((req, res) => {
  answer(req, res).then(
    (page) => res.end(page),
    (error: unknown) => res.destroy(error as Error),
  )
})
let url = ''
const sockets = new Map<string, { end(): void }>()

async function endSockets(): Promise<void> {
  for await (const event of events) {
    if (event.type !== 'regenerated') for (const id of event.ids) sockets.get(id)?.end()
  }
}

async function answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<string> {
  const session = await store.get(req, 'sid')
  const visits = (session.values.visits ?? 0) + 1
  if (req.url === '/new') {
    res.writeHead(200).write('early, ')
    session.values.visits = 1000
    return (await rejection(store.save(req, res, session))).code ?? ''
  }
  if (req.url === '/late') {
    res.writeHead(200).write('early, ')
    session.values.visits = visits
    assert.is((await rejection(store.save(req, res, session))).code, 'headers_sent')
    await store.save(req, new Headers(), session)
  } else {
    session.values.visits = visits
    session.userId = 'ada'
    await store.save(req, res, session)
  }
  return String(visits)
}

test.before(async () => {
  server.on('upgrade', (req, socket) => {
    store.get(req, 'sid').then(
      ({ id = '', values }) => {
        sockets.set(id, socket)
        socket.write(`HTTP/1.1 101 Switching Protocols\r\n\r\nvisits: ${values.visits}`)
      },
      () => socket.destroy(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

test.after(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await closeAll()
})

test('a websocket upgrade knows its visitor, and the socket ends with the session', async () => {
  const ending = endSockets()
  await events.ready
  const browser = new Browser(url)
  await browser.get('/')
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  const lines = ['GET / HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket']
  socket.write(`${lines.join('\r\n')}\r\nCookie: sid=${browser.jar.get('sid')}\r\n\r\n`)
  const said = text(socket)
  await until(() => sockets.size === 1)
  await store.revoke('ada')
  assert.match(await said, /visits: 1$/)
  await events.return?.()
  await ending
})

test('changes made after the headers were sent can be saved to unused headers', async () => {
  const browser = new Browser(url)
  await browser.get('/')
  assert.is((await browser.get('/late')).text, 'early, 2')
  assert.is((await browser.get('/')).text, '3')
})

test('A17: saving a new session after the headers were sent fails with headers_sent and creates no row', async () => {
  const browser = new Browser(url)
  assert.is((await browser.get('/new')).text, 'early, headers_sent')
  assert.equal(await sql('select from pgstore.sessions where data @> \'{"visits": 1000}\''), [])
})

test.run()
