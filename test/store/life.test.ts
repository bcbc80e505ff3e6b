// How long a session lives: from its last visit, from its sign-in, and if a visit cannot be recorded.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import { newToken } from '../../src/session/token.ts'
import { closeClients, connect } from '../sql/calls.ts'
import {
  clientUrl,
  closeAll,
  databaseUrl,
  hashKey,
  rejection,
  row,
  sql,
  testStore,
  Visitor,
} from '../support/harness.ts'

test.after.each(closeClients)
test.after(closeAll)

type Values = { n?: number }

/** Lets this much time pass for a session. */
async function pass(id: string | undefined, seconds: number): Promise<void> {
  await row(
    `update pgstore.sessions set
       created_at = created_at - $2 * interval '1 second', seen_at = seen_at - $2 * interval '1 second',
       signed_in_at = signed_in_at - $2 * interval '1 second', expires_at = expires_at - $2 * interval '1 second'
     where id = $1 returning id`,
    id,
    seconds,
  )
}

async function begin(at: PGStore<Values>, userId?: string): Promise<{ visitor: Visitor; id: string }> {
  const visitor = new Visitor()
  const { session } = await visitor.visit(at, (session) => {
    session.values.n = 1
    session.userId = userId
  })
  return { visitor, id: session.id as string }
}

const isLive = async (at: PGStore<Values>, visitor: Visitor) => !(await at.get(visitor.request(), 'sid')).isNew

for (const [maxAge, touchAfter, early] of [
  [10, undefined, 0.9],
  [10, 5, 4.5],
  [100, undefined, 9],
] as const) {
  test(`D11: with a maxAge of ${maxAge} s, touchAfter ${touchAfter}, a session lives that long after a visit at ${early} s`, async () => {
    const at = testStore<Values>({ options: { maxAge }, touchAfter })
    const { visitor, id } = await begin(at)
    await pass(id, early)
    await visitor.visit(at)
    await pass(id, maxAge - 0.1)
    assert.ok(await isLive(at, visitor))
    await pass(id, (touchAfter ?? maxAge / 10) + 0.2)
    assert.not(await isLive(at, visitor))
  })
}

test('touchAfter says when a visit is recorded: 0 each, 10 after ten seconds, by default after a tenth of maxAge', async () => {
  for (const [touchAfter, early, due] of [
    [0, undefined, 0],
    [10, 2, 10.1],
    [undefined, 2, 10.1],
  ] as const) {
    const at = testStore<Values>({ options: { maxAge: 100 }, touchAfter })
    const { visitor, id } = await begin(at)
    const seen = async () => (await row('select seen_at from pgstore.sessions where id = $1', id))['seen_at'] as Date
    if (early !== undefined) {
      await pass(id, early)
      const before = await seen()
      await visitor.visit(at)
      assert.equal(await seen(), before)
      await pass(id, due - early)
    }
    const before = await seen()
    await visitor.visit(at)
    assert.ok((await seen()) > before, String(touchAfter))
  }
})

test('seenAt moves with touches and saves, and the list shows it', async () => {
  const at = testStore<Values>()
  const { visitor, id } = await begin(at, 'seen')
  for (const work of [undefined, (session: { values: Values }) => Object.assign(session.values, { n: 2 })]) {
    await pass(id, 7200)
    const before = (await at.get(visitor.request(), 'sid')).seenAt as Date
    const { session } = await visitor.visit(at, work)
    assert.ok(Number(session.seenAt) - Number(before) > 7_000_000)
    const [listed] = await at.list('seen')
    assert.equal(listed?.seenAt, session.seenAt)
  }
})

test('D7: where the database is read-only a page that reads is served though a touch is due, and a change is unavailable', async () => {
  const { visitor, id } = await begin(testStore<Values>())
  await pass(id, 7200)
  const { visitor: sealed } = await begin(testStore<Values>({ seal: true }))
  const name = new URL(databaseUrl).pathname.slice(1)
  await sql(`alter database ${name} set default_transaction_read_only = on`)
  try {
    const at = testStore<Values>()
    const { session, res } = await visitor.visit(at)
    assert.equal([session.isNew, session.values.n, res.cookies], [false, 1, []])
    const resealed = testStore<Values>({ seal: true, keys: ['a newer hash key, of 32 bytes....', hashKey] })
    const read = await sealed.visit(resealed)
    assert.equal([read.session.isNew, read.session.values.n, read.res.cookies], [false, 1, []])
    const changed = await rejection(visitor.visit(at, (session) => Object.assign(session.values, { n: 2 })))
    assert.is(changed.code, 'unavailable')
    const created = await rejection(new Visitor().visit(at, (session) => Object.assign(session.values, { n: 3 })))
    assert.is(created.code, 'unavailable')
  } finally {
    const client = await connect()
    await client.query('set default_transaction_read_only = off')
    await client.query(`alter database ${name} reset default_transaction_read_only`)
  }
})

test('A6: a life counts from the statement, not from the start of the transaction: create, merge, and regenerate', async () => {
  const at = testStore<Values>({ options: { maxAge: 1 }, touchAfter: 0 })
  const client = await connect(clientUrl)
  for (const work of ['create', 'save', 'regenerate'] as const) {
    const visitor = work === 'create' ? new Visitor() : (await begin(testStore<Values>())).visitor
    await client.query('begin')
    await client.query('select now()')
    await client.query('select pg_sleep(1.2)')
    const inside = at.withClient(client)
    const { session } = await visitor.visit(inside, (session, req, res) => {
      session.values.n = 5
      return work === 'regenerate' ? inside.regenerate(req, res, session) : undefined
    })
    await client.query('commit')
    assert.ok(Number(session.expiresAt) - Date.now() > 100, work)
    assert.ok(await isLive(at, visitor), work)
  }
})

test('the lifetime counts from the sign-in', async () => {
  const at = testStore<Values>({ lifetime: 1000, options: { maxAge: 900 } })
  const { visitor, id } = await begin(at)
  await pass(id, 800)
  await visitor.visit(at, (session, req, res) => {
    session.userId = 'late'
    return at.regenerate(req, res, session)
  })
  await pass(id, 800)
  assert.ok(await isLive(at, visitor))
  await visitor.visit(at)
  await pass(id, 201)
  assert.not(await isLive(at, visitor))
})

test('D12: an expired row counts as none: byToken.save creates over it, again and with another user, and no value of it is left', async () => {
  const at = testStore<Values>()
  const token = newToken()
  let before: string | undefined
  for (const [values, userId] of [
    [{ a: 1 }, 'one'],
    [{ b: 2 }, 'two'],
    [{ c: 3 }, undefined],
  ] as const) {
    const known = await at.byToken.save(token, values, { ttl: 60, userId })
    assert.equal(known?.values(), values)
    const read = await at.byToken.get(token)
    assert.equal([read?.values(), read?.userId], [values, userId])
    assert.is.not(read?.id, before)
    before = read?.id
    await sql("update pgstore.sessions set expires_at = now() - interval '1 second' where id = $1", before)
    assert.is(await at.byToken.get(token), undefined)
  }
})

test.run()
