import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, databaseUrl, sql } from '../harness.ts'

test.after(closeAll)

const script = fileURLToPath(new URL('../../examples/psql/session.sql', import.meta.url))
const isInstalled = spawnSync('psql', ['--version']).status === 0
if (!isInstalled) console.log('Skipped: psql is not installed.')
function psqlTest(name: string, run: () => unknown): void {
  if (isInstalled) test(name, run as () => void)
  else test.skip(name)
}

function runScript(): { output: string; errors: string; code: number | null } {
  const args = ['-v', 'ON_ERROR_STOP=1', '-X', '-f', script, databaseUrl]
  const { stdout, stderr, status } = spawnSync('psql', args, { encoding: 'utf8', timeout: 60_000 })
  return { output: stdout, errors: stderr, code: status }
}

/** The rows printed below a heading, each without its padding. */
function rowsBelow(output: string, heading: string): string[] {
  const [, section = ''] = output.split(new RegExp(`^${heading}:? .*$`, 'm'))
  const [lines = ''] = section.split(/^[A-Z].*$/m)
  const rows = lines.split('\n').map((line) => line.replaceAll(/ *\| */g, ' | ').trim())
  return rows.filter((line, index) => line !== '' && !/^[-+]+$/.test(line) && !/^[-+]+$/.test(rows[index + 1] ?? ''))
}

psqlTest('the psql example shows every step of a session from its beginning to its purge', () => {
  const { output, errors, code } = runScript()
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
  runScript()
  assert.is(runScript().code, 0)
  assert.equal(await sql('select count(*) from pgstore.sessions'), [{ count: '0' }])
})

test.run()
