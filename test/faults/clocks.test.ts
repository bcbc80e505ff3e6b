// Clocks that are wrong, step and come right again: the server's under libfaketime, which reads its offset from a file.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import * as assert from 'uvu/assert'
import { type PostgresServer, startPostgres } from '../../scripts/postgres.ts'
import { migrate, PGStore } from '../../src/index.ts'
import { closeAll, hashKey, serverBin, until, Visitor } from '../support/harness.ts'
import { endPrograms, Program } from '../support/program.ts'
import { report, test } from './faults.ts'

const library = fakeClock()
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-clock-'))
const file = path.join(folder, 'offset')
let server: PostgresServer | undefined
let admin: pg.Pool
const stores: PGStore[] = []

/** https://github.com/wolfcw/libfaketime */
function fakeClock(): string | undefined {
  const folders = fs.existsSync('/usr/lib') ? fs.readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/faketime`) : []
  return folders.map((one) => path.join(one, 'libfaketime.so.1')).find((one) => fs.existsSync(one))
}

const reason = serverBin === '' ? 'the tests run on a server that is not ours' : 'libfaketime is not installed'
const canRun = serverBin !== '' && library !== undefined
const clockTest = (name: string, body: () => Promise<void>) => (canRun ? test(name, body) : test.skip(name))

if (!canRun) console.log(`Skipped: a server whose clock is wrong. ${reason}.`)
else {
  test.before(async () => {
    fs.chmodSync(folder, 0o755) // the server's user must get in
    set('+0')
    server = await startPostgres({
      bin: serverBin,
      settings: { fsync: 'off' },
      env: {
        LD_PRELOAD: library,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: '1',
        // Time limits and timers go by this one, and by it processes of one machine agree.
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    })
    admin = new pg.Pool({ connectionString: server.url(), connectionTimeoutMillis: 5000, query_timeout: 20_000 })
    admin.on('error', () => {})
    await migrate(admin)
  })
}
test.after.each(async () => {
  if (canRun) await clock('+0')
  await Promise.all(stores.splice(0).map((store) => store.close()))
  await endPrograms()
})
test.after(async () => {
  await admin?.end()
  await server?.stop()
  fs.rmSync(folder, { recursive: true })
  await closeAll()
})

/** The server's clock from now on: an offset such as `+30d`, or a time such as `@2027-03-27 12:00:00`, from which it goes on. */
function set(offset: string): void {
  // In its place at once: half a line would be another time.
  fs.writeFileSync(`${file}.new`, `${offset}\n`, { mode: 0o644 })
  fs.renameSync(`${file}.new`, file)
}

/** A connection that begins while the clock steps may be given up: the server's own time limits go by this clock. */
async function clock(offset: string): Promise<number> {
  set(offset)
  let at = Number.NaN
  const ask = async () => {
    const { rows } = await admin.query<{ now: Date }>('select clock_timestamp() as now')
    at = Number(rows[0]?.now)
    return true
  }
  await until(() =>
    ask().catch((error) => {
      console.log(`The clock at ${offset}: ${error.message}`)
      return false
    }),
  )
  return at
}

function openStore(options: object = {}): PGStore<Record<string, unknown>> {
  const store = new PGStore({ connectionString: server?.url(), keys: [hashKey], ...options })
  stores.push(store)
  return store
}

const day = 86_400_000

for (const [name, offset, days] of [
  ['30 days ahead', '+30d', 30],
  ['30 days behind', '-30d', -30],
] as const) {
  clockTest(
    `F38: a server whose clock is ${name} and then right again signs nobody out and keeps purging`,
    async () => {
      await admin.query('truncate pgstore.sessions')
      const store = openStore({ options: { maxAge: 60 * 86_400 } })
      const visit = async (visitor: Visitor, n: number) => {
        await visitor.visit(store, ({ values }) => {
          assert.is(values['n'] ?? 0, n - 1)
          values['n'] = n
        })
      }
      const worker = new Program(['dist/cli/main.js', 'worker'], { DATABASE_URL: server?.url() })
      await worker.line(/waiting/)
      await admin.query(`select pgstore.cleanup_start('1 second')`)
      const visitors = Array.from({ length: 20 }, () => new Visitor())
      const later = Array.from({ length: 20 }, () => new Visitor())
      await Promise.all(visitors.map((visitor) => visit(visitor, 1)))
      const wrong = await clock(offset)
      assert.ok(Math.abs(wrong - Date.now() - days * day) < day / 2, 'its clock is not wrong')
      await Promise.all([...visitors.map((visitor) => visit(visitor, 2)), ...later.map((visitor) => visit(visitor, 1))])
      await expired()
      await until(async () => (await due()) === 0, 60)
      await clock('+0')
      await Promise.all([...visitors.map((visitor) => visit(visitor, 3)), ...later.map((visitor) => visit(visitor, 2))])
      const { rows } = await admin.query<{ live: number }>(
        'select count(*)::integer as live from pgstore.sessions where expires_at > clock_timestamp()',
      )
      await expired()
      await until(async () => (await due()) === 0, 60)
      await until(isScheduled, 60)
      await worker.end()
      assert.equal(rows[0], { live: 40 })
      report(
        'F38',
        `the server’s clock ${name} and back`,
        '40 sessions live and counted 3 and 2; purged then and after',
      )
    },
  )
}

/** Whether the next run is as near as it should be, whatever the clock said when the last one was. */
async function isScheduled(): Promise<boolean> {
  const { rows } = await admin.query<{ is: boolean }>(
    'select next_run_at <= clock_timestamp() + every as is from pgstore.cleanup',
  )
  return rows[0]?.is === true
}

async function expired(): Promise<void> {
  await admin.query(
    `select pgstore.session_save(sha256(uuid_send(gen_random_uuid())), p_version => 0, p_ttl => '1 millisecond')`,
  )
}

async function due(): Promise<number> {
  const { rows } = await admin.query<{ due: number }>('select pgstore.count_expired()::integer as due')
  return rows[0]?.due ?? 0
}

clockTest('F38: where summer time begins and ends, a day has 24 hours for the client, in any zone', async () => {
  await admin.query('truncate pgstore.sessions')
  let judged = 0
  try {
    for (const zone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'UTC']) {
      await admin.query(`alter role postgres set timezone = '${zone}'`)
      for (const time of ['2027-03-13 20:00:00', '2027-03-27 12:00:00', '2027-04-03 10:00:00', '2027-10-30 20:00:00']) {
        await clock(`@${time}`)
        const store = openStore({ options: { maxAge: 86_400 }, touchAfter: 0, lifetime: 2 * 86_400 })
        const visitor = new Visitor()
        const { session } = await visitor.visit(store, ({ values }) => Object.assign(values, { n: 1 }))
        const { rows } = await admin.query<{ life: string; longest: string }>(
          `select extract(epoch from expires_at - created_at) as life from pgstore.sessions where id = $1`,
          [session.id],
        )
        assert.is(Number(rows[0]?.life), 86_400, `${zone} ${time}`)
        judged++
      }
    }
  } finally {
    await admin.query('alter role postgres reset timezone')
  }
  report('F38', 'sessions over the beginning and end of summer time', `${judged} lives of 86,400 s, all exact`)
})

clockTest('F38: a second that is taken back, as for a leap second, loses no save and ends nothing', async () => {
  await admin.query('truncate pgstore.sessions')
  const store = openStore({ options: { maxAge: 60 }, touchAfter: 0 })
  const visitors = Array.from({ length: 8 }, () => new Visitor())
  let visits = 0
  for (let step = 0; step < 20; step++) {
    await clock(step % 2 === 0 ? '-1s' : '+0')
    await Promise.all(
      visitors.map((visitor) =>
        visitor.visit(store, ({ values }) => {
          assert.is(values['n'] ?? 0, step)
          values['n'] = step + 1
          visits++
        }),
      ),
    )
  }
  report('F38', 'the server’s clock stepped by a second, 20 times', `${visits} visits, each saw the one before`)
})

test.run()
