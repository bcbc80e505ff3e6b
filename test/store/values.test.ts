// Values that one request gets: take, takeFlashes, expire, and the key-value face by token.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Session } from '../../src/index.ts'
import {
  admin,
  clientUrl,
  closeAll,
  rejection,
  row,
  sql,
  TestResponse,
  testStore,
  until,
  Visitor,
} from '../support/harness.ts'

test.after(closeAll)

const stores = [
  ['plain', testStore()],
  ['sealed', testStore({ seal: true })],
  ['cached', testStore({ cache: { byToken: true } })],
] as const

const newToken = () => randomBytes(32).toString('base64url')

/** What is stored of a session, as its owner sees it. */
async function dataOf(session: Session): Promise<Record<string, unknown>> {
  const { data } = await row<{ data: Record<string, unknown> }>(
    'select data from pgstore.sessions where id = $1',
    session.id,
  )
  return data
}

/** The same visitor's session in several requests at once, all read before any goes on. */
async function tabs(store: (typeof stores)[number][1], visitor: Visitor, count: number): Promise<Session[]> {
  return await Promise.all(Array.from({ length: count }, () => store.get(visitor.request(), 'sid')))
}

for (const [kind, store] of stores) {
  test(`${kind}: of 8 requests that take a value at once one gets it`, async () => {
    const visitor = new Visitor()
    await visitor.visit(store, ({ values }) => Object.assign(values, { state: { nonce: 'n' }, theme: 'dark' }))
    const sessions = await tabs(store, visitor, 8)
    const taken = await Promise.all(sessions.map((session) => session.take('state')))
    assert.equal(
      taken.filter((value) => value !== undefined),
      [{ nonce: 'n' }],
    )
    assert.equal(Object.keys(await dataOf(sessions[0] as Session)), ['theme'])
  })

  test(`${kind}: what was taken is not in the values any more, and a save does not bring it back`, async () => {
    const visitor = new Visitor()
    await visitor.visit(store, ({ values }) => Object.assign(values, { code: 1, n: 1 }))
    const { session } = await visitor.visit(store, async (session) => {
      session.values['n'] = 2
      assert.is(await session.take('code'), 1)
      assert.equal(session.values, { n: 2 })
    })
    assert.equal(Object.keys(await dataOf(session)), ['n'])
    await visitor.visit(store, ({ values }) => assert.equal(values, { n: 2 }))
  })

  test(`${kind}: own takes are no conflict for ifUnchanged, another request's save is`, async () => {
    const visitor = new Visitor()
    await visitor.visit(store, ({ values }) => Object.assign(values, { code: 1, n: 1 }))
    const [one, other] = (await tabs(store, visitor, 2)) as [Session, Session]
    assert.is(await one.take('code'), 1)
    one.values['n'] = 2
    const [req, res] = [visitor.request(), new TestResponse()]
    await store.save(req, res, one, { ifUnchanged: true })
    other.values['n'] = 3
    assert.is((await rejection(store.save(req, res, other, { ifUnchanged: true }))).code, 'conflict')
    assert.is(await other.take('code'), undefined)
  })

  test(`${kind}: a session that was ended elsewhere gives nothing and is not revived`, async () => {
    const visitor = new Visitor()
    const { session } = await visitor.visit(store, ({ values }) => Object.assign(values, { code: 1 }))
    const [late] = (await tabs(store, visitor, 1)) as [Session]
    await sql('delete from pgstore.sessions where id = $1', session.id)
    assert.is(await late.take('code'), undefined)
    late.values['n'] = 1
    assert.is((await rejection(store.save(visitor.request(), new TestResponse(), late))).code, 'gone')
  })

  test(`${kind}: two requests at once never show a flash message twice, nor lose one`, async () => {
    for (let round = 0; round < 5; round++) {
      const visitor = new Visitor()
      await visitor.visit(store, (session) => session.addFlash('saved'))
      await visitor.visit(store, (session) => session.addFlash('welcome'))
      const sessions = await tabs(store, visitor, 4)
      const shown = await Promise.all(sessions.map((session) => session.takeFlashes<string>()))
      assert.equal(shown.flat(), ['saved', 'welcome'])
    }
  })

  test(`${kind}: by token, of 8 takes at once one gets the values, or the one value`, async () => {
    const { byToken } = store
    const token = newToken()
    for (const name of [undefined, 'a'] as const) {
      await byToken.put(token, { a: [1], b: 2 }, { ttl: 60 })
      const take = () => (name === undefined ? byToken.take(token) : byToken.take(token, name))
      const taken = await Promise.all(Array.from({ length: 8 }, take))
      assert.equal(
        taken.filter((value) => value !== undefined),
        name === undefined ? [{ a: [1], b: 2 }] : [[1]],
      )
      assert.equal((await byToken.get(token))?.values(), name === undefined ? undefined : { b: 2 })
    }
  })

  test(`${kind}: by token, 20 increments at once count 20`, async () => {
    const token = newToken()
    const counted = await Promise.all(
      Array.from({ length: 20 }, () => store.byToken.increment(token, 'n', 1, { ttl: 60 })),
    )
    assert.equal(
      counted.sort((one, other) => one - other),
      Array.from({ length: 20 }, (_, n) => n + 1),
    )
    assert.equal((await store.byToken.get(token))?.values(), { n: 20 })
    assert.is(await store.byToken.increment(token, 'n', -0.5, { ttl: 60 }), 19.5)
  })

  test(`${kind}: a put replaces whatever was there, in one call`, async () => {
    const { byToken } = store
    const token = newToken()
    await byToken.put(token, { a: 1, b: 2 }, { ttl: 60 })
    await byToken.get(token)
    await byToken.put(token, { b: 3 }, { ttl: 3600 })
    const known = await byToken.get(token)
    assert.equal(known?.values(), { b: 3 })
    assert.ok(Math.abs((known?.remainingMs ?? 0) - 3600_000) < 10_000)
  })

  test(`${kind}: by token, ifUnchanged fails where another has saved, or created`, async () => {
    const { byToken } = store
    const token = newToken()
    const created = await byToken.save(token, { n: 1 }, { ttl: 60, ifUnchanged: true })
    const again = byToken.save(token, { n: 2 }, { ttl: 60, ifUnchanged: true })
    assert.is((await rejection(again)).code, 'conflict')
    const known = await byToken.get(token, { fresh: true })
    const first = await byToken.save(token, { n: 3 }, { ttl: 60, known, ifUnchanged: true })
    const late = byToken.save(token, { n: 4 }, { ttl: 60, known: created, ifUnchanged: true })
    assert.is((await rejection(late)).code, 'conflict')
    assert.ok(await byToken.save(token, { n: 5 }, { ttl: 60, known: first, ifUnchanged: true }))
    assert.equal((await byToken.get(token))?.values(), { n: 5 })
  })

  test(`${kind}: a value ends when its own life is over, saved or regenerated with it, and the session goes on`, async () => {
    const visitor = new Visitor()
    await visitor.visit(store, (session) => {
      Object.assign(session.values, { otp: 7, theme: 'dark' })
      session.expire('otp', 300)
    })
    const { session } = await visitor.visit(store, async (session, req, res) => {
      assert.equal(session.values, { otp: 7, theme: 'dark' })
      session.values['sudo'] = true
      session.expire('sudo', 600)
      await store.regenerate(req, res, session)
    })
    const passes = async (seconds: number) =>
      await row(
        `update pgstore.sessions as s
         set value_ends = (select jsonb_object_agg(e.key, e.value::numeric - $2) from jsonb_each(s.value_ends) as e)
         where id = $1 returning id`,
        session.id,
        seconds,
      )
    await passes(400)
    const fresh = async () => (await store.get(visitor.request(), 'sid', { fresh: true })) as Session
    assert.equal((await fresh()).values, { theme: 'dark', sudo: true })
    await passes(200)
    assert.equal((await fresh()).values, { theme: 'dark' })
    assert.is(await (await fresh()).take('sudo'), undefined)
  })
}

const store = testStore()

test('a life is given to a value that is stored already, and taken back by null', async () => {
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  const ends = async (session: Session) =>
    (await row('select value_ends from pgstore.sessions where id = $1', session.id))['value_ends']
  const { session } = await visitor.visit(store, (session) => session.expire('a', 60))
  assert.equal(Object.keys((await ends(session)) as object), ['a'])
  assert.is(session.version, 1)
  await visitor.visit(store, (session) => session.expire('a', null))
  assert.is(await ends(session), null)
})

test('a life alone creates no session', async () => {
  const visitor = new Visitor()
  const { session, res } = await visitor.visit(store, (session) => session.expire('a', 60))
  assert.is(session.isNew, true)
  assert.equal(res.cookies, [])
})

test('a life that is none is refused', async () => {
  const session = await store.get(new Visitor().request(), 'sid')
  for (const seconds of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '60' as never, undefined as never]) {
    assert.throws(() => session.expire('a', seconds), /seconds must be a number/)
  }
})

test('flash messages of this request are shown with those that are stored', async () => {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => session.addFlash('stored'))
  await visitor.visit(store, async (session) => {
    session.addFlash('new')
    assert.equal(await session.takeFlashes(), ['stored', 'new'])
    assert.equal(await session.takeFlashes(), [])
    session.addFlash('later', 'kind')
  })
  await visitor.visit(store, async (session) => assert.equal(await session.takeFlashes('kind'), ['later']))
})

test('a new session has nothing to take', async () => {
  const session = await store.get(new Visitor().request(), 'sid')
  session.values['a'] = 1
  assert.is(await session.take('a'), undefined)
  session.addFlash('now')
  assert.equal(await session.takeFlashes(), ['now'])
})

test('where sessions are cached, a take is hinted at by the next save, though nothing else is saved', async () => {
  const cached = testStore({ cache: true })
  const visitor = new Visitor()
  await visitor.visit(cached, ({ values }) => Object.assign(values, { a: 1, b: 1 }))
  const hint = visitor.jar.get('sid-v')
  await visitor.visit(cached, async (session) => assert.is(await session.take('a'), 1))
  assert.is.not(visitor.jar.get('sid-v'), hint)
  await visitor.visit(cached, ({ values }) => assert.equal(values, { b: 1 }))
  const other = testStore({ cache: true })
  await visitor.visit(other, ({ values }) => assert.equal(values, { b: 1 }))
})

test('this process does not show from its cache what it has put, taken or counted', async () => {
  const cached = testStore({ cache: { byToken: true } })
  const { byToken } = cached
  const token = newToken()
  const values = async () => (await byToken.get(token))?.values()
  await byToken.put(token, { n: 1, a: 1 }, { ttl: 60 })
  await until(async () => {
    await values()
    return (cached.stats().cache?.hits ?? 0) >= 1 // on a busy machine that may take several reads
  })
  assert.equal(await values(), { n: 1, a: 1 })
  await byToken.increment(token, 'n', 1, { ttl: 60 })
  assert.equal(await values(), { n: 2, a: 1 })
  await byToken.take(token, 'a')
  assert.equal(await values(), { n: 2 })
  await byToken.put(token, { n: 3 }, { ttl: 60 })
  assert.equal(await values(), { n: 3 })
  await byToken.take(token)
  assert.is(await values(), undefined)
  assert.ok((cached.stats().cache?.hits ?? 0) >= 1)
})

test('inside a transaction a take is taken back by a rollback', async () => {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, ({ values }) => Object.assign(values, { code: 1 }))
  const client = new pg.Client({ connectionString: clientUrl })
  await client.connect()
  try {
    await client.query('begin')
    const inside = store.withClient(client)
    const read = await inside.get(visitor.request(), 'sid')
    assert.is(await inside.take(read, 'code'), 1)
    await client.query('rollback')
  } finally {
    await client.end()
  }
  assert.equal(await dataOf(session), { code: 1 })
})

test('put signs in as a save does: it counts against sessionsPerUser', async () => {
  const limited = testStore({ sessionsPerUser: 1 })
  const [first, second] = [newToken(), newToken()]
  await limited.byToken.put(first, {}, { ttl: 60, userId: 'put' })
  await limited.byToken.put(second, {}, { ttl: 60, userId: 'put' })
  assert.is(await limited.byToken.get(first), undefined)
  assert.is((await limited.byToken.get(second))?.userId, 'put')
  await limited.byToken.put(second, { a: 1 }, { ttl: 60 })
  assert.is((await limited.byToken.get(second))?.userId, 'put')
  await limited.byToken.put(second, { a: 1 }, { ttl: 60, userId: null })
  assert.is((await limited.byToken.get(second))?.userId, undefined)
})

test('what cannot be put or counted is refused', async () => {
  const { byToken } = testStore({ maxLength: 100 })
  const token = newToken()
  const code = async (promise: Promise<unknown>) => (await rejection(promise)).code
  assert.is(await code(byToken.put(token, { a: 'x'.repeat(100) }, { ttl: 60 })), 'too_large')
  assert.is(await code(byToken.put(token, { a: Number.NaN }, { ttl: 60 })), 'invalid_value')
  assert.is(await code(byToken.put(token, {}, { ttl: 0 })), 'invalid_option')
  assert.is(await code(byToken.put(token, {}, {} as never)), 'invalid_option')
  assert.is(await code(byToken.increment(token, 'n', Number.NaN, { ttl: 60 })), 'invalid_option')
  await byToken.put(token, { a: 'text' }, { ttl: 60 })
  assert.is(await code(byToken.increment(token, 'a', 1, { ttl: 60 })), 'invalid_value')
  assert.is(await code(byToken.increment(token, 'x'.repeat(100), 1, { ttl: 60 })), 'too_large')
})

test('no token reaches the server', async () => {
  const token = newToken()
  const { byToken } = store
  await byToken.put(token, { a: 1 }, { ttl: 60 })
  const { rows } = await admin.query('select key, data::text as data from pgstore.sessions')
  assert.not(rows.some(({ key, data }) => key.includes(token) || data.includes(token)))
})

test.run()
