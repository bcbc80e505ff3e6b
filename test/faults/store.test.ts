// What happens to sessions when connections, locks, clocks and other clients get in the way.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import * as assert from 'uvu/assert'
import type { PGStoreError } from '../../src/index.ts'
import { call, closeClients, connect, count, create, newKey, present, save } from '../sql/calls.ts'
import { counts } from '../support/counts.ts'
import { addExpired, addLive, countSessions, startOver } from '../support/crowd.ts'
import { closeAll, databaseUrl, rejection, row, sql, testStore, until, Visitor } from '../support/harness.ts'
import { endPrograms, Program } from '../support/program.ts'
import { judge } from './checker.ts'
import { duration, quantile, report, test } from './faults.ts'
import { readHistory } from './history.ts'
import { Load, soundness } from './load.ts'

test.before.each(startOver)
test.after.each(closeClients)
test.after.each(endPrograms)
test.after(closeAll)

async function visitors(many: number, store = testStore()): Promise<Visitor[]> {
  const all = Array.from({ length: many }, () => new Visitor())
  await Promise.all(
    all.map((visitor, n) =>
      visitor.visit(store, (session) => {
        session.values['n'] = n
      }),
    ),
  )
  return all
}

test('F1: reads survive the end of their connection, saves fail with a code that says so, and nothing is lost', async () => {
  const seconds = counts(5, 30)
  const store = testStore()
  const load = new Load(store)
  await load.start()
  let kills = 0
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const killed = await sql(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'pgstore' order by random() limit 1`,
    )
    kills += killed.length
    // As many requests between two as a server sees in 200 ms, however slow this machine is.
    await new Promise((resolve) => setTimeout(resolve, 200))
    await load.more(40)
  }
  const success = await load.success()
  const { text } = await load.judged()
  const { read } = load.counts
  assert.ok(load.failed <= kills * 8, text) // one call carries the saves of several
  report('F1', `app connections terminated for ${seconds} s`, `${kills} terminated; ${text}`, {
    'reads failed': { is: (1000 * read.failed) / read.calls, most: counts(10, 1), unit: 'of 1000' },
    'first success after the last': { is: success, most: 1000 },
  })
})

test('F5: while every connection is taken, waiting calls are refused after two seconds, and none once one is free', async () => {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4, connectionTimeoutMillis: 2000 })
  const store = testStore({ pool })
  const all = await visitors(100, store)
  const holders = await Promise.all(Array.from({ length: 4 }, () => pool.connect()))
  const sleeping = holders.map((client) => client.query('select pg_sleep(4)'))
  const waits = await Promise.all(
    all.map((visitor) => duration(async () => void (await rejection(store.get(visitor.request(), 'sid'))))),
  )
  await Promise.all(sleeping)
  for (const client of holders) client.release()
  const success = await duration(() => store.get((all[0] as Visitor).request(), 'sid'))
  await store.close()
  await pool.end()
  report('F5', 'all 4 connections blocked, 100 gets waiting', 'all refused', {
    'the last after': { is: Math.max(...waits), most: 2300 },
    'first success': { is: success, most: 100 },
  })
})

test('F7: a session locked for ten seconds does not delay others', async () => {
  const store = testStore()
  const [held, ...others] = (await visitors(17, store)) as [Visitor, ...Visitor[]]
  const { id } = (await held.visit(store)).session
  const change = (visitor: Visitor) =>
    visitor.visit(store, (session) => {
      session.values['at'] = performance.now()
    })
  const measure = async () => {
    const durations: number[] = []
    for (let round = 0; round < 20; round++)
      await Promise.all(others.map(async (visitor) => durations.push(await duration(() => change(visitor)))))
    return quantile(durations, 0.99)
  }
  const alone = await measure()
  const holder = await connect()
  await holder.query('begin')
  await holder.query('select from pgstore.sessions where id = $1 for update', [id])
  let isSettled = false
  const waiting = change(held).finally(() => {
    isSettled = true
  })
  const beside = await measure()
  assert.not(isSettled)
  await holder.query('commit')
  await waiting
  // The store's role has no lock_timeout by default: the held session's save waits, up to the pool's query_timeout of 5 s.
  report('F7', "another client holds a session's row", `p99 of others alone ${Math.round(alone)} ms`, {
    'p99 of others beside it': { is: beside, most: Math.max(2 * alone, 50) },
  })
})

test('F7: with a lock_timeout on its role, the save of the locked session ends with timeout', async () => {
  const url = new URL(databaseUrl)
  url.searchParams.set('options', '-c lock_timeout=1000')
  const store = testStore({ connectionString: url.href })
  const [held] = (await visitors(1, store)) as [Visitor]
  const holder = await connect()
  await holder.query('begin; select from pgstore.sessions for update')
  const started = performance.now()
  const { code, sqlState } = (await rejection(
    held.visit(store, (session) => {
      session.values['a'] = 1
    }),
  )) as PGStoreError
  const ms = performance.now() - started
  await holder.query('commit')
  assert.equal([code, sqlState], ['timeout', '55P03'])
  report('F7', 'the same with lock_timeout 1 s', 'timeout, 55P03', { 'refused after': { is: ms, most: 1300 } })
})

test('F7: with no timeout anywhere, the store itself gives up, and its pool stays intact', async () => {
  const store = testStore()
  const [held, other] = (await visitors(2, store)) as [Visitor, Visitor]
  const change = async (visitor: Visitor) =>
    await visitor.visit(store, (session) => {
      session.values['a'] = 1
    })
  const holder = await connect()
  await holder.query('begin; select from pgstore.sessions for update')
  const started = performance.now()
  const errors = await Promise.all([held, other].map(async (visitor) => await rejection(change(visitor))))
  const ms = performance.now() - started
  await holder.query('commit')
  assert.equal(
    errors.map(({ code }) => code),
    ['timeout', 'timeout'],
  )
  await Promise.all([held, other, held, other].map(change))
  report('F7', 'the same with no timeout at all', 'timeout', { 'refused after': { is: ms, most: 6500 } })
})

test('F8: a statement_timeout inside a save is a timeout, and nothing is half written', async () => {
  const url = new URL(databaseUrl)
  url.searchParams.set('options', '-c statement_timeout=500')
  const store = testStore({ connectionString: url.href })
  const [visitor] = (await visitors(1, store)) as [Visitor]
  const before = await sql('select * from pgstore.sessions')
  const holder = await connect()
  await holder.query('begin; lock table pgstore.sessions in exclusive mode')
  const { code, sqlState } = (await rejection(
    visitor.visit(store, (session) => {
      session.values['a'] = 1
      session.userId = '42'
    }),
  )) as PGStoreError
  await holder.query('commit')
  assert.equal([code, sqlState], ['timeout', '57014'])
  assert.equal(await sql('select * from pgstore.sessions'), before)
  report('F8', 'statement_timeout inside a save', 'timeout, 57014, row unchanged')
})

test('F11: a clock that is ten minutes wrong changes no decision and no cookie', async () => {
  const many = counts(200, 1000)
  const file = path.join(os.tmpdir(), `pgstore-cookies-${process.pid}`)
  const answers: string[][] = []
  for (const minutes of [0, -10, 10]) {
    await sql('truncate pgstore.sessions')
    const all = await visitors(many)
    // A third has expired, a third is close to its end (and due for a touch), a third is fresh.
    await sql(
      `with numbered as (select key, (data ->> 'n')::integer as n from pgstore.sessions)
       update pgstore.sessions as s
       set expires_at = now() + case n.n % 3 when 0 then interval '-1 minute' when 1 then interval '5 minutes' else interval '30 days' end
       from numbered as n where s.key = n.key`,
    )
    fs.writeFileSync(file, all.map((visitor) => visitor.request().headers.cookie).join('\n'))
    const skew = `const RealDate = Date; const by = ${minutes * 60_000}; globalThis.Date = class extends RealDate {
      constructor(...args) { if (args.length === 0) super(RealDate.now() + by); else super(...args) }
      static now() { return RealDate.now() + by }
    }`
    const clock = `data:text/javascript,${encodeURIComponent(skew)}`
    const decider = new Program(
      ['--import', clock, '--import', 'tsx', 'test/faults/decide.ts', databaseUrl, file],
      process.env,
    )
    const { code } = await decider.ended
    assert.is(code, 0, decider.errors)
    const last = Number(decider.lines.pop()?.replace('clock ', ''))
    assert.ok(Math.abs(last - Date.now() - minutes * 60_000) < 60_000, 'its clock was not wrong')
    answers.push(decider.lines)
  }
  fs.rmSync(file)
  const [right, ...wrong] = answers as [string[], ...string[][]]
  const live = right.filter((line) => JSON.parse(line).isLive).length
  assert.equal([right.length, live], [many, many - Math.ceil(many / 3)])
  for (const lines of wrong) assert.equal(lines, right)
  report('F11', 'client clock 10 minutes slow and fast', `${2 * many} decisions and cookies compared, 0 differ`)
})

test('F11: such a clock does not make a worker purge too early or too late either', async () => {
  for (const minutes of [-10, 10]) {
    await startOver()
    await addExpired(5)
    await addLive(5)
    await sql(`update pgstore.sessions set expires_at = now() + interval '5 minutes' where expires_at > now()`)
    const skew = `const RealDate = Date; const by = ${minutes * 60_000}; globalThis.Date = class extends RealDate {
      constructor(...args) { if (args.length === 0) super(RealDate.now() + by); else super(...args) }
      static now() { return RealDate.now() + by }
    }`
    const worker = new Program(
      ['--import', `data:text/javascript,${encodeURIComponent(skew)}`, 'dist/cli/main.js', 'worker'],
      { DATABASE_URL: databaseUrl },
    )
    await worker.line(/waiting/, 30)
    await sql(`select pgstore.cleanup_start('1 second')`)
    for (let run = 0; run < 3; run++) {
      await until(async () => (await countSessions()).due === 0)
      await addExpired(5)
    }
    assert.is((await countSessions()).live, 5)
    await worker.end()
  }
  report('F11', 'worker’s clock 10 minutes slow and fast', 'live deleted 0, runs at their time')
})

test('F22: of one key set by 8 clients at once the last value is one of theirs, whole, and versions never repeat', async () => {
  const each = counts(100, 500)
  const key = await create({ cart: null })
  const written = new Set<string>()
  const versions: number[] = []
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect()))
  await Promise.all(
    clients.map(async (client, who) => {
      for (let n = 0; n < each; n++) {
        const cart = { who, n, text: String(who).repeat(100) }
        const { status, version } = await save(key, { set: JSON.stringify({ cart }) }, client)
        assert.is(status, 'saved')
        written.add(JSON.stringify([cart.who, cart.n, cart.text]))
        versions.push(version ?? 0)
      }
    }),
  )
  const { data, version } = await present(key)
  const cart = data['cart'] as { who: number; n: number; text: string }
  assert.ok(written.has(JSON.stringify([cart.who, cart.n, cart.text])))
  assert.equal([new Set(versions).size, version], [8 * each, 8 * each + 1])
  report('F22', `one key set by 8 clients, ${8 * each} times`, 'last value whole, versions distinct')
})

test('F26: once all of a user’s sessions have ended, none of them can be read, even if others were writing', async () => {
  const rounds = counts(10, 50)
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect()))
  let revived = 0
  for (let round = 0; round < rounds; round++) {
    const user_id = `user ${round}`
    const keys = await Promise.all(Array.from({ length: 16 }, () => create({}, { user_id }, newKey())))
    let isOver = false
    const writing = clients.map(async (client, who) => {
      for (let n = 0; !isOver; n++) {
        await save(keys[(who + n) % keys.length] as Buffer, { set: `{"n":${n}}` }, client)
        if (n % 3 === 0) await create({}, { user_id: `other ${round}` })
      }
    })
    await count('session_revoke', { user_id })
    const rows = await call('session_get', { keys })
    isOver = true
    await Promise.all(writing)
    revived += rows.length + (await call('session_get', { keys })).length
  }
  assert.is(revived, 0)
  report('F26', `all sessions of a user ended under 8 writers, ${rounds} times`, 'readable afterwards 0')
})

test('F30: a server told to end under load finishes what it has begun, and leaves no connection', async () => {
  const ours = (await sql<{ pid: number }>(`select pid from pg_stat_activity where datname = current_database()`)).map(
    ({ pid }) => pid,
  )
  const file = path.join(os.tmpdir(), `pgstore-history-${process.pid}`)
  const serving = new Program(['--import', 'tsx', 'test/faults/serving.ts', databaseUrl, file], process.env)
  await serving.line(/serving/, 30)
  await until(async () => Number((await row('select total_purged as n from pgstore.cleanup'))['n']) > 0, 30)
  const { code, signal, ms } = await serving.end('SIGTERM')
  const gone = await duration(() =>
    until(async () => {
      const left = await sql(
        `select from pg_stat_activity
         where datname = current_database() and application_name like 'pgstore%' and pid <> all ($1)`,
        ours,
      )
      return left.length === 0
    }),
  )
  assert.equal({ code, signal }, { code: 0, signal: null }, serving.errors)
  const { done, failed } = JSON.parse(await serving.line(/done/))
  assert.ok(done > 0)
  const sound = soundness(judge(readHistory(file).calls))
  fs.rmSync(file)
  report('F30', 'a server with a worker in it told to end under load', `${done} calls answered, exit 0; ${sound}`, {
    'calls failed': { is: failed, most: 0, unit: '' },
    end: { is: ms, most: 5000 },
    'no connection left': { is: gone, most: 1000 },
  })
})

test('F32: connections that the server closes for being idle end nothing, and the next call is answered', async () => {
  const url = new URL(databaseUrl)
  url.searchParams.set('options', '-c idle_session_timeout=300') // since PostgreSQL 14; 57P05
  url.searchParams.set('application_name', 'idle')
  const store = testStore({ connectionString: url.href })
  const [visitor] = (await visitors(1, store)) as [Visitor]
  const open = `select from pg_stat_activity where datname = current_database() and application_name = 'idle'`
  const rounds = counts(3, 10)
  for (let round = 0; round < rounds; round++) {
    await until(async () => (await sql(open)).length === 0)
    assert.is((await store.get(visitor.request(), 'sid')).values['n'], 0)
  }
  report('F32', `idle_session_timeout, ${rounds} times`, 'next call answered')
})

test.run()
