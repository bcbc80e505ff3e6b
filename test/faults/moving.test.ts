// A database that moves: dumped and restored, replicated to another server, and both from one version of Postgres to a newer one, as
// docs/operations.md says.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { embeddedBin, majorVersion, systemBin } from '../../scripts/postgres.ts'
import { PGStore } from '../../src/index.ts'
import { pgstore } from '../cli/pgstore.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, until } from '../support/harness.ts'
import { report, test } from './faults.ts'
import { Load } from './load.ts'
import { canStartServers, OwnServer } from './own-server.ts'

/** The embedded one has no pg_dump. */
const older = systemBin()
const hasDump = older !== undefined && fs.existsSync(path.join(older, 'pg_dump'))
const newer = canStartServers ? await embeddedBin() : ''
const canRun = canStartServers && hasDump && majorVersion(older) < majorVersion(newer)
const versions = canRun ? `${majorVersion(older)} to ${majorVersion(newer)}` : ''

if (!canRun)
  console.log('Skipped: moving a database. There is no older Postgres with its pg_dump, or the server is not ours.')

const servers: OwnServer[] = []
const stores: PGStore[] = []

function movingTest(name: string, body: () => Promise<void>): void {
  if (canRun) test(name, body)
  else test.skip(name)
}

test.after.each(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()))
  await Promise.all(servers.splice(0).map((server) => server.remove()))
})
test.after(closeAll)

async function installed(settings: Readonly<Record<string, string>> = {}): Promise<OwnServer> {
  const server = new OwnServer(settings, older)
  servers.push(server)
  await server.install()
  return server
}

/** An empty one with the application's role, which may do nothing yet. */
async function empty(bin: string): Promise<OwnServer> {
  const server = new OwnServer({}, bin)
  servers.push(server)
  await server.start()
  const { username, password } = new URL(server.clientUrl)
  await server.ask(`create role ${username} login password '${password}'`)
  await server.ask('create role stranger')
  return server
}

function openStore(connectionString: string): PGStore {
  const store = new PGStore({ connectionString, keys: [hashKey] })
  stores.push(store)
  return store
}

function program(name: 'pg_dump' | 'psql', args: readonly string[], input?: string): string {
  const env = { ...process.env, PGOPTIONS: '-c client_min_messages=warning' }
  return execFileSync(path.join(older ?? '', name), args, {
    encoding: 'utf8',
    env,
    maxBuffer: 1 << 28,
    ...(input !== undefined && { input }),
  })
}

const dump = (from: OwnServer, ...options: string[]) =>
  program('pg_dump', ['--schema=pgstore', '--no-owner', '--no-privileges', ...options, from.url])

/** A newer server knows no setting of an older one that it has lost, and none of these is lost. */
const restore = (to: OwnServer, text: string) =>
  program('psql', ['--quiet', '--no-psqlrc', '--set=ON_ERROR_STOP=1', '--single-transaction', to.url], text)

/** Functions of pgstore's that anybody may run, or a role that was granted nothing. */
async function openToAll(server: OwnServer): Promise<string[]> {
  const rows = await server.ask<{ name: string }>(
    `select p.oid::regprocedure::text as name from pg_proc as p
     where p.pronamespace = 'pgstore'::regnamespace and has_function_privilege('stranger', p.oid, 'execute')`,
  )
  return rows.map(({ name }) => name)
}

async function command(server: OwnServer, ...args: string[]): Promise<void> {
  const { code, stderr } = await pgstore(args, { DATABASE_URL: server.url })
  assert.is(code, 0, stderr)
}

/** Visitors go on where their sessions are now; the checker judges both parts as one history. */
async function goOn(before: Load, server: OwnServer): Promise<string> {
  // A session's number is this one and a byte.
  const [row] = await server.ask<{ isAhead: boolean }>(
    `select nextval('pgstore.session_number') > (select max(id) / 256 from pgstore.sessions) as "isAhead"`,
  )
  assert.ok(row?.isAhead, 'numbers would be given twice')
  const load = new Load(openStore(server.clientUrl), {
    history: before.history,
    places: before.places,
    name: 'm',
    clients: 8,
  })
  await load.start()
  await load.more(counts(150, 2000))
  const { text } = await load.judged()
  assert.is(load.failed, 0, load.text)
  return text
}

/** The key of a session of this user. */
async function known(server: OwnServer, user: string): Promise<Buffer> {
  const [row] = await server.ask<{ key: Buffer }>(
    'select key from pgstore.session_save(sha256(convert_to($1, $2)), p_version => 0, p_user_id => $1)',
    [user, 'UTF8'],
  )
  if (!row) throw new Error('Nothing was saved.')
  return row.key
}

async function begun(server: OwnServer): Promise<Load> {
  const load = new Load(openStore(server.clientUrl), { clients: 8 })
  await load.start()
  await load.more(counts(150, 2000))
  return load
}

movingTest(
  'F41: a dump restored without privileges gives nobody a right, and grant gives back what there was',
  async () => {
    const one = await installed()
    const load = await begun(one)
    await one.ask(`select pgstore.cleanup_start('7 minutes')`)
    await load.stop()
    const other = await empty(older ?? '')
    restore(other, dump(one))
    const open = await openToAll(other)
    const role = new URL(one.clientUrl).username
    await command(other, 'grant', role, '--as', 'client')
    assert.equal(await openToAll(other), [])
    const text = await goOn(load, other)
    const [state] = await other.ask('select enabled, every::text from pgstore.cleanup_status()')
    assert.equal(state, { enabled: true, every: '00:07:00' })
    report(
      'F41',
      'dump, restore without privileges, grant',
      `${open.length} functions were open to all, then 0; ${text}`,
    )
  },
)

movingTest('F47: a database dumped from an older Postgres and restored into a newer one goes on', async () => {
  const one = await installed()
  const load = await begun(one)
  await load.stop()
  const other = await empty(newer)
  restore(other, dump(one))
  await command(other, 'migrate')
  assert.equal(await openToAll(other), [])
  report('F47', `from ${versions} by dump`, await goOn(load, other))
})

for (const [number, bin, what] of [
  ['F42', () => older ?? '', 'logical replication and a switch-over'],
  ['F47', () => newer, `from ${versions} by logical replication`],
] as const) {
  movingTest(
    `${number}: a database that is replicated while it is used and then switched over loses nothing: ${what}`,
    async () => {
      const one = await installed({ wal_level: 'logical' })
      const load = await begun(one)
      await one.ask(`select pgstore.cleanup_start('7 minutes')`)
      const early = await known(one, 'early')
      const isMarkedBefore = number === 'F42' // then the dump has the functions that look for marks
      if (isMarkedBefore) await one.ask(`select pgstore.session_end_before('user:early')`)
      const other = await empty(bin())
      restore(other, dump(one, '--schema-only'))
      if (!isMarkedBefore) await one.ask(`select pgstore.session_end_before('user:early')`)
      await one.ask('create publication pgstore_move for tables in schema pgstore')
      const { hostname, port, username, password } = new URL(one.url)
      const conninfo = `host=${hostname} port=${port} user=${username} password=${password} dbname=postgres`
      await other.ask(`create subscription pgstore_move connection '${conninfo}' publication pgstore_move`)
      await until(
        async () => (await other.ask(`select from pg_subscription_rel where srsubstate <> 'r'`)).length === 0,
        120,
      )
      const [late, bound] = [await known(one, 'late'), await known(one, 'bound')]
      await one.ask(`select pgstore.session_end_before('user:late')`)
      await one.ask(
        `select pgstore.session_bind(s.key, s.id, decode(repeat('ab', 64), 'hex'), 'ES256', sha256('cookie')) from pgstore.session_get($1::bytea) as s`,
        [bound],
      )
      await load.more(100)
      await load.stop() // the application is stopped, and its worker
      await until(async () => {
        const [row] = await one.ask<{ done: boolean }>(
          `select confirmed_flush_lsn >= pg_current_wal_lsn() as done from pg_replication_slots where slot_name = 'pgstore_move'`,
        )
        return row?.done
      }, 60)
      for (const sequence of ['session_number', 'announcement', 'history_number']) {
        const [row] = await one.ask<{ value: string }>(`select nextval('pgstore.${sequence}') as value`)
        await other.ask(`select setval('pgstore.${sequence}', $1)`, [row?.value])
      }
      await other.ask('drop subscription pgstore_move')
      await command(other, 'migrate')
      assert.equal(await openToAll(other), [])
      for (const key of [early, late]) {
        assert.equal(await other.ask('select from pgstore.session_get($1::bytea)', [key]), [], 'an end that was undone')
      }
      const [{ status } = {}] = await other.ask('select status from pgstore.session_binding($1)', [bound])
      assert.is(status, 'bound')
      const text = await goOn(load, other)
      const [state] = await other.ask('select enabled, every::text from pgstore.cleanup_status()')
      assert.equal(state, { enabled: true, every: '00:07:00' })
      report(number, what, text)
    },
  )
}

test.run()
