// The SQL of a proxy, as it is printed; what it does is tested in through-proxy.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { grantedFunctions } from '../../src/schema/grants.ts'
import { proxySql } from '../../src/schema/proxy.ts'
import { localFiles } from '../../src/schema/proxy-frame.ts'
import { routes } from '../../src/schema/proxy-routes.ts'
import { closeAll } from '../support/harness.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
test.after(closeAll)

function pgstore(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test('every function that an application, a worker or an admin may run is on a proxy, sent on or local', () => {
  const isLocal = (signature: string) => localFiles.includes(`${signature.split('(')[0]}.sql`)
  const missing = grantedFunctions.admin.filter((signature) => !isLocal(signature) && !Object.hasOwn(routes, signature))
  assert.equal(missing, [])
  const unknown = Object.keys(routes).filter((signature) => !grantedFunctions.admin.includes(signature))
  assert.equal(unknown, [])
})

test('a proxy has no table of sessions, and none of its functions reads one', () => {
  const sql = proxySql({ schema: 'pgstore', partitions: 4 })
  assert.not.match(sql, /create table (?:if not exists )?pgstore\.(?!grants|cleanup)/)
  assert.not.match(sql, /from pgstore\.sessions\b/)
})

test('pgstore sql --engine plproxy prints it, for the schema and the number of partitions that are given', () => {
  const { status, stdout } = pgstore('sql', '--engine', 'plproxy', '--partitions', '8', '--schema', 'visits')
  assert.is(status, 0)
  assert.is(stdout.trimEnd(), proxySql({ schema: 'visits', partitions: 8 }).trimEnd())
  assert.match(stdout, /create server visits foreign data wrapper plproxy/)
  assert.match(stdout, /p7 'host=/)
  assert.not.match(stdout, /p8 'host=/)
  assert.not.match(stdout, /PGSTORE_SCHEMA|:schema|pgstore\.session/)
})

for (const [args, message] of [
  [['--engine', 'plproxy'], /--partitions NUMBER together/],
  [['--partitions', '4'], /--engine plproxy and --partitions/],
  [['--engine', 'citus', '--partitions', '4'], /Unknown engine "citus"/],
  [['--engine', 'plproxy', '--partitions', '3'], /must be a power of two/],
  [['--engine', 'plproxy', '--partitions', '512'], /must be a power of two/],
  [['--engine', 'plproxy', '--partitions', 'four'], /must be a power of two/],
] as const) {
  test(`pgstore sql ${args.join(' ')} is a usage error`, () => {
    const { status, stdout, stderr } = pgstore('sql', ...args)
    assert.equal([status, stdout], [2, ''])
    assert.match(stderr, message)
  })
}

test.run()
