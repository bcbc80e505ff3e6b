// Which pools are accepted, which errors cost a connection, and what errors say.
import net from 'node:net'
import { Duplex } from 'node:stream'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runWorker } from '../../src/cleanup/worker.ts'
import { openPool } from '../../src/database/pool.ts'
import { databaseError, endsConnection, messageOf } from '../../src/errors.ts'
import { PGStore, type PGStoreError } from '../../src/index.ts'
import {
  admin,
  clientUrl,
  closeAll,
  databaseUrl,
  hashKey,
  rejection,
  sql,
  testStore,
  until,
  Visitor,
} from '../support/harness.ts'
import { Program } from '../support/program.ts'
import { startProxy } from '../support/proxy.ts'

const pools: pg.Pool[] = []
function poolOf(config: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1, ...config })
  pool.on('error', () => {})
  pools.push(pool)
  return pool
}

test.after(async () => {
  await closeAll()
  await Promise.all(pools.map((pool) => pool.end()))
})

async function pidOf(pool: pg.Pool): Promise<number | undefined> {
  return (await pool.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid
}

const refused = (make: () => unknown, pattern: RegExp) =>
  assert.throws(make, (error: PGStoreError) => {
    assert.is(error.code, 'invalid_option')
    assert.match(error.message, pattern)
    assert.not.match(error.message, /secret/)
    return true
  })

// Pools

test('A14: a pool of pg.native, or one that reads binary, is refused when the store is made', async () => {
  // As lib/native/client.js has it: pg-native itself takes libpq to install.
  class NativeClient {
    isConnected() {}
    query() {}
  }
  const native = Object.assign(new pg.Pool(), { Client: NativeClient })
  refused(() => new PGStore({ pool: native as never, keyPairs: [hashKey] }), /pg\.native/)
  refused(() => new PGStore({ pool: poolOf({ binary: true } as pg.PoolConfig), keyPairs: [hashKey] }), /binary/)
})

test('A14: so is a client of that kind, in withClient', async () => {
  const store = testStore()
  refused(() => store.withClient({ native: {}, query() {} } as never), /pg\.native/)
  const client = new pg.Client({ connectionString: databaseUrl, binary: true } as pg.ClientConfig)
  refused(() => store.withClient(client), /binary/)
})

test('A14: a pool of another make that changes bytes is refused at its first call, and reads nothing', async () => {
  const asked: string[] = []
  const pool = {
    totalCount: 0,
    query: async () => ({ rows: [] }),
    connect: async () => ({
      on() {},
      release() {},
      query: async ({ text }: { text: string }) => {
        asked.push(text)
        return { rows: [['1', 'f', '61', 'UTF8']] } // cut at the zero
      },
    }),
  }
  const store = testStore({ pool: pool as never })
  assert.is((await rejection(store.countExpiredSessions())).code, 'invalid_option')
  assert.not.ok(asked.some((text) => text.includes('count_expired')))
})

test('D13: a pool whose stream has no cork works', async () => {
  class Plain extends Duplex {
    readonly #socket = new net.Socket()
    constructor() {
      super()
      Object.assign(this, { cork: undefined, uncork: undefined })
      this.#socket.on('data', (data) => this.push(data)).on('connect', () => this.emit('connect'))
      this.#socket.on('error', (error) => this.destroy(error)).on('close', () => this.destroy())
    }
    connect(port: number, host: string) {
      this.#socket.connect(port, host)
    }
    setNoDelay() {}
    setKeepAlive() {}
    ref() {}
    unref() {}
    override _read() {}
    override _write(chunk: Buffer, _encoding: string, done: () => void) {
      this.#socket.write(chunk, done)
    }
    override _final(done: () => void) {
      this.#socket.end(done)
    }
  }
  const store = testStore({ pool: poolOf({ stream: () => new Plain() as never }) })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  assert.is((await store.get(visitor.request(), 'sid')).values['a'], 1)
})

for (const config of [{ pipeline: true }, { Client: class extends pg.Client {} }] as pg.PoolConfig[]) {
  test(`a pool with ${Object.keys(config).join()} works, and one failed statement does not cost its connection`, async () => {
    const pool = poolOf(config)
    const store = testStore({ pool })
    const visitor = new Visitor()
    await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
    assert.is((await store.get(visitor.request(), 'sid')).values['a'], 1)
    const before = await pidOf(pool)
    const missing = testStore({ pool, schema: 'missing' })
    assert.is((await rejection(missing.countExpiredSessions())).code, 'not_installed')
    assert.is(await pidOf(pool), before)
  })
}

// Errors

test('D3: in any language of the server, an error of one statement does not cost the connection', async () => {
  const translate = (message: Buffer) => {
    const text = Buffer.from('SFEHLER\0')
    if (message[0] !== 0x45 || message.subarray(5, 12).toString() !== 'SERROR\0') return message
    const translated = Buffer.concat([message.subarray(0, 5), text, message.subarray(12)])
    translated.writeInt32BE(translated.length - 1, 1)
    return translated
  }
  const proxy = await startProxy({ rewrite: translate })
  const pool = poolOf({ connectionString: proxy.url, options: '-c lock_timeout=20ms' })
  try {
    const error = (await rejection(pool.query('select 1/0'))) as Error & { severity?: string }
    assert.is(error.severity, 'FEHLER')
    const store = testStore({ pool })
    const visitor = new Visitor()
    const { session } = await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
    const before = await pidOf(pool)
    const holder = await admin.connect()
    await holder.query('begin')
    await holder.query('select from pgstore.sessions where id = $1 for update', [session.id])
    const failed = await rejection(visitor.visit(store, ({ values }) => Object.assign(values, { a: 2 })))
    await holder.query('rollback')
    holder.release()
    assert.is(failed.code, 'timeout')
    assert.is(await pidOf(pool), before)
  } finally {
    await proxy.close()
  }
})

test('D3: errors that end the connection are recognized by their SQLSTATE', () => {
  const ends = (code?: string) => endsConnection(Object.assign(new Error('x'), code === undefined ? {} : { code }))
  for (const code of ['57P01', '57P05', '08006', '25006', '25P03', '25P04', 'XX000', '58030', '53200', '53300'])
    assert.ok(ends(code), code)
  for (const code of ['57014', '55P03', '40001', '40P01', '42501', '42883', '22P05', '53100', '26000', '25P02'])
    assert.not(ends(code), code)
  for (const code of [undefined, 'ECONNRESET', 'EPIPE', 'ERR_SOCKET_CLOSED']) assert.ok(ends(code), code)
})

test('D4: running out of time and running out of room are distinguished, and both may be retried', () => {
  const of = (code: string) => {
    const error = databaseError('session_save', Object.assign(new Error('it says so'), { code }))
    return [error.code, error.statusCode, error.sqlState]
  }
  for (const state of ['25P04', '25P03', '57014', '55P03']) assert.equal(of(state), ['timeout', 503, state])
  for (const state of ['53000', '53100', '53200', '53400']) assert.equal(of(state), ['full', 503, state])
  assert.equal(of('53300'), ['unavailable', 503, '53300'])
  assert.equal(of('22P05'), ['database', 500, '22P05'])
})

test('D4: a server that cannot write its log goes down, and may have committed what it refuses', () => {
  // As PostgreSQL 15 reports it, in the language of lc_messages; seen: 1 of 8 such transactions was there after the restart.
  const panic = Object.assign(new Error('could not write to file "pg_wal/xlogtemp.1": No space left on device'), {
    code: '53100',
    severity: 'PANIK',
    file: 'xlog.c',
  })
  const { code, sqlState } = databaseError('session_save', panic)
  assert.equal([code, sqlState], ['unavailable', '53100'])
  assert.ok(endsConnection(panic))
  const full = Object.assign(new Error('could not extend file'), { code: '53100', severity: 'FEHLER', file: 'md.c' })
  assert.is(databaseError('session_save', full).code, 'full')
  assert.not(endsConnection(full))
  const there = 'pgstore.session_save(1): [part2] REMOTE PANIC: could not write to file "pg_wal/xlogtemp.1"'
  const ofPartition = Object.assign(new Error(there), { code: '53100', file: 'execute.c' })
  assert.is(databaseError('session_save', ofPartition).code, 'unavailable')
  assert.not(endsConnection(ofPartition))
})

test('D4: a database that runs out of room for temporary files is full, and keeps the connection', async () => {
  const pool = poolOf({ options: '-c temp_file_limit=0 -c work_mem=64kB' })
  const before = await pidOf(pool)
  const error = await rejection(
    pool.query('select count(*) from (select g from generate_series(1, 100000) g order by 1 offset 1) s'),
  )
  assert.is(databaseError('x', error).code, 'full')
  assert.not(endsConnection(error))
  assert.ok(before)
})

test('D6: a host name with two addresses, neither of which answers, is an error that says so', async () => {
  const both = Object.assign(
    new AggregateError([new Error('connect ECONNREFUSED ::1:1'), new Error('connect ECONNREFUSED 127.0.0.1:1')], ''),
    { code: 'ECONNREFUSED' },
  )
  const { code, message, sqlState } = databaseError('session_stats', both)
  assert.equal(
    [code, message, sqlState],
    ['unavailable', 'session_stats: connect ECONNREFUSED ::1:1, connect ECONNREFUSED 127.0.0.1:1', 'ECONNREFUSED'],
  )
  assert.is(messageOf(Object.assign(new Error(''), { code: 'EPIPE' })), 'EPIPE')
  assert.is(messageOf(undefined), 'unknown error')
  const lookup = (_host: string, _options: object, done: (error: null, addresses: object[]) => void) =>
    done(null, [
      { address: '127.0.0.1', family: 4 },
      { address: '127.0.0.2', family: 4 },
    ])
  const stream = () => {
    const socket = new net.Socket()
    const connect = socket.connect.bind(socket)
    const two = (port: number, host: string) => connect({ port, host, lookup, autoSelectFamily: true } as never)
    return Object.assign(socket, { connect: two })
  }
  const pool = poolOf({ connectionString: 'postgres://nobody@two.example:1/none', stream: stream as never })
  const error = await rejection(testStore({ pool }).countExpiredSessions())
  assert.is(error.code, 'unavailable')
  assert.match(error.message, /^count_expired: .*ECONNREFUSED/)
})

test('A1: a call that a stricter isolation rolls back is sent again: saves, regenerations, ends', async () => {
  const store = testStore({ pool: poolOf({ options: '-c default_transaction_isolation=repeatable\\ read', max: 4 }) })
  const user = `isolated ${Math.random()}`
  /** Calls while another transaction changes the row, which then commits: one that waited for it is rolled back. */
  const meanwhile = async <T>(id: string | undefined, work: () => Promise<T>): Promise<T> => {
    const holder = await admin.connect()
    try {
      await holder.query('begin')
      await holder.query('update pgstore.sessions set data = data where id = $1', [id])
      const called = work()
      called.catch(() => {})
      await until(async () => {
        const waiting = await sql(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        )
        return waiting.length > 0
      })
      await holder.query('commit')
      return await called
    } finally {
      holder.release()
    }
  }
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, (made) => {
    made.userId = user
  })
  await meanwhile(session.id, async () => await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 })))
  await meanwhile(
    session.id,
    async () => await visitor.visit(store, async (open, req, res) => await store.regenerate(req, res, open)),
  )
  assert.equal((await store.new(visitor.request(), 'sid')).values, { a: 1 })
  assert.is(await meanwhile(session.id, async () => await store.revoke(user)), 1)
})

// Addresses

const unreadable = [
  'postgres://user:secret@one:5432,two:5433/db',
  'postgres://user:secret@one,two/db',
  'postgres://user:secret@/db?host=one,two',
  'postgres://user:sec,ret@one:x/secret',
  'postgres://user:secret@host/%E0%A4%A',
  'postgres://user:sec#ret@host/secret',
  'postgres://user:secret@host:99999/db',
  'postgres://user:secret/@:host/db',
  'postgres://user:secret@host/db?port=99999',
  'postgres://user:secret@host/db?sslmode=disable&port=five',
  'postgres://user:secret@host/db?port=5432,5433',
  'secret',
  '',
  42,
]

test('D5: a connection string that cannot be read is refused when the store is made, and not shown', () => {
  for (const connectionString of unreadable as string[]) {
    refused(() => new PGStore({ connectionString, keyPairs: [hashKey] }), /connectionString (must|names|cannot|has)/)
    const direct = { connectionString: clientUrl, directConnectionString: connectionString }
    refused(() => new PGStore({ ...direct, keyPairs: [hashKey] }), /directConnectionString (must|names|cannot|has)/)
  }
  for (const connectionString of unreadable.slice(0, 3) as string[]) {
    refused(
      () => new PGStore({ pool: poolOf({ connectionString }), keyPairs: [hashKey] }),
      /pool's connectionString names/,
    )
  }
})

test('D5: nor is a pool whose host is a list', () => {
  refused(() => new PGStore({ pool: poolOf({ host: 'one,two' }), keyPairs: [hashKey] }), /several hosts/)
})

test('D5: a comma in the password does not make a second host, and percent-encoding is decoded', async () => {
  for (const url of [
    'postgres://user:p,w@localhost/db',
    'postgres://us%2Cer:p%40w@localhost:5432/db?sslmode=disable',
  ]) {
    await new PGStore({ connectionString: url, keyPairs: [hashKey] }).close()
  }
})

test('D5: the same holds for a worker, a caller’s pool and the command line', async () => {
  for (const connectionString of unreadable as string[]) {
    const error = await rejection(runWorker({ connectionString }))
    assert.is(error.code, 'invalid_option')
    assert.not.match(error.message, /secret/)
    refused(() => openPool({ connectionString }), /connection string/)
  }
  const { code } = await new Promise<{ code: number | null }>((resolve, reject) => {
    const program = new Program(['dist/cli/main.js', 'status'], { DATABASE_URL: unreadable[0] as string })
    program.ended
      .then((ending) => {
        assert.match(program.errors, /names several hosts/)
        assert.not.match(program.errors, /secret/)
        resolve(ending)
      })
      .catch(reject)
  })
  assert.is(code, 2)
})

// Read-only servers

test('A8: a write that a read-only server refuses ends all connections of its pool', async () => {
  const pool = poolOf({ max: 3, connectionString: databaseUrl })
  const store = testStore({ pool, batch: false })
  const known = async () => {
    await Promise.all([1, 2, 3].map(() => store.countExpiredSessions()))
    const clients = await Promise.all([1, 2, 3].map(() => pool.connect()))
    const pids = await Promise.all(
      clients.map(async (client) => (await client.query('select pg_backend_pid() as pid')).rows[0].pid),
    )
    return { clients, pids }
  }
  const before = await known()
  for (const client of before.clients) {
    await client.query('set default_transaction_read_only = on')
    client.release()
  }
  const error = (await rejection(
    new Visitor().visit(store, ({ values }) => Object.assign(values, { a: 1 })),
  )) as PGStoreError
  assert.equal([error.code, error.sqlState], ['unavailable', '25006'])
  await new Visitor().visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  const after = await known()
  for (const client of after.clients) client.release()
  assert.equal(
    after.pids.filter((pid) => before.pids.includes(pid)),
    [],
  )
})

test('A8: a read-only database still answers reads, and each failed write costs no more than its own connection', async () => {
  const pool = poolOf({ max: 2, options: '-c default_transaction_read_only=on' })
  const store = testStore({ pool })
  for (let n = 0; n < 5; n++) {
    assert.is(
      (await rejection(new Visitor().visit(store, ({ values }) => Object.assign(values, { a: 1 })))).code,
      'unavailable',
    )
    assert.type(await store.countExpiredSessions(), 'number')
  }
  await sql('select 1')
})

test.run()
