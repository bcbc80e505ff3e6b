// batch.lanes: what one partition holds up concerns its own sessions alone.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore, PGStoreOptions, Pool } from '../../src/index.ts'
import { clientUrl, closeAll, rejection, row, TestResponse, testStore, Visitor } from '../support/harness.ts'

type Values = { n?: number; word?: string }

const pools: pg.Pool[] = []
test.after(async () => {
  await closeAll()
  for (const pool of pools) await pool.end()
})

/** A pool in which calls for sessions of one lane wait, each on its connection, until the gate opens. */
interface GatedPool extends Pool {
  readonly options: { readonly max: number }
  /** Calls that wait at the gate. */
  held: number
  close(): void
  open(): void
}

function gatedPool(max: number, isHeld: (key: Buffer) => boolean): GatedPool {
  const inner = new pg.Pool({ connectionString: clientUrl, max })
  inner.on('error', () => {})
  pools.push(inner)
  let gate: Promise<void> | undefined
  let opening = () => {}
  const gated: GatedPool = {
    options: { max },
    held: 0,
    async query(query) {
      const client = await inner.connect()
      try {
        const isWaiting = gate && keysOf(query.values[0]).some(isHeld)
        if (isWaiting) gated.held++
        if (isWaiting) await gate
        return await client.query(query)
      } finally {
        client.release()
      }
    },
    connect: async () => (await inner.connect()) as never,
    close() {
      gate = new Promise((resolve) => {
        opening = resolve
      })
    },
    open() {
      gate = undefined
      gated.held = 0
      opening()
    },
  }
  return gated
}

/** Of a parameter that is a key, or an array of keys in binary form: 20 bytes, and for each its length and 32 bytes. */
function keysOf(value: unknown): Buffer[] {
  if (!Buffer.isBuffer(value)) return []
  if (value.length === 32) return [value]
  const keys: Buffer[] = []
  for (let at = 24; at < value.length; at += 36) keys.push(value.subarray(at, at + 32))
  return keys
}

interface Resident {
  readonly visitor: Visitor
  readonly lane: number
}

/** Visitors with a session each, so many in every lane; an id's low byte is its key's first byte. One by one: machines may be slow. */
async function residents(store: PGStore<Values>, each: number, lanes: number): Promise<Resident[]> {
  const all: Resident[] = []
  while (all.length < each * lanes) {
    const visitor = new Visitor()
    const { session } = await visitor.visit(store, ({ values }) => {
      values.n = 1
    })
    const lane = Number(BigInt(session.id as string) & BigInt(lanes - 1))
    if (all.filter((resident) => resident.lane === lane).length < each) all.push({ visitor, lane })
  }
  return all
}

const count = async (store: PGStore<Values>, visitor: Visitor) =>
  await visitor.visit(store, ({ values }) => {
    values.n = (values.n ?? 0) + 1
  })

test('a silent lane holds up its own sessions alone, and takes no more than its share of the pool', async () => {
  const pool = gatedPool(10, (key) => ((key[0] as number) & 3) === 2)
  const store = testStore<Values>({ pool, batch: { lanes: 4 } })
  const all = await residents(store, 4, 4)
  const others = all.filter(({ lane }) => lane !== 2)
  const own = all.filter(({ lane }) => lane === 2)
  pool.close()
  // Of all kinds, more than the pool has connections: none may be left for them to take.
  const waiting = own.flatMap(({ visitor }) => [
    store.get(visitor.request(), 'sid'),
    visitor.visit(store, (session) => session.take('n')),
    count(store, visitor),
  ])
  const settled = Promise.allSettled(waiting)
  const served = others.flatMap(({ visitor }) => [store.get(visitor.request(), 'sid'), count(store, visitor)])
  assert.is((await Promise.allSettled(served)).filter(({ status }) => status === 'rejected').length, 0)
  assert.ok(pool.held > 0 && pool.held <= 2, `${pool.held} connections`)
  pool.open()
  await settled
  for (const { visitor } of all) assert.is((await store.get(visitor.request(), 'sid')).isNew, false)
})

test('so do calls that are not batched: those that get no connection in time are refused, and never sent', async () => {
  const pool = gatedPool(5, (key) => ((key[0] as number) & 1) === 1)
  const store = testStore<Values>({ pool, batch: { lanes: 2 } })
  const all = await residents(store, 1, 2)
  const [own] = all.filter(({ lane }) => lane === 1)
  const [other] = all.filter(({ lane }) => lane === 0)
  assert.ok(own && other)
  const sessions = await Promise.all([1, 2, 3].map(() => store.get(own.visitor.request(), 'sid')))
  pool.close()
  const takes = sessions.map((session) => session.take('word'))
  const settled = Promise.allSettled(takes)
  const free = await store.get(other.visitor.request(), 'sid')
  assert.is(await free.take('n'), 1)
  const errors = await Promise.all(takes.slice(1).map(rejection))
  for (const { code, message } of errors) {
    assert.is(code, 'unavailable')
    assert.match(message, /the call was not sent/)
  }
  assert.is(pool.held, 1)
  pool.open()
  await settled
})

test('sessions in lanes are the same sessions', async () => {
  const store = testStore<Values>({ connectionString: clientUrl, batch: { lanes: 8 } })
  const plain = testStore<Values>()
  const all = await residents(store, 1, 8)
  for (const [place, { visitor }] of all.entries()) {
    await Promise.all([1, 2, 3].map(() => store.get(visitor.request(), 'sid')))
    await count(store, visitor)
    await visitor.visit(store, async (session, req, res) => {
      session.userId = `in lanes ${place % 2}`
      await store.regenerate(req, res, session)
    })
    const { session } = await count(store, visitor)
    assert.is(session.values.n, 3)
    assert.is((await plain.get(visitor.request(), 'sid')).values.n, 3)
    assert.is(await session.take('n'), 3)
    const token = `in lanes ${place} ${Math.random()}`
    await store.byToken.put(token, { word: 'a' }, { ttl: 60 })
    assert.is(await store.byToken.increment(token, 'n', 2, { ttl: 60 }), 2)
    assert.equal((await plain.byToken.get(token))?.values(), { word: 'a', n: 2 })
    assert.is(await store.byToken.destroy(token), true)
  }
  const [first] = await store.list('in lanes 0')
  assert.is(await store.revoke('in lanes 0', { id: first?.id as string }), 1)
  assert.is(await store.revoke('in lanes 0'), 3)
  assert.is((await plain.list('in lanes 0')).length, 0)
})

test('of several cookies in different lanes the first whose session lives counts', async () => {
  const store = testStore<Values>({ connectionString: clientUrl, batch: { lanes: 4 } })
  const all = await residents(store, 1, 4)
  const [one, other] = [0, 1].map((lane) => all.find((resident) => resident.lane === lane)?.visitor)
  assert.ok(one && other)
  const cookie = `sid=${one.jar.get('sid')}; sid=${other.jar.get('sid')}`
  const { session } = await one.visit(store, (session, req, res) => store.destroy(req, res, session))
  assert.ok(session.isNew)
  const found = await store.get({ headers: { cookie } }, 'sid')
  assert.is(found.values.n, 1)
  await store.destroy({ headers: { cookie } }, new Headers(), found)
  assert.ok((await store.get({ headers: { cookie } }, 'sid')).isNew)
})

test('closing finishes what was begun in every lane, also what follows from it', async () => {
  const options: Partial<PGStoreOptions> = { connectionString: clientUrl, batch: { lanes: 4 }, sessionsPerUser: 1 }
  const store = testStore<Values>(options)
  const signIns: Promise<void>[] = []
  for (let place = 0; place < 16; place++) {
    const req = new Visitor().request()
    const session = await store.get(req, 'sid')
    session.userId = `closing ${place % 8}`
    signIns.push(store.save(req, new TestResponse(), session))
  }
  const settled = Promise.allSettled(signIns)
  await store.close()
  const failed = (await settled).filter(({ status }) => status === 'rejected')
  assert.equal(failed, [])
  const { count } = await row<{ count: string }>("select count(*) from pgstore.sessions where user_id like 'closing %'")
  assert.is(count, '8')
  assert.is((await rejection(store.list('closing 0'))).code, 'closed')
})

test('a number of lanes that cannot be is refused', () => {
  for (const [batch, problem] of [
    [{ lanes: 3 }, /batch\.lanes must be a power of two, at most 256/],
    [{ lanes: 512 }, /batch\.lanes must be a power of two/],
    [{ lanes: 0 }, /batch\.lanes must be a positive whole number/],
    [{ lanes: 1.5 }, /batch\.lanes must be a positive whole number/],
    [{ lanes: 8 }, /batch\.lanes of 8 needs a pool of more than 8 connections; this one has 8/],
  ] as const) {
    assert.throws(() => testStore({ pool: new pg.Pool({ max: 8 }), batch }), problem)
  }
})

test.run()
