import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { EventQueue } from '../../src/events/channel-events.ts'
import type { SessionEvent } from '../../src/index.ts'
import { closeAll, row, sql, testStore, until, Visitor } from '../support/harness.ts'

const store = testStore()
test.after(closeAll)

const listeners = async () =>
  Number(
    (
      await row(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pgstore listen'",
      )
    )['count'],
  )

async function signedIn(userId: string) {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, (session) => {
    session.userId = userId
  })
  return { visitor, session }
}

/** Without its number and reason: see test/store/sign-in.test.ts. */
function shown(event: SessionEvent): object {
  return { type: event.type, ids: event.ids }
}

async function next(events: AsyncIterator<SessionEvent>): Promise<object> {
  return shown((await events.next()).value)
}

test('destroyed, regenerated and revoked sessions are announced by number, in order', async () => {
  const { visitor, session } = await signedIn('announced')
  const id = session.id as string
  const other = await signedIn('announced')
  const events = store.events()
  await events.ready
  await visitor.visit(store, (session, req, res) => store.regenerate(req, res, session))
  await store.revoke('announced', { id: other.session.id as string })
  await visitor.visit(store, (session) => {
    session.options.maxAge = -1
  })
  assert.equal(await next(events), { type: 'regenerated', ids: [id] })
  assert.equal(await next(events), { type: 'revoked', ids: [other.session.id] })
  assert.equal(await next(events), { type: 'destroyed', ids: [id] })
  await events.return?.()
})

test('any number of loops share one connection, which ends with the last of them', async () => {
  const one = store.events()
  const two = store.events()
  await Promise.all([one.ready, two.ready])
  await until(async () => (await listeners()) === 1) // the server takes a moment to notice that one has left
  await sql('select pgstore.session_announce($1, $2)', 'revoked', [7])
  for (const events of [one, two]) assert.equal(await next(events), { type: 'revoked', ids: ['7'] })
  await one.return?.()
  assert.is(await listeners(), 1)
  await two.return?.()
  await until(async () => (await listeners()) === 0)
})

test('leaving a loop ends it', async () => {
  const events = store.events()
  await events.ready
  await sql('select pgstore.session_announce($1, $2)', 'destroyed', [1])
  for await (const event of events) {
    assert.equal(shown(event), { type: 'destroyed', ids: ['1'] })
    break
  }
  await until(async () => (await listeners()) === 0)
})

test('payloads without the documented shape are ignored', async () => {
  const events = store.events()
  await events.ready
  for (const payload of ['', 'no json', '[]', 'null', '{"type":"x","ids":[1]}', '{"type":"revoked","ids":["1"]}']) {
    await sql('select pg_notify($1, $2)', 'pgstore_sessions', payload)
  }
  await sql('select pgstore.session_announce($1, $2)', 'revoked', [2])
  assert.equal(await next(events), { type: 'revoked', ids: ['2'] })
  await events.return?.()
})

test('after an outage of the connection a loop continues, and learns that it may have missed some', async () => {
  const events = store.events()
  await events.ready
  for (let i = 0; i < 5; i++) {
    await sql(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'pgstore listen'",
    )
    assert.equal((await events.next()).value, { type: 'missed', ids: [] })
  }
  await sql('select pgstore.session_announce($1, $2)', 'revoked', [3])
  assert.equal(await next(events), { type: 'revoked', ids: ['3'] })
  await events.return?.()
})

test('closing the store ends its loops', async () => {
  const closing = testStore()
  const events = closing.events()
  await events.ready
  const next = events.next()
  await closing.close()
  assert.equal(await next, { done: true, value: undefined })
  assert.equal(await events.next(), { done: true, value: undefined })
  assert.throws(() => closing.events(), /closed/)
  await until(async () => (await listeners()) === 0)
})

test('a loop opened while the database is away ends at close', async () => {
  const away = testStore({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
  const events = away.events()
  const next = events.next()
  await away.close()
  assert.is((await next).done, true)
})

test('a consumer that stopped reading holds a bounded backlog and learns that it missed some', async () => {
  const queue: EventQueue<SessionEvent> = new EventQueue<SessionEvent>(
    () => queue.hold()({ type: 'missed', ids: [] }),
    () => {},
  )
  queue.hold()()
  for (let i = 0; i <= 10_000; i++) queue.push({ type: 'revoked', ids: [String(i)], n: i })
  assert.equal((await queue.next()).value, { type: 'missed', ids: [] })
  assert.equal((await queue.next()).value, { type: 'revoked', ids: ['10000'], n: 10_000 })
})

test.run()
