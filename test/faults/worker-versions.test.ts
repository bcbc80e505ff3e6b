// Two versions of graphile-worker in one database, and a schema of its name that is not its own. With simulated revisions:
// test/cleanup/worker-schema.test.ts.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { addExpired, countSessions } from '../support/crowd.ts'
import { closeAll, databaseUrl, row, sql, until } from '../support/harness.ts'
import { endPrograms, Program, pgstore } from '../support/program.ts'
import { report, test } from './faults.ts'

const modules = fileURLToPath(new URL('../versions/node_modules', import.meta.url))
const other = path.join(modules, 'graphile-worker-0.18')
const node = path.join(modules, 'node-24/bin/node') // which 0.18 asks for
const isInstalled = fs.existsSync(other) && fs.existsSync(node)
if (!isInstalled) console.log('Skipped: F45. graphile-worker 0.18 is not installed: npm ci --prefix test/versions.')

test.after.each(endPrograms)
test.after(closeAll)

const text = 'F45: a worker leaves a host’s newer graphile-worker alone, and works beside it in a schema of its own'
const body = async () => {
  const host = new Program(['test/faults/host-worker.ts', databaseUrl, other], {}, { node })
  await host.line(/^running/)
  const more = async () => {
    const before = host.lines.length
    await until(() => host.lines.length > before + 3, 90).catch((error) => {
      throw new Error(`${String(error)}\n${host.output}\n${host.errors}`)
    })
  }
  await more()
  const revisions = async () => await sql('select id, ts, breaking from graphile_worker.migrations order by id')
  const before = await revisions()
  const refused = pgstore('worker')
  const { code } = await refused.ended
  assert.is(code, 2)
  assert.match(refused.errors, /revision \d+ of graphile-worker/)
  assert.equal(await revisions(), before)
  await more()

  const beside = pgstore('worker', '--worker-schema', 'pgstore_worker')
  await beside.line(/waiting/)
  await sql(`select pgstore.cleanup_start('1 second')`)
  for (let run = 0; run < 3; run++) {
    await addExpired(10)
    await until(async () => (await countSessions()).due === 0, 60)
    await more()
  }
  assert.equal(await revisions(), before)
  assert.ok(host.isRunning && beside.isRunning)
  assert.not.match(host.output, /ended/)
  assert.is((await beside.end()).code, 0)
  await host.end('SIGKILL')
  report(
    'F45',
    'two versions of graphile-worker',
    `refused in words, nothing changed; ${host.lines.length} jobs of the host ran, 3 purges beside`,
  )
}
if (isInstalled) test(text, body)
else test.skip(text)

test('F45: a schema of that name which is not graphile-worker’s is left alone, and the worker says why it does not start', async () => {
  await sql('drop schema if exists graphile_worker cascade')
  await sql(
    'create schema graphile_worker; create table graphile_worker.migrations (name text); create table graphile_worker.jobs (id integer)',
  )
  const worker = pgstore('worker')
  const { code } = await worker.ended
  assert.is(code, 2)
  assert.match(worker.errors, /graphile_worker has a table "migrations" that is not graphile-worker's/)
  const { tables } = await row<{ tables: string }>(
    `select string_agg(relname, ' ' order by relname) as tables from pg_class where relnamespace = 'graphile_worker'::regnamespace and relkind = 'r'`,
  )
  assert.is(tables, 'jobs migrations')
  report('F45', 'a foreign schema called graphile_worker', worker.errors.trim().split('\n')[0] ?? '')
})

test.run()
