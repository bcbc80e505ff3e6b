// Commits that come out of order under the history: ends that were numbered early and are committed late, while consumers go on,
// connections are cut, and the purge ends others. Without faults: test/store/endings.test.ts.
import pg from 'pg'
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { terminate } from '../support/crowd.ts'
import { clientUrl, closeAll, databaseUrl, row, sql, testStore, until } from '../support/harness.ts'
import { report, test } from './faults.ts'

test.before(async () => {
  await sql('create table public.handled (consumer text not null, session_id bigint not null)')
  const role = new URL(clientUrl).username
  await sql(`grant usage on schema public to ${role}; grant insert on public.handled to ${role}`)
  await sql('select pgstore.audit_set(true)')
})
test.after(closeAll)

test('F51: of ends that are committed out of order every consumer is given each, in spite of lost connections, and history tells of all', async () => {
  const many = counts(150, 5000)
  const [plain, once] = ['plain', 'once']
  for (const consumer of [plain, once]) await sql('select pgstore.endings_take($1, p_limit => 0)', consumer)
  const store = testStore()
  const given = new Map<string, number>()
  const consume = async (from: PGStore) => {
    for await (const { sessionId } of from.endings({ consumer: plain, poll: 0.1, lease: 2 }))
      given.set(sessionId, (given.get(sessionId) ?? 0) + 1)
  }
  const consumeOnce = async () => {
    for await (const { sessionId, client } of store.endings({ consumer: once, transaction: true, poll: 0.1 }))
      await client
        .query('insert into public.handled (consumer, session_id) values ($1, $2)', [once, sessionId])
        .catch(() => {}) // the connection was cut: it is given again
  }
  const retried = async (work: () => Promise<void>) => {
    for (let isOver = false; !isOver; ) {
      isOver = await work().then(
        () => true,
        () => false,
      )
    }
  }
  const consuming = [consume(store), consume(store), retried(consumeOnce), retried(consumeOnce)]
  const keys = await sql<{ key: Buffer; id: string }>(
    `select s.key, s.id from generate_series(1, $1::integer) as n,
       pgstore.session_save(sha256(int4send(n)), '{}', p_version => 0, p_user_id => 'user') as s`,
    many,
  )
  const clients = Array.from({ length: 8 }, () => new pg.Client({ connectionString: databaseUrl }))
  await Promise.all(clients.map((client) => client.connect()))
  const open: { client: pg.Client; id: string }[] = []
  const committed: string[] = []
  let [cuts, drawn] = [0, 51]
  const draw = (below: number) => {
    drawn = (drawn * 48_271) % 2_147_483_647
    return drawn % below
  }
  const close = async () => {
    const [{ client, id }] = open.splice(draw(open.length), 1) as [{ client: pg.Client; id: string }]
    const isKept = draw(10) > 0
    await client.query(isKept ? 'commit' : 'rollback')
    if (isKept) committed.push(id)
    clients.push(client)
  }
  for (const [n, { key, id }] of keys.entries()) {
    if (clients.length === 0) await close()
    const client = clients.pop() as pg.Client
    await client.query('begin')
    await client.query('select pgstore.session_destroy($1::bytea)', [key])
    open.push({ client, id })
    if (n % 25 === 24) cuts += await terminate('pgstore', 'pgstore listen')
  }
  while (open.length > 0) await close()
  const left = async () =>
    (
      await row<{ n: number }>(
        "select count(*)::integer as n from pgstore.ending_deliveries where consumer in ($1, $2, '')",
        plain,
        once,
      )
    ).n
  await until(async () => (await left()) === 0, 300)
  await store.close()
  await Promise.all(consuming)
  await Promise.all(clients.map((client) => client.end()))
  const sorted = (ids: readonly string[]) => [...ids].sort((one, other) => Number(one) - Number(other))
  assert.equal(sorted([...given.keys()]), sorted(committed))
  const handled = await sql<{ session_id: string }>('select session_id from public.handled')
  assert.equal(sorted(handled.map(({ session_id }) => session_id)), sorted(committed))
  const told = await sql<{ session_id: string }>("select session_id from pgstore.history where type = 'ended'")
  assert.equal(sorted(told.map(({ session_id }) => session_id)), sorted(committed))
  const again = [...given.values()].filter((times) => times > 1).length
  report(
    'F51',
    'commits out of order under the history',
    `${committed.length} of ${many} ends committed, ${cuts} connections cut; missed 0, ${again} given twice outside a transaction, 0 inside`,
  )
})

test.run()
