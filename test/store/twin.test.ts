// The store over Postgres and the one in memory are the same to an application: every test here runs on both.
import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type PGStore, PGStoreError, type PGStoreOptions, type Session } from '../../src/index.ts'
import { MemoryStore } from '../../src/memory/memory-store.ts'
import { closeAll, rejection, sql, TestResponse, testStore, until, Visitor } from '../support/harness.ts'

test.after(closeAll)

type Options = Pick<PGStoreOptions, 'maxLength' | 'lifetime' | 'seal' | 'sessionsPerUser' | 'anonymousMaxAge'>

const audited = 'Postgres with its history'

const kinds: readonly (readonly [string, (options?: Options) => PGStore])[] = [
  ['Postgres', (options) => testStore(options)],
  [audited, (options) => testStore(options)],
  ['memory', (options) => new MemoryStore(options)],
]

const newToken = () => randomBytes(32).toString('base64url')
const newUser = () => `user ${randomBytes(6).toString('hex')}`
const codeOf = async (promise: Promise<unknown>) => (await rejection(promise)).code

function both(name: string, body: (open: (options?: Options) => PGStore) => Promise<void>): void {
  for (const [kind, open] of kinds) {
    test(`${kind}: ${name}`, async () => {
      await sql('select pgstore.audit_set($1)', kind === audited)
      await body(open)
    })
  }
}

both('a session is created, read, changed and destroyed', async (open) => {
  const store = open()
  const visitor = new Visitor()
  const { session: created } = await visitor.visit(store, ({ values }) =>
    Object.assign(values, { a: 1, list: [1, { b: null }] }),
  )
  assert.equal([created.version, created.isNew], [1, false])
  const { session } = await visitor.visit(store, ({ values }) => {
    assert.equal(values, { a: 1, list: [1, { b: null }] })
    values['a'] = 2
  })
  assert.equal([session.version, session.id], [2, created.id])
  const twin = new Visitor()
  for (const [name, value] of visitor.jar) twin.jar.set(name, value)
  await visitor.visit(store, (session) => {
    session.options.maxAge = -1
  })
  assert.is(visitor.jar.size, 0)
  await twin.visit(store, (session) => assert.ok(session.isNew))
})

both('requests at once merge their values, and a removed one stays away', async (open) => {
  const store = open()
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { gone: 1, kept: 1 }))
  const sessions = await Promise.all([1, 2, 3].map(() => store.get(visitor.request(), 'sid')))
  const save = async (session: Session) => await store.save(visitor.request(), new TestResponse(), session)
  delete sessions[0]?.values['gone']
  Object.assign(sessions[1]?.values ?? {}, { theme: 'dark' })
  Object.assign(sessions[2]?.values ?? {}, { language: 'fr' })
  await Promise.all(sessions.map(save))
  await visitor.visit(store, ({ values }) => assert.equal(values, { kept: 1, theme: 'dark', language: 'fr' }))
})

both('a save never revives what was ended, and a regenerated token is dead', async (open) => {
  const store = open()
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  const late = await store.get(visitor.request(), 'sid')
  const before = visitor.request()
  await visitor.visit(store, async (session, req, res) => {
    session.userId = 'ada'
    await store.regenerate(req, res, session)
  })
  late.values['a'] = 2
  assert.is(await codeOf(store.save(before, new TestResponse(), late)), 'gone')
  assert.ok((await store.get(before, 'sid')).isNew)
  await visitor.visit(store, ({ values, userId }) => assert.equal([values, userId], [{ a: 1 }, 'ada']))
})

both('of several regenerates of one session one wins', async (open) => {
  const store = open()
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  const sessions = await Promise.all([1, 2, 3].map(() => store.get(visitor.request(), 'sid')))
  const ends = await Promise.allSettled(
    sessions.map((session) => store.regenerate(visitor.request(), new TestResponse(), session)),
  )
  assert.is(ends.filter(({ status }) => status === 'fulfilled').length, 1)
})

both('ifUnchanged fails with conflict and brings the current values', async (open) => {
  const store = open()
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { n: 1 }))
  const late = await store.get(visitor.request(), 'sid')
  await visitor.visit(store, ({ values }) => Object.assign(values, { n: 2 }))
  late.values['n'] = 9
  const save = store.save(visitor.request(), new TestResponse(), late, { ifUnchanged: true })
  assert.is(await codeOf(save), 'conflict')
  assert.equal(late.values, { n: 2 })
})

both('what is too large is refused and changes nothing', async (open) => {
  const store = open({ maxLength: 100 })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 'x'.repeat(60) }))
  assert.is(
    await codeOf(visitor.visit(store, ({ values }) => Object.assign(values, { b: 'x'.repeat(60) }))),
    'too_large',
  )
  await visitor.visit(store, ({ values }) => assert.equal(Object.keys(values), ['a']))
  // {"a": "xx…"} as Postgres prints it: 9 bytes beside the text.
  const { byToken } = store
  await byToken.put(newToken(), { a: 'x'.repeat(91) }, { ttl: 60 })
  assert.is(await codeOf(byToken.put(newToken(), { a: 'x'.repeat(92) }, { ttl: 60 })), 'too_large')
})

both('values come back with their keys in the order of jsonb', async (open) => {
  const { byToken } = open()
  const token = newToken()
  await byToken.put(token, { long: 1, b: { zz: 1, a: 1, é: 1 }, a: 1 }, { ttl: 60 })
  const values = (await byToken.get(token))?.values()
  assert.is(JSON.stringify(values), '{"a":1,"b":{"a":1,"zz":1,"é":1},"long":1}')
})

both('a user’s sessions are listed, newest first, and ended: one, all but one, by tag', async (open) => {
  const store = open()
  const user = newUser()
  const visitors = [new Visitor(), new Visitor(), new Visitor()] as const
  for (const [n, visitor] of visitors.entries()) {
    await visitor.visit(store, (session) => {
      Object.assign(session, { userId: user, label: { n }, tags: [`${user} ${n % 2}`] })
    })
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const listed = await store.list(user, { data: true })
  assert.equal(
    listed.map(({ label, tags, values }) => [label, tags, values]),
    [2, 1, 0].map((n) => [{ n }, [`${user} ${n % 2}`], {}]),
  )
  assert.is(await store.revoke(user, { id: listed[2]?.id ?? '' }), 1)
  assert.is(await store.revokeTag(`${user} 1`), 1)
  const session = await store.get(visitors[2].request(), 'sid')
  assert.is(await store.revoke(user, { except: session }), 0)
  assert.is(await store.revoke(user), 1)
  assert.equal(await store.list(user), [])
})

both('a session that was regenerated is spared by its old token, and can be ended by it', async (open) => {
  const store = open()
  const user = newUser()
  const { byToken } = store
  const token = newToken()
  const known = await byToken.save(token, { a: 1 }, { ttl: 60, userId: user })
  const moved = known && (await byToken.regenerate(known, { a: 2 }, { ttl: 60 }))
  assert.is(await byToken.get(token), undefined)
  assert.is(await byToken.take(token), undefined)
  assert.equal((await byToken.get(moved?.token ?? ''))?.values(), { a: 2 })
  assert.is(await store.revoke(user, { except: token }), 0)
  assert.ok(await byToken.destroy(token))
  assert.is(await byToken.get(moved?.token ?? ''), undefined)
  assert.not(await byToken.destroy(token))
})

both('sessionsPerUser ends those that signed in first', async (open) => {
  const store = open({ sessionsPerUser: 2 })
  const user = newUser()
  const visitors = [new Visitor(), new Visitor(), new Visitor()]
  for (const visitor of visitors) {
    await visitor.visit(store, (session) => {
      session.userId = user
    })
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const live = await Promise.all(visitors.map(async (visitor) => !(await store.get(visitor.request(), 'sid')).isNew))
  assert.equal(live, [false, true, true])
})

both('signing in counts as a version and sets signedInAt; signing out clears it', async (open) => {
  const store = open()
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  const { session } = await visitor.visit(store, (session) => {
    session.userId = 'ada'
  })
  assert.equal([session.version, session.isFresh(60)], [2, true])
  const { session: out } = await visitor.visit(store, (session) => {
    session.userId = undefined
  })
  assert.equal([out.version, out.signedInAt], [3, undefined])
})

for (const seal of [false, true]) {
  const name = seal ? ', sealed' : ''
  both(`a value is taken by one of several requests, and so are flash messages${name}`, async (open) => {
    const store = open({ seal })
    const visitor = new Visitor()
    await visitor.visit(store, (session) => {
      Object.assign(session.values, { state: 'x', kept: 1 })
      session.addFlash('hello')
    })
    const sessions = await Promise.all([1, 2, 3].map(() => store.get(visitor.request(), 'sid')))
    const taken = await Promise.all(sessions.map((session) => session.take('state')))
    assert.equal(taken.filter(Boolean), ['x'])
    const shown = await Promise.all(sessions.map((session) => session.takeFlashes()))
    assert.equal(shown.flat(), ['hello'])
    await visitor.visit(store, ({ values }) => assert.equal(values, { kept: 1 }))
  })

  both(`put, take and increment by token${name}`, async (open) => {
    const { byToken } = open({ seal })
    const token = newToken()
    assert.is(await byToken.take(token), undefined)
    await byToken.put(token, { a: 1, n: 5 }, { ttl: 60, userId: 'ada' })
    assert.is(await byToken.increment(token, 'n', 2, { ttl: 60 }), 7)
    assert.is(await byToken.increment(token, 'm', -1, { ttl: 60 }), -1)
    assert.is(await byToken.take(token, 'a'), 1)
    assert.is(await byToken.take(token, 'a'), undefined)
    const known = await byToken.get(token)
    assert.equal([known?.values(), known?.userId], [{ m: -1, n: 7 }, 'ada'])
    await byToken.put(token, { text: 'x' }, { ttl: 60 })
    assert.is(await codeOf(byToken.increment(token, 'text', 1, { ttl: 60 })), 'invalid_value')
    assert.equal(await byToken.take(token), { text: 'x' })
    assert.is(await byToken.get(token), undefined)
    const counted = await Promise.all(Array.from({ length: 20 }, () => byToken.increment(token, 'n', 1, { ttl: 60 })))
    assert.is(Math.max(...counted), 20)
  })
}

both('an expired session counts as none: it is not read, saved, taken or listed, and is created anew', async (open) => {
  const store = open()
  const { byToken } = store
  const user = newUser()
  const token = newToken()
  await byToken.put(token, { n: 9 }, { ttl: 0.05, userId: user })
  const known = await byToken.get(token)
  await until(async () => (await byToken.get(token)) === undefined)
  assert.is(known && (await byToken.save(token, { n: 10 }, { ttl: 60, known })), undefined)
  assert.is(await byToken.take(token, 'n'), undefined)
  assert.equal(await store.list(user), [])
  assert.is(await byToken.increment(token, 'n', 1, { ttl: 60 }), 1)
  const anew = await byToken.get(token)
  assert.equal([anew?.userId, anew?.id === known?.id], [undefined, false])
})

both(
  'a value ends by its own life, keeps it when it is counted or set again, and loses it with the value',
  async (open) => {
    const store = open()
    const visitor = new Visitor()
    await visitor.visit(store, (session) => {
      Object.assign(session.values, { otp: 1, other: 1, kept: 1 })
      session.expire('otp', 0.3)
      session.expire('other', 0.3)
    })
    const { session } = await visitor.visit(store, ({ values }) => {
      values['otp'] = 2
      delete values['other']
    })
    assert.is(session.version, 2)
    await visitor.visit(store, ({ values }) => Object.assign(values, { other: 2 }))
    await until(async () => !('otp' in (await store.get(visitor.request(), 'sid')).values))
    await visitor.visit(store, ({ values }) => {
      assert.equal(values, { kept: 1, other: 2 })
      values['otp'] = 3
    })
    await new Promise((resolve) => setTimeout(resolve, 350))
    await visitor.visit(store, ({ values }) => assert.equal(values, { kept: 1, other: 2, otp: 3 }))
  },
)

both('the lifetime caps the expiry of what is put', async (open) => {
  const { byToken } = open({ lifetime: 60 })
  const token = newToken()
  await byToken.put(token, {}, { ttl: 3600 })
  assert.ok(Math.abs(Number((await byToken.get(token))?.remainingMs) - 60_000) < 5000)
})

// The memory store's own

test('the memory store’s clock can run ahead, so that a test sees sessions expire', async () => {
  let now = Date.now()
  const store = new MemoryStore({ now: () => now, options: { maxAge: 60 }, touchAfter: 0 })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  now += 59_000
  await visitor.visit(store, (session) => assert.not(session.isNew))
  now += 59_000
  await visitor.visit(store, (session) => assert.not(session.isNew))
  now += 61_000
  assert.is(await store.countExpiredSessions(), 1)
  await visitor.visit(store, (session) => assert.ok(session.isNew))
  assert.is(await store.purgeExpired(), 1)
  assert.is(await store.countExpiredSessions(), 0)
})

test('what needs a database is refused by the memory store, in words', async () => {
  const store = new MemoryStore()
  const error = await rejection(store.cleanupStatus())
  assert.instance(error, PGStoreError)
  assert.match(error.message, /memory store has no database/)
  assert.throws(() => store.events(), /separate connection/)
  await store.close()
  assert.is(await codeOf(store.get(new Visitor().request(), 'sid')), 'closed')
})

test('two memory stores share nothing', async () => {
  const visitor = new Visitor()
  const keys = [randomBytes(32)]
  await visitor.visit(new MemoryStore({ keys }), ({ values }) => Object.assign(values, { a: 1 }))
  await visitor.visit(new MemoryStore({ keys }), (session) => assert.ok(session.isNew))
})

test.run()
