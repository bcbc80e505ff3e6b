// Several databases that announce, as partitions behind a proxy do: all are heard.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore, PGStoreOptions, SessionEvent } from '../../src/index.ts'
import { cacheOf, hit, longStale, refused, type Values } from '../cache/servers.ts'
import { closeAll, databaseUrl, emptyDatabase, rejection, testStore, until, Visitor } from '../support/harness.ts'
import { type Partitions, startPartitions } from '../support/partitions.ts'
import { type Proxy as DatabaseProxy, startProxy } from '../support/proxy.ts'

const urls = [databaseUrl, await emptyDatabase()] as const
const partitions: Partitions = await startPartitions(urls)
const proxies: DatabaseProxy[] = []
test.after(async () => {
  await Promise.all(stores.map((store) => store.close()))
  await partitions.close()
  for (const proxy of proxies) await proxy.close()
  await closeAll()
})

const stores: PGStore<Values>[] = []

function partitioned(options: Partial<PGStoreOptions> = {}): PGStore<Values> {
  const store = testStore<Values>({ pool: partitions.pool, batch: false, directConnectionString: urls, ...options })
  stores.push(store)
  return store
}

const maker = partitioned()

/** A visitor whose session lies in this partition: its number's low byte is its key's first. */
async function visitorIn(place: number, userId: string): Promise<{ readonly visitor: Visitor; readonly id: string }> {
  for (;;) {
    const visitor = new Visitor()
    const { session } = await visitor.visit(maker, (session) => {
      session.userId = userId
      session.values.n = place
    })
    const id = session.id as string
    if ((Number(id) & 1) === place) return { visitor, id }
    await visitor.visit(maker, (session, req, res) => maker.destroy(req, res, session))
  }
}

const end = (visitor: Visitor) => visitor.visit(maker, (session, req, res) => maker.destroy(req, res, session))

/** The listening connections carry this name. */
function named(name: string): string[] {
  return urls.map((url) => {
    const direct = new URL(url)
    direct.searchParams.set('application_name', name)
    return direct.href
  })
}

/** How many of that name there are in this partition. */
async function terminate(place: number, name: string): Promise<number> {
  const text =
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1'
  return (await partitions.pools[place]?.query(text, [name]))?.rowCount ?? 0
}

test('what ends in any of the databases is an event', async () => {
  const events = partitioned().events()
  await events.ready
  for (const place of [0, 1, 1, 0]) {
    const { visitor, id } = await visitorIn(place, 'heard')
    await end(visitor)
    let event: SessionEvent
    do event = (await events.next()).value
    while (event.ids[0] !== id)
    assert.is(event.type, 'destroyed')
  }
  await events.return?.()
})

test('after an outage of one of them a loop learns that it may have missed some, and goes on', async () => {
  const events = partitioned({ directConnectionString: named('cut now and then') }).events()
  await events.ready
  for (const place of [1, 0]) {
    assert.is(await terminate(place, 'cut now and then'), 1)
    assert.equal((await events.next()).value, { type: 'missed', ids: [] })
  }
  const { visitor, id } = await visitorIn(1, 'heard again')
  const ended = end(visitor)
  for await (const event of events) if (event.ids[0] === id) break
  await ended
})

test('the cache serves sessions of all, and refuses one at once that ended in any', async () => {
  const store = partitioned({ cache: { maxStale: longStale } })
  for (const place of [0, 1]) {
    const { visitor } = await visitorIn(place, `cached ${place}`)
    assert.is((await hit(store, visitor)).userId, `cached ${place}`)
    const thief = new Visitor()
    for (const [name, value] of visitor.jar) if (!name.endsWith('-v')) thief.jar.set(name, value)
    await end(visitor)
    await refused(store, thief)
  }
})

test('the cache serves nothing while one of them is not heard', async () => {
  const proxy = await startProxy({ url: urls[1] })
  proxies.push(proxy)
  const store = partitioned({ cache: { maxStale: longStale }, directConnectionString: [urls[0], proxy.url] })
  const { visitor } = await visitorIn(0, 'of the other')
  await hit(store, visitor)
  let open = () => {}
  proxy.gate = new Promise((resolve) => {
    open = resolve
  })
  proxy.sever()
  await until(() => cacheOf(store).state !== 'listening')
  const { hits } = cacheOf(store)
  for (let n = 0; n < 20; n++) assert.is((await store.get(visitor.request(), 'sid')).userId, 'of the other')
  assert.is(cacheOf(store).hits, hits)
  open()
  await hit(store, visitor)
})

test('the cache serves nothing where the list does not name all databases, or one of them twice', async () => {
  const twice = new URL(urls[0])
  twice.searchParams.set('application_name', 'the same again')
  for (const [directConnectionString, state] of [
    [urls[0], 'unsupported'],
    [[urls[1]], 'unsupported'],
    [[urls[0], twice.href], 'proving'],
  ] as const) {
    const store = partitioned({ cache: { maxStale: longStale }, directConnectionString })
    const { visitor } = await visitorIn(0, 'not all')
    await until(async () => {
      await store.get(visitor.request(), 'sid')
      return cacheOf(store).state === state && cacheOf(store).bypasses.not_listening > 3
    })
    assert.is(cacheOf(store).hits, 0)
    if (state === 'unsupported') assert.match(String(cacheOf(store).reason), /2 databases announce, 1 are listened to/)
  }
})

test('closing ends all connections', async () => {
  const store = partitioned({ directConnectionString: named('to be closed') })
  const events = store.events()
  await events.ready
  await store.close()
  assert.is((await events.next()).done, true)
  for (const place of [0, 1]) await until(async () => (await terminate(place, 'to be closed')) === 0)
})

test('a list of connections is checked one by one', async () => {
  for (const [given, problem] of [
    [[], /directConnectionString must name at least one connection/],
    [['mysql://a/b', urls[1]], /directConnectionString\[0\] must begin with postgres:\/\//],
    [[urls[0], undefined], /directConnectionString\[1\] must begin/],
    [[urls[0], urls[0]], /directConnectionString names a connection twice/],
    ['mysql://a/b', /directConnectionString must begin/],
  ] as const) {
    const error = await rejection(
      (async () => testStore({ directConnectionString: given as unknown as readonly string[] }))(),
    )
    assert.is(error.code, 'invalid_option')
    assert.match(error.message, problem)
  }
})

test.run()
