// What happens when the server is down, frozen or full: on a separate server for this file.
import pg from 'pg'
import * as assert from 'uvu/assert'
import type { CleanupEvent } from '../../src/cleanup/cleanup-events.ts'
import { migrate, PGStore, type PGStoreError } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, rejection, until, Visitor } from '../support/harness.ts'
import { endPrograms, Program, program } from '../support/program.ts'
import { duration, report, test } from './faults.ts'
import { canStartServers, OwnServer } from './own-server.ts'

const server = new OwnServer({ max_connections: '25', superuser_reserved_connections: '3' })
const stores: PGStore[] = []

function serverTest(name: string, run: () => Promise<void>): void {
  if (canStartServers) test(name, run)
  else test.skip(name)
}

if (!canStartServers) console.log('Skipped: the tests run on a server that is not ours to stop.')
else {
  test.before(async () => {
    await server.start()
    const pool = new pg.Pool({ connectionString: server.url })
    await migrate(pool)
    await pool.end()
  })
}
test.after.each(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()))
  await endPrograms()
})
test.after(async () => {
  await server.remove()
  await closeAll()
})

function openStore(): PGStore {
  const store = new PGStore({ connectionString: server.url, keyPairs: [hashKey] })
  stores.push(store)
  return store
}

/** One statement over a separate connection, as the superuser. */
async function ask<Row extends object = Record<string, unknown>>(text: string): Promise<Row[]> {
  const client = new pg.Client(server.url)
  await client.connect()
  try {
    return (await client.query<Row>(text)).rows
  } finally {
    await client.end()
  }
}

async function listening(): Promise<number[]> {
  const rows = await ask<{ pid: number }>(
    `select pid from pg_stat_activity where application_name = 'pgstore listen' order by pid`,
  )
  return rows.map(({ pid }) => pid)
}

function worker(): Program {
  return new Program(['dist/cli/main.js', 'worker'], { DATABASE_URL: server.url })
}

async function addExpired(): Promise<void> {
  await ask(
    `select pgstore.session_save(sha256(uuid_send(gen_random_uuid())), p_version => 0, p_ttl => '1 millisecond')`,
  )
}

async function untilPurged(): Promise<void> {
  await until(async () => Number((await ask('select pgstore.count_expired() as due'))[0]?.['due']) === 0, 60)
}

/** What a watcher is told from now on. */
function collect(store: PGStore): { events: CleanupEvent[] } {
  const collected = { events: [] as CleanupEvent[] }
  void (async () => {
    for await (const event of store.watchCleanup()) collected.events.push(event)
  })()
  return collected
}

for (const [number, full, quick] of [
  ['F2', 10, 3],
  ['F16', 60, 10],
] as const) {
  serverTest(
    `${number}: a server stopped and started again finds store, watcher and worker at work, and nobody signed out`,
    async () => {
      const seconds = counts(quick, full)
      const store = openStore()
      const visitor = new Visitor()
      await visitor.visit(store, (session) => {
        session.values['name'] = 'Ada'
      })
      const before = new Map(visitor.jar)
      const watcher = collect(store)
      const process = worker()
      await process.line(/waiting/, 60)
      await ask(`select pgstore.cleanup_start('1 second')`)
      await until(() => watcher.events.some(({ type }) => type === 'purged'))
      await server.stop()
      const settled: number[] = []
      for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
        const req = visitor.request()
        const started = performance.now()
        const { code } = await rejection(store.get(req, 'sid'))
        settled.push(performance.now() - started)
        assert.ok(code === 'unavailable' || code === 'timeout', code)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      const seen = watcher.events.length
      await server.start()
      const success = await duration(() =>
        until(async () => {
          const session = await store.get(visitor.request(), 'sid').catch(() => undefined)
          return session?.values['name'] === 'Ada'
        }, 60),
      )
      const told = await duration(() =>
        until(() => watcher.events.slice(seen).some((event) => event.type === 'status' && event.status.enabled), 60),
      )
      await addExpired()
      const purged = await duration(untilPurged)
      assert.ok(process.isRunning)
      assert.equal(visitor.jar, before)
      report(
        number,
        `server stopped for ${seconds} s`,
        `${settled.length} calls failed, cookie kept, worker's process the same`,
        {
          'a call settles': { is: Math.max(...settled), most: 2500 },
          'first success': { is: success, most: 2000 },
          'watcher told': { is: told, most: 5000 },
          'next purge': { is: purged, most: 11_000 },
        },
      )
    },
  )
}

serverTest('F18: a process that closes its store while the server is away ends within two seconds', async () => {
  const rounds = counts(4, 5)
  const ends: number[] = []
  for (let round = 0; round < rounds; round++) {
    const closing = program('faults/closing.ts', server.url)
    await closing.line(/ready/, 60)
    await server.stop()
    await new Promise((resolve) => setTimeout(resolve, 300 + 700 * round)) // at different moments of its reconnecting
    const { code, signal, ms } = await closing.end('SIGTERM')
    assert.equal({ code, signal }, { code: 0, signal: null }, closing.errors)
    assert.match(closing.output, /closed after/)
    ends.push(ms)
    await server.start()
    await new Promise((resolve) => setTimeout(resolve, 500))
    assert.equal(await ask(`select from pg_stat_activity where application_name like 'pgstore%'`), [])
  }
  report('F18', `close() during an outage, ${rounds} times`, 'exit 0, no connection left', {
    'process ended': { is: Math.max(...ends), most: 2000 },
  })
})

serverTest('F17: a LISTEN connection whose server process is frozen is noticed and replaced', async () => {
  const store = openStore()
  const watcher = collect(store)
  await until(() => watcher.events.length === 1)
  const [pid = 0] = await listening()
  process.kill(pid, 'SIGSTOP')
  let noticed: number
  try {
    noticed = await duration(() => until(() => watcher.events.length > 1, 40))
    await ask(`select pgstore.cleanup_start('7 hours')`)
    await until(() => watcher.events.some(({ type }) => type === 'started'))
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await until(async () => (await listening()).length === 1)
  assert.not.equal(await listening(), [pid])
  report('F17', 'LISTEN connection frozen', 'replaced by one', { 'noticed after': { is: noticed, most: 9000 } })
})

serverTest('F4: while the whole server is frozen every call settles in time', async () => {
  const seconds = counts(8, 20)
  const store = openStore()
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values['n'] = 1
  })
  await store.startCleanup('1 second')
  const pids = await ask<{ pid: number }>('select pid from pg_stat_activity where pid <> pg_backend_pid()')
  const all = [...pids.map(({ pid }) => pid), await postmaster()]
  const settled: number[] = []
  let late = 0
  let last = performance.now()
  const clock = setInterval(() => {
    late = Math.max(late, performance.now() - last - 10)
    last = performance.now()
  }, 10)
  for (const pid of all) process.kill(pid, 'SIGSTOP')
  try {
    for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
      const started = performance.now()
      const { code } = await rejection(store.get(visitor.request(), 'sid'))
      settled.push(performance.now() - started)
      assert.ok(code === 'unavailable' || code === 'timeout', code)
    }
  } finally {
    clearInterval(clock)
    for (const pid of all) process.kill(pid, 'SIGCONT')
  }
  const success = await duration(() =>
    until(async () => (await store.get(visitor.request(), 'sid').catch(() => undefined))?.values['n'] === 1, 30),
  )
  report(
    'F4',
    `server frozen for ${seconds} s`,
    `${settled.length} calls failed, event loop late by at most ${Math.round(late)} ms`,
    {
      'a call settles': { is: Math.max(...settled), most: 5500 },
      'first success': { is: success, most: 2000 },
    },
  )
})

async function postmaster(): Promise<number> {
  const [row] = await ask<{ pid: string }>(`select split_part(pg_read_file('postmaster.pid'), e'\\n', 1) as pid`)
  return Number(row?.pid)
}

serverTest(
  'F29: a server without a free connection gives an error that says so, and none once one is free',
  async () => {
    const store = openStore()
    const fillers: pg.Client[] = []
    try {
      for (let isFull = false; !isFull && fillers.length < 60; ) {
        const client = new pg.Client(server.url)
        client.on('error', () => {})
        isFull = await client.connect().then(
          () => false,
          () => true,
        )
        if (!isFull) fillers.push(client)
      }
      const { code, sqlState } = (await rejection(store.countExpiredSessions())) as PGStoreError
      assert.equal([code, sqlState], ['unavailable', '53300'])
    } finally {
      await Promise.all(fillers.map((client) => client.end()))
    }
    const success = await duration(() =>
      until(() =>
        store.countExpiredSessions().then(
          () => true,
          () => false,
        ),
      ),
    )
    report('F29', 'max_connections used up', 'unavailable, 53300', { 'first success': { is: success, most: 1000 } })
  },
)

test.run()
