// A cache whose database restarts, falls silent or is a standby, and servers that believe for different lengths of time.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate, type PGStore } from '../../src/index.ts'
import { canStartServers, OwnServer } from '../faults/own-server.ts'
import { clientUrl, closeAll, rejection, testStore, until, Visitor } from '../support/harness.ts'
import { type Proxy as DatabaseProxy, startProxy } from '../support/proxy.ts'
import { cacheOf, hit, longStale, refused, server, type Values } from './servers.ts'

const database = new OwnServer()
const proxies: DatabaseProxy[] = []
let admin: pg.Pool

const outageTest = (sentence: string, body: () => Promise<void>) =>
  canStartServers ? test(sentence, body) : test.skip(sentence)

if (canStartServers) {
  test.before(async () => {
    await database.start()
    admin = new pg.Pool({ connectionString: database.url }).on('error', () => {})
    await migrate(admin)
  })
} else console.log('Skipped: the tests run on a server that is not ours to stop.')
test.after(async () => {
  await closeAll()
  for (const proxy of proxies) await proxy.close()
  if (!canStartServers) return
  await admin.end()
  await database.remove()
})

async function signedIn(store: PGStore<Values>, userId: string): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.userId = userId
    session.values.n = 0
  })
  return visitor
}

/** The visitor's cookie without the hint, in other hands. */
function thief({ jar }: Visitor): Visitor {
  const other = new Visitor()
  other.jar.set('sid', jar.get('sid') ?? '')
  return other
}

/** A server over the database of this file's own. */
function ownServer(options: Parameters<typeof server>[1] = {}): PGStore<Values> {
  return server({ maxStale: longStale }, { connectionString: database.url, ...options })
}

/** Ends this user's sessions as nobody hears it. */
const deleteByHand = async (userId: string) => {
  const text = 'delete from pgstore.sessions where user_id = $1'
  await until(() =>
    admin.query(text, [userId]).then(
      ({ rowCount }) => rowCount,
      () => 0,
    ),
  )
}

outageTest(
  'while the database is away nothing is served, and after its return nothing that was cached before',
  async () => {
    const store = ownServer()
    const [ended, other] = [await signedIn(store, 'ended'), await signedIn(store, 'other')]
    for (const visitor of [ended, other]) await hit(store, visitor)
    await database.stop()
    await until(() => cacheOf(store).state !== 'listening')
    const { hits } = cacheOf(store)
    for (let n = 0; n < 3; n++) {
      const { code } = await rejection(store.get(ended.request(), 'sid'))
      assert.ok(code === 'unavailable' || code === 'timeout', code)
    }
    assert.is(cacheOf(store).hits, hits)
    await database.start()
    await deleteByHand('ended')
    await until(() =>
      store.get(ended.request(), 'sid').then(
        ({ isNew }) => isNew,
        ({ code }) => assert.is(code, 'unavailable'),
      ),
    )
    assert.is((await hit(store, other)).userId, 'other')
  },
)

test('a listener that hears nothing more, and no end of its connection, is not believed for long', async () => {
  const proxy = await startProxy({ url: clientUrl })
  proxies.push(proxy)
  const store = server({ maxStale: longStale }, { directConnectionString: proxy.url })
  const issuer = testStore<Values>()
  const visitor = await signedIn(issuer, 'black hole')
  const old = thief(visitor)
  await hit(store, old)
  proxy.isSilent = true
  await visitor.visit(issuer, (session, req, res) => issuer.destroy(req, res, session))
  await until(async () => {
    const { isNew } = await store.get(old.request(), 'sid')
    return isNew && cacheOf(store).state !== 'listening'
  })
  const { hits } = cacheOf(store)
  const later = await signedIn(issuer, 'later')
  for (let n = 0; n < 5; n++) assert.is((await store.get(later.request(), 'sid')).userId, 'later')
  assert.is(cacheOf(store).hits, hits)
  proxy.sever()
  proxy.isSilent = false
  await hit(store, later)
})

test('a browser finds what it saved on servers that believe for different lengths of time', async () => {
  const servers = [server({ maxStale: 0.2 }), server({ maxStale: longStale }), server({ maxStale: 1, sessions: 0 })]
  const [brief, long, none] = servers as [PGStore<Values>, PGStore<Values>, PGStore<Values>]
  const visitor = await signedIn(brief, 'fleet')
  const old = thief(visitor)
  for (let n = 1; n <= 30; n++) {
    await hit(long, visitor)
    await visitor.visit([brief, none][n % 2] as PGStore<Values>, (session) => {
      session.values.n = n
    })
    for (const store of servers) assert.is((await store.get(visitor.request(), 'sid')).values.n, n)
  }
  await hit(long, old)
  await visitor.visit(brief, (session, req, res) => brief.destroy(req, res, session))
  for (const store of servers) await refused(store, old)
})

// The last ones: from here on the database is a standby.

outageTest('what is cached is not served when the primary has become a standby', async () => {
  const store = ownServer()
  const visitor = await signedIn(store, 'demoted')
  await hit(store, visitor)
  await database.demote()
  await until(() =>
    store.get(visitor.request(), 'sid').then(
      () => false,
      ({ message }) => /standby/.test(message),
    ),
  )
  const { hits } = cacheOf(store)
  for (let n = 0; n < 3; n++) {
    let error = await rejection(store.get(visitor.request(), 'sid'))
    // On a busy machine the question whether it is a standby may time out.
    for (let again = 0; again < 5 && error.code === 'timeout'; again++)
      error = await rejection(store.get(visitor.request(), 'sid'))
    assert.match(error.message, /standby/)
  }
  assert.equal([cacheOf(store).hits, cacheOf(store).entries, cacheOf(store).state], [hits, 0, 'connecting'])
})

outageTest(
  'a standby is refused behind a cache whose listener leads to a primary, and the other way around',
  async () => {
    const visitor = await signedIn(testStore<Values>(), 'two servers')
    const behind = ownServer({ directConnectionString: clientUrl })
    for (let n = 0; n < 5; n++) assert.match((await rejection(behind.get(visitor.request(), 'sid'))).message, /standby/)
    const deaf = server({ maxStale: longStale }, { directConnectionString: database.url })
    const bypasses = () => cacheOf(deaf).bypasses.not_listening
    await until(async () => {
      assert.is((await deaf.get(visitor.request(), 'sid')).userId, 'two servers')
      return bypasses() > 50
    })
    for (const store of [behind, deaf]) {
      assert.is.not(cacheOf(store).state, 'listening')
      assert.is(cacheOf(store).hits, 0)
    }
    const away = server({ maxStale: longStale }, { directConnectionString: 'postgres://nobody@127.0.0.1:1/none' })
    await away.get(visitor.request(), 'sid')
    const { state, reason } = cacheOf(away)
    assert.equal([state, reason], ['connecting', 'there is no connection to LISTEN on yet'])
  },
)

test.run()
