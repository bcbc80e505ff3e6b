// Batching: on a real server, through the store where possible, and on the batcher where only order matters.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultBatchLimits } from '../../src/database/batch-limits.ts'
import { BatchedDatabase } from '../../src/database/batched-sessions.ts'
import { Batcher } from '../../src/database/batcher.ts'
import type { SaveArguments } from '../../src/database/row.ts'
import { Database } from '../../src/database/session-functions.ts'
import { economical } from '../../src/database/statement-pool.ts'
import { alone } from '../../src/database/transport.ts'
import { PGStore, type Pool } from '../../src/index.ts'
import { newToken, sessionKey } from '../../src/session/token.ts'
import { terminate } from '../support/crowd.ts'
import { admin, closeAll, databaseUrl, hashKey, rejection, row, testStore, until, Visitor } from '../support/harness.ts'

const open: { end(): Promise<void> }[] = []

test.after(async () => {
  for (const one of open) await one.end()
  await closeAll()
})

function ownPool(options: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: databaseUrl, ...options })
  pool.on('error', () => {})
  open.push(pool)
  return pool
}

/** A pool that remembers what was sent through it. */
function watchedPool(options?: pg.PoolConfig): { pool: Pool; calls: { text: string; values: unknown[] }[] } {
  const inner = ownPool(options)
  const calls: { text: string; values: unknown[] }[] = []
  const pool: Pool = {
    async query(query) {
      calls.push(query)
      return await inner.query(query)
    },
    connect: async () => (await inner.connect()) as never,
  }
  return { pool, calls }
}

const plain: Omit<SaveArguments, 'key' | 'set'> = {
  unset: [],
  ttlSeconds: 3600,
  version: null,
  userId: null,
  label: null,
  tags: null,
  lives: null,
  announce: false,
  relaxed: false,
  knownVersion: 0,
  maxLength: 4096,
  lifetimeSeconds: null,
}

async function newKeys(count: number): Promise<Buffer[]> {
  const keys = Array.from({ length: count }, () => sessionKey(newToken()))
  const database = new Database(admin, 'pgstore')
  await database.saveMany(keys.map((key, n) => ({ ...plain, key, set: `{"n":${n}}`, version: 0 })))
  return keys
}

/** Holds a session's row until the returned function is called. */
async function hold(key: Buffer): Promise<() => Promise<void>> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  await client.query('begin')
  await client.query('select from pgstore.sessions where key = $1 for update', [key])
  return async () => await client.end()
}

// Gathering

test('calls that arrive together are sent together, and each gets its own result', async () => {
  const keys = await newKeys(100)
  const { pool, calls } = watchedPool()
  const database = new BatchedDatabase(pool, 'pgstore', defaultBatchLimits)
  const unknown = sessionKey(newToken())
  const rows = await Promise.all([...keys, unknown].map((key) => database.get(key)))
  assert.is(calls.length, 2)
  assert.equal(
    rows.map((found) => found?.data),
    [...keys.map((_, n) => `{"n": ${n}}`), undefined],
  )
})

test('a single call uses the single form of its function', async () => {
  const [key] = (await newKeys(1)) as [Buffer]
  const { pool, calls } = watchedPool()
  const database = new BatchedDatabase(pool, 'pgstore', defaultBatchLimits)
  await database.get(key)
  await database.save({ ...plain, key, set: '{"a":1}' })
  assert.equal(
    calls.map(({ text }) => /\((\$\d::\w+(\[\])?)/.exec(text)?.[1]),
    ['$1::bytea', '$1::bytea'],
  )
})

test('reads of one session that arrive together are one item', async () => {
  const [key] = (await newKeys(1)) as [Buffer]
  const { pool, calls } = watchedPool()
  const database = new BatchedDatabase(pool, 'pgstore', { ...defaultBatchLimits, inFlight: 1 })
  const rows = await Promise.all(Array.from({ length: 50 }, () => database.get(key)))
  assert.equal(new Set(rows.map((found) => found?.data)).size, 1)
  const [call] = calls as [(typeof calls)[0]]
  assert.is(calls.length, 1)
  assert.is((call.values[0] as Buffer).readInt32BE(12), 1)
})

test('a read that comes after a save has been answered sees it', async () => {
  const keys = await newKeys(20)
  const database = new BatchedDatabase(ownPool(), 'pgstore', defaultBatchLimits)
  await Promise.all(
    keys.map(async (key) => {
      for (let n = 0; n < 20; n++) {
        await Promise.all([database.get(key), database.save({ ...plain, key, set: `{"n":${n}}` })])
        assert.is((await database.get(key))?.data, `{"n": ${n}}`)
      }
    }),
  )
})

test('no call holds more items or bytes than it may', async () => {
  const keys = await newKeys(40)
  const { pool, calls } = watchedPool()
  const limits = { ...defaultBatchLimits, items: 8, bytes: 5000 }
  const database = new BatchedDatabase(pool, 'pgstore', limits)
  const long = 'x'.repeat(1500)
  const saves = keys.map((key, n) => ({ ...plain, key, set: JSON.stringify(n < 20 ? { n } : { long }) }))
  const results = await Promise.all(saves.map((save) => database.save(save)))
  assert.ok(results.every(({ status }) => status === 'saved'))
  const items = calls.map(({ values: [key] }) => ((key as Buffer).length === 32 ? 1 : (key as Buffer).readInt32BE(12)))
  assert.is(
    items.reduce((sum, count) => sum + count, 0),
    40,
  )
  assert.ok(Math.max(...items) <= 8)
  assert.ok(calls.every(({ values: [, sets] }) => (sets as Buffer).length < 6000))
})

test('saves of stores whose limits differ do not share a call', async () => {
  const [one, other] = (await newKeys(2)) as [Buffer, Buffer]
  const database = new BatchedDatabase(ownPool(), 'pgstore', { ...defaultBatchLimits, inFlight: 1 })
  const set = JSON.stringify({ long: 'x'.repeat(100) })
  const results = await Promise.all([
    database.save({ ...plain, key: one, set, maxLength: 50 }),
    database.save({ ...plain, key: other, set, maxLength: 500 }),
  ])
  assert.equal(
    results.map(({ status }) => status),
    ['too_large', 'saved'],
  )
})

test('relaxed and durable saves that come by turns share no call, and each kind goes out together', async () => {
  const keys = await newKeys(100)
  const { pool, calls } = watchedPool()
  const database = new BatchedDatabase(pool, 'pgstore', { ...defaultBatchLimits, inFlight: 1 })
  await Promise.all(keys.map((key, n) => database.save({ ...plain, key, set: '{"a":1}', relaxed: n % 2 === 1 })))
  assert.equal(
    calls.map(({ values }) => [(values[0] as Buffer).readInt32BE(12), values.at(-1)]),
    [
      [50, 'false'],
      [50, 'true'],
    ],
  )
})

test('one that goes alone does not hold up those that come after it', async () => {
  const keys = await newKeys(30)
  const { pool, calls } = watchedPool()
  const database = new BatchedDatabase(pool, 'pgstore', { ...defaultBatchLimits, inFlight: 1 })
  await Promise.all(keys.map((key, n) => database.save({ ...plain, key, set: '{"a":1}', announce: n % 10 === 5 })))
  assert.is(calls.length, 4)
})

// Order

test('a durable save never overtakes a relaxed one of the same session, nor the other way', async () => {
  const keys = await newKeys(5)
  const database = new BatchedDatabase(ownPool(), 'pgstore', { ...defaultBatchLimits, items: 16 })
  const saves = Array.from({ length: 400 }, (_, n) => ({
    ...plain,
    key: keys[n % 5] as Buffer,
    set: `{"n":${n}}`,
    relaxed: n % 3 === 0 || n % 7 === 0,
  }))
  const results = await Promise.all(saves.map((save) => database.save(save)))
  assert.equal(
    results.map(({ version }) => version),
    saves.map((_, n) => Math.floor(n / 5) + 2),
  )
})

test('saves of one session keep the order in which they came, and each has its own verdict', async () => {
  const [key] = (await newKeys(1)) as [Buffer]
  const database = new BatchedDatabase(ownPool(), 'pgstore', defaultBatchLimits)
  const results = await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      database.save({ ...plain, key, set: `{"n":${n}}`, version: n % 3 ? null : 1 }),
    ),
  )
  const saved = results.filter(({ status }) => status === 'saved')
  assert.is(saved.length, 201)
  assert.equal(
    saved.map(({ version }) => version),
    saved.map((_, index) => index + 2),
  )
  assert.is((await database.get(key))?.data, '{"n": 299}')
})

test('of many saves at once that ask for one version, one wins', async () => {
  const [key] = (await newKeys(1)) as [Buffer]
  const database = new BatchedDatabase(ownPool(), 'pgstore', defaultBatchLimits)
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, n) => database.save({ ...plain, key, set: `{"n":${n}}`, version: 1 })),
  )
  assert.equal(
    results.map(({ status }) => status),
    ['saved', ...Array.from({ length: 49 }, () => 'conflict')],
  )
})

test('calls of one key never overtake each other, whichever way they are sent', async () => {
  const sent: string[] = []
  let running: string[] = []
  const work = async (items: readonly string[]) => {
    const keys = items.map(keyOf)
    assert.not.ok(running.some((key) => keys.includes(key)))
    running.push(...keys)
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 3))
    running = running.filter((key) => !keys.includes(key))
    sent.push(...items)
  }
  const keyOf = (item: string) => item[0] as string
  const batcher = new Batcher<string, string>(
    {
      sendOne: async (item) => {
        await work([item])
        return item
      },
      // As if another transaction had locked the first item's session.
      sendMany: async (items) => {
        const isHeld = (item: string) => keyOf(item) === keyOf(items[0] as string)
        await work(items.filter((item) => !isHeld(item)))
        return items.map((item) => (isHeld(item) ? alone : item))
      },
      keyOf,
      sizeOf: () => 1,
      fit: () => true,
      again: () => undefined,
      sharesKeys: false,
    },
    { ...defaultBatchLimits, items: 10 },
  )
  const items = Array.from({ length: 400 }, (_, n) => `${'abcdefgh'[n % 8]}${n}`)
  assert.equal(await Promise.all(items.map((item) => batcher.send(item))), items)
  for (const key of 'abcdefgh') {
    const ofKey = (item: string) => keyOf(item) === key
    assert.equal(sent.filter(ofKey), items.filter(ofKey))
  }
})

// Failures of one call

test('a session locked elsewhere does not delay others', async () => {
  const keys = await newKeys(32)
  const [held, ...free] = keys as [Buffer, ...Buffer[]]
  const database = new BatchedDatabase(ownPool(), 'pgstore', defaultBatchLimits)
  const release = await hold(held)
  let isHeldSaved = false
  const late = database.save({ ...plain, key: held, set: '{"a":1}' }).then((result) => {
    isHeldSaved = true
    return result
  })
  const later = database.save({ ...plain, key: held, set: '{"a":2}' })
  for (let round = 0; round < 5; round++) {
    const results = await Promise.all(free.map((key) => database.save({ ...plain, key, set: `{"r":${round}}` })))
    assert.ok(results.every(({ status }) => status === 'saved'))
  }
  assert.not.ok(isHeldSaved)
  await release()
  assert.equal([(await late).version, (await later).version], [2, 3])
  assert.is((await database.get(held))?.data, '{"a": 2, "n": 0}')
})

test('what Postgres rejects fails alone', async () => {
  const keys = await newKeys(10)
  const database = new BatchedDatabase(ownPool(), 'pgstore', { ...defaultBatchLimits, inFlight: 1 })
  const results = await Promise.allSettled(
    keys.map((key, n) => database.save({ ...plain, key, set: n === 4 ? '{"a":"\\u0000"}' : '{"a":1}' })),
  )
  assert.equal(
    results.map((result) => (result.status === 'fulfilled' ? result.value.status : result.reason.sqlState)),
    keys.map((_, n) => (n === 4 ? '22P05' : 'saved')),
  )
})

test('a call that fails rejects each of its callers with a separate error', async () => {
  const { pool } = watchedPool()
  const database = new BatchedDatabase(pool, 'no_such_schema', defaultBatchLimits)
  const keys = Array.from({ length: 10 }, () => sessionKey(newToken()))
  const errors = await Promise.all(keys.map((key) => rejection(database.get(key))))
  assert.is(new Set(errors).size, 10)
  assert.equal([...new Set(errors.map(({ code }) => code))], ['not_installed'])
})

// Failures of the connection

test('reads and merges outlive the end of every connection', async () => {
  const keys = await newKeys(50)
  const pool = ownPool({ application_name: 'batch-test-lost', max: 4 })
  const store = testStore({ pool })
  const visitor = new Visitor()
  await visitor.visit(store, (session) => Object.assign(session.values, { visits: 1 }))
  const database = new BatchedDatabase(economical(pool, undefined), 'pgstore', defaultBatchLimits)
  for (let round = 0; round < 10; round++) {
    await terminate('batch-test-lost')
    const [rows, saves] = await Promise.all([
      Promise.all(keys.map((key) => database.get(key))),
      Promise.all(
        keys.map((key) => database.save({ ...plain, key, set: `{"round":${round}}`, knownVersion: round + 1 })),
      ),
    ])
    assert.ok(rows.every(Boolean))
    assert.ok(saves.every(({ status }) => status === 'saved'))
  }
})

test('a call that is lost twice is not sent a third time', async () => {
  const { pool } = watchedPool()
  let sent = 0
  const failing: Pool = {
    ...pool,
    async query() {
      sent++
      throw Object.assign(new Error('terminating connection'), { code: '57P01' })
    },
  }
  const database = new BatchedDatabase(failing, 'pgstore', defaultBatchLimits)
  const key = sessionKey(newToken())
  assert.is((await rejection(database.save({ ...plain, key, set: '{"a":1}', version: 0 }))).code, 'unavailable')
  assert.is(sent, 2)
  assert.is((await rejection(database.save({ ...plain, key, set: '{"a":1}' }))).code, 'unavailable')
  assert.is(sent, 4)
  assert.is((await rejection(database.get(key))).code, 'unavailable')
  assert.is(sent, 6)
})

// Back-pressure

test('calls beyond the limit are refused at once, and the others answered when there is room again', async () => {
  const [key] = (await newKeys(1)) as [Buffer]
  const pool = ownPool({ max: 1 })
  const database = new BatchedDatabase(pool, 'pgstore', { ...defaultBatchLimits, inFlight: 1, waiting: 10 })
  const client = await pool.connect()
  const first = database.get(key)
  await new Promise(setImmediate) // in flight: it waits for the pool
  const waiting = Array.from({ length: 10 }, () => database.get(key))
  const { code, message } = await rejection(database.get(key))
  assert.equal([code, message], ['unavailable', 'Too many calls are already waiting for the database (10).'])
  client.release()
  assert.ok((await Promise.all([first, ...waiting])).every(Boolean))
})

test('a call that is not sent in time is refused, and the next one goes through when there is room again', async () => {
  const keys = await newKeys(2)
  const [key, held] = keys as [Buffer, Buffer]
  const pool = ownPool({ max: 1 })
  const database = new BatchedDatabase(pool, 'pgstore', { ...defaultBatchLimits, inFlight: 1 })
  const client = await pool.connect()
  const first = database.save({ ...plain, key: held, set: '{"a":1}' })
  await new Promise(setImmediate)
  const [other, same] = [
    rejection(database.save({ ...plain, key, set: '{"a":2}' })),
    rejection(database.save({ ...plain, key: held, set: '{"a":2}' })),
  ]
  assert.equal([(await other).code, (await same).code], ['unavailable', 'unavailable'])
  client.release()
  assert.is((await first).version, 2)
  assert.is((await database.save({ ...plain, key: held, set: '{"a":3}' })).version, 3)
})

// Statements

test('statements are prepared where the connection leads to Postgres itself, on a shared pool only when asked', async () => {
  const pool = ownPool({ max: 1 })
  const prepared = async () =>
    (await pool.query<{ name: string }>('select name from pg_prepared_statements')).rows.map(({ name }) => name)
  for (const [prepare, count] of [
    [false, 0],
    [undefined, 0],
    [true, 1],
  ] as const) {
    const store = testStore({ pool, ...(prepare === undefined ? {} : { prepare }) })
    const visitor = new Visitor()
    await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
    assert.is((await prepared()).length, count)
    assert.ok((await prepared()).every((name) => /^pgstore_[0-9a-f]{16}$/.test(name)))
  }
  const own = ownPool({ max: 1 })
  await new Database(economical(own, undefined), 'pgstore').get(sessionKey(newToken()))
  assert.is((await own.query('select name from pg_prepared_statements')).rowCount, 1)
})

test('statements that were deallocated elsewhere cause no error', async () => {
  const pool = ownPool({ max: 1 })
  const store = testStore({ pool })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  for (let round = 0; round < 3; round++) {
    await pool.query('deallocate all')
    const { session } = await visitor.visit(store, ({ values }) => Object.assign(values, { round }))
    assert.equal(session.values, { a: 1, round })
  }
})

test('an error of one statement does not cost the connection', async () => {
  const [held] = (await newKeys(1)) as [Buffer]
  const pool = ownPool({ max: 1, options: '-c lock_timeout=50ms' })
  const pidOf = async () => (await pool.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid
  const before = await pidOf()
  const release = await hold(held)
  const database = new BatchedDatabase(economical(pool, undefined), 'pgstore', defaultBatchLimits)
  const { code, sqlState } = (await rejection(database.save({ ...plain, key: held, set: '{"a":1}' }))) as Error & {
    code?: string
    sqlState?: string
  }
  await release()
  assert.equal([code, sqlState], ['timeout', '55P03'])
  assert.is(await pidOf(), before)
})

test('any role may write its dates as it likes', async () => {
  const pool = ownPool({ options: '-c datestyle=SQL,DMY -c timezone=Asia/Kathmandu -c intervalstyle=sql_standard' })
  const store = testStore({ pool })
  const visitor = new Visitor()
  const { session, res } = await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  const month = 30 * 86400 + 3600 // plus the time a touch may be late
  const { now } = await row<{ now: Date }>('select now()')
  assert.ok(Math.abs((session.expiresAt?.getTime() ?? 0) - now.getTime() - month * 1000) < month * 10 + 60_000)
  assert.match(res.cookies[0] ?? '', `; Max-Age=${month};`)
  await until(async () => (await store.new(visitor.request(), 'sid')).values['a'] === 1)
})

// Options

test('limits that are not positive whole numbers, and unknown ones, are refused', () => {
  for (const batch of [{ items: 0 }, { inFlight: 1.5 }, { bytes: -1 }, { waiting: Number.NaN }, { size: 3 }] as const) {
    assert.throws(() => new PGStore({ pool: admin, keyPairs: [hashKey], batch: batch as never }), /batch/)
  }
  assert.throws(() => new PGStore({ pool: admin, keyPairs: [hashKey], prepare: 'yes' as never }), /prepare/)
})

test('without batching, each call is sent on its own', async () => {
  const { pool, calls } = watchedPool()
  const store = testStore({ pool, batch: false })
  const visitors = Array.from({ length: 5 }, () => new Visitor())
  await Promise.all(visitors.map((visitor) => visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))))
  assert.is(calls.length, 5)
})

test.run()
