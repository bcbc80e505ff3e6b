// Everybody out: very many sessions ended by one row, while servers with caches are busy, and then purged.
import { type ChildProcess, fork } from 'node:child_process'
import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import * as assert from 'uvu/assert'
import { type PostgresServer, startPostgres } from '../../scripts/postgres.ts'
import { migrate, PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, serverBin, until } from '../support/harness.ts'
import { quantile, report, test } from './faults.ts'
import { canStartServers } from './own-server.ts'

test.after(closeAll)

const sessions = counts(20_000, 10_000_000)
const visitors = 1000
/** What a machine that is busy with other things may take to hear of it; the promise is 50 ms. */
const graceMs = counts(5000, 50)

interface Told {
  readonly reads: number
  readonly late: number
  readonly newest: number
  readonly hits: number
}

async function tell(child: ChildProcess): Promise<Told> {
  const told = new Promise<Told>((resolve, reject) => {
    child.once('message', resolve)
    setTimeout(() => reject(new Error('A server does not answer.')), 60_000).unref()
  })
  child.send({ tell: true })
  return await told
}

/** As many sessions, of which the first belong to the visitors; a third are signed in, and a tenth carry a tag. */
async function fill(pool: pg.Pool): Promise<void> {
  const step = 100_000
  for (let from = 1; from <= sessions; from += step) {
    await pool.query(
      `insert into pgstore.sessions (id, created_at, purge_at, key, user_id, signed_in_at, data, updated_at, version, expires_at, seen_at, tags)
       select n * 256, now() - interval '1 hour', now() + interval '35 days', sha256(('token ' || n)::bytea),
         case when n % 3 = 0 then 'user ' || n % 100000 end, case when n % 3 = 0 then now() - interval '1 hour' end,
         jsonb_build_object('cart', n, 'theme', 'dark', 'padding', repeat('x', 100)), now(), 1, now() + interval '30 days', now(),
         case when n % 10 = 0 then array['tenant ' || n % 100] end
       from generate_series($1::bigint, least($1::bigint + $2 - 1, $3)) as n`,
      [from, step, sessions],
    )
  }
  await pool.query('vacuum analyze pgstore.sessions')
}

/** How long the server says that the call took, with its commit. */
async function loggedMs(server: PostgresServer): Promise<number> {
  let found: RegExpExecArray | null = null
  await until(() => {
    found = /duration: ([\d.]+) ms {2}(?:execute|statement)[^\n]*session_end_before/.exec(
      fs.readFileSync(server.log, 'utf8'),
    )
    return found
  })
  return Number((found as unknown as RegExpExecArray)[1])
}

/** Milliseconds of so many reads of these cookies, two at a time, without a cache. */
async function latencies(store: PGStore, cookies: readonly string[], many: number): Promise<number[]> {
  const taken: number[] = []
  const reader = async () => {
    while (taken.length < many) {
      const cookie = cookies[taken.length % cookies.length] as string
      const began = performance.now()
      const { isNew } = await store.get({ headers: { cookie } }, 'sid')
      taken.push(performance.now() - began)
      assert.not(isNew, 'a session that began afterwards')
    }
  }
  await Promise.all([reader(), reader()])
  return taken
}

if (!canStartServers) test.skip('F52: it needs a server of its own', () => {})
else {
  test('F52: very many sessions are ended by one row, on servers with caches, and the purge disturbs nobody', async () => {
    const server = await startPostgres({
      bin: serverBin,
      settings: { log_min_duration_statement: '0', max_wal_size: '4GB', shared_buffers: '512MB', autovacuum: 'off' },
    })
    const pool = new pg.Pool({ connectionString: server.url(), max: 3 }).on('error', () => {})
    const children: ChildProcess[] = []
    const store = new PGStore({ connectionString: server.url(), keys: [hashKey], batch: false })
    try {
      await migrate(pool)
      await fill(pool)
      await pool.query('checkpoint')
      for (let n = 0; n < 3; n++) {
        const file = fileURLToPath(new URL('everybody-server.ts', import.meta.url))
        children.push(fork(file, [server.url(), String(visitors)], { execArgv: ['--import', 'tsx'] }))
      }
      await until(async () => {
        const told = await Promise.all(children.map(tell))
        return told.every(({ reads }) => reads > 1000)
      }, 120)

      const wal = async () => (await pool.query('select pg_current_wal_insert_lsn() as at')).rows[0].at
      const bytesOf = async (work: () => Promise<unknown>) => {
        const from = await wal()
        await work()
        return Number((await pool.query('select $1::pg_lsn - $2 as n', [await wal(), from])).rows[0].n)
      }
      let ended = 0
      // The first mark replaces a function too, and of catalog pages the first change after a checkpoint writes the whole page.
      const firstBytes = await bytesOf(async () => {
        await store.endAll()
        ended = Date.now()
      })
      for (const child of children) child.send({ since: ended + graceMs })
      const before = await Promise.all(children.map(tell))
      await until(() => Date.now() > ended + graceMs + 1000)
      await until(async () => {
        const told = await Promise.all(children.map(tell))
        return told.every(({ reads }, n) => reads > (before[n]?.reads ?? 0) + 300)
      }, 120)
      const told = await Promise.all(children.map(tell))
      assert.equal(
        told.map(({ late }) => late),
        [0, 0, 0],
        'reads that succeeded afterwards',
      )
      for (const child of children) child.send({ end: true })
      const commitMs = await loggedMs(server)
      await pool.query('checkpoint')
      const nextBytes = await bytesOf(() => store.endAll({ before: new Date(ended - 1000) }))
      assert.ok(nextBytes < 16_384, `${nextBytes} bytes of WAL`)

      const cookies: string[] = []
      for (let n = 0; n < 100; n++) {
        await store.byToken.put(`fresh ${n}`, { n }, { ttl: 86_400 })
        cookies.push(`sid=${store.codecs[0]?.encode('sid', `fresh ${n}`)}`)
      }
      const alone = await latencies(store, cookies, counts(200, 5000))
      const began = performance.now()
      let isPurging = true
      const purging = (async () => {
        const purged = await store.purgeExpired()
        isPurging = false
        return purged
      })()
      const beside: number[] = []
      do beside.push(...(await latencies(store, cookies, 100)))
      while (isPurging)
      assert.is(await purging, sessions)
      const seconds = (performance.now() - began) / 1000
      assert.is(Number((await pool.query('select count(*) as n from pgstore.sessions')).rows[0].n), cookies.length)
      const last = Math.max(...told.map(({ newest }) => newest)) - ended
      report(
        'F52',
        `${sessions} sessions ended by one row, beside three servers with caches; then purged`,
        `${before.map(({ hits }) => hits).join(', ')} of ${before.map(({ reads }) => reads).join(', ')} reads came from the caches before; ` +
          `${firstBytes} bytes of WAL for the first mark, ${nextBytes} for the next; last read that found one began ${last} ms after the answer, 0 later than ${graceMs} ms; ` +
          `purged in ${seconds.toFixed(1)} s; p99 of others ${quantile(alone, 0.99).toFixed(2)} ms, during the purge ${quantile(beside, 0.99).toFixed(2)} ms`,
        { 'commit by the server’s log': { is: commitMs, most: counts(100, 10) } },
      )
    } finally {
      await store.close()
      for (const child of children) child.kill('SIGKILL')
      await pool.end()
      await server.stop()
    }
  })
}

test.run()
