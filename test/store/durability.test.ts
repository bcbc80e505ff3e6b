// Which writes are sent relaxed, and which never are.
import { Cookie, type SessionData } from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../src/adapters/express-session.ts'
import type { PGStore, PGStoreOptions, Pool } from '../../src/index.ts'
import { newToken } from '../../src/session/token.ts'
import { admin, closeAll, rejection, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'

test.after(closeAll)

/** A pool that remembers what was written through it: the function's name, and whether it was told to relax. */
function watchedPool(): { pool: Pool; takeWrites: () => string[] } {
  const writes: string[] = []
  const pool: Pool = {
    connect: async () => (await admin.connect()) as never,
    async query(query) {
      const [, name = ''] = /\.session_(\w+)\(/.exec(query.text) ?? []
      const isRelaxed = name === 'save' && query.values.at(-1) === 'true'
      if (name !== 'get') writes.push(`${name}${isRelaxed ? ' relaxed' : ''}`)
      return await admin.query(query)
    },
  }
  return { pool, takeWrites: () => writes.splice(0) }
}

function watchedStore(options: Partial<PGStoreOptions> = {}) {
  const { pool, takeWrites } = watchedPool()
  return { store: testStore({ pool, ...options }), takeWrites }
}

/** A visitor with a session of `store`. */
async function known(store: PGStore): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => {
    values['visits'] = 1
  })
  return visitor
}

test('a store with durability relaxed relaxes changes of data and touches', async () => {
  const { store, takeWrites } = watchedStore({ durability: 'relaxed', touchAfter: 0 })
  const visitor = await known(store)
  takeWrites()
  await visitor.visit(store, ({ values }) => {
    values['visits'] = 2
  })
  await visitor.visit(store, ({ values }) => {
    delete values['visits']
  })
  await visitor.visit(store)
  await visitor.visit(store, async (session, req, res) => {
    session.values['visits'] = 3
    await store.save(req, res, session, { ifUnchanged: true })
  })
  assert.equal(takeWrites(), ['save relaxed', 'save relaxed', 'save relaxed', 'save relaxed', 'save relaxed'])
})

test('it relaxes no new session, no change of user, label or tags, no announced save, no regenerate and no end', async () => {
  const { store, takeWrites } = watchedStore({ durability: 'relaxed', sessionsPerUser: 3 })
  const visitor = await known(store)
  assert.equal(takeWrites(), ['save'])
  await visitor.visit(store, (session) => {
    session.userId = 'ada'
    session.values['visits'] = 2
  })
  assert.equal(takeWrites(), ['save', 'limit'])
  await visitor.visit(store, (session) => {
    session.label = 'Firefox'
  })
  await visitor.visit(store, (session) => {
    session.tags = ['tenant-1']
  })
  await visitor.visit(store, async (session, req, res) => {
    session.values['role'] = 'guest'
    await store.save(req, res, session, { announce: true })
  })
  await visitor.visit(store, (session) => {
    session.userId = undefined
  })
  assert.equal(takeWrites(), ['save', 'save', 'save', 'save'])
  await visitor.visit(store, async (session, req, res) => {
    session.values['visits'] = 3
    await store.regenerate(req, res, session)
  })
  await visitor.visit(store, async (session, req, res) => await store.destroy(req, res, session))
  assert.equal(takeWrites(), ['regenerate', 'destroy'])
})

test('a save may ask for the other durability than its store', async () => {
  for (const [durability, expected] of [
    ['relaxed', 'save relaxed'],
    ['durable', 'save'],
  ] as const) {
    const { store, takeWrites } = watchedStore({ durability: durability === 'relaxed' ? 'durable' : 'relaxed' })
    const visitor = await known(store)
    takeWrites()
    await visitor.visit(store, async (session, req, res) => {
      session.values['visits'] = 2
      await store.save(req, res, session, { durability })
    })
    assert.equal(takeWrites(), [expected])
  }
})

test('saves are durable where nobody says otherwise, and one that creates a session is in any case', async () => {
  const { store, takeWrites } = watchedStore()
  const visitor = new Visitor()
  await visitor.visit(store, async (session, req, res) => {
    session.values['visits'] = 1
    await store.save(req, res, session, { durability: 'relaxed' })
  })
  await visitor.visit(store, ({ values }) => {
    values['visits'] = 2
  })
  assert.equal(takeWrites(), ['save', 'save'])
})

test('saves by token are relaxed in the same way', async () => {
  const { store, takeWrites } = watchedStore({ durability: 'relaxed' })
  const token = newToken()
  const first = await store.byToken.save(token, { n: 1 }, { ttl: 60 })
  const second = await store.byToken.save(token, { n: 2 }, { ttl: 60, known: first })
  const third = await store.byToken.save(token, { n: 3 }, { ttl: 60, known: second, durability: 'durable' })
  await store.byToken.save(token, { n: 4 }, { ttl: 60, known: third, userId: 'ada' })
  assert.equal(takeWrites(), ['save', 'save relaxed', 'save', 'save'])
})

test('the store for express-session takes the option', async () => {
  const { pool, takeWrites } = watchedPool()
  const store = new ExpressSessionStore({ pool, durability: 'relaxed' })
  const cookie = new Cookie()
  await store.set('express', { cookie, visits: 1 } as unknown as SessionData)
  const data = (await store.get('express')) as SessionData & { visits: number }
  data.visits = 2
  await store.set('express', data)
  await store.destroy('express')
  assert.equal(takeWrites(), ['save', 'save relaxed', 'destroy'])
  await store.close()
})

test('in a transaction of the caller’s nothing is relaxed, as the setting would be that of all its work', async () => {
  const store = testStore({ durability: 'relaxed' })
  const visitor = await known(store)
  const client = await admin.connect()
  try {
    await client.query('begin')
    const lent = store.withClient(client)
    const req = visitor.request()
    const session = await lent.get(req, 'sid')
    session.values['visits'] = 2
    await lent.save(req, new TestResponse(), session, { durability: 'relaxed' })
    assert.is((await client.query('show synchronous_commit')).rows[0].synchronous_commit, 'on')
    await client.query('commit')
  } finally {
    client.release()
  }
})

test('many saves at once, relaxed and durable by turns, are each what they ask for', async () => {
  const { store, takeWrites } = watchedStore()
  const visitors = await Promise.all(Array.from({ length: 40 }, async () => await known(store)))
  takeWrites()
  await Promise.all(
    visitors.map(async (visitor, n) => {
      const req = visitor.request()
      const session = await store.get(req, 'sid')
      session.values['n'] = n
      await store.save(req, new TestResponse(), session, { durability: n % 2 ? 'relaxed' : 'durable' })
    }),
  )
  const writes = takeWrites()
  assert.equal([...new Set(writes)].sort(), ['save', 'save relaxed'])
  assert.ok(writes.length < 20, `${writes.length} calls`)
  const rows = await sql<{ n: number }>("select (data ->> 'n')::integer as n from pgstore.sessions where version = 2")
  assert.ok(visitors.every((_, n) => rows.some((row) => row.n === n)))
})

test('a word that is no durability is refused, by the store and by a save', async () => {
  assert.throws(
    () => testStore({ durability: 'lazy' as never, maxLength: -1 }),
    /maxLength must .*; durability must be 'durable' or 'relaxed'/,
  )
  const store = testStore()
  const session = await store.get(new Visitor().request(), 'sid')
  session.values['a'] = 1
  const options = { durability: 'lazy' as never }
  const saving = store.save(new Visitor().request(), new TestResponse(), session, options)
  assert.is((await rejection(saving)).code, 'invalid_option')
  assert.is((await rejection(store.byToken.save('token', {}, { ttl: 60, ...options }))).code, 'invalid_option')
})

test.run()
