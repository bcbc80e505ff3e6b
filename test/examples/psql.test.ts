import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, databaseUrl, row, sql, until } from '../support/harness.ts'
import { endPrograms, pgstore } from '../support/program.ts'

test.after.each(endPrograms)
test.after(closeAll)

const isInstalled = spawnSync('psql', ['--version']).status === 0
if (!isInstalled) console.log('Skipped: psql is not installed.')
function psqlTest(name: string, run: () => unknown): void {
  if (isInstalled) test(name, run as () => void)
  else test.skip(name)
}

interface Ran {
  readonly output: string
  readonly errors: string
  readonly code: number | null
}

async function runScript(name = 'session.sql'): Promise<Ran> {
  const script = fileURLToPath(new URL(`../../examples/psql/${name}`, import.meta.url))
  const psql = spawn('psql', ['-v', 'ON_ERROR_STOP=1', '-X', '-f', script, databaseUrl], { timeout: 60_000 })
  let [output, errors] = ['', '']
  psql.stdout.on('data', (chunk) => {
    output += chunk
  })
  psql.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const code = await new Promise<number | null>((resolve) => psql.once('close', resolve))
  return { output, errors, code }
}

/** The rows printed below a heading, each without its padding. */
function rowsBelow(output: string, heading: string): string[] {
  const [, section = ''] = output.split(new RegExp(`^${heading}:? .*$`, 'm'))
  const [lines = ''] = section.split(/^[A-Z].*$/m)
  const rows = lines.split('\n').map((line) => line.replaceAll(/ *\| */g, ' | ').trim())
  return rows.filter((line, index) => line !== '' && !/^[-+]+$/.test(line) && !/^[-+]+$/.test(rows[index + 1] ?? ''))
}

psqlTest('the psql example shows every step of a session from its beginning to its purge', async () => {
  const { output, errors, code } = await runScript()
  assert.equal({ errors, code }, { errors: '', code: 0 })
  const steps = ['Create', 'Merge', 'Get', 'Compare', 'Touch', 'Regenerate', 'List', 'Revoke', 'A save', 'Purge']
  assert.equal(Object.fromEntries(steps.map((step) => [step, rowsBelow(output, step)])), {
    Create: ['saved | 1 | -'],
    Merge: ['saved | 2'],
    Get: ['2 | example 42 | {"cart": ["tea"], "visits": 2}'],
    Compare: ['conflict | 2 | {"cart": ["tea"], "visits": 2}'],
    Touch: ['saved | 2'],
    Regenerate: ['saved | 2', 'gone'],
    List: ['2 | {"cart": ["tea"], "visits": 2} | t'],
    Revoke: ['1'],
    'A save': ['gone'],
    Purge: ['saved', 't', 't', '0'],
  })
})

psqlTest('the psql example leaves nothing behind and may run again', async () => {
  await runScript()
  assert.is((await runScript()).code, 0)
  assert.equal(await sql('select count(*) from pgstore.sessions'), [{ count: '0' }])
})

psqlTest('the cleanup example starts the purge, sees a worker do it, and stops it', async () => {
  const worker = pgstore('worker')
  await worker.line(/waiting/, 30)
  const { output, errors, code } = await runScript('cleanup.sql')
  assert.equal({ errors, code }, { errors: '', code: 0 })
  const steps = ['Start', 'An invalid interval', 'Status', 'Stop']
  assert.equal(Object.fromEntries(steps.map((step) => [step, rowsBelow(output, step)])), {
    Start: ['started | t | 00:00:01'],
    'An invalid interval': ['invalid | t | 00:00:01'],
    Status: ['t | 00:00:01 | t | t | t | -', '0'],
    Stop: ['stopped | f | -'],
  })
  await until(async () => (await row('select count(*)::integer as n from graphile_worker.jobs'))['n'] === 0)
})

test.run()
