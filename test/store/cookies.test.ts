// When a save sets the cookie, and when it leaves it alone.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore, Session } from '../../src/index.ts'
import { admin, closeAll, hashKey, rejection, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'

type Values = Record<string, unknown>

const store = testStore<Values>()
test.after(closeAll)

async function signedUp(at: PGStore<Values> = store, values: Values = { a: 1 }): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(at, (session) => {
    Object.assign(session.values, values)
  })
  return visitor
}

/** The Set-Cookie lines of one visit. */
async function set(visitor: Visitor, at: PGStore<Values>, work: (session: Session<Values>) => unknown) {
  return (await visitor.visit(at, work)).res.cookies
}

const merging = (session: Session<Values>) => {
  session.values['n'] = Number(session.values['n'] ?? 0) + 1
}

test('neither a merge with a young cookie nor a visit that changes nothing sets a cookie', async () => {
  const visitor = await signedUp()
  assert.equal(await set(visitor, store, merging), [])
  assert.equal(await set(visitor, store, () => {}), [])
})

test('a changed maxAge sets the cookie, and so do attributes of the session’s own', async () => {
  const visitor = await signedUp()
  const [longer = ''] = await set(visitor, store, (session) => {
    session.options.maxAge = 7200
  })
  assert.match(longer, /Max-Age=7920/) // plus the time a touch may be late
  assert.equal(await set(visitor, store, merging), [])
  const [strict = ''] = await set(visitor, store, (session) => {
    session.options.sameSite = 'strict'
    merging(session)
  })
  assert.match(strict, /SameSite=Strict/)
})

test('a cookie that an older key signed is re-signed', async () => {
  const visitor = await signedUp(testStore<Values>({ keys: [hashKey] }))
  const rotated = testStore<Values>({ keys: ['a newer hash key, of 32 bytes....', hashKey] })
  assert.is((await set(visitor, rotated, () => {})).length, 1)
  assert.equal(await set(visitor, rotated, () => {}), [])
})

test('the cookie of a session that another request has just regenerated is not re-signed, and not when it is old', async () => {
  const rotated = testStore<Values>({ keys: ['a newer hash key, of 32 bytes....', hashKey] })
  for (const [at, isOld] of [
    [rotated, false],
    [testStore<Values>({ touchAfter: 1 }), true],
  ] as const) {
    const visitor = await signedUp(isOld ? at : store)
    const [slow, slowly] = [visitor.request(), new TestResponse()]
    const real = Date.now
    if (isOld) Date.now = () => real() + 2000
    try {
      const session = await at.get(slow, 'sid')
      await visitor.visit(at, (session, req, res) => at.regenerate(req, res, session))
      assert.is((await rejection(at.save(slow, slowly, session))).code, 'gone')
    } finally {
      Date.now = real
    }
    assert.equal(slowly.cookies, [])
    assert.is((await at.get(visitor.request(), 'sid')).isNew, false)
  }
})

test('a save that names the user sets the cookie: the row outlives the one of an anonymous visitor', async () => {
  for (const options of [{ anonymousMaxAge: 600 }, { lifetime: 100 }]) {
    const at = testStore<Values>(options)
    const visitor = await signedUp(at)
    await sql(`update pgstore.sessions set created_at = created_at - interval '95 s'`)
    const { session, res } = await visitor.visit(at, (session) => {
      session.userId = 'ann'
    })
    const maxAge = Number(/Max-Age=(\d+)/.exec(res.cookies[0] ?? '')?.[1])
    const left = (Number(session.expiresAt) - Date.now()) / 1000
    assert.ok(Math.abs(maxAge - left) < 30, `${maxAge} ${left}`)
    assert.equal(await set(visitor, at, merging), [])
  }
})

test('a cookie as old as a visit may go unrecorded is set again, though others keep the row young', async () => {
  const short = testStore<Values>({ touchAfter: 60 })
  const visitor = await signedUp(short)
  const cookie = visitor.jar.get('sid') as string
  const real = Date.now
  Date.now = () => real() + 61_000
  try {
    await sql('update pgstore.sessions set seen_at = now()')
    assert.is((await set(visitor, short, () => {})).length, 1)
    assert.is.not(visitor.jar.get('sid'), cookie)
    assert.equal(await set(visitor, short, () => {}), [])
  } finally {
    Date.now = real
  }
})

test('with a codec that does not say when it signed, each save that changes something sets the cookie', async () => {
  const codec = {
    encode: (name: string, value: string) => `${name}.${value}`,
    decode: (name: string, cookie: string) =>
      cookie.startsWith(`${name}.`) ? cookie.slice(name.length + 1) : undefined,
  }
  const own = testStore<Values>({ codecs: [codec] })
  const visitor = await signedUp(own)
  assert.is((await set(visitor, own, merging)).length, 1)
  assert.equal(await set(visitor, own, () => {}), [])
})

for (const how of ['save', 'regenerate'] as const) {
  test(`${how}: a session that is gone leaves the cookie alone`, async () => {
    const visitor = await signedUp()
    const req = visitor.request()
    const res = new TestResponse()
    const session = await store.get(req, 'sid')
    await sql('delete from pgstore.sessions where id = $1', session.id)
    merging(session)
    assert.is((await rejection(store[how](req, res, session))).code, 'gone')
    assert.equal(res.cookies, [])
    assert.is(session.isNew, true)
  })
}

// A5

/** The cap runs into a session of the user's that another transaction holds. */
async function capped(work: (at: PGStore<Values>, user: string) => Promise<void>): Promise<void> {
  const user = `user ${Math.random()}`
  await new Visitor().visit(store, (session) => {
    session.userId = user
  })
  const holder = await admin.connect()
  try {
    await holder.query('begin')
    await holder.query('select from pgstore.sessions where user_id = $1 for update', [user])
    await work(testStore<Values>({ sessionsPerUser: 1, batch: false }), user)
  } finally {
    await holder.query('rollback')
    holder.release()
  }
}

test('A5: a sign-in whose cap cannot be enforced has set its cookie, and saving again sets it too', async () => {
  await capped(async (at, user) => {
    const visitor = await signedUp(at)
    const req = visitor.request()
    const res = new TestResponse()
    const session = await at.get(req, 'sid')
    session.userId = user
    assert.is((await rejection(at.regenerate(req, res, session))).code, 'timeout')
    assert.is(res.cookies.length, 1)
    const again = new TestResponse()
    await at.save(req, again, session)
    assert.is(again.cookies.length, 1)
    visitor.receive(again)
    assert.is((await at.get(visitor.request(), 'sid')).userId, user)
  })
})

test('A5: so have a session that is created for a user, and a save that names one', async () => {
  await capped(async (at, user) => {
    const fresh = new Visitor()
    const req = fresh.request()
    const res = new TestResponse()
    const session = await at.get(req, 'sid')
    session.userId = user
    assert.is((await rejection(at.save(req, res, session))).code, 'timeout')
    assert.is(res.cookies.length, 1)
    fresh.receive(res)
    assert.is((await at.get(fresh.request(), 'sid')).userId, user)
  })
})

test.run()
