// store.endAll: everybody out, or a tag or a user, on every server at once.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { EndAllOptions } from '../../src/index.ts'
import { MemoryStore } from '../../src/memory/memory-store.ts'
import { closeAll, databaseUrl, rejection, testStore, until, Visitor } from '../support/harness.ts'

const store = testStore()
/** As an administrator's program. */
const office = testStore({ connectionString: databaseUrl })
test.after(closeAll)

async function signedIn(userId: string | undefined, tags: string[] = []): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.userId = userId
    session.tags = tags
    session.values['n'] = 1
  })
  return visitor
}

const isSignedIn = async (visitor: Visitor, at = store) => !(await at.get(visitor.request(), 'sid')).isNew
const all = async (visitors: readonly Visitor[]) => await Promise.all(visitors.map((visitor) => isSignedIn(visitor)))

test('all are out at once, and who comes back in stays', async () => {
  const visitors = [await signedIn('ann'), await signedIn('bob', ['x']), await signedIn(undefined)]
  const before = await office.endAll()
  assert.ok(before instanceof Date)
  assert.equal(await all(visitors), [false, false, false])
  assert.equal(await all([await signedIn('ann')]), [true])
})

test('a tag, a user, and those from before a time', async () => {
  const visitors = [await signedIn('cleo'), await signedIn('dan', ['acme']), await signedIn('eve')]
  await office.endAll({ tag: 'acme' })
  assert.equal(await all(visitors), [true, false, true])
  await office.endAll({ userId: 'cleo' })
  assert.equal(await all(visitors), [false, false, true])
  const mark = await office.endAll({ before: new Date(0), userId: 'cleo' })
  assert.ok(mark.getTime() > 0, 'an earlier mark takes nothing back')
  await office.endAll({ before: new Date(8.64e15), tag: 'other' })
  await office.endAll({ before: new Date(-8.64e15), userId: 'other' })
  assert.equal(await all(visitors), [false, false, true])
})

test('what is not understood ends nobody', async () => {
  const visitor = await signedIn('fay')
  const wrong = [
    { tag: undefined },
    { userId: null },
    { tag: '' },
    { userId: '' },
    { tag: 'a', userId: 'b' },
    { before: undefined },
    { before: 'yesterday' },
    { before: new Date(Number.NaN) },
    { user: 'x' },
    { tag: 'x'.repeat(1025) },
    'fay',
    null,
    new Date(0),
    [],
    new Map([['tag', 'x']]),
  ]
  for (const options of wrong) {
    const { code } = await rejection(office.endAll(options as EndAllOptions))
    assert.is(code, 'invalid_option', JSON.stringify(options))
  }
  for (const options of [new Date(0), ['fay'], new Map([['except', 'x']])] as object[]) {
    assert.is((await rejection(office.revoke('fay', options))).code, 'invalid_option')
    assert.is((await rejection(office.revokeTag('acme', options))).code, 'invalid_option')
  }
  assert.ok(await isSignedIn(visitor))
})

test('it takes the right admin', async () => {
  const visitor = await signedIn('gus')
  assert.is((await rejection(store.endAll())).code, 'forbidden')
  assert.ok(await isSignedIn(visitor))
})

test('the caches of other servers drop all they have, and the events tell', async () => {
  const servers = [1, 2].map(() => testStore({ cache: { maxStale: 60 } }))
  const visitor = await signedIn('hal')
  for (const server of servers) {
    await until(async () => {
      await isSignedIn(visitor, server)
      return (server.stats().cache?.hits ?? 0) > 0
    })
  }
  const events = store.events()
  await events.ready
  await office.endAll({ userId: 'hal' })
  const { value } = await events.next()
  assert.equal({ ...value, n: 0 }, { type: 'ended_before', ids: [], n: 0, scope: 'user' })
  assert.ok(Number.isSafeInteger(value.n))
  await events.return?.()
  for (const server of servers) await until(async () => !(await isSignedIn(visitor, server)), 25)
})

test('a memory store does the same', async () => {
  const now = { ms: 1e12 }
  const memory = new MemoryStore({ now: () => now.ms })
  const visit = async (userId: string, tags: string[]) => {
    const visitor = new Visitor()
    await visitor.visit(memory, (session) => {
      session.userId = userId
      session.tags = tags
    })
    return visitor
  }
  const [ann, bob] = [await visit('ann', ['x']), await visit('bob', [])]
  now.ms += 1000
  await memory.endAll({ tag: 'x' })
  assert.equal([await isSignedIn(ann, memory), await isSignedIn(bob, memory)], [false, true])
  assert.is(await memory.countExpiredSessions(), 1)
  await memory.endAll({ before: new Date(now.ms - 2000) })
  assert.ok(await isSignedIn(bob, memory))
  assert.equal(await memory.endAll({ before: new Date(now.ms + 5000) }), new Date(now.ms))
  assert.not(await isSignedIn(bob, memory))
  assert.ok(await isSignedIn(await visit('bob', []), memory))
})

test.run()
