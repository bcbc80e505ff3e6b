import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codecsFromPairs, PGStore, PGStoreError } from '../../src/index.ts'
import {
  admin,
  closeAll,
  databaseUrl,
  hashKey,
  rejection,
  row,
  sql,
  TestResponse,
  testStore,
  Visitor,
} from '../support/harness.ts'

const store = testStore()
/** The store as its owner's role, which may purge. */
const owner = testStore({ connectionString: databaseUrl })
test.after(closeAll)

/** Text of every query that a store sends through this pool. */
function spyPool() {
  const queries: string[] = []
  const pool = {
    connect: () => admin.connect(),
    query: (query: { text: string }) => {
      queries.push(query.text)
      return admin.query(query as never) as never
    },
  }
  return { pool, queries }
}

/** A visitor with a saved session. */
async function signedUp(values: Record<string, unknown> = { visits: 1 }, at = store) {
  const visitor = new Visitor()
  const { session } = await visitor.visit(at, (session) => Object.assign(session.values, values))
  return { visitor, id: session.id as string }
}

const stored = async (id: string) => await row('select * from pgstore.sessions where id = $1', id)
/** This session has not been visited for so long; its cookie is as young as before. */
const age = async (id: string, interval: string) =>
  await sql(
    `update pgstore.sessions
     set created_at = created_at - $2::interval, seen_at = seen_at - $2::interval, expires_at = expires_at - $2::interval
     where id = $1`,
    id,
    interval,
  )
const expire = async (id: string) =>
  await sql("update pgstore.sessions set expires_at = now() - interval '1 second', purge_at = now() where id = $1", id)

// get and new

test('a visitor without a cookie gets a new session, and no query is made', async () => {
  const { pool, queries } = spyPool()
  const session = await testStore({ pool }).get(new Visitor().request(), 'sid')
  assert.is(session.isNew, true)
  assert.is(session.id, undefined)
  assert.is(session.name, 'sid')
  assert.equal(session.values, {})
  assert.equal(queries, [])
})

test('values that a visitor saves are there at the next visit', async () => {
  const { visitor, id } = await signedUp({ visits: 1, cart: ['apple'] })
  const session = await store.get(visitor.request(), 'sid')
  assert.is(session.isNew, false)
  assert.is(session.id, id)
  assert.equal(session.values, { visits: 1, cart: ['apple'] })
  assert.is(session.version, 1)
  assert.ok(Math.abs((session.createdAt?.getTime() ?? 0) - Date.now()) < 60_000)
  assert.equal(session.updatedAt, session.createdAt)
  assert.ok((session.expiresAt?.getTime() ?? 0) > Date.now() + 29 * 86400_000)
})

test('within one request, get returns the same object for a name, new another', async () => {
  const { visitor } = await signedUp()
  const req = visitor.request()
  const [one, two] = await Promise.all([store.get(req, 'sid'), store.get(req, 'sid')])
  assert.is(one, two)
  assert.is(await store.get(req, 'sid'), one)
  assert.is.not(await store.new(req, 'sid'), one)
  assert.is.not(await store.get(req, 'other'), one)
})

test('an expired session is a new one, before and after it is purged', async () => {
  const { visitor, id } = await signedUp()
  await expire(id)
  assert.is((await store.get(visitor.request(), 'sid')).isNew, true)
  await owner.purgeExpired()
  assert.is((await store.get(visitor.request(), 'sid')).isNew, true)
})

test('a forged cookie is a new session and costs no query', async () => {
  const { visitor } = await signedUp()
  const cookie = visitor.jar.get('sid') ?? ''
  const { pool, queries } = spyPool()
  const spied = testStore({ pool })
  for (const forged of ['', 'x', `${cookie}A`, cookie.slice(0, -4), cookie.replace(/^./, 'Z')]) {
    const session = await spied.get({ headers: { cookie: `sid=${forged}` } }, 'sid')
    assert.is(session.isNew, true)
  }
  assert.equal(queries, [])
})

test('a cookie for another name is ignored', async () => {
  const { visitor } = await signedUp()
  const session = await store.get({ headers: { cookie: `other=${visitor.jar.get('sid')}` } }, 'other')
  assert.is(session.isNew, true)
})

test('of two cookies with the name the first that verifies counts', async () => {
  const [a, b] = [await signedUp({ who: 'a' }), await signedUp({ who: 'b' })]
  const cookie = `sid=stale; sid=${a.visitor.jar.get('sid')}; sid=${b.visitor.jar.get('sid')}`
  assert.equal((await store.get({ headers: { cookie } }, 'sid')).values, { who: 'a' })
})

test('a well-signed token that no row has is not adopted', async () => {
  const { visitor, id } = await signedUp()
  await sql('delete from pgstore.sessions where id = $1', id)
  const cookie = visitor.jar.get('sid')
  await visitor.visit(store, (session) => {
    session.values['visits'] = 1
  })
  assert.is.not(visitor.jar.get('sid'), cookie)
  const { key } = await row('select key from pgstore.sessions order by created_at desc limit 1')
  const token = codecsFromPairs(hashKey)[0]?.decode('sid', cookie ?? '')
  assert.is.not(
    (key as Buffer).toString('hex'),
    createHash('sha256')
      .update(token ?? '')
      .digest('hex'),
  )
})

test('a database failure is an error, and neither clears the cookie nor creates a session', async () => {
  const down = testStore({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
  const { visitor } = await signedUp()
  const error = await rejection(down.get(visitor.request(), 'sid'))
  assert.instance(error, PGStoreError)
  assert.is(error.code, 'unavailable')
  const again = await rejection(down.get(visitor.request(), 'sid'))
  assert.is(again.code, 'unavailable')
})

test('a read that failed is tried again by the next get of the same request', async () => {
  const { visitor } = await signedUp({ ok: true })
  let fail = true
  const pool = {
    connect: () => admin.connect(),
    query: (query: never): never => {
      if (!fail) return admin.query(query) as never
      fail = false
      throw Object.assign(new Error('terminating connection'), { code: '42601' })
    },
  }
  const flaky = testStore({ pool })
  const req = visitor.request()
  await rejection(flaky.get(req, 'sid'))
  assert.equal((await flaky.get(req, 'sid')).values, { ok: true })
})

// save

test('an empty session creates no row, no cookie and no query', async () => {
  const { pool, queries } = spyPool()
  const { res } = await new Visitor().visit(testStore({ pool }))
  assert.equal(res.cookies, [])
  assert.equal(queries, [])
})

test('the first save sets the cookie with the attributes of the defaults', async () => {
  const { res } = await new Visitor().visit(store, (session) => {
    session.values['a'] = 1
  })
  assert.is(res.cookies.length, 1)
  assert.match(res.cookies[0] ?? '', /^sid=[\w-]+=*; Path=\/; Max-Age=2595600; HttpOnly; Secure; SameSite=Lax$/)
})

test('a second save in the same request updates the session that the first one made', async () => {
  const { session, res } = await new Visitor().visit(store, async (session, req, res) => {
    session.values['a'] = 1
    await store.save(req, res, session)
    session.values['b'] = 2
  })
  assert.is(res.cookies.length, 1)
  assert.equal((await stored(session.id as string))['data'], { a: 1, b: 2 })
})

test('two concurrent saves of one new session create one row', async () => {
  const before = Number((await row('select count(*) from pgstore.sessions'))['count'])
  await new Visitor().visit(store, async (session, req, res) => {
    session.values['a'] = 1
    await Promise.all([store.save(req, res, session), store.save(req, res, session), session.save(req, res)])
  })
  assert.is(Number((await row('select count(*) from pgstore.sessions'))['count']), before + 1)
})

test('an unchanged session is not saved: no query, no cookie', async () => {
  const { visitor } = await signedUp({ deep: { list: [1, { two: 2 }] } })
  const { pool, queries } = spyPool()
  const spied = testStore({ pool })
  const { res } = await visitor.visit(spied, (session) => {
    session.values['deep'] = { list: [1, { two: 2 }] }
  })
  assert.is(queries.length, 1) // the read
  assert.equal(res.cookies, [])
})

test('only the top-level keys that changed are sent', async () => {
  const { visitor, id } = await signedUp({ a: 1, b: { deep: 1 }, c: 3 })
  // Another request changes a and drops c in the meantime.
  await visitor.visit(store, async (session) => {
    await sql(`update pgstore.sessions set data = '{"a": "theirs", "b": {"deep": 1}}' where id = $1`, id)
    const values = session.values as { b: { deep: number } }
    values.b.deep = 2
  })
  assert.equal((await stored(id))['data'], { a: 'theirs', b: { deep: 2 } })
})

test('two requests that change different keys both keep their changes', async () => {
  const { visitor, id } = await signedUp({ start: true })
  const [reqA, reqB] = [visitor.request(), visitor.request()]
  const [a, b] = [await store.get(reqA, 'sid'), await store.get(reqB, 'sid')]
  a.values['fromA'] = 1
  b.values['fromB'] = 2
  await store.save(reqA, new TestResponse(), a)
  await store.save(reqB, new TestResponse(), b)
  assert.equal((await stored(id))['data'], { start: true, fromA: 1, fromB: 2 })
})

test('a deleted key and one set to undefined are removed', async () => {
  const { visitor, id } = await signedUp({ a: 1, b: 2, c: 3 })
  await visitor.visit(store, (session) => {
    delete session.values['a']
    session.values['b'] = undefined
  })
  assert.equal((await stored(id))['data'], { c: 3 })
})

test('values can be replaced as a whole', async () => {
  const { visitor, id } = await signedUp({ a: 1, b: 2 })
  await visitor.visit(store, (session) => {
    session.values = { b: 2, d: 4 }
  })
  assert.equal((await stored(id))['data'], { b: 2, d: 4 })
})

test('saving that everything was deleted is stored', async () => {
  const { visitor, id } = await signedUp({ a: 1 })
  await visitor.visit(store, (session) => {
    session.values = {}
  })
  assert.equal((await stored(id))['data'], {})
})

test('a save after the session was destroyed is gone: nothing revives, the cookie is left alone, the session is new', async () => {
  const { visitor, id } = await signedUp()
  const req = visitor.request()
  const res = new TestResponse()
  const session = await store.get(req, 'sid')
  await sql('delete from pgstore.sessions where id = $1', id)
  session.values['visits'] = 2
  const error = await rejection(store.save(req, res, session))
  assert.is(error.code, 'gone')
  assert.equal(res.cookies, [])
  assert.is(session.isNew, true)
  assert.equal(session.values, {})
  assert.is(session.userId, undefined)
  assert.equal(await sql('select from pgstore.sessions where id = $1', id), [])
})

test('the limit is on the merged session, and a save over it changes nothing', async () => {
  const small = testStore({ maxLength: 100 })
  const { visitor, id } = await signedUp({ a: 'x'.repeat(60) }, small)
  const error = await rejection(
    visitor.visit(small, (session) => {
      session.values['b'] = 'y'.repeat(60)
    }),
  )
  assert.is(error.code, 'too_large')
  assert.equal((await stored(id))['data'], { a: 'x'.repeat(60) })
  small.maxLength(0)
  await visitor.visit(small, (session) => {
    session.values['b'] = 'y'.repeat(60)
  })
  assert.is((await stored(id))['version'], 2)
})

test('a save with ifUnchanged finds a conflict if another request has saved, and the session holds the saved values', async () => {
  const { visitor, id } = await signedUp({ count: 1 })
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  await visitor.visit(store, (other) => {
    other.values['count'] = 10
    other.userId = '42'
  })
  session.values['count'] = 2
  const error = await rejection(store.save(req, new TestResponse(), session, { ifUnchanged: true }))
  assert.is(error.code, 'conflict')
  assert.equal(session.values, { count: 10 })
  assert.is(session.userId, '42')
  session.values['count'] = 11
  await store.save(req, new TestResponse(), session, { ifUnchanged: true })
  assert.equal((await stored(id))['data'], { count: 11 })
})

test('a merge with another save counts as unseen for ifUnchanged', async () => {
  const { visitor } = await signedUp({ a: 1 })
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  await visitor.visit(store, (other) => {
    other.values['b'] = 1
  })
  session.values['a'] = 2
  await store.save(req, new TestResponse(), session)
  session.values['a'] = 3
  const error = await rejection(store.save(req, new TestResponse(), session, { ifUnchanged: true }))
  assert.is(error.code, 'conflict')
  assert.equal(session.values, { a: 2, b: 1 })
})

test('values that JSON cannot carry are refused before any query, and named by their path', async () => {
  const { pool, queries } = spyPool()
  const spied = testStore({ pool })
  const req = new Visitor().request()
  const session = await spied.get(req, 'sid')
  session.values['cart'] = { items: [1, undefined] }
  const error = await rejection(spied.save(req, new TestResponse(), session))
  assert.is(error.code, 'invalid_value')
  assert.match(error.message, 'values.cart.items[1]')
  assert.equal(queries, [])
})

test('a response that is sent already is refused before any query', async () => {
  const { pool, queries } = spyPool()
  const spied = testStore({ pool })
  const req = new Visitor().request()
  const session = await spied.get(req, 'sid')
  session.values['a'] = 1
  const res = new TestResponse()
  res.headersSent = true
  assert.is((await rejection(spied.save(req, res, session))).code, 'headers_sent')
  assert.is(
    (await rejection(spied.save(req, Response.redirect('http://localhost/', 302), session))).code,
    'headers_sent',
  )
  assert.equal(queries, [])
})

// Users

test('the user id is stored beside the data, changed and cleared', async () => {
  const { visitor, id } = await signedUp()
  await visitor.visit(store, (session) => {
    session.userId = '42'
  })
  assert.is((await stored(id))['user_id'], '42')
  const { session } = await visitor.visit(store, (session) => {
    assert.is(session.userId, '42')
    session.userId = undefined
  })
  assert.is(session.userId, undefined)
  assert.is((await stored(id))['user_id'], null)
})

test('a user id alone is something to save', async () => {
  const { session } = await new Visitor().visit(store, (session) => {
    session.userId = 'only'
  })
  assert.is((await stored(session.id as string))['user_id'], 'only')
})

test('an invalid user id is refused', async () => {
  for (const userId of ['', 'a\0b', 'x'.repeat(1025), 42, '\ud800']) {
    const error = await rejection(
      new Visitor().visit(store, (session) => {
        session.userId = userId as string
      }),
    )
    assert.is(error.code, 'invalid_value')
  }
})

test('list shows a user their sessions, newest first, without keys or tokens', async () => {
  const ids: string[] = []
  for (const device of ['phone', 'desk']) {
    const { session } = await new Visitor().visit(store, (session) => {
      session.userId = 'lister'
      session.values['device'] = device
    })
    ids.unshift(session.id as string)
  }
  const list = await store.list('lister', { data: true })
  assert.equal(
    list.map(({ id, values }) => [id, values]),
    [
      [ids[0], { device: 'desk' }],
      [ids[1], { device: 'phone' }],
    ],
  )
  const times = ['createdAt', 'updatedAt', 'expiresAt', 'seenAt', 'signedInAt']
  assert.equal(Object.keys(list[0] ?? {}), ['id', 'userId', 'values', 'version', ...times, 'label', 'tags'])
  assert.equal((await store.list('lister'))[0]?.values, {}) // asked for, or not read
  assert.instance(list[0]?.createdAt, Date)
})

test('revoke ends one, all but one, or all of a user’s sessions, and nobody else’s', async () => {
  const visitors = [new Visitor(), new Visitor(), new Visitor(), new Visitor()]
  for (const [index, visitor] of visitors.entries()) {
    await visitor.visit(store, (session) => {
      session.userId = index === 3 ? 'bystander' : 'revoked'
    })
  }
  const sessions = await Promise.all(visitors.map((visitor) => store.get(visitor.request(), 'sid')))
  const [one, two] = sessions
  if (!one || !two) throw new Error('no sessions')
  const id = one.id as string
  assert.is(await store.revoke('bystander', { id }), 0)
  assert.is(await store.revoke('revoked', { id: 'no number' }), 0)
  assert.is(await store.revoke('revoked', { id }), 1)
  assert.is(await store.revoke('revoked', { except: two }), 1)
  assert.equal(
    (await store.list('revoked')).map(({ id }) => id),
    [two.id],
  )
  assert.is(await store.revoke('revoked'), 1)
  assert.is((await store.list('bystander')).length, 1)
})

test('an id or except that is undefined ends nothing', async () => {
  const { session } = await new Visitor().visit(store, (session) => {
    session.userId = 'careful'
  })
  for (const options of [{ id: undefined }, { except: undefined }, { id: null }]) {
    assert.is((await rejection(store.revoke('careful', options as never))).code, 'invalid_option')
  }
  assert.equal(
    (await store.list('careful')).map(({ id }) => id),
    [session.id],
  )
})

// Ending

test('destroy ends row and cookie, and a later save creates another session', async () => {
  const { visitor, id } = await signedUp({ secret: 1 })
  const req = visitor.request()
  const res = new TestResponse()
  const session = await store.get(req, 'sid')
  await store.destroy(req, res, session)
  assert.match(res.cookies[0] ?? '', /^sid=;.*Max-Age=0/)
  assert.equal(await sql('select from pgstore.sessions where id = $1', id), [])
  session.addFlash('goodbye')
  await store.save(req, res, session)
  visitor.receive(res)
  const next = await store.get(visitor.request(), 'sid')
  assert.is.not(next.id, id)
  assert.equal(next.values, { _flash: ['goodbye'] })
})

test('maxAge -1 destroys row and cookie, and the session is new', async () => {
  const { visitor, id } = await signedUp()
  const { session, res } = await visitor.visit(store, (session) => {
    session.options.maxAge = -1
  })
  assert.match(res.cookies[0] ?? '', /^sid=;.*Max-Age=0/)
  assert.is(visitor.jar.size, 0)
  assert.is(session.isNew, true)
  assert.equal(await sql('select from pgstore.sessions where id = $1', id), [])
})

test('maxAge -1 for a visitor without a session makes no query and no cookie', async () => {
  const { pool, queries } = spyPool()
  const { res } = await new Visitor().visit(testStore({ pool }), (session) => {
    session.options.maxAge = -1
    session.values['a'] = 1
  })
  assert.equal(res.cookies, [])
  assert.equal(queries, [])
})

test('the deletion cookie has the path and domain that it was set with', async () => {
  const scoped = testStore({ options: { path: '/app', domain: 'example.com' } })
  const { visitor } = await signedUp({ a: 1 }, scoped)
  const { res } = await visitor.visit(scoped, (session) => {
    session.options.maxAge = -1
  })
  assert.match(res.cookies[0] ?? '', /^sid=; Path=\/app; Domain=example\.com; Expires=/)
})

// Life

test('maxAge 0 is a cookie without Max-Age over a row that lives one day', async () => {
  const browser = testStore({ options: { maxAge: 0 } })
  const { session, res } = await new Visitor().visit(browser, (session) => {
    session.values['a'] = 1
  })
  assert.not.match(res.cookies[0] ?? '', /Max-Age|Expires/)
  const { hours } = await row(
    'select extract(epoch from expires_at - now()) / 3600 as hours from pgstore.sessions where id = $1',
    session.id,
  )
  assert.ok(Number(hours) > 24.9 && Number(hours) <= 25, String(hours)) // and what a touch may come late
})

test('a session is touched when the last visit on record is an hour ago, not before', async () => {
  const { visitor, id } = await signedUp()
  await age(id, '59 minutes')
  assert.equal((await visitor.visit(store)).res.cookies, [])
  await age(id, '1 minute')
  const { res } = await visitor.visit(store)
  assert.match(res.cookies[0] ?? '', /Max-Age=2595600/)
  const { days, version } = await row(
    'select extract(epoch from expires_at - now()) / 86400 as days, version from pgstore.sessions where id = $1',
    id,
  )
  assert.ok(Number(days) >= 30.04, String(days))
  assert.is(version, 1)
})

test('no save carries a session past its absolute lifetime, and the cookie ends with it', async () => {
  const short = testStore({ lifetime: 40 * 86400 })
  const { visitor, id } = await signedUp({ a: 1 }, short)
  await age(id, '29 days')
  const { res } = await visitor.visit(short)
  const maxAge = Number(/Max-Age=(\d+)/.exec(res.cookies[0] ?? '')?.[1])
  assert.ok(Math.abs(maxAge - 11 * 86400) <= 2, String(maxAge))
  assert.equal((await visitor.visit(short)).res.cookies, []) // no touch at every visit
  await visitor.visit(short, (session) => {
    session.values['a'] = 2
  })
  assert.ok(Number(await daysLeft(id)) < 11)
  await sql("update pgstore.sessions set created_at = now() - interval '41 days' where id = $1", id)
  const error = await rejection(
    visitor.visit(short, (session) => {
      session.values['a'] = 3
    }),
  )
  assert.is(error.code, 'gone')
})

async function daysLeft(id: string): Promise<unknown> {
  const text = 'select extract(epoch from expires_at - now()) / 86400 as days from pgstore.sessions where id = $1'
  return (await row(text, id))['days']
}

test('a session keeps its own maxAge in later requests', async () => {
  const { visitor, id } = await signedUp()
  const { res } = await visitor.visit(store, (session) => {
    session.options.maxAge = 3600
  })
  const { session } = await visitor.visit(store, (session) => {
    session.values['visits'] = 2
  })
  assert.is(session.options.maxAge, 3600)
  assert.equal(session.values, { visits: 2 })
  assert.match(res.cookies[0] ?? '', /Max-Age=3960/)
  const { minutes } = await row(
    'select extract(epoch from expires_at - now()) / 60 as minutes from pgstore.sessions where id = $1',
    id,
  )
  assert.ok(Number(minutes) <= 66, String(minutes))
  await visitor.visit(store, (session) => {
    session.options.maxAge = store.options.maxAge
  })
  assert.equal((await stored(id))['data'], { visits: 2 })
})

test('store.maxAge changes the sessions read from then on', async () => {
  const changing = testStore()
  changing.maxAge(60)
  const { res } = await new Visitor().visit(changing, (session) => {
    session.values['a'] = 1
  })
  assert.match(res.cookies[0] ?? '', /Max-Age=66;/)
  assert.throws(() => changing.maxAge(Number.NaN), /maxAge/)
  assert.throws(() => changing.maxLength(-1), /maxLength/)
})

test('expired sessions are counted, and purged in batches', async () => {
  await owner.purgeExpired()
  for (let i = 0; i < 5; i++) await expire((await signedUp()).id)
  const { id } = await signedUp()
  assert.is(await owner.countExpiredSessions(), 5)
  assert.is(await owner.purgeExpired({ limit: 2 }), 5)
  assert.is(await owner.countExpiredSessions(), 0)
  assert.is((await sql('select from pgstore.sessions where id = $1', id)).length, 1)
  assert.is((await rejection(owner.purgeExpired({ limit: 0 }))).code, 'invalid_option')
})

// regenerate

test('regenerate gives a new token; the old one is dead at once and the data stays', async () => {
  const { visitor, id } = await signedUp({ cart: [1] })
  const old = new Visitor()
  old.jar.set('sid', visitor.jar.get('sid') ?? '')
  const before = (await stored(id))['key'] as Buffer
  const req = visitor.request()
  const res = new TestResponse()
  const session = await store.get(req, 'sid')
  session.userId = '42'
  session.values['role'] = 'admin'
  await store.regenerate(req, res, session)
  visitor.receive(res)
  assert.is(res.cookies.length, 1)
  assert.is((await store.get(old.request(), 'sid')).isNew, true)
  const again = await store.get(visitor.request(), 'sid')
  assert.is(again.id, id)
  assert.is(again.userId, '42')
  assert.equal(again.values, { cart: [1], role: 'admin' })
  const after = (await stored(id))['key'] as Buffer
  assert.not.equal(after, before)
  assert.is(after[0], before[0]) // the routing byte
})

test('regenerate creates a session for a visitor who had none', async () => {
  const visitor = new Visitor()
  const res = new TestResponse()
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  session.userId = 'first'
  await store.regenerate(req, res, session)
  visitor.receive(res)
  assert.is((await store.get(visitor.request(), 'sid')).userId, 'first')
})

test('regenerate resets the expiry, even to an earlier time', async () => {
  const { visitor, id } = await signedUp()
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  session.options.maxAge = 600
  await store.regenerate(req, new TestResponse(), session)
  const { seconds } = await row(
    'select extract(epoch from expires_at - now()) as seconds from pgstore.sessions where id = $1',
    id,
  )
  assert.ok(Number(seconds) <= 660, String(seconds))
})

test('of two requests that regenerate one session one wins, the other finds it gone', async () => {
  const { visitor } = await signedUp()
  const requests = [visitor.request(), visitor.request()]
  const sessions = await Promise.all(requests.map((req) => store.get(req, 'sid')))
  const results = await Promise.allSettled(
    sessions.map((session, index) => store.regenerate(requests[index] as never, new TestResponse(), session)),
  )
  const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))
  assert.equal(reasons, ['gone'])
})

test('a regenerate that would be too large changes nothing: no user, no new token', async () => {
  const small = testStore({ maxLength: 50 })
  const { visitor, id } = await signedUp({ a: 1 }, small)
  const req = visitor.request()
  const res = new TestResponse()
  const session = await small.get(req, 'sid')
  session.userId = 'ada'
  session.values['b'] = 'x'.repeat(100)
  assert.is((await rejection(small.regenerate(req, res, session))).code, 'too_large')
  assert.equal(res.cookies, [])
  const { user_id, data, version } = await stored(id)
  assert.equal([user_id, data, version], [null, { a: 1 }, 1])
  assert.is((await small.get(visitor.request(), 'sid')).id, id)
})

test('a user id alone counts as a version, and ifUnchanged goes through after it', async () => {
  const { visitor } = await signedUp({ a: 1 })
  const { session } = await visitor.visit(store, async (session, req, res) => {
    session.userId = '42'
    await store.regenerate(req, res, session)
    assert.is(session.version, 2)
    session.userId = '43'
    await store.save(req, res, session)
    assert.is(session.version, 3)
    session.values['a'] = 2
    await store.save(req, res, session, { ifUnchanged: true })
  })
  assert.is(session.version, 4)
})

// Keys

test('a cookie of an older key pair still opens, and is signed with the first at the next save', async () => {
  const newKey = 'a newer hash key, of 32 bytes....'
  const { visitor } = await signedUp({ a: 1 }, testStore({ keyPairs: [hashKey] }))
  const cookie = visitor.jar.get('sid') ?? ''
  const rotated = testStore({ keyPairs: [newKey, null, hashKey] })
  const { session } = await visitor.visit(rotated)
  assert.equal(session.values, { a: 1 })
  assert.is.not(visitor.jar.get('sid'), cookie)
  const retired = testStore({ keyPairs: [newKey] })
  assert.is((await retired.get(visitor.request(), 'sid')).isNew, false)
  assert.is((await retired.get({ headers: { cookie: `sid=${cookie}` } }, 'sid')).isNew, true)
})

test('custom codecs replace the key pairs and follow the store’s maxAge', async () => {
  const ages: number[] = []
  const codec = {
    encode: (name: string, value: string) => `${name}.${value}`,
    decode: (name: string, cookie: string) =>
      cookie.startsWith(`${name}.`) ? cookie.slice(name.length + 1) : undefined,
    maxAge: (seconds: number) => ages.push(seconds),
  }
  const own = testStore({ codecs: [codec], options: { maxAge: 90 } })
  const { visitor } = await signedUp({ a: 1 }, own)
  assert.match(visitor.jar.get('sid') ?? '', /^sid\.[\w-]{43}$/)
  assert.equal((await own.get(visitor.request(), 'sid')).values, { a: 1 })
  own.maxAge(30)
  assert.equal(ages, [99, 33]) // and what a touch may come late
})

test('two cookie names are two sessions', async () => {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values['main'] = true
  })
  const req = visitor.request()
  const res = new TestResponse()
  const other = await store.get(req, 'admin-sid')
  assert.is(other.isNew, true)
  other.values['admin'] = true
  await store.save(req, res, other)
  visitor.receive(res)
  assert.equal([...visitor.jar.keys()].sort(), ['admin-sid', 'sid'])
})

// Flashes

test('a flash is read once', async () => {
  const { visitor } = await signedUp({ _flash: ['welcome'] })
  await visitor.visit(store, (session) => {
    session.addFlash('saved')
    session.addFlash('oops', 'errors')
  })
  const { session } = await visitor.visit(store, (session) => {
    assert.equal(session.flashes(), ['welcome', 'saved'])
    assert.equal(session.flashes('errors'), ['oops'])
    assert.equal(session.flashes(), [])
  })
  assert.equal(session.values, {})
  await visitor.visit(store, (session) => assert.equal(session.flashes(), []))
})

// Transactions

test('withClient saves inside the caller’s transaction', async () => {
  const { visitor, id } = await signedUp({ a: 1 })
  const client = await admin.connect()
  try {
    for (const end of ['rollback', 'commit']) {
      await client.query('begin')
      const req = visitor.request()
      const tx = store.withClient(client)
      const session = await tx.get(req, 'sid')
      assert.is(await store.get(req, 'sid'), session)
      session.values['a'] = end
      await tx.save(req, new TestResponse(), session)
      await client.query(end)
      assert.equal((await stored(id))['data'], { a: end === 'rollback' ? 1 : end })
    }
  } finally {
    client.release()
  }
})

// Construction, ending, secrecy

test('all problems of the options are named at once', () => {
  const bad = {
    connectionString: 'base',
    keyPairs: ['short', null, 'x'.repeat(32), 'bad block'],
    maxLength: -1,
    lifetime: 0,
    schema: 'a".b; drop table x;--',
    options: { sameSite: 'none', secure: false, path: 'a;b', colour: 'red' },
    typo: 1,
  }
  const error = (() => {
    try {
      return new PGStore(bad as never)
    } catch (error) {
      return error as PGStoreError
    }
  })()
  assert.instance(error, PGStoreError)
  assert.is((error as PGStoreError).code, 'invalid_option')
  for (const part of [
    'unknown option "typo"',
    'connectionString must begin with postgres://',
    'key 0',
    'key 3',
    'maxLength',
    'lifetime',
    'schema',
    'sameSite',
    'path',
    'colour',
  ]) {
    assert.match((error as PGStoreError).message, part)
  }
})

test('close ends the store’s own pool, is idempotent, and leaves a borrowed pool alone', async () => {
  const { pool } = spyPool()
  const borrowed = testStore({ pool })
  await Promise.all([borrowed.close(), borrowed.close()])
  assert.is((await admin.query('select 1 as one')).rows[0].one, 1)
  assert.is((await rejection(borrowed.get(new Visitor().request(), 'sid'))).code, 'closed')
})

test('open installs the schema, and with migrate: false does not', async () => {
  const options = { connectionString: databaseUrl, keyPairs: [hashKey], schema: 'opened' }
  const without = await PGStore.open({ ...options, migrate: false })
  assert.is((await rejection(without.countExpiredSessions())).code, 'not_installed')
  await without.close()
  const opened = await PGStore.open(options)
  assert.is(await opened.countExpiredSessions(), 0)
  await opened.close()
})

test('open fails with one clear error if there is no database', async () => {
  const error = await rejection(
    PGStore.open({ connectionString: 'postgres://nobody:hunter2@127.0.0.1:1/none', keyPairs: [hashKey] }),
  )
  assert.is(error.code, 'unavailable')
  assert.not.match(inspect(error), /hunter2/)
})

test('neither inspect nor JSON shows a key, a token, a value or a user', async () => {
  const { visitor } = await signedUp({ secret: 'hunter2' })
  const { session } = await visitor.visit(store, (session) => {
    session.userId = 'somebody'
  })
  const shown = [store, session, store.codecs].map((thing) => inspect(thing, { depth: 9, showHidden: true })).join()
  for (const text of [shown, JSON.stringify([store, session])]) {
    assert.not.match(text, /hunter2|somebody|postgres:|example hash key/)
    const token = codecsFromPairs(hashKey)[0]?.decode('sid', visitor.jar.get('sid') ?? '') ?? 'none'
    assert.is(text.includes(token), false)
  }
})

test.run()
