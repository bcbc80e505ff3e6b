import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import { closeAll } from '../support/harness.ts'
import { testProgram } from './other_language.ts'

const script = fileURLToPath(new URL('../../examples/python/session.py', import.meta.url))
const has = (python: string, name: string) => spawnSync(python, ['-c', `import ${name}`]).status === 0
/** The distribution's Python has the distribution's packages, the first on the path may not. */
const python = ['python3', '/usr/bin/python3'].find((candidate) => has(candidate, 'psycopg2'))
if (!python) console.log('Skipped: python3-psycopg2 is not installed.')

test.after(closeAll)

testProgram(
  'Python',
  () => ({
    decrypts: has(python ?? '', 'cryptography'),
    run: (args, env) => spawnSync(python ?? '', ['-B', script, ...args], { env, encoding: 'utf8', timeout: 30_000 }),
  }),
  python !== undefined,
)

test.run()
