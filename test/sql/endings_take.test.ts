// Endings for consumers: none is skipped, whatever commits late, and none is lost with who took it.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row, sql } from '../support/harness.ts'
import {
  type Client,
  call,
  closeClients,
  closeEverything,
  connect,
  count,
  create,
  present,
  untilBlocked,
} from './calls.ts'

test.before(async () => {
  await call('audit_set', { on: true })
})
test.after.each(closeClients)
test.after(closeEverything)

let consumers = 0
/** A new consumer that is known. */
async function newConsumer(): Promise<string> {
  const consumer = `consumer ${++consumers}`
  await call('endings_take', { consumer, limit: 0 })
  return consumer
}

interface Taken {
  id: string
  session_id: string
}

async function take(consumer: string, args: object = {}, client?: Client): Promise<Taken[]> {
  return await call<Taken>('endings_take', { consumer, ...args }, client)
}

/** Numbers of sessions. */
async function taken(consumer: string, args: object = {}, client?: Client): Promise<string[]> {
  return (await take(consumer, args, client)).map(({ session_id }) => session_id)
}

/** A session, and its number. */
async function newSession(): Promise<{ key: Buffer; id: string }> {
  const key = await create({})
  return { key, id: (await present(key)).id }
}

async function ended(): Promise<string> {
  const { key, id } = await newSession()
  await call('session_destroy', { key })
  return id
}

/** A connection whose open transaction has ended this session. */
async function ending({ key }: { readonly key: Buffer }): Promise<Client> {
  const client = await connect()
  await client.query('begin')
  await call('session_destroy', { key }, client)
  return client
}

test('an ending that commits late is given after those that were drawn later', async () => {
  const consumer = await newConsumer()
  const late = await newSession()
  const client = await ending(late)
  const id = await ended()
  const [first] = await take(consumer, { holder: 'h' })
  assert.is(first?.session_id, id)
  await take(consumer, { done: [first?.id], limit: 0 })
  await client.query('commit')
  const [second] = await take(consumer, { holder: 'h' })
  assert.is(second?.session_id, late.id)
  assert.ok(Number(second?.id) < Number(first?.id))
})

test('a consumer that is added while a transaction is open is given what it commits, and nothing committed before', async () => {
  const late = await newSession()
  await ended()
  const client = await ending(late)
  const consumer = await newConsumer()
  assert.equal(await taken(consumer), [])
  await client.query('commit')
  assert.equal(await taken(consumer), [late.id])
})

test('a consumer is not added while another one spreads: what that one has not seen is for the new one too', async () => {
  const consumer = await newConsumer()
  const [early, late] = [await ended(), await newSession()]
  const spreading = await connect()
  await spreading.query('begin')
  assert.equal(await taken(consumer, { holder: 'h' }, spreading), [early])
  const adding = await connect()
  const added = call('endings_take', { consumer: 'added', limit: 0 }, adding)
  await untilBlocked(adding)
  await call('session_destroy', { key: late.key })
  await spreading.query('commit')
  await added
  await ended()
  // The one that ended while it waited had committed before it was added, and may be for it or not: never neither nor twice.
  assert.ok((await taken('added')).length > 0)
  assert.is((await taken(consumer, { holder: 'h' })).length, 3)
})

test('two that add one consumer at once add it once', async () => {
  const clients = [await connect(), await connect()]
  await clients[0]?.query('begin')
  await call('endings_take', { consumer: 'both', limit: 0 }, clients[0])
  const second = call('endings_take', { consumer: 'both', limit: 0 }, clients[1])
  await untilBlocked(clients[1] as (typeof clients)[0])
  await clients[0]?.query('commit')
  await second
  const id = await ended()
  assert.equal(await taken('both'), [id])
})

test('each consumer is given every ending', async () => {
  const [one, other] = [await newConsumer(), await newConsumer()]
  const ids = [await ended(), await ended()]
  assert.equal(await taken(one), ids)
  assert.equal(await taken(other), ids)
})

test('what is taken is left to its holder until the lease is over, and given to the holder again at once', async () => {
  const consumer = await newConsumer()
  const id = await ended()
  assert.equal(await taken(consumer, { holder: 'one' }), [id])
  assert.equal(await taken(consumer, { holder: 'other' }), [])
  assert.equal(await taken(consumer), [])
  assert.equal(await taken(consumer, { holder: 'one' }), [id])
  await sql(
    `update pgstore.ending_deliveries set taken_until = now() - interval '1 second' where consumer = $1`,
    consumer,
  )
  assert.equal(await taken(consumer, { holder: 'other' }), [id])
  assert.equal(await taken(consumer, { holder: 'one' }), [])
})

test('what is done is not given again, to nobody', async () => {
  const consumer = await newConsumer()
  const ids = [await ended(), await ended()]
  const [first] = await take(consumer, { holder: 'one', limit: 1 })
  assert.equal(await taken(consumer, { holder: 'one', done: [first?.id] }), [ids[1]])
  await sql(`update pgstore.ending_deliveries set taken_until = null where consumer = $1`, consumer)
  assert.equal(await taken(consumer, { holder: 'other' }), [ids[1]])
})

test('without a lease it is done when the transaction commits, and given again when it is rolled back', async () => {
  const consumer = await newConsumer()
  const ids = [await ended(), await ended()]
  await taken(consumer, { limit: 0 })
  const [one, other] = [await connect(), await connect()]
  await one.query('begin')
  await other.query('begin')
  assert.equal(await taken(consumer, { limit: 1, lease: null }, one), [ids[0]])
  assert.equal(await taken(consumer, { limit: 1, lease: null }, other), [ids[1]])
  assert.equal(await taken(consumer, { lease: null }), [])
  await one.query('rollback')
  await other.query('commit')
  assert.equal(await taken(consumer, { lease: null }), [ids[0]])
  assert.equal(await taken(consumer, { lease: null }), [])
})

test('one that is killed with its transaction open has done nothing', async () => {
  const consumer = await newConsumer()
  const id = await ended()
  await taken(consumer, { limit: 0 })
  const client = await connect()
  client.on('error', () => {})
  await client.query('begin')
  assert.equal(await taken(consumer, { lease: null }, client), [id])
  const { processID } = client as unknown as { processID: number }
  await sql('select pg_terminate_backend($1, 10000)', processID)
  assert.equal(await taken(consumer, { lease: null }), [id])
})

test('under repeatable read nothing is lost: what would not see a new consumer fails to serialize', async () => {
  const consumer = await newConsumer()
  const client = await connect()
  await client.query('begin isolation level repeatable read')
  await client.query('select from pgstore.audit')
  const added = await newConsumer()
  const id = await ended()
  const failure = await take(consumer, {}, client).then(
    () => undefined,
    (error) => error.code,
  )
  await client.query('rollback')
  assert.ok(failure === '40001' || failure === undefined, failure)
  assert.equal(await taken(consumer), [id])
  assert.equal(await taken(added), [id])
})

test('what was erased meanwhile is not given, and does not wait any longer', async () => {
  const consumer = await newConsumer()
  const user_id = 'erased'
  await call('session_destroy', { key: await create({}, { user_id }) })
  const id = await ended()
  await taken(consumer, { limit: 0 })
  const waiting = async () =>
    (await row('select count(*)::integer as n from pgstore.ending_deliveries where consumer = $1', consumer))['n']
  assert.is(await waiting(), 2)
  await call('history_erase', { user_id })
  assert.is(await waiting(), 1)
  assert.equal(await taken(consumer, { holder: 'h' }), [id])
  const { n } = await row('select count(*)::integer as n from pgstore.ending_deliveries where consumer = $1', consumer)
  assert.is(n, 1)
})

test('a name that is new while the history is off is owed nothing', async () => {
  await call('audit_set', { on: false })
  const consumer = `consumer ${++consumers}`
  const [{ status }] = (await call('endings_take', { consumer })) as [{ status: string }]
  await call('audit_set', { on: true })
  assert.is(status, 'off')
  const { n } = await row('select count(*)::integer as n from pgstore.ending_consumers where name = $1', consumer)
  assert.is(n, 0)
})

test('a consumer that is forgotten leaves nothing behind, and begins anew if it comes back', async () => {
  const consumer = await newConsumer()
  await ended()
  await taken(consumer)
  assert.is(await count('endings_forget', { consumer }), 1)
  assert.is(await count('endings_forget', { consumer }), 0)
  assert.is(await count('endings_forget', { consumer: '' }), 0)
  await ended()
  assert.equal(await taken(consumer), [])
  const id = await ended()
  assert.equal(await taken(consumer), [id])
})

test('where there is no consumer the purge forgets what would wait', async () => {
  await sql(`delete from pgstore.ending_consumers where name > ''`)
  await sql('delete from pgstore.ending_deliveries')
  await ended()
  await call('purge_expired')
  assert.equal(await sql('select from pgstore.ending_deliveries'), [])
})

test('the status tells how many wait for each consumer', async () => {
  await sql(`delete from pgstore.ending_consumers where name > ''`)
  assert.equal(
    (await call('audit_status')).map(({ status, consumer }) => [status, consumer]),
    [['on', null]],
  )
  const consumer = await newConsumer()
  await ended()
  await ended()
  await taken(consumer, { limit: 0 })
  const [status] = await call('audit_status')
  assert.equal([status?.['consumer'], status?.['waiting']], [consumer, '2'])
  assert.ok(status?.['oldest_at'] instanceof Date)
})

for (const [name, args] of Object.entries({
  'no name': { consumer: null },
  'an empty name': { consumer: '' },
  'a long name': { consumer: 'x'.repeat(256) },
  'a negative limit': { consumer: 'c', limit: -1 },
  'a lease of nothing': { consumer: 'c', lease: '0' },
})) {
  test(`${name} is invalid`, async () => {
    assert.equal(
      (await call('endings_take', args)).map(({ status, id }) => [status, id]),
      [['invalid', null]],
    )
  })
}

test('off is told where nothing waits, and what waits is given all the same', async () => {
  const consumer = await newConsumer()
  const id = await ended()
  await taken(consumer, { limit: 0 })
  await call('audit_set', { on: false })
  assert.equal((await call('endings_take', { consumer, limit: 0 })).length, 0)
  const [found] = await take(consumer, { holder: 'h' })
  assert.is(found?.session_id, id)
  const after = await call('endings_take', { consumer, done: [found?.id] })
  assert.equal(
    after.map(({ status }) => status),
    ['off'],
  )
  await call('audit_set', { on: true })
})

test.run()
