// store.history() and store.endings(): what consumers are given, through everything that can go wrong on either side.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore, SessionEnding } from '../../src/index.ts'
import { MemoryStore } from '../../src/memory/memory-store.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, databaseUrl, rejection, row, sql, testStore, until, Visitor } from '../support/harness.ts'
import { endPrograms, Program } from '../support/program.ts'
import { startProxy } from '../support/proxy.ts'

const never = 86_400 // seconds: what is noticed was announced

test.before(async () => {
  await sql('create table public.handled (consumer text not null, session_id bigint not null)')
  const role = new URL(clientUrl).username
  await sql(`grant usage on schema public to ${role}; grant insert on public.handled to ${role}`)
  await sql('select pgstore.audit_set(true)')
})
test.after.each(endPrograms)
test.after(closeAll)

let names = 0
const newName = (what: string) => `${what} ${++names}`

/** A consumer that is known, so that it is given what ends from here on. */
async function newConsumer(): Promise<string> {
  const consumer = newName('consumer')
  await sql('select pgstore.endings_take($1, p_limit => 0)', consumer)
  return consumer
}

/** New sessions' keys and numbers. */
async function newSessions(many: number): Promise<{ key: Buffer; id: string }[]> {
  const keys = Array.from({ length: many }, () => randomBytes(32))
  const rows = await sql<{ key: Buffer; id: string }>(
    `select s.key, s.id from unnest($1::bytea[]) as k, pgstore.session_save(k, '{}', p_version => 0) as s`,
    keys,
  )
  return rows
}

async function end(keys: readonly Buffer[]): Promise<void> {
  for (const key of keys) await sql('select pgstore.session_destroy($1::bytea)', key)
}

/** Sessions that have ended, by number. */
async function ended(many: number): Promise<string[]> {
  const sessions = await newSessions(many)
  await end(sessions.map(({ key }) => key))
  return sessions.map(({ id }) => id)
}

/** Consumes until it has had this many. */
async function first(store: PGStore, consumer: string, many: number, options: object = {}): Promise<SessionEnding[]> {
  const had: SessionEnding[] = []
  const endings = store.endings({ consumer, ...options })
  for await (const ending of endings) {
    had.push(ending)
    if (had.length === many) break
  }
  return had
}

/** What should come, and fails the test if it does not. */
async function within<Result>(promise: Promise<Result>): Promise<Result> {
  const late = new Promise<never>((_, reject) =>
    setTimeout(() => reject(new Error('It did not come.')), 60_000).unref(),
  )
  return await Promise.race([promise, late])
}

const numbers = (endings: readonly SessionEnding[]) => endings.map(({ sessionId }) => sessionId)
const sorted = (ids: readonly string[]) => [...ids].sort((one, other) => Number(one) - Number(other))

async function handled(consumer: string): Promise<string[]> {
  const rows = await sql<{ session_id: string }>(
    'select session_id from public.handled where consumer = $1 order by session_id',
    consumer,
  )
  return rows.map(({ session_id }) => session_id)
}

async function waiting(consumer: string): Promise<number> {
  return (
    await row<{ n: number }>(
      "select count(*)::integer as n from pgstore.ending_deliveries where consumer in ($1, '')",
      consumer,
    )
  ).n
}

// History

test('history() shows sign-in, regeneration and end, with label, tags, reason and actor, newest first', async () => {
  const store = testStore()
  const userId = newName('user')
  const visitor = new Visitor()
  await visitor.visit(store, async (session, req, res) => {
    session.userId = userId
    session.label = { agent: 'Firefox' }
    session.tags = ['tenant 7']
    await store.regenerate(req, res, session)
  })
  const { session } = await visitor.visit(store, async (session, req, res) => await store.regenerate(req, res, session))
  await store.revoke(userId, { reason: 'password changed', actor: 'admin 7' })
  const found = await store.history(userId)
  assert.equal(
    found.map(({ type, reason, actor }) => [type, reason, actor]),
    [
      ['ended', 'password changed', 'admin 7'],
      ['regenerated', undefined, undefined],
      ['signed_in', undefined, undefined],
    ],
  )
  for (const entry of found) {
    assert.equal([entry.sessionId, entry.label, entry.tags], [session.id, { agent: 'Firefox' }, ['tenant 7']])
    assert.ok(Math.abs(Number(entry.happenedAt) - Date.now()) < 600_000)
  }
  assert.equal(await store.history(userId, { limit: 2 }), found.slice(0, 2))
  assert.equal(await store.history(userId, { before: found[1]?.id }), found.slice(2))
  assert.equal(await store.history(newName('user')), [])
})

test('the actor of a revoke is nobody of the call that follows on the same connection', async () => {
  const pool = new pg.Pool({ connectionString: clientUrl, max: 1 })
  const store = testStore({ pool })
  const userId = newName('user')
  for (const options of [{ actor: 'admin 7' }, {}]) {
    await new Visitor().visit(store, (session) => {
      session.userId = userId
    })
    await store.revoke(userId, options)
  }
  const tag = newName('tag')
  await new Visitor().visit(store, (session) => Object.assign(session, { userId, tags: [tag] }))
  await store.revokeTag(tag, { actor: 'admin 8' })
  const actors = (await store.history(userId)).filter(({ type }) => type === 'ended').map(({ actor }) => actor)
  assert.equal(actors, ['admin 8', undefined, 'admin 7'])
  await pool.end()
})

for (const [name, call] of Object.entries({
  'history: a limit of 0': (store: PGStore) => store.history('ada', { limit: 0 }),
  'history: no number': (store: PGStore) => store.history('ada', { before: 'x' }),
  'revoke: an empty actor': (store: PGStore) => store.revoke('ada', { actor: '' }),
  'endings: no name': async (store: PGStore) => store.endings({ consumer: '' }),
  'endings: a long name': async (store: PGStore) => store.endings({ consumer: 'ü'.repeat(128) }),
  'endings: no time': async (store: PGStore) => store.endings({ consumer: 'c', poll: 0, lease: -1 }),
  'endings: over a client': async (store: PGStore) =>
    store.withClient({ query: async () => ({ rows: [] }) }).endings({ consumer: 'c' }),
})) {
  test(`${name} is an invalid option`, async () => {
    assert.is((await rejection(call(testStore()))).code, 'invalid_option')
  })
}

test('a memory store says that it has neither', async () => {
  const store = new MemoryStore()
  assert.match((await rejection(store.history('ada'))).message, /no history/)
  assert.match((await rejection(store.endings({ consumer: 'c' }).next())).message, /no history/)
})

// Endings

test('an ending comes with all that is known of the session, as soon as it is announced', async () => {
  const store = testStore()
  const consumer = await newConsumer()
  const userId = newName('user')
  const endings = store.endings({ consumer, poll: never })
  const next = endings.next()
  const { session } = await new Visitor().visit(store, (session) =>
    Object.assign(session, { userId, label: 'a phone', tags: ['sid 5'] }),
  )
  await until(
    async () => (await sql(`select from pg_stat_activity where application_name = 'pgstore listen'`)).length > 0,
  )
  await store.revoke(userId, { reason: 'stolen', actor: 'admin 7' })
  const { value } = await within(next)
  const { id, endedAt, ...rest } = value as SessionEnding
  assert.match(id, /^\d+$/)
  assert.ok(endedAt instanceof Date)
  assert.equal(rest, {
    sessionId: session.id,
    userId,
    reason: 'stolen',
    actor: 'admin 7',
    label: 'a phone',
    tags: ['sid 5'],
  })
  await endings.return?.()
})

test('an expiry, which nobody announces, is found by polling, also where nothing can be heard', async () => {
  const proxy = await startProxy({ url: clientUrl, isDeaf: true })
  const store = testStore({ connectionString: proxy.url })
  const consumer = await newConsumer()
  const next = first(store, consumer, 1, { poll: 0.1 })
  const [session] = await newSessions(1)
  await sql(
    `update pgstore.sessions set expires_at = now() - interval '1 s', purge_at = now() - interval '1 s' where key = $1`,
    session?.key,
  )
  await sql('select pgstore.purge_expired()')
  assert.equal(
    (await next).map(({ sessionId, reason }) => [sessionId, reason]),
    [[session?.id, 'expired']],
  )
  await store.close()
  await proxy.close()
})

for (const transaction of [false, true]) {
  const kind = transaction ? 'in transactions' : 'plain'

  test(`${kind}: the one in hand when the loop is left is given again, those before are not`, async () => {
    const store = testStore()
    const consumer = await newConsumer()
    const ids = await ended(5)
    assert.equal(numbers(await first(store, consumer, 3, { transaction })), ids.slice(0, 3))
    assert.equal(numbers(await first(store, consumer, 3, { transaction })), ids.slice(2))
    await until(async () => (await waiting(consumer)) === 1)
  })

  test(`${kind}: an error in the loop leaves it, and the one in hand is given again`, async () => {
    const store = testStore()
    const consumer = await newConsumer()
    const ids = await ended(2)
    const failing = async () => {
      for await (const _ of store.endings({ consumer, transaction })) throw new Error('mine')
    }
    assert.is((await rejection(failing())).message, 'mine')
    assert.equal(numbers(await first(store, consumer, 2, { transaction })), ids)
  })

  test(`${kind}: several that share a name share its endings`, async () => {
    const [store, other] = [testStore(), testStore()]
    const consumer = await newConsumer()
    const had: string[] = []
    const consume = async (from: PGStore) => {
      for await (const { sessionId } of from.endings({ consumer, transaction, poll: 0.1 } as { consumer: string })) {
        had.push(sessionId)
      }
    }
    const consuming = [consume(store), consume(other)]
    const ids = await ended(counts(50, 500))
    await until(() => new Set(had).size === ids.length)
    await until(async () => (await waiting(consumer)) === 0)
    await Promise.all([store.close(), other.close()])
    await Promise.all(consuming)
    assert.equal(sorted(had), sorted(ids))
  })

  test(`${kind}: closing the store ends the loop, waiting or working`, async () => {
    const store = testStore()
    const consumer = await newConsumer()
    const idle = store.endings({ consumer, transaction, poll: never } as { consumer: string })
    const next = idle.next()
    const busy = store.endings({ consumer: await newConsumer(), transaction } as { consumer: string })
    await ended(1)
    await within(busy.next())
    await within(next)
    const last = idle.next()
    await store.close()
    assert.is((await within(last)).done, true)
    assert.is((await within(busy.next())).done, true)
    assert.throws(() => store.endings({ consumer }), /closed/)
  })

  test(`${kind}: what another's transaction was handing out when it was announced comes without a poll`, async () => {
    const store = testStore()
    const consumer = await newConsumer()
    const endings = store.endings({ consumer, transaction, poll: never } as { consumer: string })
    const [before] = await ended(1)
    assert.is((await within(endings.next())).value.sessionId, before)
    const next = endings.next()
    const other = new pg.Client({ connectionString: databaseUrl })
    await other.connect()
    try {
      // As endings_take does that adds a consumer.
      await other.query("begin; update pgstore.ending_consumers set added_at = now() where name = ''")
      const [id] = await ended(1)
      await sleep(50) // by now it has looked, in vain
      await other.query('commit')
      assert.is((await within(next)).value.sessionId, id)
    } finally {
      await other.end()
    }
    await endings.return?.()
  })

  test(`${kind}: return() from outside ends a loop that waits`, async () => {
    const store = testStore()
    const endings = store.endings({ consumer: await newConsumer(), transaction, poll: never } as { consumer: string })
    const next = endings.next()
    await endings.return?.()
    assert.is((await within(next)).done, true)
  })

  test(`${kind}: where the history is off, the first call says so`, async () => {
    await sql('select pgstore.audit_set(false)')
    const error = await rejection(
      testStore()
        .endings({ consumer: newName('late'), transaction } as { consumer: string })
        .next(),
    )
    await sql('select pgstore.audit_set(true)')
    assert.is(error.code, 'invalid_option')
    assert.match(error.message, /pgstore audit on/)
  })

  test(`${kind}: a consumer that is killed in the middle loses nothing`, async () => {
    const consumer = await newConsumer()
    const ids = await ended(counts(30, 300))
    const file = ['--import', 'tsx', 'test/store/endings-consumer.ts', clientUrl, consumer]
    const name = transaction ? 'transaction' : 'plain'
    const killed = new Program([...file, name, '5'])
    await until(() => killed.lines.length >= 5 || !killed.isRunning, 60)
    await killed.end('SIGKILL')
    assert.ok(killed.lines.length >= 5, killed.errors)
    const next = new Program([...file, name])
    await until(async () => (await waiting(consumer)) === 0, 60)
    await next.end('SIGKILL')
    if (transaction) assert.equal(await handled(consumer), sorted(ids))
    else assert.equal(sorted([...new Set([...killed.lines, ...next.lines])]), sorted(ids))
  })
}

test('a plain consumer goes on through outages, and is given all', async () => {
  const proxy = await startProxy({ url: clientUrl })
  const store = testStore({ connectionString: proxy.url })
  const consumer = await newConsumer()
  const had: string[] = []
  const consuming = (async () => {
    for await (const { sessionId } of store.endings({ consumer, poll: 0.1 })) had.push(sessionId)
  })()
  const ids: string[] = []
  for (let n = 0; n < 6; n++) {
    ids.push(...(await ended(5)))
    if (n % 2 === 0) proxy.sever()
    else await Promise.race([proxy.cut('answer'), until(() => new Set(had).size === ids.length)])
  }
  proxy.spare()
  await until(() => new Set(had).size === ids.length)
  await store.close()
  await consuming
  assert.equal(sorted([...new Set(had)]), sorted(ids))
  await proxy.close()
})

test('in transactions, what the consumer writes happens exactly once though connections are cut', async () => {
  const proxy = await startProxy({ url: clientUrl })
  const store = testStore({ connectionString: proxy.url })
  const consumer = await newConsumer()
  let isOver = false
  const consuming = (async () => {
    while (!isOver) {
      try {
        for await (const { sessionId, client } of store.endings({ consumer, transaction: true, poll: 0.1 })) {
          await client.query('insert into public.handled (consumer, session_id) values ($1, $2)', [consumer, sessionId])
        }
      } catch {
        // its own query failed: begin again
      }
    }
  })()
  const ids: string[] = []
  for (let n = 0; n < 6; n++) {
    ids.push(...(await ended(5)))
    if (n % 2 === 0) proxy.sever()
    else await Promise.race([proxy.cut('answer'), until(async () => (await waiting(consumer)) === 0)])
  }
  proxy.spare()
  await until(async () => (await waiting(consumer)) === 0)
  isOver = true
  await store.close()
  await consuming
  assert.equal(await handled(consumer), sorted(ids))
  await proxy.close()
})

test('a consumer that hides the failure of its transaction is told, and given the ending again', async () => {
  const store = testStore()
  const consumer = await newConsumer()
  const [id] = await ended(1)
  const endings = store.endings({ consumer, transaction: true })
  const { value } = await endings.next()
  await value?.client.query('select 1 / 0').catch(() => {})
  const error = await rejection(endings.next())
  assert.equal([error.code, /had failed/.test(error.message)], ['database', true])
  assert.is((await endings.next()).done, true)
  assert.equal(numbers(await first(store, consumer, 1)), [id])
})

test('a consumer that is stopped from outside cannot go on writing beside its transaction', async () => {
  const store = testStore()
  const consumer = await newConsumer()
  await ended(1)
  const endings = store.endings({ consumer, transaction: true })
  const { value } = await endings.next()
  await endings.return?.()
  assert.throws(() => value?.client.query('select 1'), TypeError)
})

test('a session can be saved in the transaction of an ending', async () => {
  const store = testStore()
  const consumer = await newConsumer()
  await ended(1)
  const userId = newName('user')
  for await (const { client } of store.endings({ consumer, transaction: true })) {
    await new Visitor().visit(store.withClient(client), (session) => Object.assign(session, { userId }))
    assert.equal(await store.list(userId), [])
    await ended(1)
    break
  }
  assert.equal(await store.list(userId), [])
})

const commits = counts(300, 10_000)

test(`of ${commits} transactions that commit out of order, every consumer is given all that commit, and no other`, async () => {
  const store = testStore()
  const consumers = [await newConsumer(), await newConsumer()]
  const [plain = '', transactional = ''] = consumers
  const had = new Map<string, number>()
  const consume = async (from: PGStore) => {
    for await (const { sessionId } of from.endings({ consumer: plain, poll: 0.1 })) {
      had.set(sessionId, (had.get(sessionId) ?? 0) + 1)
    }
  }
  const consumeOnce = async () => {
    for await (const { sessionId, client } of store.endings({
      consumer: transactional,
      transaction: true,
      poll: 0.1,
    })) {
      await client.query('insert into public.handled (consumer, session_id) values ($1, $2)', [
        transactional,
        sessionId,
      ])
    }
  }
  const consuming = [consume(store), consume(store), consumeOnce(), consumeOnce()]
  const sessions = await newSessions(commits)
  const clients = Array.from({ length: 12 }, () => new pg.Client({ connectionString: databaseUrl }))
  await Promise.all(clients.map((client) => client.connect()))
  // Each holds a transaction open until one of them is drawn to end, so that most commit in another order than they drew their numbers.
  const open: { client: pg.Client; id: string }[] = []
  const committed: string[] = []
  let drawn = 1
  const draw = (below: number) => {
    drawn = (drawn * 48_271) % 2_147_483_647 // the same at every run
    return drawn % below
  }
  const close = async () => {
    const [{ client, id }] = open.splice(draw(open.length), 1) as [{ client: pg.Client; id: string }]
    const isKept = draw(10) > 0
    await client.query(isKept ? 'commit' : 'rollback')
    if (isKept) committed.push(id)
    clients.push(client)
  }
  for (const { key, id } of sessions) {
    if (clients.length === 0) await close()
    const client = clients.pop() as pg.Client
    await client.query('begin')
    await client.query('select pgstore.session_destroy($1::bytea)', [key])
    open.push({ client, id })
  }
  while (open.length > 0) await close()
  await until(async () => (await waiting(plain)) === 0 && (await waiting(transactional)) === 0, 600)
  await store.close()
  await Promise.all(consuming)
  await Promise.all(clients.map((client) => client.end()))
  assert.equal(sorted([...had.keys()]), sorted(committed))
  assert.equal(await handled(transactional), sorted(committed))
})

test.run()
