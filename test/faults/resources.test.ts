// A server that runs out of something: connections of a role, memory of one backend, transaction numbers. Of disk: F10.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import * as assert from 'uvu/assert'
import { systemBin } from '../../scripts/postgres.ts'
import { PGStore, type PGStoreError } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, rejection, sql, testStore, until, Visitor } from '../support/harness.ts'
import { report, test } from './faults.ts'
import { canStartServers, OwnServer } from './own-server.ts'

const servers: OwnServer[] = []
const open: (() => unknown)[] = []

test.after.each(async () => {
  for (const close of open.splice(0).reverse()) await close()
  await Promise.all(servers.splice(0).map((server) => server.remove()))
})
test.after(closeAll)

function needs(reason: string | undefined, name: string, body: () => Promise<void>): void {
  if (reason === undefined) test(name, body)
  else {
    console.log(`Skipped: F46: ${reason}.`)
    test.skip(name)
  }
}

async function installed(settings: Readonly<Record<string, string>> = {}, bin?: string): Promise<OwnServer> {
  const server = new OwnServer(settings, bin)
  servers.push(server)
  await server.install()
  return server
}

function storeAt(options: object): PGStore<Record<string, unknown>> {
  const store = new PGStore({ keys: [hashKey], ...options })
  open.push(() => store.close())
  return store
}

async function visited(store: PGStore<Record<string, unknown>>, many: number): Promise<Visitor[]> {
  const visitors = Array.from({ length: many }, () => new Visitor())
  for (const [n, visitor] of visitors.entries())
    await visitor.visit(store, ({ values }) => Object.assign(values, { n }))
  return visitors
}

const notOurs = canStartServers ? undefined : 'the server is not ours'

needs(
  notOurs,
  'F46: where a role may have fewer connections than the pool, calls fail in words or are right, and nobody is signed out',
  async () => {
    const server = await installed()
    const store = storeAt({ connectionString: server.clientUrl, batch: false })
    const visitors = await visited(store, 20)
    await server.ask('alter role fault_client connection limit 2')
    const [codes, wrong]: [Record<string, number>, string[]] = [{}, []]
    const visitAll = async (fails: (error: PGStoreError) => void) => {
      const visits = visitors.map((visitor, n) =>
        visitor.visit(store, ({ values, isNew }) => {
          if (isNew || values['n'] !== n) wrong.push(`${n}: ${JSON.stringify(values)}`)
          values['again'] = Math.random()
        }),
      )
      await Promise.all(visits.map((visit) => visit.catch(fails)))
    }
    // Of the connections that there were, those that were dropped do not come back.
    await server.ask(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fault_client'`)
    for (let round = 0; round < 10; round++) {
      await visitAll(({ code, sqlState = '' }) => {
        codes[`${code} ${sqlState}`] = (codes[`${code} ${sqlState}`] ?? 0) + 1
        if (code !== 'unavailable' && code !== 'timeout') wrong.push(`${code} ${sqlState}`)
      })
    }
    await server.ask('alter role fault_client connection limit -1')
    await until(async () => {
      let failed = 0
      await visitAll(() => failed++)
      return failed === 0
    }, 90)
    assert.equal(wrong, [])
    report(
      'F46',
      'a role with 2 connections, a pool of 10',
      `200 visits: ${JSON.stringify(codes)}; wrong 0, then all answered`,
    )
  },
)

// The system's limit of memory for a process of another user's cannot be lowered without a capability that root in a container has not
// got: the server says that it has no memory where it does not.
test('F46: a backend that has no memory left is full, saves nothing of that session and leaves the others alone', async () => {
  await sql(`create function public.no_memory() returns trigger language plpgsql as
    $$ begin if new.data ? 'large' then raise exception using errcode = '53200', message = 'out of memory'; end if; return new; end $$`)
  await sql(
    'create trigger no_memory before update on pgstore.sessions for each row execute function public.no_memory()',
  )
  const store = testStore()
  const [small, large] = (await visited(store, 2)) as [Visitor, Visitor]
  const saves = [large, small].map((visitor, n) =>
    visitor.visit(store, ({ values }) => Object.assign(values, n === 0 ? { large: 1 } : { again: 1 })),
  )
  const [failed, saved] = await Promise.allSettled(saves)
  assert.is(saved?.status, 'fulfilled')
  const { code, sqlState, isRetryable } = (failed as PromiseRejectedResult).reason as PGStoreError
  assert.equal([code, sqlState, isRetryable], ['full', '53200', true])
  assert.equal((await store.get(large.request(), 'sid')).values, { n: 1 })
  await sql('drop function public.no_memory() cascade')
  await large.visit(store, ({ values }) => Object.assign(values, { large: 1 }))
  report('F46', 'a backend without memory', 'full, 53200; its session unchanged, the other saved beside it')
})

const bin = systemBin() ?? ''
const noReset = fs.existsSync(path.join(bin, 'pg_resetwal')) ? notOurs : 'there is no pg_resetwal'

/** With long counts alone: until autovacuum has been through every database takes minutes on a busy machine. */
const withLongCounts: typeof needs = (...experiment) => {
  if (counts(0, 1) === 1) needs(...experiment)
}

withLongCounts(
  noReset,
  'F46: a server that assigns no more transaction numbers is full, still reads, and signs nobody out',
  async () => {
    const server = await installed({ max_prepared_transactions: '2', autovacuum_naptime: '1s' }, bin)
    const store = storeAt({ connectionString: server.clientUrl, touchAfter: 0 })
    const visitors = await visited(store, 5)
    // It keeps the old numbers from being given up, as a forgotten transaction does.
    await server.ask(`begin; create table public.held (n integer); prepare transaction 'forgotten'`)
    const [row] = await server.ask<{ oldest: number }>(
      'select min(datfrozenxid::text::bigint)::integer as oldest from pg_database',
    )
    const oldest = row?.oldest ?? 0
    await server.stop()
    const next = oldest + 2 ** 31 - 1 - 3_000_000 + 1000
    const data = path.join(server.home, 'data')
    const { uid, gid } = fs.statSync(data)
    execFileSync(path.join(bin, 'pg_resetwal'), ['-f', '-x', String(next), '-u', String(oldest), data], { uid, gid })
    const segment = path.join(
      data,
      'pg_xact',
      Math.floor(next / 2 ** 20)
        .toString(16)
        .toUpperCase()
        .padStart(4, '0'),
    )
    fs.writeFileSync(segment, Buffer.alloc(256 * 1024))
    fs.chownSync(segment, uid, gid)
    await server.start()
    await until(
      async () => (await store.get((visitors[0] as Visitor).request(), 'sid').catch(() => undefined)) !== undefined,
    )
    for (const [n, visitor] of visitors.entries()) {
      const save = (await rejection(
        visitor.visit(store, ({ values }) => Object.assign(values, { n: -1 })),
      )) as PGStoreError
      assert.equal([save.code, save.sqlState, save.isRetryable], ['full', '54000', true], save.message)
      // A page that only reads, though its visit is due to be written.
      const { session } = await visitor.visit(store)
      assert.equal([session.isNew, session.values], [false, { n }])
    }
    await server.ask(`rollback prepared 'forgotten'`)
    for (const database of ['template1', 'postgres']) {
      const client = new pg.Client(Object.assign(new URL(server.url), { pathname: `/${database}` }).href)
      await client.connect()
      await client.query('vacuum freeze')
      await client.end()
    }
    await until(async () => {
      return await (visitors[0] as Visitor)
        .visit(store, ({ values }) => Object.assign(values, { n: 7 }))
        .then(
          () => true,
          () => false,
        )
    }, 120)
    report(
      'F46',
      'no more transaction numbers',
      'saves full, 54000; reads answered, 5 of 5 still signed in; saves again after the vacuum',
    )
  },
)

test.run()
