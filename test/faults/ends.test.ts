// How a store ends, how long a call may take, and what happens when a primary is demoted.
import pg from 'pg'
import * as assert from 'uvu/assert'
import { migrate, PGStore, type PGStoreError } from '../../src/index.ts'
import {
  admin,
  clientUrl,
  closeAll,
  databaseUrl,
  hashKey,
  rejection,
  row,
  sql,
  TestResponse,
  testStore,
  until,
  Visitor,
} from '../support/harness.ts'
import { startPooler } from '../support/pooler.ts'
import { endPrograms, program } from '../support/program.ts'
import { startProxy } from '../support/proxy.ts'
import { duration, report, test } from './faults.ts'
import { canStartServers, OwnServer } from './own-server.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after.each(endPrograms)
test.after(closeAll)

const set = (visitor: Visitor, store: PGStore, values: object) =>
  visitor.visit(store, (session) => Object.assign(session.values, values))

/** Everything that asks the database, begun now. */
function everyCall(store: PGStore, visitor: Visitor): Record<string, Promise<unknown>> {
  return {
    get: store.get(visitor.request(), 'sid'),
    save: new Visitor().visit(store, ({ values }) => Object.assign(values, { a: 1 })),
    list: store.list('user'),
    revoke: store.revoke('user'),
    byToken: (async () => await store.byToken.get('token'))(),
    count: store.countExpiredSessions(),
    purge: store.purgeExpired(),
    status: store.cleanupStatus(),
    stop: store.stopCleanup(),
    start: store.startCleanup('1 hour', { worker: false }),
  }
}

for (const own of [true, false]) {
  test(`D1: a store that closes finishes what was begun, ${own ? 'on its own pool' : 'on a pool it was given'}`, async () => {
    const many = 500
    const pool = new pg.Pool({ connectionString: clientUrl, max: 4 })
    const store = testStore(own ? {} : { pool })
    const saves = Array.from({ length: many }, async (_, n) => await set(new Visitor(), store, { n }))
    await new Promise(setImmediate)
    const closing = store.close()
    const late = await rejection(store.list('user'))
    assert.is(late.code, 'closed')
    const results = await Promise.allSettled(saves)
    await closing
    assert.is(results.filter(({ status }) => status === 'fulfilled').length, many)
    assert.is(Number((await row('select count(*) as n from pgstore.sessions'))['n']), many)
    await pool.end()
  })
}

test('D1: so does a call with later steps: a sign-in, its cap and its cookie', async () => {
  const store = testStore({ sessionsPerUser: 1 })
  const visitors = await Promise.all(
    Array.from({ length: 20 }, async (_, n) => {
      const visitor = new Visitor()
      await set(visitor, store, { n })
      return visitor
    }),
  )
  const signIns = visitors.map(async (visitor, n) => {
    const [req, res] = [visitor.request(), new TestResponse()]
    const session = await store.get(req, 'sid')
    session.userId = `user ${n % 10}`
    const regenerating = store.regenerate(req, res, session)
    return { res, regenerating }
  })
  const begun = await Promise.all(signIns)
  const closing = store.close()
  await Promise.all(begun.map(({ regenerating }) => regenerating))
  await closing
  for (const { res } of begun) assert.is(res.cookies.length, 1)
  assert.is(Number((await row('select count(*) as n from pgstore.sessions where user_id is not null'))['n']), 10)
})

test('D1: new calls of every kind are refused at once, while it closes and afterwards', async () => {
  const store = testStore()
  const visitor = new Visitor()
  await set(visitor, store, { a: 1 })
  const { byToken } = store
  const begun = set(new Visitor(), store, { a: 1 })
  await new Promise(setImmediate)
  const closing = store.close()
  for (let round = 0; round < 2; round++) {
    for (const [name, promise] of Object.entries(everyCall(store, visitor))) {
      assert.is((await rejection(promise)).code, 'closed', name)
    }
    await closing
  }
  await begun
  assert.is((await rejection(byToken.get('token'))).code, 'closed')
  assert.throws(() => store.events(), /closed/)
  assert.throws(() => store.withClient(admin), /closed/)
})

test('D1: a call that the database does not answer within five seconds of closing fails with closed', async () => {
  const store = testStore()
  const visitor = new Visitor()
  const { session } = await set(visitor, store, { a: 1 })
  const holder = new pg.Client(databaseUrl)
  await holder.connect()
  await holder.query('begin')
  await holder.query('select from pgstore.sessions where id = $1 for update', [session.id])
  const saving = rejection(set(visitor, store, { a: 2 }))
  await new Promise((resolve) => setTimeout(resolve, 50))
  const closed = await duration(() => store.close())
  await holder.end()
  const { code } = await saving
  assert.ok(code === 'closed' || code === 'timeout', code)
  report('D1', 'closed while a save waits for a lock', String(code), { closed: { is: closed, most: 6000 } })
})

test('D2: after close() a process ends within two seconds, though the server is frozen', async () => {
  const proxy = await startProxy()
  const closing = program('faults/closing.ts', proxy.url)
  await closing.line(/ready/, 60)
  proxy.isSilent = true
  const { code, signal, ms } = await closing.end('SIGTERM')
  await proxy.close()
  await sql(`select pgstore.cleanup_stop()`)
  assert.equal({ code, signal }, { code: 0, signal: null }, closing.errors)
  report('D2', 'close() while the server is frozen', 'exit 0', { 'process ended': { is: ms, most: 2200 } })
})

test('D2: the same holds with only idle connections, and with one that is being opened', async () => {
  const proxy = await startProxy()
  const store = testStore({ connectionString: proxy.url })
  await store.countExpiredSessions()
  proxy.isSilent = true
  assert.ok((await duration(() => store.close())) < 2000)
  const early = testStore({ connectionString: proxy.url })
  const begun = rejection(early.countExpiredSessions())
  const ms = await duration(() => early.close())
  assert.ok(['closed', 'timeout', 'unavailable'].includes((await begun).code ?? ''))
  assert.ok(ms < 3500, `${ms}`)
  await proxy.close()
})

// How long a call takes

/** A purge is many calls: after one that took too long it goes on with smaller batches. */
async function times(store: PGStore, visitor: Visitor): Promise<Record<string, number>> {
  const started = performance.now()
  const took: Record<string, number> = {}
  await Promise.all(
    Object.entries(everyCall(store, visitor)).map(async ([name, call]) => {
      const { code } = await rejection(call)
      if (name === 'purge') return
      took[name] = performance.now() - started
      assert.ok(code === 'timeout' || code === 'unavailable', `${name}: ${code}`)
    }),
  )
  return took
}

const blackHoles: Record<
  string,
  (proxy: Awaited<ReturnType<typeof startProxy>>) => Promise<{ store: PGStore; end?: () => Promise<void> }>
> = {
  'connections that were open': async (proxy) => {
    const store = testStore({ connectionString: proxy.url })
    await Promise.all(Array.from({ length: 10 }, () => store.countExpiredSessions()))
    return { store }
  },
  'connections that are new': async (proxy) => ({ store: testStore({ connectionString: proxy.url }) }),
  'a pool without a limit': async (proxy) => {
    const pool = new pg.Pool({ connectionString: proxy.url, max: 1 })
    pool.on('error', () => {})
    return { store: testStore({ pool }), end: async () => void pool.end() }
  },
}
for (const [name, open] of Object.entries(blackHoles)) {
  test(`D10: in a black hole, over ${name}, no call takes longer than its limit and a tenth`, async () => {
    const proxy = await startProxy()
    const { store, end } = await open(proxy)
    const visitor = new Visitor()
    await set(visitor, testStore(), { a: 1 })
    proxy.isSilent = true
    const took = await times(store, visitor)
    await end?.()
    await proxy.close()
    const longest = Math.max(...Object.values(took))
    report('D10', `a black hole, ${name}`, '', { 'the longest': { is: longest, most: 5500 } })
    assert.ok(longest < 6000, JSON.stringify(took))
  })
}

test('D10: nor on a client that the caller has lent, nor a transaction, on a pool without any limit', async () => {
  const proxy = await startProxy()
  const pool = new pg.Pool({ connectionString: proxy.url, max: 4 })
  pool.on('error', () => {})
  const store = testStore({ pool })
  const visitor = new Visitor()
  await set(visitor, testStore(), { a: 1 })
  const [lent, other] = [await pool.connect(), await pool.connect()]
  for (const client of [lent, other]) client.on('error', () => {})
  await lent.query('begin')
  await store.withClient(lent).list('user')
  let inWork = () => {}
  const working = new Promise<void>((resolve) => {
    inWork = resolve
  })
  const frozen = new Promise<void>((resolve) => {
    void working.then(() => {
      proxy.isSilent = true
      resolve()
    })
  })
  const late = store.transaction(visitor.request(), 'sid', async (client) => {
    inWork()
    await frozen
    await store.withClient(client as never).list('user')
  })
  await frozen
  const started = performance.now()
  const took: Record<string, number> = {}
  const calls: Record<string, Promise<unknown>> = {
    'get on a lent client': store.withClient(lent).get(visitor.request(), 'sid'),
    'a first call on a lent client': store.withClient(other).list('user'),
    'a transaction under way': late,
    'a transaction that begins': store.transaction(visitor.request(), 'sid', () => {}),
    'a transaction that waits': store.transaction(visitor.request(), 'sid', () => {}),
  }
  await Promise.all(
    Object.entries(calls).map(async ([name, call]) => {
      const { code } = await rejection(call)
      took[name] = performance.now() - started
      assert.ok(code === 'timeout' || code === 'unavailable', `${name}: ${code}`)
    }),
  )
  for (const client of [lent, other]) client.release(true)
  await proxy.close()
  void pool.end()
  const longest = Math.max(...Object.values(took))
  report('D10', 'a black hole, inside transactions', '', { 'the longest': { is: longest, most: 5500 } })
  assert.ok(longest < 6000, JSON.stringify(took))
})

test('D10: a call that waited for its turn gets no more time than any other', async () => {
  const store = testStore({ batch: { inFlight: 1, items: 1 } })
  const visitor = new Visitor()
  const { session } = await set(visitor, store, { a: 1 })
  const holder = new pg.Client(databaseUrl)
  await holder.connect()
  await holder.query('begin')
  await holder.query('select from pgstore.sessions where id = $1 for update', [session.id])
  const took = await Promise.all(
    Array.from({ length: 5 }, async (_, n) => {
      return await duration(async () => await rejection(set(visitor, store, { n })))
    }),
  )
  await holder.end()
  assert.ok(Math.max(...took) < 6000, String(took))
})

// A primary that is one no longer

function demoted(name: string, body: () => Promise<void>): void {
  if (canStartServers) test(name, body)
  else test.skip(name)
}

demoted('A8: a standby is never read, however a connection leads there', async () => {
  const server = new OwnServer()
  await server.start()
  const quiet = () => {} // a server that goes may be faster than the end of a pool's last connection
  const setup = new pg.Pool({ connectionString: server.url }).on('error', quiet)
  await migrate(setup)
  await setup.end()
  const direct = new PGStore({ connectionString: server.url, keyPairs: [hashKey] })
  const pooler = await startPooler(server.url)
  const pool = new pg.Pool({ connectionString: pooler.url, max: 2 }).on('error', quiet)
  const pooled = new PGStore({ pool, keyPairs: [hashKey] })
  const own = new PGStore({ connectionString: pooler.url, keyPairs: [hashKey] })
  const visitor = new Visitor()
  await set(visitor, direct, { a: 1 })
  const read = async (store: PGStore) => (await store.get(visitor.request(), 'sid')).values['a']
  for (const store of [direct, pooled, own]) assert.is(await read(store), 1)

  await server.demote()
  pooler.lead(server.url)
  // Reads that come within five seconds of the last question may still be answered; later ones are not.
  for (const store of [pooled, own, direct]) {
    const isRefused = async () => {
      const error = (await read(store).then(
        () => undefined,
        (e) => e,
      )) as PGStoreError | undefined
      return error?.code === 'unavailable' && /standby/.test(error.message)
    }
    await until(isRefused, 20)
  }
  for (const store of [direct, pooled, own]) assert.match((await rejection(read(store))).message, /standby/)
  const given = new pg.Pool({ connectionString: server.url }).on('error', quiet)
  assert.match((await rejection(read(new PGStore({ pool: given, keyPairs: [hashKey] })))).message, /standby/)
  const client = await given.connect()
  assert.match((await rejection(read(direct.withClient(client)))).message, /standby/)
  client.release()

  await given.query('select pg_promote()')
  await until(async () => (await read(pooled).catch(() => undefined)) === 1, 20)
  for (const store of [direct, own]) await until(async () => (await read(store).catch(() => undefined)) === 1, 20)
  await Promise.all([direct.close(), pooled.close(), own.close()])
  await Promise.all([pool.end(), given.end()])
  await pooler.close()
  await server.remove()
})

test('A8: a connection is asked once where it leads, and behind a pooler again after five seconds', async () => {
  const pooler = await startPooler(databaseUrl)
  for (const [url, questions] of [
    [databaseUrl, 1],
    [pooler.url, 2],
  ] as const) {
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    const asked: string[] = []
    pool.on('connect', (client) => {
      const query = client.query.bind(client)
      const watched = (statement: { text: string; name: string }) => {
        asked.push(statement.text)
        assert.is(statement.name, '', 'prepared on a shared pool')
        return query(statement as never)
      }
      Object.assign(client, { query: watched })
    })
    const store = testStore({ pool })
    const started = performance.now()
    const count = () => asked.filter((text) => text.includes('pg_is_in_recovery')).length
    for (let n = 0; n < 20; n++) await store.countExpiredSessions()
    assert.ok(count() === 1 || performance.now() - started > 5000)
    await until(() => performance.now() - started > 5200)
    for (let n = 0; n < 20; n++) await store.countExpiredSessions()
    assert.is(count(), questions)
    await store.close()
    await pool.end()
  }
  await pooler.close()
})

test.run()
