// The recipes of docs/operations.md work word for word, for a role that owns the database and may create roles, but is not a
// superuser. Their roles have fixed names, so they run on a separate server.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type PostgresServer, startPostgres } from '../../scripts/postgres.ts'
import { pgstore } from '../cli/pgstore.ts'
import { closeAll, hashKey, serverBin, testStore, until, Visitor } from '../support/harness.ts'
import { endPrograms, Program } from '../support/program.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = fs.readFileSync(path.join(root, 'docs/operations.md'), 'utf8')

const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, block]) => block ?? '')

const [roles = '', worker = '', settings = '', logs = '', removal = '', ...others] = blocks('sql')

let server: PostgresServer
const clients: pg.Client[] = []

test.before(async () => {
  if (serverBin) server = await startPostgres({ bin: serverBin, settings: { fsync: 'off' } })
})

test.after(async () => {
  await endPrograms()
  await closeAll()
  await Promise.all(clients.map((client) => client.end()))
  if (serverBin) await server.stop()
})

/** A database `shop` whose owner has CREATEROLE and is not a superuser. */
async function newShop(): Promise<{ master: pg.Client; superuser: pg.Client }> {
  const first = await connect(server.url())
  await first.query(`create role master login createrole password 'master'`)
  await first.query('create database shop owner master')
  return { master: await connect(urlOf('master', 'master')), superuser: await connect(server.url('shop')) }
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  clients.push(client)
  client.on('error', () => {})
  await client.connect()
  return client
}

function urlOf(role: string, password = '…', query = ''): string {
  const url = new URL(server.url('shop'))
  Object.assign(url, { username: role, password, search: query })
  return url.href
}

/** The page's `sh` block, each command word for word, except for the location of the database. */
async function runCommands(block: string): Promise<void> {
  const [, role = '', query = ''] = /^export DATABASE_URL='postgres:\/\/(\w+)@db\/shop(\?\S*)'$/m.exec(block) ?? []
  const commands = [...block.matchAll(/^npx pgstore (.*)$/gm)].map(([, words = '']) => words.split(' '))
  assert.is(commands.length, 3)
  for (const words of commands) {
    const { code, stderr } = await pgstore(words, { DATABASE_URL: urlOf(role, '…', query) })
    assert.equal({ code, stderr }, { code: 0, stderr: '' }, words.join(' '))
  }
}

/** One statement after the other, as psql does. */
async function runStatements(client: pg.Client, block: string): Promise<void> {
  const statements = block.replaceAll(/--.*$/gm, '').split(';')
  for (const statement of statements.filter((text) => text.trim() !== '')) await client.query(statement)
}

const title =
  'B5: the recipes of docs/operations.md work for a role with CREATEROLE that is not a superuser, from roles to removal'
if (serverBin) {
  test(title, async () => {
    assert.equal(others, [])
    const { master, superuser } = await newShop()
    await runStatements(master, roles)
    const [commands = ''] = blocks('sh')
    await runCommands(commands)
    await runStatements(master, settings)
    assert.match(logs, /^-- As superuser/)
    await runStatements(superuser, logs)

    const store = testStore({ connectionString: urlOf('app'), keyPairs: [hashKey] })
    await new Visitor().visit(store, (session) => {
      session.userId = 'ada'
      session.values['a'] = 1
    })
    assert.is((await store.list('ada')).length, 1)
    await store.close()

    const [before = '', after = ''] = worker.split(/(?<=;.*\n)/)
    await runStatements(master, before)
    const running = new Program(['dist/cli/main.js', 'worker'], { DATABASE_URL: urlOf('pgstore_worker') })
    await running.line(/^The worker is waiting/)
    assert.is((await running.end()).code, 0)
    await runStatements(master, after)
    const again = new Program(['dist/cli/main.js', 'worker'], { DATABASE_URL: urlOf('pgstore_worker') })
    await again.line(/^The worker is waiting/)
    await again.end()
    const status = await pgstore(['status', '--json'], { DATABASE_URL: urlOf('pgstore_worker') })
    assert.equal(JSON.parse(status.stdout).warnings, [])

    const { rows } = await master.query(`select distinct rolname from pg_roles as r where r.oid in (
      select proowner from pg_proc where pronamespace = 'pgstore'::regnamespace
      union all select relowner from pg_class where relnamespace = 'pgstore'::regnamespace
      union all select nspowner from pg_namespace where nspname = 'pgstore')`)
    assert.equal(rows, [{ rolname: 'pgstore_owner' }])

    await until(
      async () =>
        (await superuser.query(`select from pg_stat_activity where usename in ('app', 'pgstore_worker', 'deployer')`))
          .rows.length === 0,
    )
    await runStatements(master, removal)
    const left = await superuser.query(
      `select rolname as name from pg_roles where rolname in ('app', 'pgstore_worker', 'deployer', 'pgstore_owner')
       union all select nspname from pg_namespace where nspname in ('pgstore', 'graphile_worker')`,
    )
    assert.equal(left.rows, [])
  })
} else {
  test.skip(title)
  console.log(`Skipped: ${title}: the tests run on a server that is not ours, and none can be started`)
}

test.run()
