// Two servers with caches over one database: what one of them ends or changes, the other must know of.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore, Session } from '../../src/index.ts'
import { canStartServers } from '../faults/own-server.ts'
import { connections, terminate } from '../support/crowd.ts'
import { clientUrl, closeAll, row, sql, TestResponse, until, Visitor } from '../support/harness.ts'
import { type Proxy as DatabaseProxy, startProxy } from '../support/proxy.ts'
import { cacheOf, hit, longStale, refused, server, type Values } from './servers.ts'

const a = server()
const b = server()

const proxies: DatabaseProxy[] = []

test.after(async () => {
  await closeAll()
  for (const proxy of proxies) await proxy.close()
})

async function signedIn(userId: string, values: Values = {}): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(b, (session) => {
    session.userId = userId
    session.tags = [`tag of ${userId}`]
    Object.assign(session.values, values)
  })
  return visitor
}

/** The visitor's old cookies, in other hands. */
function thief(visitor: Visitor): Visitor {
  const other = new Visitor()
  const cookie = visitor.jar.get('sid')
  if (cookie) other.jar.set('sid', cookie)
  return other
}

const ends: Record<string, (visitor: Visitor, userId: string) => Promise<unknown>> = {
  destroyed: (visitor) => visitor.visit(b, (session, req, res) => b.destroy(req, res, session)),
  'ended by a negative maxAge': (visitor) =>
    visitor.visit(b, (session) => {
      session.options.maxAge = -1
    }),
  regenerated: (visitor) => visitor.visit(b, (session, req, res) => b.regenerate(req, res, session)),
  revoked: (_, userId) => b.revoke(userId),
  'revoked by tag': (_, userId) => b.revokeTag(`tag of ${userId}`),
  'cleared by an administrator': () => sql('select pgstore.session_clear(1000)'),
  'signed out by a plain save': (visitor) =>
    visitor.visit(b, (session) => {
      session.userId = undefined
    }),
  'signed in as another by a plain save': (visitor) =>
    visitor.visit(b, (session) => {
      session.userId = 'another'
    }),
}

for (const [how, end] of Object.entries(ends)) {
  test(`a session that is ${how} on one server is refused by the other once it hears`, async () => {
    const userId = `user ${how}`
    const visitor = await signedIn(userId)
    const old = thief(visitor)
    assert.is((await hit(a, old)).userId, userId)
    await end(visitor, userId)
    await refused(a, old, userId)
  })
}

test('sessions beyond the limit are refused by the other server', async () => {
  const limited = server({ maxStale: longStale }, { sessionsPerUser: 1 })
  const visitor = await signedIn('limited')
  await hit(a, visitor)
  await new Visitor().visit(limited, (session) => {
    session.userId = 'limited'
  })
  await refused(a, visitor)
})

test('a change that announces itself is seen at once everywhere, another within maxStale', async () => {
  const visitor = await signedIn('announcing', { n: 1 })
  const other = thief(visitor)
  await hit(a, other)
  await visitor.visit(b, async (session, req, res) => {
    session.values.n = 2
    await b.save(req, res, session, { announce: true })
  })
  await until(async () => (await a.get(other.request(), 'sid')).values.n === 2)
})

test('session_changed in SQL makes every server read a user anew', async () => {
  const visitor = await signedIn('changed in sql', { n: 1 })
  await hit(a, visitor)
  await sql(`update pgstore.sessions set data = '{"n": 2}' where user_id = 'changed in sql'`)
  assert.is((await hit(a, visitor)).values.n, 1)
  await sql('select pgstore.session_changed($1)', 'changed in sql')
  await until(async () => (await a.get(visitor.request(), 'sid')).values.n === 2)
})

test('a browser that waits for its answers finds what it saved, whichever server it asks', async () => {
  const visitor = await signedIn('hinted', { n: 0 })
  const stores = [a, b]
  for (let n = 0; n < 60; n++) {
    const store = stores[(n * 7 + Math.floor(n / 3)) % 2] as PGStore<Values>
    for (const reader of stores) {
      const session = await reader.get(visitor.request(), 'sid')
      assert.is(session.values.n, n)
    }
    await visitor.visit(store, (session) => {
      session.values.n = n + 1
    })
  }
  assert.ok(visitor.jar.has('sid-v'))
})

test('without the hint the other server may show what was there before, until it is told or maxStale is over', async () => {
  const visitor = await signedIn('unhinted', { n: 0 })
  const other = thief(visitor)
  await hit(a, other)
  await visitor.visit(b, (session) => {
    session.values.n = 1
  })
  assert.is((await hit(a, other)).values.n, 0)
  assert.is((await a.get(visitor.request(), 'sid')).values.n, 1)
})

test("a server's own writes are seen by its next read", async () => {
  const visitor = await signedIn('own', { n: 0 })
  const other = thief(visitor) // brings no hint
  for (let n = 0; n < 20; n++) {
    assert.is((await hit(a, other)).values.n, n)
    await visitor.visit(a, (session) => {
      session.values.n = n + 1
    })
    assert.is((await a.get(other.request(), 'sid')).values.n, n + 1)
  }
  await visitor.visit(a, (session, req, res) => a.destroy(req, res, session))
  assert.ok((await a.get(other.request(), 'sid')).isNew)
})

test("a user's sessions that this server revokes are refused by its next read", async () => {
  const visitor = await signedIn('revoked here')
  await hit(a, visitor)
  await a.revoke('revoked here')
  assert.ok((await a.get(visitor.request(), 'sid')).isNew)
  const one = await signedIn('one revoked here')
  const { id } = await hit(a, one)
  assert.is(await a.revoke('one revoked here', { id: `0${id}` }), 1)
  assert.ok((await a.get(one.request(), 'sid')).isNew)
})

for (const how of ['revoked', 'limited'] as const) {
  test(`a session that this server ${how} is refused at once, though it was cached under another user`, async () => {
    const proxy = await startProxy({ url: clientUrl })
    proxies.push(proxy)
    const options = { directConnectionString: proxy.url, sessionsPerUser: 1 }
    const store = server({ maxStale: longStale }, options)
    const visitor = await signedIn(`${how}, at first`)
    const old = thief(visitor)
    await hit(store, old)
    proxy.hold() // what is announced from here on is late
    await visitor.visit(b, (session) => {
      session.userId = `${how}, then`
    })
    assert.is((await hit(store, old)).userId, `${how}, at first`)
    if (how === 'revoked') assert.is(await store.revoke(`${how}, then`), 1)
    else {
      await new Visitor().visit(store, (session) => {
        session.userId = `${how}, then`
      })
    }
    assert.ok((await store.get(old.request(), 'sid')).isNew)
    proxy.release()
  })
}

/** A server whose sessions come through a proxy, and which hears directly. */
async function distant(): Promise<{ readonly store: PGStore<Values>; readonly proxy: DatabaseProxy }> {
  const proxy = await startProxy({ url: clientUrl })
  proxies.push(proxy)
  const store = server({ maxStale: longStale }, { connectionString: proxy.url, directConnectionString: clientUrl })
  return { store, proxy }
}

test('an answer that was on its way while its session ended is not stored, nor shared with later requests', async () => {
  const { store, proxy } = await distant()
  await hit(store, await signedIn('warms up'))
  const visitor = await signedIn('held')
  const old = thief(visitor)
  const events = store.events()
  await events.ready
  let asked: Promise<Session<Values>> | undefined
  await until(async () => {
    // Until the read is sent: a process that has just stood still first catches up.
    proxy.hold()
    asked = store.get(old.request(), 'sid')
    await until(() => (proxy.held ?? []).length > 0)
    return true
  })
  await visitor.visit(b, (session, req, res) => b.destroy(req, res, session))
  await events.next()
  const later = store.get(old.request(), 'sid') // joins the read under way, if it may
  proxy.release()
  assert.is((await asked)?.userId, 'held') // it was asked for before the end
  assert.ok((await later).isNew)
  assert.ok((await store.get(old.request(), 'sid')).isNew)
  await events.return?.()
})

test('many requests for a session that is not cached are one query', async () => {
  const store = server()
  await hit(store, await signedIn('warms up too'))
  const visitor = await signedIn('shared', { n: 7 })
  const { joins, misses } = cacheOf(store)
  const sessions = await Promise.all(Array.from({ length: 20 }, () => store.get(visitor.request(), 'sid')))
  for (const session of sessions) assert.is(session.values.n, 7)
  for (const [index, session] of sessions.entries()) session.values.n = index
  assert.equal(new Set(sessions.map(({ values }) => values.n)).size, 20) // each has its own copy
  const after = cacheOf(store)
  assert.equal([after.misses - misses, after.joins - joins], [1, 19])
})

test('when LISTEN is lost, nothing is served that was stored before', async () => {
  const visitor = await signedIn('listener lost')
  await hit(a, visitor)
  await sql(`delete from pgstore.sessions where user_id = 'listener lost'`) // by hand: nobody is told
  assert.is((await hit(a, visitor)).userId, 'listener lost')
  await terminate('pgstore listen')
  await refused(a, visitor)
  await hit(a, await signedIn('listens again'))
})

test('a session that was deleted by hand is served for maxStale at the most', async () => {
  const store = server({ maxStale: 1 })
  const visitor = await signedIn('by hand')
  await hit(store, visitor)
  await sql(`delete from pgstore.sessions where user_id = 'by hand'`)
  await refused(store, visitor)
})

if (canStartServers) {
  test('a listener whose server says nothing any more is not believed', async () => {
    const direct = new URL(clientUrl)
    direct.searchParams.set('application_name', 'to be frozen')
    const store = server({ maxStale: longStale }, { directConnectionString: direct.href })
    const visitor = await signedIn('frozen')
    const old = thief(visitor)
    await hit(store, old)
    const { pid } = await row<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'to be frozen'`,
    )
    process.kill(pid, 'SIGSTOP')
    try {
      await visitor.visit(b, (session, req, res) => b.destroy(req, res, session))
      await refused(store, old)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await hit(store, await signedIn('thawed'))
  })
}

test('behind a pooler that swallows announcements nothing is ever served from the cache', async () => {
  const deaf = await startProxy({ url: clientUrl, isDeaf: true })
  proxies.push(deaf)
  const store = server({ maxStale: longStale }, { directConnectionString: deaf.url })
  const visitor = await signedIn('deaf')
  await until(async () => {
    assert.is((await store.get(visitor.request(), 'sid')).userId, 'deaf')
    const { bypasses, state, reason } = cacheOf(store)
    return bypasses.not_listening > 3 && state === 'proving' && reason === 'an echo through the pool was not heard'
  })
  assert.is(cacheOf(store).hits, 0)
})

test('the events and the cache share one connection, which ends with the store', async () => {
  const before = await connections('pgstore listen')
  const store = server()
  const events = store.events()
  await events.ready
  const visitor = await signedIn('shares')
  await hit(store, visitor)
  assert.is(await connections('pgstore listen'), before + 1)
  await visitor.visit(b, (session, req, res) => b.destroy(req, res, session))
  assert.is((await events.next()).value.type, 'destroyed')
  await events.return?.()
  await hit(store, await signedIn('listens on'))
  assert.is(await connections('pgstore listen'), before + 1)
  await store.close()
  await until(async () => (await connections('pgstore listen')) === before)
})

test('an announcement that is not understood empties the cache, and so does one that is missing', async () => {
  for (const what of ['{"type":"renamed","ids":[1],"n":1}', 'no json', '']) {
    const visitor = await signedIn('misunderstood')
    await hit(a, visitor)
    await sql(`delete from pgstore.sessions where user_id = 'misunderstood'`)
    await sql('select pg_notify($1, $2)', 'pgstore_sessions', what)
    await refused(a, visitor)
  }
  const visitor = await signedIn('missing')
  await hit(a, visitor)
  await sql(`delete from pgstore.sessions where user_id = 'missing'`)
  await sql(`select nextval('pgstore.announcement')`)
  await sql(`select pgstore.session_announce('revoked', array[1]::bigint[])`)
  await refused(a, visitor)
})

test('a response holds the hint where something changed, with the attributes of the session cookie', async () => {
  const visitor = await signedIn('attributes')
  assert.equal([...visitor.jar.keys()], ['sid'])
  const { res } = await visitor.visit(a, (session) => {
    session.values.n = 1
  })
  const [line = ''] = res.cookies
  assert.match(line, /^sid-v=[\w-]{16}; Path=\/; Max-Age=61; HttpOnly; Secure; SameSite=Lax$/)
  assert.equal((await visitor.visit(a)).res.cookies, [])
  const again = new TestResponse()
  const req = visitor.request()
  const session = await a.get(req, 'sid')
  session.values.n = 2
  await a.save(req, again, session)
  assert.not.equal(again.cookies[0], line)
})

test.run()
