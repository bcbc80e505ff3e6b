// What subscribers of node:diagnostics_channel are told of calls, batches and the cleanup.
import { channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runWorker } from '../../src/cleanup/worker.ts'
import type { TracedBatch, TracedCall, TracedCleanup, TracedPurge } from '../../src/index.ts'
import { tracedOperations } from '../../src/tracing.ts'
import { addExpired, startOver } from '../support/crowd.ts'
import { admin, closeAll, databaseUrl, rejection, sql, testStore, until, Visitor } from '../support/harness.ts'

test.before.each(startOver)
test.after(closeAll)

const events = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const

/** What `work` publishes on the calls' channels, in order: the event, and the message as it is after `work`. */
async function traced(work: () => Promise<unknown>): Promise<[string, TracedCall][]> {
  const heard: [string, TracedCall][] = []
  const stops = Object.values(tracedOperations).map((operation) => {
    const listeners = Object.fromEntries(
      events.map((event) => [event, (message: unknown) => heard.push([event, message as TracedCall])]),
    ) as unknown as Parameters<typeof operation.subscribe>[0]
    operation.subscribe(listeners)
    return () => operation.unsubscribe(listeners)
  })
  try {
    await work()
  } finally {
    for (const stop of stops) stop()
  }
  return heard
}

const ended = (heard: [string, TracedCall][]) =>
  heard.filter(([event]) => event === 'asyncEnd').map(([, { operation, status, id }]) => [operation, status, id])

async function published<Message>(name: string, work: () => Promise<unknown>): Promise<Message[]> {
  const heard: Message[] = []
  const listener = (message: unknown) => heard.push(message as Message)
  subscribe(name, listener)
  try {
    await work()
  } finally {
    unsubscribe(name, listener)
  }
  return heard
}

test('each call for a session is told with its status and the session’s number', async () => {
  const store = testStore()
  const visitor = new Visitor()
  let id: string | undefined
  const heard = await traced(async () => {
    await visitor.visit(store, ({ values }) => {
      values['secret'] = 1
    })
    id = (await visitor.visit(store)).session.id
    await visitor.visit(store, async (session, req, res) => await store.regenerate(req, res, session))
    const before = visitor.request()
    await visitor.visit(store, async (session, req, res) => await store.destroy(req, res, session))
    await store.get(before, 'sid')
  })
  assert.equal(ended(heard), [
    ['save', 'saved', id],
    ['get', 'found', id],
    ['get', 'found', id],
    ['regenerate', 'saved', id],
    ['get', 'found', id],
    ['destroy', 'destroyed', id],
    ['get', 'none', undefined],
  ])
  for (const [event, { schema, duration }] of heard) {
    assert.is(schema, 'pgstore')
    if (event === 'asyncEnd') assert.ok(Number(duration) > 0)
  }
})

test('puts, takes and increments by token are told as well', async () => {
  const { byToken } = testStore()
  const heard = await traced(async () => {
    await byToken.put('a token nobody can guess', { code: 7 }, { ttl: 60 })
    await byToken.take('a token nobody can guess', 'code')
    await byToken.take('a token nobody can guess', 'code')
    await byToken.increment('another token', 'n', 1, { ttl: 60 })
  })
  assert.equal(
    ended(heard).map(([operation, status]) => [operation, status]),
    [
      ['put', 'saved'],
      ['take', 'taken'],
      ['take', 'none'],
      ['increment', 'saved'],
    ],
  )
})

test('a request with several cookies is one get', async () => {
  const store = testStore()
  const [one, other] = [new Visitor(), new Visitor()]
  for (const visitor of [one, other]) {
    await visitor.visit(store, ({ values }) => {
      values['visits'] = 1
    })
  }
  const cookie = [one, other].map((visitor) => visitor.request().headers.cookie).join('; ')
  const heard = await traced(async () => await store.get({ headers: { cookie } }, 'sid'))
  assert.equal(
    ended(heard).map(([operation, status]) => [operation, status]),
    [['get', 'found']],
  )
})

test('a failed call is told with its error, and its caller gets the same', async () => {
  const store = testStore({ connectionString: 'postgres://127.0.0.1:1/nowhere' })
  let error: Error | undefined
  const heard = await traced(async () => {
    error = await rejection(store.byToken.get('a token'))
  })
  const [first] = heard
  assert.is(first?.[1].error, error)
  assert.is(first?.[1].error?.code, 'unavailable')
  assert.is(first?.[1].status, undefined)
  assert.equal(
    heard.map(([event]) => event),
    ['start', 'end', 'error', 'asyncStart', 'asyncEnd'],
  )
})

test('no message holds a token, a key, a value or a user', async () => {
  const store = testStore()
  const visitor = new Visitor()
  const batches: TracedBatch[] = []
  const heard = await traced(async () => {
    batches.push(
      ...(await published<TracedBatch>('pgstore:batch', async () => {
        await visitor.visit(store, (session) => {
          session.values['secret'] = 'swordfish'
          session.userId = 'user-4711'
        })
        await visitor.visit(store)
        await visitor.visit(store, async (session) => await session.take('secret'))
      })),
    )
  })
  const text = inspect([heard, batches], { depth: 9 })
  const [{ hex } = {}] = await sql<{ hex: string }>(`select encode(key, 'hex') as hex from pgstore.sessions`)
  assert.is(typeof hex, 'string')
  for (const secret of ['swordfish', 'user-4711', 'Buffer', String(hex), String(visitor.jar.get('sid'))])
    assert.not.match(text, secret)
  assert.equal(
    [...new Set(heard.flatMap(([, call]) => Object.keys(call)))].sort(),
    ['duration', 'id', 'operation', 'result', 'schema', 'status'].sort(),
  )
  assert.equal([...new Set(heard.map(([, call]) => (call as { result?: unknown }).result))], [undefined])
})

test('a subscriber to a single event is enough', async () => {
  const store = testStore()
  for (const event of events.slice(0, 4)) {
    const heard = await published<TracedCall>(
      `tracing:pgstore.get:${event}`,
      async () => await store.byToken.get('nobody’s'),
    )
    assert.is(heard.length, 1, event)
  }
  assert.is(tracingChannel('pgstore.get').start.hasSubscribers, false)
})

test('a batch is told with its size, operation and times', async () => {
  const store = testStore({ batch: { inFlight: 1 } })
  const heard = await published<TracedBatch>('pgstore:batch', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => store.byToken.get(`token ${index}`)))
  })
  assert.is(
    heard.reduce((sum, { size }) => sum + size, 0),
    20,
  )
  for (const { operation, schema, waited, duration, code } of heard) {
    assert.equal([operation, schema, code], ['get', 'pgstore', undefined])
    assert.ok(waited >= 0 && duration > 0)
  }
})

test('a failed batch is told with its code', async () => {
  const store = testStore({ connectionString: 'postgres://127.0.0.1:1/nowhere' })
  const heard = await published<TracedBatch>('pgstore:batch', async () => {
    await rejection(store.byToken.get('a token'))
  })
  assert.ok(heard.length >= 1)
  for (const { code } of heard) assert.is(code, 'unavailable')
})

test('a purge is told batch by batch', async () => {
  const store = testStore({ connectionString: databaseUrl })
  await addExpired(25)
  const heard = await published<TracedPurge>('pgstore:purge', async () => await store.purgeExpired({ limit: 10 }))
  assert.equal(
    heard.map(({ schema, purged }) => [schema, purged]),
    [
      ['pgstore', 10],
      ['pgstore', 10],
      ['pgstore', 5],
    ],
  )
})

test('a run of the recurring purge is told with what it deleted', async () => {
  await addExpired(25)
  const heard: TracedCleanup[] = []
  const listener = (message: unknown) => heard.push(message as TracedCleanup)
  subscribe('tracing:pgstore.cleanup:asyncEnd', listener)
  const worker = await runWorker({ connectionString: databaseUrl, log: () => {} })
  try {
    await admin.query(`select pgstore.cleanup_start('1 hour')`)
    await until(() => heard.some(({ purged }) => purged === 25))
  } finally {
    unsubscribe('tracing:pgstore.cleanup:asyncEnd', listener)
    await worker.stop()
  }
  const run = heard.find(({ purged }) => purged === 25)
  assert.equal([run?.schema, run?.status, run?.code], ['pgstore', 'done', undefined])
  assert.ok(Number(run?.duration) > 0)
  assert.is(channel('pgstore:purge').hasSubscribers, false)
})

test.run()
