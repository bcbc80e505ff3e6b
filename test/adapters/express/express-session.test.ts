import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { Cookie, type SessionData } from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore, type ExpressSessionStoreOptions } from '../../../src/adapters/express-session.ts'
import { PGStore } from '../../../src/index.ts'
import { admin, closeAll, databaseUrl, hashKey, rejection, row, sql, testStore, until } from '../../support/harness.ts'
import { App, type Browser } from './app.ts'

const opened: { close(): Promise<void> }[] = []

/** A store on this file's database, and the texts of its queries. */
function newStore(options: Partial<ExpressSessionStoreOptions> = {}) {
  const queries: string[] = []
  const pool = {
    connect: () => admin.connect(),
    query: (query: { text: string }) => {
      queries.push(query.text)
      return admin.query(query as never) as never
    },
  }
  const connection = options.connectionString || options.store ? {} : { pool }
  const store = new ExpressSessionStore({ ...connection, ...options })
  opened.unshift(store)
  return { store, queries }
}

async function newApp(
  options: Partial<ExpressSessionStoreOptions> = {},
  sessionOptions: ConstructorParameters<typeof App>[1] = {},
) {
  const { store, queries } = newStore(options)
  const app = await new App(store, sessionOptions).listen()
  opened.unshift(app)
  return { store, queries, app }
}

test.after(async () => {
  for (const one of opened) await one.close()
  await closeAll()
})

const keyOf = (sid: string) => createHash('sha256').update(sid).digest()
const stored = async (sid: string) =>
  (
    await sql<{ id: string; user_id: string | null; data: SessionData & Record<string, unknown>; version: number }>(
      'select *, extract(epoch from expires_at - now())::float8 as seconds from pgstore.sessions where key = $1',
      keyOf(sid),
    )
  )[0]
const secondsLeft = async (sid: string) =>
  (
    await row<{ seconds: number }>(
      'select extract(epoch from expires_at - now())::float8 as seconds from pgstore.sessions where key = $1',
      keyOf(sid),
    )
  ).seconds
/** Time passes for this session. */
const age = async (sid: string, by: string) =>
  await sql('update pgstore.sessions set expires_at = expires_at - $2::interval where key = $1', keyOf(sid), by)

async function visitor(app: App, query = 'a=1'): Promise<Browser> {
  const browser = app.browser()
  await browser.get(`/set?${query}`)
  return browser
}

// A session's life

test('what a request sets is there at the next one, and the sid never reaches the database server', async () => {
  const { app, queries } = await newApp()
  const browser = await visitor(app, 'cart=apple&visits=1')
  assert.equal(await browser.session(), { cart: 'apple', visits: '1' })
  assert.ok((await stored(browser.sid))?.id)
  assert.not.match(JSON.stringify(queries), browser.sid)
  const rows = await sql("select * from pgstore.sessions where data::text like '%' || $1 || '%'", browser.sid)
  assert.equal(rows, [])
})

test('a visitor without a session costs no query and gets no cookie', async () => {
  const { app, queries } = await newApp()
  const { cookie } = await app.browser().get('/')
  assert.is(cookie, undefined)
  assert.equal(queries, [])
})

test('saveUninitialized keeps a session that holds nothing', async () => {
  const { app } = await newApp({}, { saveUninitialized: true })
  const browser = app.browser()
  await browser.get('/')
  assert.equal(Object.keys((await stored(browser.sid))?.data ?? {}), ['cookie'])
})

test('two concurrent requests that change different keys both keep their changes', async () => {
  const { app } = await newApp()
  const browser = await visitor(app)
  const gate = app.gate('slow')
  const slow = browser.copy().get('/set?b=2&gate=slow')
  await gate.arrived
  await browser.get('/set?c=3')
  await browser.get('/unset?key=a')
  gate.open()
  assert.is((await slow).text, 'set')
  assert.equal(await browser.session(), { b: '2', c: '3' })
})

test('a save sends only the changed keys: the cookie is not among them', async () => {
  const { app } = await newApp({}, { cookie: { maxAge: 60_000 } })
  const browser = await visitor(app)
  // Another request changes a key that this one has read and leaves alone.
  const gate = app.gate('slow')
  const slow = browser.copy().get('/set?b=2&gate=slow')
  await gate.arrived
  await sql(
    `update pgstore.sessions set data = data || '{"a": 9, "cookie": {"mark": 1}}' where key = $1`,
    keyOf(browser.sid),
  )
  gate.open()
  await slow
  assert.equal((await stored(browser.sid))?.data as object, { a: 9, b: '2', cookie: { mark: 1 } })
})

test('a late save does not bring back a session that was signed out, and its response is whole', async () => {
  const { app } = await newApp()
  const browser = await visitor(app)
  const gate = app.gate('slow')
  const slow = browser.copy().get('/set?b=2&gate=slow')
  await gate.arrived
  await browser.get('/sign-out')
  gate.open()
  assert.is((await slow).text, 'set')
  assert.is(await stored(browser.sid), undefined)
  assert.equal(app.errors, [])
})

test('a save before the response reports that the session is gone', async () => {
  const { app } = await newApp()
  const browser = await visitor(app)
  const gate = app.gate('slow')
  const slow = browser.copy().get('/set-and-save?gate=slow')
  await gate.arrived
  await browser.get('/sign-out')
  gate.open()
  assert.is((await slow).text, 'gone')
  assert.is(await stored(browser.sid), undefined)
})

test('regenerate ends the old sid at once and begins an empty session', async () => {
  const { app, store } = await newApp()
  const browser = await visitor(app)
  const stolen = browser.copy()
  await browser.get('/sign-in?user=ann')
  assert.equal(await browser.session(), { user: 'ann' })
  assert.equal(await stolen.session(), {})
  assert.is(await store.get(stolen.sid), undefined)
})

test('renew moves the session to a new sid with everything it holds, in one statement', async () => {
  const { app, store, queries } = await newApp({ userId: ({ user }) => user })
  const browser = await visitor(app, 'cart=apple')
  const before = await stored(browser.sid)
  const stolen = browser.copy()
  queries.length = 0
  await browser.get('/renew?user=bob')
  assert.equal(
    queries.map((text) => /pgstore\.(\w+)/.exec(text)?.[1]),
    ['session_get', 'session_regenerate'],
  )
  assert.is.not(browser.sid, stolen.sid)
  assert.equal(await browser.session(), { cart: 'apple', user: 'bob' })
  assert.is(await store.get(stolen.sid), undefined)
  const after = await stored(browser.sid)
  assert.is(after?.id, before?.id)
  assert.is(after?.user_id, 'bob')
  await browser.get('/set?visits=2')
  assert.equal(await browser.session(), { cart: 'apple', user: 'bob', visits: '2' })
})

test('renew saves a session that was never stored', async () => {
  const { app, queries } = await newApp()
  const browser = app.browser()
  await browser.get('/renew?user=ann')
  assert.equal(
    queries.map((text) => /pgstore\.(\w+)/.exec(text)?.[1]),
    ['session_save'],
  )
  assert.equal(await browser.session(), { user: 'ann' })
})

test('a session that is saved, changed and saved again in one request keeps both changes', async () => {
  const { store } = newStore()
  const data = { cookie: new Cookie(), visits: 1 } as SessionData
  await store.set('twice', data)
  Object.assign(data, { user: 'ann' })
  await store.set('twice', data)
  const { cookie: _, ...values } = (await store.get('twice')) as SessionData
  assert.equal(values, { visits: 1, user: 'ann' })
  assert.is((await stored('twice'))?.version, 2)
})

test('set of a session that was not read replaces the stored one', async () => {
  const { store } = newStore()
  await store.set('replaced', { cookie: new Cookie(), visits: 1, user: 'ann' })
  await store.set('replaced', { cookie: new Cookie(), visits: 2 })
  const { cookie: _, ...values } = (await store.get('replaced')) as SessionData
  assert.equal(values, { visits: 2 })
})

test('values are kept as JSON, and what Postgres cannot store is refused with its path', async () => {
  class Entity {
    name = 'ann'
    save() {}
  }
  const { store } = newStore()
  const when = new Date(0)
  const data = { cookie: new Cookie(), entity: new Entity(), when, none: undefined } as SessionData
  await store.set('json', data)
  const { cookie: _, ...values } = (await store.get('json')) as SessionData
  assert.equal(values, { entity: { name: 'ann' }, when: '1970-01-01T00:00:00.000Z' })
  const error = await rejection(store.set('nul', { cookie: new Cookie(), user: 'a\0b' }))
  assert.is(error.code, 'invalid_value')
  assert.match(error.message, 'values.user')
})

test('a session larger than maxLength is refused, and the stored one stays', async () => {
  const { store } = newStore({ maxLength: 200 })
  await store.set('large', { cookie: new Cookie(), visits: 1 })
  const data = (await store.get('large')) as SessionData
  data.user = 'x'.repeat(300)
  assert.is((await rejection(store.set('large', data))).code, 'too_large')
  assert.is(((await store.get('large')) as SessionData).user, undefined)
})

// Expiry

test('a session expires when its cookie does, to the fraction of a second', async () => {
  const { app, store } = await newApp({}, { cookie: { maxAge: 5 } })
  const browser = await visitor(app)
  const { sid } = browser
  assert.ok((await secondsLeft(sid)) <= 0.0051)
  await until(async () => (await store.get(sid)) === undefined)
  assert.equal(await browser.session(), {})
})

test('without an expiry of its cookie a session lives for the ttl: a day by default', async () => {
  const { store } = newStore()
  const { store: hourly } = newStore({ ttl: 3600 })
  await store.set('daily', { cookie: new Cookie() })
  await hourly.set('hourly', { cookie: new Cookie() })
  const [daily, hour] = [await secondsLeft('daily'), await secondsLeft('hourly')]
  assert.ok(daily > 86_300 && daily <= 86_400 + 3600, String(daily))
  assert.ok(hour > 3500 && hour <= 3600 * 1.1, String(hour))
})

test('the expiry is kept in the row, not in the data, and is read back from there', async () => {
  const { app, store } = await newApp({}, { cookie: { maxAge: 60_000 } })
  const { sid } = await visitor(app)
  const row = await stored(sid)
  assert.ok(row)
  const { originalMaxAge, ...rest } = row.data.cookie as { originalMaxAge: number }
  // express-session computes it from the expiry and the time of day, which may be a little later by then.
  assert.ok(originalMaxAge > 59_900 && originalMaxAge <= 60_000, String(originalMaxAge))
  assert.equal(rest, { httpOnly: true, path: '/' })
  await age(sid, '20 seconds')
  const { cookie } = (await store.get(sid)) as SessionData
  assert.ok(cookie.expires instanceof Date)
  const seconds = (Number(cookie.expires) - Date.now()) / 1000
  assert.ok(seconds > 30 && seconds < 47, String(seconds))
})

test('a fixed expiry does not move', async () => {
  const { store } = newStore()
  const expires = new Date(Date.now() + 3_600_000)
  await store.set('fixed', { cookie: { originalMaxAge: null, expires } } as SessionData)
  assert.equal((await store.get('fixed'))?.cookie as object, { originalMaxAge: null, expires: expires.toISOString() })
  assert.ok((await secondsLeft('fixed')) < 3600)
})

test('set with an expiry in the past ends the session', async () => {
  const { store } = newStore()
  await store.set('past', { cookie: new Cookie() })
  await store.set('past', { cookie: { originalMaxAge: null, expires: new Date(Date.now() - 1000) } } as SessionData)
  assert.is(await stored('past'), undefined)
})

test('a visit that changes nothing writes nothing until a tenth of the ttl has passed', async () => {
  for (const resave of [false, true]) {
    const { app, queries } = await newApp({}, { resave, cookie: { maxAge: 3_600_000 } })
    const browser = await visitor(app)
    const { version } = (await stored(browser.sid)) as { version: number }
    const calls = async () => {
      queries.length = 0
      await browser.get('/')
      return queries.map((text) => /pgstore\.(\w+)/.exec(text)?.[1])
    }
    assert.equal(await calls(), ['session_get'], `resave ${resave}`)
    await age(browser.sid, '5 minutes')
    assert.equal(await calls(), ['session_get'])
    await age(browser.sid, '2 minutes')
    assert.equal(await calls(), ['session_get', 'session_save'])
    assert.ok((await secondsLeft(browser.sid)) > 3590)
    assert.is((await stored(browser.sid))?.version, version)
  }
})

test('milliseconds that express-session loses from a maxAge do not count as a change', async () => {
  const { app, store, queries } = await newApp({}, { resave: true, cookie: { maxAge: 3_600_000 } })
  const browser = await visitor(app)
  const data = (await store.get(browser.sid)) as SessionData
  for (const [originalMaxAge, calls] of [
    [3_599_999, 0],
    [3_599_970, 0],
    [3_590_000, 1],
  ] as const) {
    queries.length = 0
    data.cookie.originalMaxAge = originalMaxAge
    await store.set(browser.sid, data)
    assert.is(queries.length, calls, String(originalMaxAge))
  }
})

test('rolling sends the cookie with every response', async () => {
  const { app } = await newApp({}, { rolling: true, cookie: { maxAge: 60_000 } })
  const browser = await visitor(app)
  assert.match((await browser.get('/')).cookie ?? '', 'Expires=')
  const { app: still } = await newApp({}, { cookie: { maxAge: 60_000 } })
  const other = await visitor(still)
  assert.is((await other.get('/')).cookie, undefined)
})

test('a maxAge that a request gives its session is kept, though express-session only touches it', async () => {
  const { app } = await newApp({}, { cookie: { maxAge: 60_000 } })
  const browser = await visitor(app)
  await browser.get('/remember?ms=3600000')
  assert.ok((await secondsLeft(browser.sid)) > 3500)
  assert.is((await stored(browser.sid))?.data.cookie.originalMaxAge, 3_600_000)
  await browser.get('/remember?ms=10000')
  assert.ok((await secondsLeft(browser.sid)) < 11)
})

test('touch of a session that has ended, or never existed, succeeds', async () => {
  const { store } = newStore()
  await store.set('touched', { cookie: new Cookie() })
  const data = (await store.get('touched')) as SessionData
  await store.destroy('touched')
  data.cookie.originalMaxAge = 1000
  await store.touch('touched', data)
  await store.touch('never', { cookie: new Cookie() })
  assert.is(await stored('touched'), undefined)
})

// Users

test("a user's sessions can be listed and revoked", async () => {
  const { app, store } = await newApp({ userId: ({ user }) => user })
  const [here, there, other] = [app.browser(), app.browser(), app.browser()]
  for (const [browser, user] of [
    [here, 'carol'],
    [there, 'carol'],
    [other, 'dave'],
  ] as const) {
    await browser.get(`/sign-in?user=${user}`)
  }
  const listed = await store.list('carol', { data: true })
  assert.is(listed.length, 2)
  assert.is(listed[0]?.id, (await there.get('/id')).text)
  assert.is(listed[0]?.values.user, 'carol')
  assert.is(await store.revoke('carol', { except: here.sid }), 1)
  assert.equal(await there.session(), {})
  assert.equal(await here.session(), { user: 'carol' })
  assert.is(await store.revoke('carol', { id: (await here.get('/id')).text }), 1)
  assert.equal(await here.session(), {})
  assert.equal(await other.session(), { user: 'dave' })
  assert.is((await rejection(store.revoke('dave', { except: undefined as never }))).code, 'invalid_option')
})

test('a session whose user is removed becomes anonymous', async () => {
  const { app, store } = await newApp({ userId: ({ user }) => user })
  const browser = app.browser()
  await browser.get('/sign-in?user=erin')
  await browser.get('/unset?key=user')
  assert.equal(await store.list('erin'), [])
  assert.is((await stored(browser.sid))?.user_id, null)
})

test('a user id may be a number', async () => {
  const { store } = newStore({ userId: ({ visits }) => visits })
  await store.set('numbered', { cookie: new Cookie(), visits: 42 })
  assert.is((await store.list('42')).length, 1)
})

// Faults

test('a database that is down fails the request, and leaves the cookie alone', async () => {
  const { app } = await newApp({ connectionString: 'postgres://127.0.0.1:1/none' })
  const { app: running } = await newApp()
  const browser = await visitor(running)
  const sent = browser.cookie
  const lost = Object.assign(app.browser(), { cookie: sent })
  const answer = await lost.get('/')
  assert.is(answer.status, 503)
  assert.is(answer.cookie, undefined)
  assert.is((app.errors[0] as { code?: string }).code, 'unavailable')
  assert.equal(await browser.session(), { a: '1' })
})

test('a callback that throws is not swallowed by a promise', async () => {
  const { store } = newStore()
  const thrown = new Promise((resolve) => process.once('uncaughtException', resolve))
  void store.destroy('none', () => {
    throw new Error('from the callback')
  })
  assert.is(((await thrown) as Error).message, 'from the callback')
})

test('errors go to the callback', async () => {
  const { store } = newStore({ connectionString: 'postgres://127.0.0.1:1/none' })
  const error = await new Promise<{ code?: string }>(
    (resolve) => void store.get('any', (error) => resolve(error as object)),
  )
  assert.is(error.code, 'unavailable')
})

// Options

test('wrong options are refused', () => {
  const code = (options: object) => {
    try {
      new ExpressSessionStore(options)
    } catch (error) {
      return (error as { code?: string }).code
    }
    return undefined
  }
  const store = testStore()
  for (const options of [
    {},
    { connectionString: databaseUrl, ttl: 0 },
    { connectionString: databaseUrl, ttl: '1 day' },
    { connectionString: databaseUrl, tableName: 'session' },
    { store, schema: 'other' },
  ]) {
    assert.is(code(options), 'invalid_option', JSON.stringify(Object.keys(options)))
  }
})

test('a PGStore that is given is shared, and not closed', async () => {
  const shared = new PGStore({ connectionString: databaseUrl, keyPairs: [hashKey] })
  const { store } = newStore({ store: shared, userId: ({ user }) => user })
  await store.set('shared', { cookie: new Cookie(), user: 'frank' })
  await store.close()
  assert.is((await shared.list('frank')).length, 1)
  await shared.close()
})

test('open installs the schema, and close ends the pool', async () => {
  const store = await ExpressSessionStore.open({ connectionString: databaseUrl, schema: 'express_open' })
  await store.set('opened', { cookie: new Cookie() })
  assert.ok(await store.get('opened'))
  assert.is(await store.pgstore.countExpiredSessions(), 0)
  await store.close()
  assert.is((await sql('select from express_open.sessions')).length, 1)
})

test('an application’s additions to SessionData type what the store returns and accepts', async () => {
  const { store } = newStore({ userId: (session) => session.user satisfies string | undefined })
  await store.set('typed', { cookie: new Cookie(), user: 'gina' })
  const [listed] = await store.list('gina', { data: true })
  const values: SessionData | undefined = listed?.values
  assert.is(values?.user satisfies string | undefined, 'gina')
  // @ts-expect-error: visits is a number
  await store.set('typed', { cookie: new Cookie(), visits: 'three' })
})

test('CommonJS can require it once it is built', () => {
  const { ExpressSessionStore: required } = createRequire(import.meta.url)('pgstore/express-session')
  assert.is(typeof required.open, 'function')
})

test.run()
