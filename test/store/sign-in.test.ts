// What a sign-in leaves with a session: its time, a label for a page of devices, tags to end it by, and what others hear of it.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Session, SessionEvent } from '../../src/index.ts'
import { closeAll, databaseUrl, rejection, sql, testStore, until, Visitor } from '../support/harness.ts'

const store = testStore()
test.after(closeAll)

async function signedIn(userId: string, change: (session: Session) => void = () => {}, at = store) {
  const visitor = new Visitor()
  const { session } = await visitor.visit(at, (one) => {
    one.userId = userId
    change(one)
  })
  return { visitor, id: session.id as string }
}

test('signedInAt is the sign-in, and isFresh asks how long ago it was', async () => {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, ({ values }) => {
    values['a'] = 1
  })
  assert.is(session.signedInAt, undefined)
  assert.is(session.isFresh(60), false)
  await visitor.visit(store, async (one, req, res) => {
    one.userId = 'fresh'
    await store.regenerate(req, res, one)
    assert.is(one.isFresh(60), true)
  })
  await sql("update pgstore.sessions set signed_in_at = now() - interval '10 minutes' where id = $1", session.id)
  await visitor.visit(store, async (one, req, res) => {
    assert.is(one.isFresh(60), false)
    assert.is(one.isFresh(660), true)
    await store.regenerate(req, res, one)
    assert.is(one.isFresh(60), false) // the same user: a change of privilege is no sign-in
    await store.regenerate(req, res, one, { signIn: true })
    assert.is(one.isFresh(60), true)
  })
  await visitor.visit(store, async (one) => {
    one.userId = undefined
  })
  assert.is((await store.get(visitor.request(), 'sid')).signedInAt, undefined)
})

test('a label and tags are kept with the session, and a page of devices shows them', async () => {
  const { visitor, id } = await signedIn('labelled', (session) => {
    session.label = { agent: 'Firefox', place: 'Bern' }
    session.tags = ['tenant 7', 'sid 1']
  })
  const session = await store.get(visitor.request(), 'sid')
  assert.equal(session.label, { agent: 'Firefox', place: 'Bern' })
  assert.equal(session.tags, ['tenant 7', 'sid 1'])
  const [listed] = await store.list('labelled')
  assert.equal(
    [listed?.id, listed?.label, listed?.tags],
    [id, { agent: 'Firefox', place: 'Bern' }, ['tenant 7', 'sid 1']],
  )
})

test('they change as a whole and count as a version; the same again, in another order of keys, is no change', async () => {
  const { visitor } = await signedIn('changing', (session) => {
    session.label = { a: 1, b: 2 }
  })
  const same = await visitor.visit(store, (session) => {
    session.label = { b: 2, a: 1 }
    session.tags = []
  })
  assert.is(same.session.version, 1)
  const changed = await visitor.visit(store, (session) => {
    session.label = 'phone'
    session.tags.push('x')
  })
  assert.is(changed.session.version, 2)
  await visitor.visit(store, (session) => {
    session.label = undefined
    session.tags = []
  })
  const [listed] = await store.list('changing')
  assert.equal([listed?.label, listed?.tags, listed?.version], [undefined, [], 3])
})

test('what is too large for a label, or no list of tags, is refused before any query', async () => {
  for (const change of [
    (session: Session) => (session.label = 'x'.repeat(512)),
    (session: Session) => (session.tags = ['x'.repeat(256)]),
    (session: Session) => (session.tags = ['']),
    (session: Session) => (session.tags = Array.from({ length: 17 }, (_, n) => `tag ${n}`)),
    (session: Session) => (session.tags = 'tag' as never),
    (session: Session) => (session.tags = ['a\0b']),
  ]) {
    const failed = signedIn('refused', (session) => void change(session))
    assert.is((await rejection(failed)).code, 'invalid_value')
  }
  await signedIn('accepted', (session) => {
    session.label = 'x'.repeat(510)
    session.tags = Array.from({ length: 16 }, (_, n) => `${n}`.padEnd(255, 'x'))
  })
})

test('revokeTag ends the sessions that carry the tag, of all users, but the one that is spared', async () => {
  const tagged = (session: Session) => {
    session.tags = ['tenant 9', 'other']
  }
  const [ann, bob, eve] = await Promise.all([signedIn('ann', tagged), signedIn('bob', tagged), signedIn('eve')])
  const here = await store.get(ann.visitor.request(), 'sid')
  assert.is(await store.revokeTag('tenant 9', { except: here, reason: 'tenant closed' }), 1)
  const isNew = async (visitor: Visitor) => (await store.new(visitor.request(), 'sid')).isNew
  assert.equal([await isNew(ann.visitor), await isNew(bob.visitor), await isNew(eve.visitor)], [false, true, false])
  assert.is((await rejection(store.revokeTag('tenant 9', { except: undefined as never }))).code, 'invalid_option')
  assert.is((await rejection(store.revokeTag('tenant 9', { reason: '' }))).code, 'invalid_option')
})

test('announcements carry a number that grows, and why a session ended; a change is announced where it is the user’s or asked for', async () => {
  const listening = testStore({ connectionString: databaseUrl })
  const events = listening.events()
  const heard: SessionEvent[] = []
  const listen = async () => {
    for await (const event of events) heard.push(event)
  }
  const listener = listen()
  await events.ready
  const { visitor, id } = await signedIn('watched')
  await visitor.visit(store, ({ values }) => {
    values['a'] = 1 // no announcement
  })
  await visitor.visit(store, (session, req, res) => store.save(req, res, session, { announce: true }))
  await visitor.visit(store, (session, req, res) => {
    session.values['a'] = 2
    return store.save(req, res, session, { announce: true })
  })
  await visitor.visit(store, (session) => {
    session.userId = 'another'
  })
  await store.revoke('another', { reason: 'password changed' })
  await sql("select pgstore.session_changed('another')")
  await until(() => heard.some(({ type }) => type === 'revoked'))
  assert.equal(
    heard.map((event) => [event.type, event.ids, 'reason' in event ? event.reason : undefined]),
    [
      ['changed', [id], undefined],
      ['changed', [id], undefined],
      ['revoked', [id], 'password changed'],
    ],
  )
  const numbers = heard.map((event) => ('n' in event ? event.n : 0))
  assert.ok(
    numbers.every((n, index) => index === 0 || n > (numbers[index - 1] as number)),
    String(numbers),
  )
  await listening.close()
  await listener
})

test.run()
