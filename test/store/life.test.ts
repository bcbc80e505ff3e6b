// How long a session lives, and which visits are written down.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import {
  admin,
  clientUrl,
  closeAll,
  databaseUrl,
  rejection,
  row,
  sql,
  TestResponse,
  testStore,
  Visitor,
} from '../support/harness.ts'

const store = testStore()
test.after(closeAll)

async function signedUp(at: PGStore) {
  const visitor = new Visitor()
  const { session } = await visitor.visit(at, ({ values }) => {
    values['a'] = 1
  })
  return { visitor, id: session.id as string }
}

/** So much time goes by for a session. */
const pass = async (id: string, interval: string) =>
  await sql(
    `update pgstore.sessions
     set created_at = created_at - $2::interval, signed_in_at = signed_in_at - $2::interval,
       seen_at = seen_at - $2::interval, expires_at = expires_at - $2::interval
     where id = $1`,
    id,
    interval,
  )
const secondsLeft = async (id: string) =>
  Number(
    (await row('select extract(epoch from expires_at - now()) as left from pgstore.sessions where id = $1', id))[
      'left'
    ],
  )
const isAlive = async (at: PGStore, visitor: Visitor) => !(await at.new(visitor.request(), 'sid')).isNew

for (const [what, options, unseen, maxAge] of [
  ['with a maxAge of ten seconds', { options: { maxAge: 10 } }, '0.5 seconds', 10],
  ['with the defaults', {}, '59 minutes', 30 * 86400],
  ['with a touchAfter of a minute', { touchAfter: 60, options: { maxAge: 600 } }, '50 seconds', 600],
  ['anonymous', { anonymousMaxAge: 100 }, '9 seconds', 100],
] as const) {
  test(`D11: a session lives for maxAge after a visit that was not written down, ${what}`, async () => {
    const at = testStore(options)
    const { visitor, id } = await signedUp(at)
    await pass(id, unseen)
    const before = await row('select xmin::text from pgstore.sessions where id = $1', id)
    await visitor.visit(at)
    assert.equal(await row('select xmin::text from pgstore.sessions where id = $1', id), before) // not written down
    await pass(id, `${maxAge} seconds`)
    assert.is(await isAlive(at, visitor), true)
    await pass(id, `${maxAge * 0.11} seconds`)
    assert.is(await isAlive(at, visitor), false)
  })
}

test('with touchAfter 0 every visit is written down', async () => {
  const at = testStore({ touchAfter: 0, options: { maxAge: 60 } })
  const { visitor, id } = await signedUp(at)
  const { session } = await visitor.visit(at)
  assert.ok((await secondsLeft(id)) <= 60)
  const seen = (await at.get(visitor.request(), 'sid')).seenAt as Date
  assert.ok(seen >= (session.createdAt as Date))
  assert.throws(() => testStore({ touchAfter: -1 }), /touchAfter/)
})

test('a visit and a save move seenAt, and the page of devices shows it', async () => {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, (one) => {
    one.userId = 'seen'
  })
  await pass(session.id as string, '2 hours')
  const [before] = await store.list('seen')
  await visitor.visit(store)
  const [after] = await store.list('seen')
  assert.ok(Number(after?.seenAt) - Number(before?.seenAt) > 7_000_000)
  assert.is(Number(after?.updatedAt), Number(before?.updatedAt))
})

test('the lifetime counts from the sign-in: who browses 80 days and signs in has 90 more', async () => {
  const { visitor, id } = await signedUp(store)
  await sql("update pgstore.sessions set created_at = now() - interval '80 days' where id = $1", id)
  await visitor.visit(store, async (session, req, res) => {
    session.userId = 'late'
    await store.regenerate(req, res, session)
  })
  assert.ok((await secondsLeft(id)) > 29 * 86400)
  await sql("update pgstore.sessions set signed_in_at = now() - interval '89 days' where id = $1", id)
  await visitor.visit(store, ({ values }) => {
    values['a'] = 2
  })
  assert.ok((await secondsLeft(id)) <= 86400)
  await visitor.visit(store, (session, req, res) => store.regenerate(req, res, session, { signIn: true }))
  assert.ok((await secondsLeft(id)) > 29 * 86400)
})

test('A6: inside a transaction that has been open for a while a session is saved from now, not from its start', async () => {
  const brief = testStore({ options: { maxAge: 1 } })
  const { visitor } = await signedUp(brief)
  const client = await admin.connect()
  const res = new TestResponse()
  try {
    await client.query('begin')
    await client.query('select pg_sleep(1.5)')
    const req = (await signedUp(brief)).visitor.request()
    const session = await brief.withClient(client).get(req, 'sid')
    assert.is(session.isNew, false)
    session.values['a'] = 2
    await brief.withClient(client).save(req, res, session)
    await client.query('commit')
    assert.ok(Number(session.expiresAt) > Date.now())
    assert.is((await brief.new(req, 'sid')).values['a'], 2)
  } finally {
    client.release()
  }
  assert.is(await isAlive(brief, visitor), false)
})

test('D12: a token whose session has expired and is not purged yet gets a new one', async () => {
  const { byToken } = store
  const first = await byToken.save('a token of one’s own', { a: 1 }, { ttl: 60, userId: 'ann' })
  await sql("update pgstore.sessions set expires_at = now() - interval '1 second' where id = $1", first?.id)
  const second = await byToken.save('a token of one’s own', { b: 1 }, { ttl: 60 })
  assert.is.not(second?.id, first?.id)
  assert.is(second?.userId, undefined)
  assert.equal((await byToken.get('a token of one’s own'))?.values(), { b: 1 })
})

test('D7: while the database takes no writes, a page that only reads is served, a touch due or not', async () => {
  const { visitor, id } = await signedUp(store)
  await pass(id, '2 hours')
  const database = new URL(databaseUrl).pathname.slice(1)
  await admin.query(`alter database ${database} set default_transaction_read_only = on`)
  try {
    const readOnly = testStore({ connectionString: clientUrl })
    const { session, res } = await visitor.visit(readOnly)
    assert.equal(session.values, { a: 1 })
    assert.equal(res.cookies, [])
    const failed = visitor.visit(readOnly, ({ values }) => {
      values['a'] = 2
    })
    assert.is((await rejection(failed)).code, 'unavailable')
  } finally {
    const client = await admin.connect()
    await client.query('set default_transaction_read_only = off')
    await client.query(`alter database ${database} reset default_transaction_read_only`)
    client.release()
  }
  await visitor.visit(store, ({ values }) => {
    values['a'] = 3
  })
})

test.run()
