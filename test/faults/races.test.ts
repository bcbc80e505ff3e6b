// Several servers at one session, through their stores: what F21 to F25 ask. The SQL functions themselves are raced in
// test/sql/concurrency.test.ts and races.test.ts.
import * as assert from 'uvu/assert'
import type { PGStore, Session } from '../../src/index.ts'
import { PGStoreError } from '../../src/index.ts'
import { call, closeClients, connect, count, create, save } from '../sql/calls.ts'
import { counts } from '../support/counts.ts'
import { closeAll, row, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'
import { judge } from './checker.ts'
import { report, test } from './faults.ts'
import { type Answer, type Asked, History, type Values } from './history.ts'
import { soundness } from './load.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after.each(closeClients)
test.after(closeAll)

/** Asks and notes; only what a store may answer in peace. */
async function ask(history: History, asked: Asked, work: () => Promise<Answer | Values>): Promise<Answer> {
  const call = history.begin(asked)
  const result = await work().catch((error) => {
    if (error instanceof PGStoreError && error.code === 'gone') return 'gone' as const
    throw error
  })
  const answer = typeof result === 'string' ? result : 'ok'
  history.end(call, answer, typeof result === 'string' ? undefined : result)
  return answer
}

/** Stores of as many servers. */
function servers(many: number): PGStore[] {
  return Array.from({ length: many }, () => testStore())
}

interface Arrived {
  readonly session: string
  readonly token: string
  readonly visitor: Visitor
  /** The session as each store has read it for one request. */
  readonly requests: readonly {
    readonly store: PGStore
    readonly req: ReturnType<Visitor['request']>
    readonly found: Session
  }[]
}

/** A new session, which a request at each store has read. */
async function arrive(history: History, stores: readonly PGStore[], session: string): Promise<Arrived> {
  const visitor = new Visitor()
  await ask(history, { session, kind: 'create', newToken: session, set: { a: session } }, async () => {
    await visitor.visit(stores[0] as PGStore, ({ values }) => Object.assign(values, { a: session }))
    return 'ok'
  })
  const requests = await Promise.all(
    stores.map(async (store) => {
      const req = visitor.request()
      return { store, req, found: await store.get(req, 'sid') }
    }),
  )
  return { session, token: session, visitor, requests }
}

async function read(history: History, stores: readonly PGStore[], { session, token, visitor }: Arrived): Promise<void> {
  for (const store of stores)
    await ask(history, { session, kind: 'read', token }, async () => {
      const { isNew, values } = await store.get(visitor.request(), 'sid')
      return isNew ? 'gone' : ({ ...values } as Values)
    })
}

test('F21: of 8 servers that merge into one session, each in names of its own, none loses a value', async () => {
  const each = counts(100, 1000)
  const token = 'the token of F21, which eight servers know'
  const stores = Array.from({ length: 8 }, () => testStore({ maxLength: 0 }))
  await stores[0]?.byToken.save(token, { first: 1 }, { ttl: 3600 })
  const before = Number((await row('select version from pgstore.sessions'))['version'])
  // They keep what they have read: a save sends what has changed since.
  await Promise.all(
    stores.map(async (store, who) => {
      let known = await store.byToken.get(token)
      for (let n = 0; n < each; n++) {
        const values = { ...known?.values(), [`${who}.${n}`]: n }
        known = await store.byToken.save(token, values, { known, ttl: 3600 })
      }
    }),
  )
  const { version, names } = await row<{ version: number; names: number }>(
    'select version, (select count(*) from jsonb_object_keys(data))::integer as names from pgstore.sessions',
  )
  assert.equal([version - before, names], [8 * each, 8 * each + 1])
  report(
    'F21',
    `8 servers merge ${each} values each into one session`,
    `${names - 1} of ${8 * each} there, version +${version - before}`,
  )
})

test('F23: a save that races a sign-out revives nobody, and is told what became of it', async () => {
  const rounds = counts(150, 1000)
  const history = new History()
  const stores = servers(2)
  let gone = 0
  for (let round = 0; round < rounds; round++) {
    const arrived = await arrive(history, stores, `${round}`)
    const { session, token, requests } = arrived
    const [saver, ender] = requests as [Arrived['requests'][number], Arrived['requests'][number]]
    const answers = await Promise.all([
      ask(history, { session, kind: 'save', token, set: { b: round } }, async () => {
        saver.found.values['b'] = round
        await saver.store.save(saver.req, new TestResponse(), saver.found)
        return 'ok'
      }),
      ask(history, { session, kind: 'end', token }, async () => {
        await ender.store.destroy(ender.req, new TestResponse(), ender.found)
        return 'ok'
      }),
    ])
    if (answers[0] === 'gone') gone++
    await read(history, stores, arrived)
  }
  assert.equal(await sql('select from pgstore.sessions where expires_at > now()'), [])
  report('F23', `a save races a sign-out, ${rounds} times`, `${gone} told gone; ${soundness(judge(history.calls))}`)
})

test('F24: a touch that races the purge at the moment of expiry keeps the session, or says that it is gone', async () => {
  const waves = counts(4, 40)
  const each = 250
  const clients = await Promise.all(Array.from({ length: 6 }, () => connect()))
  const purger = await connect()
  let [kept, gone, missing] = [0, 0, 0]
  for (let wave = 0; wave < waves; wave++) {
    const keys = await Promise.all(Array.from({ length: each }, () => create({})))
    // They expire while the touches are under way, and may be purged at once.
    await sql(
      `update pgstore.sessions
       set expires_at = now() + t.ms * interval '1 millisecond', purge_at = now() + t.ms * interval '1 millisecond'
       from (select key, 50 + 100 * random() as ms from pgstore.sessions) as t where t.key = sessions.key`,
    )
    let isOver = false
    const purging = (async () => {
      while (!isOver) await count('purge_expired', {}, purger)
    })()
    const saved: Buffer[] = []
    const waiting = [...keys]
    await Promise.all(
      clients.map(async (client) => {
        for (let key = waiting.pop(); key; key = waiting.pop()) {
          const { status } = await save(key, { ttl: '1 hour' }, client)
          if (status === 'saved') saved.push(key)
          else assert.is(status, 'gone')
        }
      }),
    )
    isOver = true
    await purging
    await sql('select pgstore.purge_expired()')
    kept += saved.length
    gone += each - saved.length
    missing += saved.length - (await call('session_get', { keys: saved })).length
    await sql('truncate pgstore.sessions')
  }
  assert.is(missing, 0)
  report(
    'F24',
    `${waves * each} sessions touched while they expire and are purged`,
    `${kept} kept, ${gone} gone, missing 0`,
  )
})

test('F25: of 8 servers that regenerate one session one wins, and the old token opens nothing', async () => {
  const rounds = counts(20, 100)
  const history = new History()
  const stores = servers(8)
  for (let round = 0; round < rounds; round++) {
    const arrived = await arrive(history, stores, `${round}`)
    const { session, token, requests } = arrived
    const answers = await Promise.all(
      requests.map(({ store, req, found }, who) =>
        ask(history, { session, kind: 'regenerate', token, newToken: `${session}.${who}` }, async () => {
          await store.regenerate(req, new TestResponse(), found)
          return 'ok'
        }),
      ),
    )
    assert.equal(answers.toSorted(), [...Array(7).fill('gone'), 'ok'])
    await read(history, stores.slice(0, 2), arrived)
  }
  report(
    'F25',
    `8 servers regenerate one session, ${rounds} times`,
    `1 winner, 7 gone; ${soundness(judge(history.calls))}`,
  )
})

test.run()
