// Behind PgBouncer in transaction mode, which lends a server connection for one transaction and hands the next one another.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openPool } from '../../src/database/pool.ts'
import { migrate, PGStore } from '../../src/index.ts'
import { closeAll, databaseUrl, emptyDatabase, sql, testStore, Visitor } from '../support/harness.ts'
import { hasPgBouncer, type PgBouncer, startPgBouncer } from '../support/pgbouncer.ts'

const behind = (name: string, body: () => Promise<void>) => (hasPgBouncer ? test(name, body) : test.skip(name, body))
if (!hasPgBouncer) console.log('Skipped: tests behind a transaction pooler. pgbouncer is not installed.')

let pooler: PgBouncer | undefined
let pooledUrl = ''

test.before(async () => {
  if (!hasPgBouncer) return
  pooler = await startPgBouncer()
  pooledUrl = pooler.through()
})

test.after(async () => {
  await closeAll()
  pooler?.close()
})

behind('F19: 16 clients over two server connections get 10,000 right answers', async () => {
  const stores = Array.from({ length: 4 }, () => testStore<{ own: number; n: number }>({ connectionString: pooledUrl }))
  const failures: unknown[] = []
  await Promise.all(
    Array.from({ length: 16 }, async (_, own) => {
      const store = stores[own % stores.length] as PGStore<{ own: number; n: number }>
      const visitor = new Visitor()
      await visitor.visit(store, (session) => {
        session.values = { own, n: 0 }
      })
      for (let n = 0; n < 312; n++) {
        await visitor
          .visit(store, ({ values }) => {
            assert.equal(values, { own, n })
            values.n++
          })
          .catch((error: unknown) => failures.push(error))
      }
    }),
  )
  assert.equal(failures, [])
})

behind('no statement is prepared there by name, and none with prepare: false', async () => {
  for (const options of [{}, { prepare: false }]) {
    await new Visitor().visit(testStore({ connectionString: pooledUrl, ...options }), ({ values }) => {
      values['a'] = 1
    })
  }
  const pool = openPool({ connectionString: pooledUrl })
  const counts = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const { rows } = await pool.query<{ n: number }>(
        `select count(*)::integer as n from pg_prepared_statements where name like 'pgstore%'`,
      )
      return rows[0]?.n
    }),
  )
  await pool.end()
  assert.equal(new Set(counts), new Set([0]))
})

behind('a session signs in, moves, is listed and ends', async () => {
  const store = testStore({ connectionString: pooledUrl })
  const visitor = new Visitor()
  await visitor.visit(store, async (session, req, res) => {
    session.values['a'] = 1
    session.userId = 'pooled'
    await store.save(req, res, session)
    await store.regenerate(req, res, session)
  })
  assert.is((await store.list('pooled')).length, 1)
  assert.is(await store.revoke('pooled'), 1)
  assert.ok((await store.get(visitor.request(), 'sid')).isNew)
})

behind('events arrive over a direct connection', async () => {
  const store = testStore({ connectionString: pooledUrl, directConnectionString: databaseUrl })
  const events = store.events()
  await events.ready
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, ({ values }) => {
    values['a'] = 1
  })
  const { id } = session
  await visitor.visit(store, async (loaded, req, res) => await store.destroy(req, res, loaded))
  const { value } = await events.next()
  assert.equal({ ...value, n: 1 }, { type: 'destroyed', ids: [id], n: 1, reason: 'signed_out' })
})

behind('the schema installs through it, also by several at once', async () => {
  const url = new URL(await emptyDatabase())
  url.port = new URL(pooledUrl).port
  const stores = await Promise.all(
    Array.from({ length: 3 }, () => PGStore.open({ connectionString: url.href, keyPairs: ['k'.repeat(32)] })),
  )
  const pool = openPool({ connectionString: url.href })
  assert.equal(await migrate(pool), [])
  await pool.end()
  for (const store of stores) await store.close()
})

behind('with four times the clients that the server takes, all are served', async () => {
  const store = testStore({ connectionString: pooledUrl })
  const visitors = Array.from({ length: 100 }, () => new Visitor())
  await Promise.all(
    visitors.map((visitor, n) =>
      visitor.visit(store, ({ values }) => {
        values['n'] = n
      }),
    ),
  )
  const read = await Promise.all(
    visitors.map(async (visitor) => (await store.new(visitor.request(), 'sid')).values['n']),
  )
  assert.equal(
    read,
    visitors.map((_, n) => n),
  )
  assert.ok((await sql('select 1 from pgstore.sessions')).length >= 100)
})

test.run()
