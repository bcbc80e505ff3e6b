// One server with a cache: what it serves, to whom, and what goes past it.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../src/adapters/express-session.ts'
import {
  type CacheRead,
  type CacheStateChange,
  type Codec,
  migrate,
  type PGStore,
  SecureCookie,
  type Session,
} from '../../src/index.ts'
import { connections } from '../support/crowd.ts'
import {
  clientUrl,
  closeAll,
  databaseUrl,
  emptyDatabase,
  hashKey,
  rejection,
  sql,
  TestResponse,
  testStore,
  until,
  Visitor,
} from '../support/harness.ts'
import { cacheOf, hit, longStale, server, shown, type Values } from './servers.ts'

const store = server()
test.after(closeAll)

async function signedIn(userId: string, values: Values = {}, at: PGStore<Values> = store): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(at, (session) => {
    session.userId = userId
    Object.assign(session.values, values)
  })
  return visitor
}

const read = async (visitor: Visitor, at: PGStore<Values> = store): Promise<Session<Values>> =>
  await at.get(visitor.request(), 'sid')

/** As the owner, so that nobody hears of it. */
const changeByHand = async (userId: string, values: Values) =>
  await sql('update pgstore.sessions set data = $1 where user_id = $2', JSON.stringify(values), userId)

test('a cached session is served without a query, with all that a session has', async () => {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.userId = 'all'
    session.label = { browser: 'Firefox' }
    session.tags = ['one']
    session.values.n = 1
  })
  const before = await store.new(visitor.request(), 'sid')
  await hit(store, visitor)
  await changeByHand('all', { n: 2 })
  const session = await hit(store, visitor)
  assert.equal(session.values, { n: 1 })
  assert.equal([session.userId, session.label, session.tags], ['all', { browser: 'Firefox' }, ['one']])
  assert.is(session.version, 1)
  assert.equal(
    [session.id, session.createdAt, session.expiresAt, session.signedInAt],
    [before.id, before.createdAt, before.expiresAt, before.signedInAt],
  )
  assert.ok(session.isFresh(60) && !session.isFresh(0))
})

test('a session from the cache is saved, regenerated, revoked around and destroyed like any other', async () => {
  const visitor = await signedIn('like any other', { n: 1 })
  await hit(store, visitor)
  await visitor.visit(store, (session) => {
    session.values.other = 2
  })
  assert.equal((await hit(store, visitor)).values, { n: 1, other: 2 })
  const cookie = visitor.jar.get('sid')
  await visitor.visit(store, (session, req, res) => store.regenerate(req, res, session))
  assert.not.equal(visitor.jar.get('sid'), cookie)
  const elsewhere = await signedIn('like any other')
  assert.is(await store.revoke('like any other', { except: await hit(store, visitor) }), 1)
  assert.ok((await read(elsewhere)).isNew)
  assert.equal((await hit(store, visitor)).values, { n: 1, other: 2 })
  await visitor.visit(store, (session, req, res) => store.destroy(req, res, session))
  assert.not(visitor.jar.has('sid'))
})

test('keys that another request changed are kept by a save of what the cache showed', async () => {
  const visitor = await signedIn('merges', { n: 1 })
  const { req, session } = await shown(store, visitor)
  await changeByHand('merges', { n: 5, other: 7 })
  assert.equal(session.values, { n: 1 })
  session.values.theme = 'dark'
  await store.save(req, new TestResponse(), session)
  assert.equal((await store.new(visitor.request(), 'sid')).values, { n: 5, other: 7, theme: 'dark' })
})

test('a save with ifUnchanged of what the cache showed fails where the row has changed, and shows what is there', async () => {
  const visitor = await signedIn('unchanged', { n: 1 })
  const session = await hit(store, visitor)
  await sql(`update pgstore.sessions set data = '{"n": 8}', version = 9 where user_id = 'unchanged'`)
  session.values.n = 2
  const error = await rejection(store.save(visitor.request(), new TestResponse(), session, { ifUnchanged: true }))
  assert.is(error.code, 'conflict')
  assert.equal(session.values, { n: 8 })
})

test('fresh reads past the cache, into the session that the request has already', async () => {
  const visitor = await signedIn('fresh', { n: 1, other: 1 })
  await hit(store, visitor)
  await changeByHand('fresh', { n: 2, other: 2 })
  const { req, session } = await shown(store, visitor)
  assert.equal(session.values, { n: 1, other: 1 })
  session.values.theme = 'dark'
  session.values.other = 3
  assert.is(await store.get(req, 'sid', { fresh: true }), session)
  assert.equal(session.values, { n: 2, other: 3, theme: 'dark' })
  assert.equal((await store.get(visitor.request(), 'sid', { fresh: true })).values, { n: 2, other: 2 })
  assert.equal((await store.new(visitor.request(), 'sid')).values, { n: 2, other: 2 })
  await sql(`delete from pgstore.sessions where user_id = 'fresh'`)
  assert.ok((await store.get(visitor.request(), 'sid', { fresh: true })).isNew)
  assert.ok(cacheOf(store).bypasses.fresh >= 3)
})

test('what a key called __proto__ holds does not become a prototype', async () => {
  const visitor = await signedIn('proto', { n: 1 })
  await hit(store, visitor)
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  session.values = JSON.parse('{"n": 1, "__proto__": {"isAdmin": true}}')
  await store.get(req, 'sid', { fresh: true })
  assert.is((session.values as { isAdmin?: boolean }).isAdmin, undefined)
  assert.ok(Object.hasOwn(session.values, '__proto__'))
})

test('in a transaction nothing comes from the cache or gets there, and a rollback leaves no trace', async () => {
  const visitor = await signedIn('rolled back', { n: 1 })
  const other = await signedIn('untouched', { n: 1 })
  await hit(store, visitor)
  await hit(store, other)
  await changeByHand('untouched', { n: 2 })
  const client = new pg.Client(clientUrl)
  await client.connect()
  await client.query('begin')
  const inner = store.withClient(client)
  assert.is((await inner.get(other.request(), 'sid')).values.n, 2)
  const req = visitor.request()
  const session = await inner.get(req, 'sid')
  session.values.n = 2
  await inner.save(req, new TestResponse(), session)
  assert.is((await inner.get(visitor.request(), 'sid')).values.n, 2)
  assert.is((await read(visitor)).values.n, 1)
  await client.query('rollback')
  assert.is((await read(visitor)).values.n, 1)
  await client.query('begin')
  const again = await inner.get(visitor.request(), 'sid')
  again.values.n = 3
  await inner.save(visitor.request(), new TestResponse(), again)
  assert.is((await read(visitor)).values.n, 1)
  await client.query('commit')
  assert.is((await read(visitor)).values.n, 3) // its key is kept out
  await client.end()
})

for (const [what, end] of [
  ['revoke', (inner) => inner.revoke('ends inside')],
  ['revoke of one', (inner, { id }) => inner.revoke('ends inside', { id: id as string })],
  ['revokeTag', (inner) => inner.revokeTag('inside')],
  ['endAll', (inner) => inner.endAll()],
  ['endAll of a user', (inner) => inner.endAll({ userId: 'ends inside' })],
  ['endAll of a tag', (inner) => inner.endAll({ tag: 'inside' })],
  [
    'a sign-in beyond sessionsPerUser',
    (inner) =>
      new Visitor().visit(inner, (session) => {
        session.userId = 'ends inside'
      }),
  ],
] as [string, (inner: PGStore<Values>, session: Session<Values>) => Promise<unknown>][]) {
  test(`what ends in a transaction of the caller's is refused at once when that commits: ${what}`, async () => {
    const client = new pg.Client(databaseUrl)
    await client.connect()
    try {
      for (let round = 0; round < 5; round++) {
        const one = server({ maxStale: longStale }, { sessionsPerUser: 1, connectionString: databaseUrl })
        const visitor = await signedIn('ends inside')
        await visitor.visit(one, (session) => {
          session.tags = ['inside']
        })
        const session = await hit(one, visitor)
        await client.query('begin')
        await end(one.withClient(client), session)
        assert.is((await one.get(visitor.request(), 'sid')).isNew, false, 'not yet')
        await client.query('commit')
        assert.ok((await one.get(visitor.request(), 'sid')).isNew, `round ${round}`)
        await one.close()
      }
    } finally {
      await client.end()
    }
  })
}

test('a session that this request has from the cache is read anew inside a transaction', async () => {
  const visitor = await signedIn('anew inside', { n: 1 })
  await hit(store, visitor)
  await changeByHand('anew inside', { n: 2 })
  const { req, session } = await shown(store, visitor)
  assert.is(session.values.n, 1)
  const client = new pg.Client(clientUrl)
  await client.connect()
  assert.is((await store.withClient(client).get(req, 'sid')).values.n, 2)
  await client.end()
})

test('several cookies of the name go to the database, and the first whose session lives counts', async () => {
  const one = await signedIn('one of two')
  const two = await signedIn('two of two')
  await hit(store, two)
  const { several } = cacheOf(store).bypasses
  const cookie = `sid=${one.jar.get('sid')}; sid=${two.jar.get('sid')}`
  assert.is((await store.get({ headers: { cookie } }, 'sid')).userId, 'one of two')
  const hints = `sid=${two.jar.get('sid')}; sid-v=a; sid-v=b`
  assert.is((await store.get({ headers: { cookie: hints } }, 'sid')).userId, 'two of two')
  const long = `sid=${two.jar.get('sid')}; sid-v=${'x'.repeat(4000)}`
  assert.is((await store.get({ headers: { cookie: long } }, 'sid')).userId, 'two of two')
  assert.is(cacheOf(store).bypasses.several, several + 3)
})

test("a cookie's value under another name is refused, whatever is cached", async () => {
  const visitor = await signedIn('named')
  await hit(store, visitor)
  const cookie = `other=${visitor.jar.get('sid')}`
  assert.ok((await store.get({ headers: { cookie } }, 'other')).isNew)
  assert.ok((await store.get({ headers: { cookie: `sid=${visitor.jar.get('sid')}x` } }, 'sid')).isNew)
})

test('a name that ends in -v is refused', async () => {
  const error = await rejection(store.get({ headers: { cookie: 'sid-v=x' } }, 'sid-v'))
  assert.is(error.code, 'invalid_option')
  assert.match(error.message, /hints/)
  assert.is((await rejection(store.new({ headers: {} }, 'sid-v'))).code, 'invalid_option')
  assert.ok((await testStore().get({ headers: {} }, 'sid-v')).isNew)
})

test('a key that is taken out of the ring, or moved back in it, counts at once', async () => {
  const ring = [new SecureCookie('k'.repeat(32)), new SecureCookie(hashKey)]
  const rotating = server({ maxStale: longStale }, { codecs: ring })
  const visitor = await signedIn('rotated', {}, store)
  const session = await hit(rotating, visitor)
  const res = new TestResponse()
  await rotating.save(visitor.request(), res, session)
  assert.is(res.cookies.length, 1) // signed anew
  ring.splice(1, 1)
  assert.ok((await read(visitor, rotating)).isNew)
})

test('a maxAge that is set later makes cached cookies too old', async () => {
  const aging = server()
  const visitor = await signedIn('aging', {}, aging)
  await hit(aging, visitor)
  aging.maxAge(1)
  await until(async () => (await read(visitor, aging)).isNew)
})

test("a codec of the caller's is asked at each request, and its sessions are cached all the same", async () => {
  const inner = new SecureCookie(hashKey)
  const denied = new Set<string>()
  let asked = 0
  const codec: Codec = {
    encode: (name, value) => inner.encode(name, value),
    decode(name, cookie) {
      asked++
      return denied.has(cookie) ? undefined : inner.decode(name, cookie)
    },
  }
  const custom = server({ maxStale: longStale }, { codecs: [codec] })
  const visitor = await signedIn('custom', {}, custom)
  await hit(custom, visitor)
  const before = asked
  await hit(custom, visitor)
  assert.ok(asked > before)
  denied.add(visitor.jar.get('sid') as string)
  assert.ok((await read(visitor, custom)).isNew)
})

test('sealed sessions are kept sealed, and opened for each request', async () => {
  const sealed = server({ maxStale: longStale }, { seal: true })
  const visitor = await signedIn('sealed', { n: 1 }, sealed)
  assert.is((await hit(sealed, visitor)).values.n, 1)
  await visitor.visit(sealed, (session) => {
    session.values.n = 2
  })
  assert.is((await hit(sealed, visitor)).values.n, 2)
})

test('of the requests that are shown a session which is due for a touch, one touches it and renews the cookie', async () => {
  const visitor = await signedIn('touched')
  const userId = 'touched'
  await sql(`update pgstore.sessions set seen_at = seen_at - interval '2 hours' where user_id = $1`, userId)
  await hit(store, visitor)
  const sessions = await Promise.all(Array.from({ length: 10 }, () => read(visitor)))
  const responses = sessions.map(() => new TestResponse())
  for (const [index, session] of sessions.entries()) {
    await store.save(visitor.request(), responses[index] as TestResponse, session)
  }
  const cookies = responses.flatMap((res) => res.cookies)
  assert.ok(cookies.length <= 1, `${cookies.length} cookies`)
  assert.equal(
    cookies.filter((line) => line.startsWith('sid-v=')),
    [],
  )
})

test('a session that expires is not served any longer, whatever maxStale says', async () => {
  const short = server({ maxStale: longStale }, { options: { maxAge: 1 }, touchAfter: 0 })
  const visitor = await signedIn('short', {}, short)
  await until(async () => (await read(visitor, short)).isNew)
})

test('by token nothing is cached, unless it is asked for by name', async () => {
  const visitor = await signedIn('warm')
  await hit(store, visitor)
  await store.byToken.save('a token', { n: 1 }, { ttl: 60 })
  const { hits, misses } = cacheOf(store)
  for (let i = 0; i < 3; i++) await store.byToken.get('a token')
  assert.equal([cacheOf(store).hits, cacheOf(store).misses], [hits, misses])

  const named = server({ maxStale: longStale, byToken: true })
  await until(async () => {
    const before = cacheOf(named).hits
    assert.equal((await named.byToken.get('a token'))?.values(), { n: 1 })
    return cacheOf(named).hits > before
  })
  const known = await named.byToken.get('a token')
  assert.ok(known)
  await named.byToken.save('a token', { n: 2 }, { ttl: 60, known })
  assert.equal((await named.byToken.get('a token'))?.values(), { n: 2 })
  assert.equal((await named.byToken.get('a token', { fresh: true }))?.values(), { n: 2 })
  await named.byToken.destroy('a token')
  assert.is(await named.byToken.get('a token'), undefined)
})

test("express-session's reads are not cached by default", async () => {
  const express = new ExpressSessionStore({ store: store as unknown as PGStore })
  const cookie = { originalMaxAge: null }
  await express.set('express sid', { cookie, n: 1 } as never)
  const { hits, misses } = cacheOf(store)
  for (let i = 0; i < 3; i++) await express.get('express sid')
  assert.equal([cacheOf(store).hits, cacheOf(store).misses], [hits, misses])
})

test('no sessions, only hints: nothing is kept and nobody listens', async () => {
  const before = await connections('pgstore listen')
  const hinting = server({ sessions: 0 })
  const visitor = await signedIn('hints alone', { n: 1 }, hinting)
  await visitor.visit(hinting, (session) => {
    session.values.n = 2
  })
  assert.ok(visitor.jar.has('sid-v'))
  assert.is(hinting.stats().cache, undefined)
  assert.is(await connections('pgstore listen'), before)
  assert.is((await rejection(hinting.get({ headers: {} }, 'x-v'))).code, 'invalid_option')
})

test('over a schema that cannot announce it is off, says so, and reads go on', async () => {
  const url = await emptyDatabase()
  const pool = new pg.Pool({ connectionString: url })
  await migrate(pool)
  await pool.query('drop function pgstore.announcement_echo(text)')
  await pool.end()
  const changes: CacheStateChange[] = []
  const note = (change: unknown) => void changes.push(change as CacheStateChange)
  subscribe('pgstore:cache-state', note)
  const old = server(true, { connectionString: url })
  const visitor = await signedIn('old schema', {}, old)
  await until(async () => {
    assert.is((await read(visitor, old)).userId, 'old schema')
    return cacheOf(old).state === 'unsupported'
  })
  unsubscribe('pgstore:cache-state', note)
  assert.match(cacheOf(old).reason ?? '', /migrate/)
  assert.ok(changes.some(({ state, schema }) => state === 'unsupported' && schema === 'pgstore'))
  assert.is(cacheOf(old).hits, 0)
  await old.close()
})

test('each read is told on a channel, without anything of the session', async () => {
  const visitor = await signedIn('told')
  const reads: CacheRead[] = []
  const note = (each: unknown) => void reads.push(each as CacheRead)
  subscribe('pgstore:cache', note)
  await hit(store, visitor)
  await store.get(visitor.request(), 'sid', { fresh: true })
  unsubscribe('pgstore:cache', note)
  assert.ok(reads.some(({ outcome }) => outcome === 'hit'))
  assert.ok(reads.some(({ outcome, reason }) => outcome === 'bypass' && reason === 'fresh'))
  assert.not.match(JSON.stringify(reads), /told/)
})

test('the number of sessions is bounded, and those that were filled first go first', async () => {
  const small = server({ maxStale: longStale, sessions: 3 })
  const visitors: Visitor[] = []
  for (let n = 0; n < 6; n++) visitors.push(await signedIn(`bounded ${n}`, {}, small))
  for (const visitor of visitors) await hit(small, visitor)
  const { entries, evictions } = cacheOf(small)
  assert.is(entries, 3)
  assert.ok(evictions >= 3)
})

test('what nobody asks for any more is dropped from memory', async () => {
  const sweeping = server({ maxStale: 0.5 })
  await hit(sweeping, await signedIn('swept', {}, sweeping))
  await until(() => cacheOf(sweeping).entries === 0)
  assert.is(cacheOf(sweeping).bytes, 0)
})

test('after close nothing is served, and nobody listens again', async () => {
  const before = await connections('pgstore listen')
  const closing = server({ maxStale: longStale, byToken: true })
  const { byToken } = closing
  const visitor = await signedIn('closing', {}, closing)
  await hit(closing, visitor)
  await closing.close()
  assert.is((await rejection(closing.get(visitor.request(), 'sid'))).code, 'closed')
  assert.is((await rejection(closing.get(visitor.request(), 'sid', { fresh: true }))).code, 'closed')
  assert.is((await rejection(byToken.get('a token'))).code, 'closed')
  await until(async () => (await connections('pgstore listen')) === before)
})

test('wrong options are refused, all at once, and what a polluted prototype lends is none', async () => {
  const wrong = (cache: unknown) => {
    try {
      testStore({ cache: cache as true })
    } catch (error) {
      return (error as Error).message
    }
    return 'accepted'
  }
  assert.is(
    wrong({ maxStale: 61, sessions: -1, bytes: 0, byToken: 1, ttl: 3 }),
    'cache: unknown option "ttl"; cache.maxStale must be a number of seconds above 0, 60 at most; ' +
      'cache.sessions must be a whole number from 0 to 10,000,000; cache.bytes must be a whole number above 0; ' +
      'cache.byToken must be true or false.',
  )
  for (const cache of ['yes', 1, null, []]) assert.match(wrong(cache), /cache must be/)
  const { prototype } = Object as unknown as { prototype: Record<string, unknown> }
  prototype['cache'] = { maxStale: 60 }
  prototype['maxStale'] = 99
  prototype['byToken'] = 99
  try {
    assert.not(Object.hasOwn(testStore().stats(), 'cache'))
    assert.is(testStore({ cache: { sessions: 5 } }).stats().cache?.state, 'waiting')
  } finally {
    for (const name of ['cache', 'maxStale', 'byToken']) delete prototype[name]
  }
  const client = { query: async () => ({ rows: [] }), connect: async () => ({}) }
  const error = await rejection(Promise.resolve().then(() => testStore({ pool: client as never, cache: true })))
  assert.match(error.message, /connection of its own/)
})

test.run()
