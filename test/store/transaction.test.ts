// store.transaction: work in a transaction that knows whose session it is.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Entered, PGStore, TransactionClient, TransactionOptions } from '../../src/index.ts'
import { MemoryStore } from '../../src/memory/memory-store.ts'
import { clientUrl, closeAll, rejection, row, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'

const store = testStore()
test.before(async () => {
  await sql('create table public.things (owner text, name text)')
  await sql('alter table public.things enable row level security')
  await sql('create policy own on public.things using (owner = (select pgstore.current_session_user()))')
  await sql(`grant usage on schema public to ${new URL(clientUrl).username}`)
  await sql(`grant all on public.things to ${new URL(clientUrl).username}`)
})
test.before.each(async () => {
  await sql('truncate public.things')
})
test.after(async () => {
  await sql('drop table public.things')
  await closeAll()
})

async function signedIn(userId: string, at: PGStore = store): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(at, (session) => {
    session.userId = userId
  })
  return visitor
}

const whoever = async (client: TransactionClient) =>
  (await client.query('select pgstore.current_session_user() as who')).rows[0]?.['who']

/** Whom the database takes this visitor for. */
async function who(visitor: Visitor, options: TransactionOptions = {}, at: PGStore = store): Promise<unknown> {
  return await at.transaction(visitor.request(), 'sid', whoever, options)
}

test('the work sees its user’s rows, is told whose session it is, and is committed', async () => {
  const [ann, bob] = [await signedIn('ann'), await signedIn('bob')]
  const add = async (visitor: Visitor, owner: string) =>
    await store.transaction(visitor.request(), 'sid', async (client, entered) => {
      await client.query('insert into public.things values ($1, $2)', [owner, 'x'])
      return entered
    })
  const { id } = await store.get(ann.request(), 'sid')
  assert.equal(await add(ann, 'ann'), { sessionId: id, userId: 'ann' } satisfies Entered)
  await add(bob, 'bob')
  assert.match((await rejection(add(bob, 'ann'))).message, /row-level security/)
  const seen = await store.transaction(
    ann.request(),
    'sid',
    async (client) => await client.query('table public.things'),
  )
  assert.equal(seen.rows, [{ owner: 'ann', name: 'x' }])
  assert.is((await sql('table public.things')).length, 2)
})

test('what the work rejects with comes through unchanged, and nothing of it is kept', async () => {
  const visitor = await signedIn('ann')
  const failure = new Error('mine')
  let kept: TransactionClient | undefined
  const work = async (client: TransactionClient) => {
    kept = client
    await client.query(`insert into public.things values ('ann', 'x')`)
    throw failure
  }
  assert.is(await rejection(store.transaction(visitor.request(), 'sid', work)), failure)
  assert.equal(await sql('table public.things'), [])
  assert.throws(() => kept?.query('select'), /revoked/)
  assert.is(await who(visitor), 'ann')
})

test('work whose statement failed, and who said nothing, is told that nothing was committed', async () => {
  const visitor = await signedIn('ann')
  const work = async (client: TransactionClient) => {
    await client.query(`insert into public.things values ('ann', 'x')`)
    await client.query('select 1 / 0').catch(() => {})
  }
  const { code, message } = await rejection(store.transaction(visitor.request(), 'sid', work))
  assert.is(code, 'database')
  assert.match(message, /nothing in it happened/)
  assert.equal(await sql('table public.things'), [])
})

test('a visitor without a session works for nobody, and so does one whose session has ended', async () => {
  const nobody = { sessionId: undefined, userId: undefined }
  const told = async (visitor: Visitor) =>
    await store.transaction(visitor.request(), 'sid', (_client, entered) => entered)
  assert.equal(await told(new Visitor()), nobody)
  const forger = new Visitor()
  forger.jar.set('sid', 'forged')
  assert.equal(await told(forger), nobody)
  const visitor = await signedIn('gone')
  const req = visitor.request()
  await store.get(req, 'sid')
  await store.revoke('gone')
  assert.equal(await told(visitor), nobody)
  // Though the request has read it before it was ended.
  assert.equal(await store.transaction(req, 'sid', (_client, entered) => entered), nobody)
})

test('the request’s own session counts: after a sign-in, a regenerate and a sign-out', async () => {
  const visitor = new Visitor()
  const [req, res] = [visitor.request(), new TestResponse()]
  const session = await store.get(req, 'sid')
  const is = async () => await store.transaction(req, 'sid', whoever)
  assert.is(await is(), null)
  session.userId = 'ann'
  await store.save(req, res, session)
  assert.is(await is(), 'ann')
  session.userId = 'bob'
  await store.regenerate(req, res, session)
  assert.is(await is(), 'bob')
  await store.destroy(req, res, session)
  assert.is(await is(), null)
})

test('of several cookies of the name the first whose session lives counts', async () => {
  const [ended, ann] = [await signedIn('ended'), await signedIn('ann')]
  await store.revoke('ended')
  const cookie = [ended, ann].map(({ jar }) => `sid=${jar.get('sid')}`).join('; ')
  assert.is(await store.transaction({ headers: { cookie } }, 'sid', whoever), 'ann')
})

test('beginning and entering are one round trip, and no query reads the session before', async () => {
  const pool = new pg.Pool({ connectionString: clientUrl, max: 1 })
  const visitor = await signedIn('ann')
  await who(visitor, { pool }) // the first use of a connection asks where it leads
  const client = await pool.connect()
  const { stream } = (client as unknown as { connection: { stream: { write(data: unknown): boolean } } }).connection
  const writes: string[] = []
  const write = stream.write.bind(stream)
  let answered = 0
  ;(client as unknown as { connection: NodeJS.EventEmitter }).connection.on('readyForQuery', () => answered++)
  stream.write = (data) => {
    writes.push(String(data))
    return write(data)
  }
  client.release()
  await store.transaction(visitor.request(), 'sid', () => {}, { pool })
  assert.is(answered, 2) // one for these two, one for the commit
  const sent = writes.join('')
  assert.match(sent, /begin isolation level read committed read write.*session_enter.*commit/s)
  assert.not.match(sent, 'session_get')
  await pool.end()
})

test('isolation and readOnly are as asked for, whatever an injection left as default', async () => {
  const pool = new pg.Pool({ connectionString: clientUrl, max: 1 })
  const visitor = await signedIn('ann')
  const settings = async (options: TransactionOptions) =>
    await store.transaction(
      visitor.request(),
      'sid',
      async (client) => {
        const text = `select current_setting('transaction_isolation') || ' ' || current_setting('transaction_read_only') || ' ' || pgstore.current_session_user() as is`
        const { rows } = await client.query(text)
        await client.query(`set session characteristics as transaction isolation level serializable, read only`)
        return rows[0]?.['is']
      },
      { pool, ...options },
    )
  for (const isolation of ['read committed', 'repeatable read', 'serializable'] as const) {
    assert.is(await settings({ isolation, readOnly: true }), `${isolation} on ann`)
  }
  assert.is(await settings({}), 'read committed off ann')
  await pool.end()
})

test('a store with a connection string works on connections that read no session', async () => {
  const visitor = await signedIn('ann')
  const name = `select current_setting('application_name') as name`
  const used = await store.transaction(visitor.request(), 'sid', async (client) => (await client.query(name)).rows[0])
  assert.equal(used, { name: 'pgstore transactions' })
  const pool = new pg.Pool({ connectionString: clientUrl, application_name: 'mine' })
  const given = testStore({ pool })
  const mine = await given.transaction(visitor.request(), 'sid', async (client) => (await client.query(name)).rows[0])
  assert.equal(mine, { name: 'mine' })
  await pool.end()
})

test('a pool that sends queries in a row, and one that is not node-postgres’ own, are served too', async () => {
  const visitor = await signedIn('ann')
  const pipelined = new pg.Pool(Object.assign({ connectionString: clientUrl, max: 1 }, { pipeline: true }))
  assert.is(await who(visitor, { pool: pipelined }), 'ann')
  class OwnClient extends pg.Client {}
  const own = new pg.Pool({ connectionString: clientUrl, Client: OwnClient, max: 1 } as pg.PoolConfig)
  assert.is(await who(visitor, { pool: own }), 'ann')
  for (const pool of [pipelined, own]) {
    assert.is(await who(new Visitor(), { pool }), null)
    await pool.end()
  }
})

test('withClient saves a session in the transaction, and both are rolled back together', async () => {
  const visitor = await signedIn('ann')
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  const work = async (client: TransactionClient) => {
    session.values['n'] = 1
    await store.withClient(client).save(req, new TestResponse(), session)
    throw new Error('back')
  }
  await rejection(store.transaction(req, 'sid', work))
  assert.equal((await store.get(visitor.request(), 'sid')).values, {})
})

test('many at once each work for their own', async () => {
  const visitors = await Promise.all(Array.from({ length: 20 }, (_, n) => signedIn(`user ${n}`)))
  const seen = await Promise.all(visitors.flatMap((visitor) => [who(visitor), who(new Visitor()), who(visitor)]))
  assert.equal(
    seen,
    visitors.flatMap((_, n) => [`user ${n}`, null, `user ${n}`]),
  )
})

test('a connection that is lost while it works is an error, and the next one works', async () => {
  const visitor = await signedIn('ann')
  const work = async (client: TransactionClient) => {
    await client.query('select pg_terminate_backend(pg_backend_pid())')
  }
  await rejection(store.transaction(visitor.request(), 'sid', work))
  assert.is(await who(visitor), 'ann')
})

test('work cannot give the client back, nor end it', async () => {
  const visitor = await signedIn('ann')
  for (const name of ['release', 'end'] as const) {
    const work = (client: object) => (client as Record<typeof name, () => void>)[name]()
    assert.is((await rejection(store.transaction(visitor.request(), 'sid', work))).code, 'invalid_option')
    assert.is(await who(visitor), 'ann')
  }
})

test('a role without the right, wrong arguments, a closed store, a client of the caller’s and a memory store are refused', async () => {
  const visitor = await signedIn('ann')
  const code = async (promise: Promise<unknown>) => (await rejection(promise)).code
  const bad = async (...[name, work, options]: unknown[]) =>
    await code(store.transaction(visitor.request(), name as string, work as () => void, options as object))
  assert.is(await bad('sid', undefined), 'invalid_option')
  assert.is(await bad('s;d', () => {}), 'invalid_option')
  for (const options of [{ isolation: 'chaos' }, { readOnly: 1 }, { pools: 1 }, { pool: {} }]) {
    assert.is(await bad('sid', () => {}, options), 'invalid_option', JSON.stringify(options))
  }
  const lent = new pg.Client({ connectionString: clientUrl })
  await lent.connect()
  assert.is(await code(store.withClient(lent).transaction(visitor.request(), 'sid', () => {})), 'invalid_option')
  assert.is(await bad('sid', () => {}, { pool: lent }), 'invalid_option')
  assert.is(await bad('sid', () => {}, null), 'invalid_option')
  await lent.end()
  assert.is(await code(new MemoryStore().transaction(visitor.request(), 'sid', () => {})), 'invalid_option')
  const closed = testStore()
  await closed.close()
  assert.is(await code(closed.transaction(visitor.request(), 'sid', () => {})), 'closed')
  const signature = 'function pgstore.session_enter(bytea)'
  await sql(`revoke execute on ${signature} from ${new URL(clientUrl).username}`)
  assert.is(await code(who(visitor) as Promise<unknown>), 'forbidden')
  await sql(`grant execute on ${signature} to ${new URL(clientUrl).username}`)
  assert.is(await who(visitor), 'ann')
  assert.is((await row('select count(*)::integer as n from public.things'))['n'], 0)
})

test.run()
