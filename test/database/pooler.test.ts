// Behind PgBouncer in transaction mode, which lends a server connection for one transaction and hands the next one another.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openPool } from '../../src/database/pool.ts'
import { migrate, PGStore } from '../../src/index.ts'
import { closeAll, databaseUrl, emptyDatabase, sql, testStore, until, Visitor } from '../support/harness.ts'

const isInstalled = spawnSync('pgbouncer', ['--version']).status === 0
const behind = (name: string, body: () => Promise<void>) => (isInstalled ? test(name, body) : test.skip(name, body))
if (!isInstalled) console.log('Skipped: tests behind a transaction pooler. pgbouncer is not installed.')

let pooler: ChildProcess | undefined
let pooledUrl = ''
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-pooler-'))

test.before(async () => {
  if (!isInstalled) return
  const port = await freePort()
  const server = new URL(databaseUrl)
  const user = decodeURIComponent(server.username)
  const lines = [
    '[databases]',
    `* = host=${server.hostname} port=${server.port || 5432} user=${user} password=${decodeURIComponent(server.password)}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = any',
    'pool_mode = transaction',
    'default_pool_size = 2',
    'max_client_conn = 200',
  ]
  fs.writeFileSync(path.join(folder, 'pgbouncer.ini'), lines.join('\n'), { mode: 0o644 })
  fs.chmodSync(folder, 0o755)
  const asUser = process.getuid?.() === 0 ? ['-u', 'nobody'] : [] // it refuses to run as root
  pooler = spawn('pgbouncer', [...asUser, path.join(folder, 'pgbouncer.ini')], { stdio: 'ignore' })
  const pooled = new URL(databaseUrl)
  pooled.port = String(port)
  pooledUrl = pooled.href
  await until(() => isListening(port))
})

test.after(async () => {
  await closeAll()
  pooler?.kill('SIGKILL')
  fs.rmSync(folder, { recursive: true })
})

async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function isListening(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.end())
  })
}

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
