// Who signed in, when and from where, and how that is announced.
import session, { type SessionData } from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../src/adapters/express-session.ts'
import type { Session } from '../../src/index.ts'
import { closeAll, rejection, row, testStore, Visitor } from '../support/harness.ts'

type Values = { n?: number }

const store = testStore<Values>()
test.after(closeAll)

async function signedIn(userId: string, tags: string[] = []): Promise<{ visitor: Visitor; session: Session<Values> }> {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, (session) => {
    session.userId = userId
    session.tags = tags
    session.label = { browser: 'Firefox' }
  })
  return { visitor, session }
}

const read = async (visitor: Visitor) => await store.get(visitor.request(), 'sid')

async function signInEarlier(id: string | undefined): Promise<void> {
  await row(
    "update pgstore.sessions set signed_in_at = signed_in_at - interval '1 hour' where id = $1 returning id",
    id,
  )
}

test('signedInAt is when a user was named, isFresh counts from there, and only a sign-in moves it', async () => {
  const anonymous = new Visitor()
  const { session: nobody } = await anonymous.visit(store, (session) => Object.assign(session.values, { n: 1 }))
  assert.equal([nobody.signedInAt, nobody.isFresh(3600)], [undefined, false])
  const { visitor, session } = await signedIn('fresh')
  await signInEarlier(session.id)
  const before = await read(visitor)
  assert.equal([before.isFresh(3500), before.isFresh(3700)], [false, true])
  for (const signIn of [false, true]) {
    await visitor.visit(store, (session, req, res) => store.regenerate(req, res, session, { signIn }))
    const after = await read(visitor)
    assert.is(after.isFresh(3500), signIn)
    if (!signIn) assert.equal(after.signedInAt, before.signedInAt)
  }
})

test('by token, and through express-session, the same user can sign in again too', async () => {
  const express = new ExpressSessionStore({ store, userId: () => 'again' })
  const values = { cookie: new session.Cookie() }
  for (const signIn of [undefined, false, true]) {
    for (const how of ['byToken', 'renew'] as const) {
      let token = `again ${Math.random()}`
      const known = await store.byToken.save(token, values, { ttl: 1000, userId: 'again' })
      assert.ok(known)
      await signInEarlier(known.id)
      if (how === 'byToken') {
        token = (await store.byToken.regenerate(known, values, { ttl: 1000, signIn }))?.token ?? ''
      } else {
        const req = { sessionID: token, sessionStore: express } as never as Parameters<typeof express.renew>[0]
        express.createSession(req, (await express.get(token)) as SessionData)
        await express.renew(req, signIn === undefined ? undefined : { signIn })
        token = req.sessionID
      }
      const { ago } = await row<{ ago: number }>(
        `select date_part('epoch', now() - signed_in_at) as ago from pgstore.sessions where key = pgstore.session_key($1)`,
        token,
      )
      assert.is(ago < 1800, signIn === true, `${how} ${signIn}`)
    }
  }
})

test('label and tags come back from a read and from the list, are kept by other saves, and go when cleared', async () => {
  const { visitor } = await signedIn('labelled', ['tenant:1', 'sid:2'])
  await visitor.visit(store, (session) => Object.assign(session.values, { n: 2 }))
  const [listed] = await store.list('labelled')
  for (const { label, tags } of [await read(visitor), listed as NonNullable<typeof listed>]) {
    assert.equal([label, tags], [{ browser: 'Firefox' }, ['tenant:1', 'sid:2']])
  }
  await visitor.visit(store, (session) => Object.assign(session, { label: undefined, tags: [] }))
  const [cleared] = await store.list('labelled')
  assert.equal([cleared?.label, cleared?.tags], [undefined, []])
})

for (const [what, fields] of [
  ['a label of more than 512 bytes', { label: 'x'.repeat(600) }],
  ['seventeen tags', { tags: Array.from({ length: 17 }, (_, i) => `t${i}`) }],
  ['a tag of more than 255 bytes', { tags: ['é'.repeat(128)] }],
  ['an empty tag', { tags: [''] }],
] as const) {
  test(`${what} is an invalid_value, and nothing is saved`, async () => {
    const { visitor, session } = await signedIn('limits')
    const error = await rejection(visitor.visit(store, (session) => Object.assign(session, fields)))
    assert.is(error.code, 'invalid_value')
    assert.is((await read(visitor)).version, session.version)
  })
}

for (const [what, wide, largest] of [
  ['lists', (n: number) => Array.from({ length: n }, () => 1), 170],
  ['objects', (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [i + 100, 'é'])), 39],
  ['large numbers', (n: number) => [1e300, 'x'.repeat(n)], 205],
  ['small numbers', (n: number) => [-1.5e-300, 'x'.repeat(n)], 202],
] as const) {
  test(`a label of 512 bytes as Postgres prints it is kept, a larger one refused by its name and limit: ${what}`, async () => {
    const { visitor } = await signedIn('printed')
    await visitor.visit(store, (session) => Object.assign(session, { label: wide(largest) }))
    assert.equal((await read(visitor)).label, wide(largest))
    const error = await rejection(
      visitor.visit(store, (session) => Object.assign(session, { label: wide(largest + 1) })),
    )
    assert.is(error.code, 'invalid_value')
    assert.match(error.message, /^label must be at most 512 bytes of JSON as Postgres prints it/)
  })
}

test('revokeTag ends the sessions of a tag but one, and events say which and why, with a growing number', async () => {
  const [one, two, spared, other] = [
    await signedIn('tag one', ['org']),
    await signedIn('tag two', ['x', 'org']),
    await signedIn('tag one', ['org']),
    await signedIn('tag one', ['org2']),
  ]
  const events = store.events()
  await events.ready
  assert.is(await store.revokeTag('org', { except: spared.session, reason: 'left' }), 2)
  const { value } = await events.next()
  assert.equal(
    [value.type, value.reason, new Set(value.ids)],
    ['revoked', 'left', new Set([one.session.id, two.session.id])],
  )
  for (const { visitor } of [spared, other]) assert.not((await read(visitor)).isNew)
  assert.is(await store.revoke('tag one', { id: other.session.id as string }), 1)
  const next = (await events.next()).value
  assert.equal([next.type, next.reason], ['revoked', 'revoked'])
  assert.ok(Number.isSafeInteger(value.n) && next.n > value.n)
  await events.return?.()
})

test('a change of the user and a save that announces are announced as changed; other saves are not', async () => {
  const { visitor, session } = await signedIn('changed')
  const events = store.events()
  await events.ready
  await visitor.visit(store, (session) => Object.assign(session.values, { n: 2 }))
  await visitor.visit(store, (session) => Object.assign(session, { userId: 'changed too' }))
  const req = visitor.request()
  const again = await store.get(req, 'sid')
  again.values.n = 3
  await store.save(req, { getHeader: () => undefined, setHeader: () => {}, headersSent: false } as never, again, {
    announce: true,
  })
  await visitor.visit(store, (session) => Object.assign(session.options, { maxAge: -1 }))
  const seen = []
  for (let i = 0; i < 3; i++) seen.push((await events.next()).value)
  assert.equal(
    seen.map(({ type, ids, reason }) => [type, ids, reason]),
    [
      ['changed', [session.id], undefined],
      ['changed', [session.id], undefined],
      ['destroyed', [session.id], 'signed_out'],
    ],
  )
  assert.ok(seen[0].n < seen[1].n && seen[1].n < seen[2].n)
  await events.return?.()
})

test.run()
