// While the database cannot be reached, calls fail at once but for the one that tries.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore, type PGStoreError } from '../../src/index.ts'
import {
  clientUrl,
  closeAll,
  databaseUrl,
  hashKey,
  rejection,
  TestResponse,
  testStore,
  until,
  Visitor,
} from '../support/harness.ts'
import { freePort } from '../support/port.ts'
import { startProxy } from '../support/proxy.ts'

test.after(closeAll)

const isRefusal = (error: Error | undefined) => /one call at a time/.test(error?.message ?? '')

/** What calls that begin together are rejected with, in the order in which they end; undefined for one that is answered. */
async function ends(calls: readonly Promise<unknown>[]): Promise<((Error & { code?: string }) | undefined)[]> {
  const ended: (Error | undefined)[] = []
  await Promise.all(
    calls.map((call) =>
      call.then(
        () => ended.push(undefined),
        (error) => ended.push(error),
      ),
    ),
  )
  return ended
}

const count = (store: PGStore) => store.countExpiredSessions()

test('in a black hole one call at a time waits, the others fail at once and say so, and the first answer ends it', async () => {
  const proxy = await startProxy({ url: databaseUrl })
  const store = testStore({ connectionString: proxy.url })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  proxy.isSilent = true
  await until(async () => isRefusal((await ends(Array.from({ length: 4 }, () => count(store))))[0]), 60)
  await until(async () => !isRefusal(await rejection(count(store))), 60) // nobody tries now
  const accepted = proxy.accepted
  const ended = await ends([...Array.from({ length: 200 }, () => count(store)), store.get(visitor.request(), 'sid')])
  assert.is(proxy.accepted - accepted, 1, 'connections were tried')
  assert.equal(
    ended.slice(0, 200).filter((error) => !isRefusal(error)),
    [],
  )
  assert.equal(new Set(ended.slice(0, 200).map((error) => error?.code)), new Set(['unavailable']))
  assert.match(ended[0]?.message ?? '', /^The database has not answered for \d+ s, .* The last that tried: \w/)
  assert.ok(ended[200] && !isRefusal(ended[200]), 'the one that tried')
  proxy.isSilent = false
  assert.is((await store.get(visitor.request(), 'sid')).values['a'], 1, 'the first call afterwards')
  assert.equal((await ends(Array.from({ length: 50 }, () => count(store)))).filter(Boolean), [])
  await proxy.close()
})

test('a server that refuses is asked by one call at a time too, and its code is told', async () => {
  const url = Object.assign(new URL(databaseUrl), { port: String(await freePort()) }).href
  const store = testStore({ connectionString: url })
  for (let n = 0; n < 3; n++) assert.is(isRefusal(await rejection(count(store))), false)
  const ended = await ends(Array.from({ length: 20 }, () => count(store)))
  assert.is(ended.filter((error) => isRefusal(error)).length, 19)
  for (const error of ended)
    assert.equal(
      { code: error?.code, sqlState: (error as PGStoreError).sqlState },
      { code: 'unavailable', sqlState: 'ECONNREFUSED' },
    )
})

test('the cookie of a call that was not sent is left alone', async () => {
  const url = Object.assign(new URL(databaseUrl), { port: String(await freePort()) }).href
  const store = testStore({ connectionString: url, failFast: 1 })
  const visitor = new Visitor()
  await visitor.visit(testStore(), ({ values }) => Object.assign(values, { a: 1 }))
  await rejection(count(store))
  const res = new TestResponse()
  const [, error] = await ends([
    count(store),
    visitor.visit(store),
    store.save(visitor.request(), res, await fresh(store)),
  ])
  assert.ok(error)
  assert.equal(res.cookies, [])
  assert.is((await testStore().get(visitor.request(), 'sid')).values['a'], 1)
})

async function fresh(store: PGStore) {
  const session = await store.get({ headers: {} }, 'sid')
  session.values['new'] = 1
  return session
}

test('a pool whose connections are all in use does not open it', async () => {
  const pool = new pg.Pool({ connectionString: clientUrl, max: 1 })
  const store = testStore({ connectionString: undefined, pool, batch: false })
  const client = await pool.connect()
  Object.assign(pool.options, { connectionTimeoutMillis: 100 }) // not before: on a busy machine it takes longer to connect
  const ended = await ends(Array.from({ length: 10 }, () => store.get({ headers: { cookie: cookie(store) } }, 'sid')))
  assert.equal(
    ended.map((error) => error?.code),
    Array(10).fill('timeout'),
  )
  client.release()
  assert.ok((await store.get({ headers: { cookie: cookie(store) } }, 'sid')).isNew)
  await pool.end()
})

function cookie(store: PGStore): string {
  return `sid=${store.codecs[0]?.encode('sid', 'x'.repeat(43))}`
}

test('an error of the server is an answer', async () => {
  const url = Object.assign(new URL(databaseUrl), { password: 'wrong' }).href
  const store = testStore({ connectionString: url, failFast: 1 })
  for (let n = 0; n < 3; n++) {
    for (const error of await ends(Array.from({ length: 5 }, () => count(store)))) assert.is(error?.code, 'database')
  }
})

test('a locked session that takes its time to fail lets others pass', async () => {
  const store = testStore({ failFast: 1 })
  const [locked, other] = [new Visitor(), new Visitor()]
  for (const visitor of [locked, other]) await visitor.visit(store, ({ values }) => Object.assign(values, { n: 0 }))
  const { id } = await store.get(locked.request(), 'sid')
  const holder = new pg.Client(databaseUrl)
  await holder.connect()
  await holder.query('begin')
  await holder.query('select from pgstore.sessions where id = $1 for update', [id])
  const save = () => locked.visit(store, ({ values }) => Object.assign(values, { n: 1 }))
  assert.is((await rejection(save())).code, 'timeout') // nobody else has called meanwhile
  const saving = save().catch(() => {})
  let answered = 0
  await until(async () => {
    await store.get(other.request(), 'sid').then(
      () => answered++,
      (error) => assert.ok(isRefusal(error), String(error)),
    )
    return answered > 20
  })
  await holder.end()
  await saving
})

test('failFast: false lets every call try', async () => {
  const url = Object.assign(new URL(databaseUrl), { port: String(await freePort()) }).href
  const store = testStore({ connectionString: url, failFast: false })
  for (let n = 0; n < 3; n++) {
    for (const error of await ends(Array.from({ length: 10 }, () => count(store))))
      assert.match(error?.message ?? '', /ECONNREFUSED/)
  }
})

test('failFast is a positive whole number or false', () => {
  for (const failFast of [0, 1.5, -1, true, '3', null]) {
    const options = { connectionString: databaseUrl, keys: [hashKey], failFast: failFast as number }
    assert.throws(() => new PGStore(options), /failFast must be a positive whole number, or false/)
  }
})

test.run()
