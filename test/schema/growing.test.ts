// examples/scaling-out/grow.sh copies a partition's tables by name: a table that it does not know would be lost with the old partition.
import fs from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, sql } from '../support/harness.ts'

test.after(closeAll)

/** Not copied: a new partition has its own. */
const own = {
  audit: 'set as it is on the old one',
  cleanup: 'the schedule, of the proxy or of each partition',
  entry_keys: 'for transactions under way',
  grants: 'given with the set-up',
  migrations: 'made with the set-up',
  sweep: 'a walk through the old table',
}

test('every table is copied when partitions are doubled, or stays for a reason', async () => {
  const script = fs.readFileSync(new URL('../../examples/scaling-out/grow.sh', import.meta.url), 'utf8')
  const publication = /create publication[^;]*;/.exec(script)?.[0] ?? ''
  const copied = [...publication.matchAll(/\$schema\.(\w+)/g)].map(([, name = '']) => name)
  const tables = await sql<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'pgstore'::regnamespace and relkind = 'r' order by name`,
  )
  assert.equal([...copied, ...Object.keys(own)].sort(), tables.map(({ name }) => name).sort())
  for (const name of copied)
    if (!/consumers|deliveries/.test(name)) assert.match(script, new RegExp(`truncate[^;]*${name}`))
})

test('and every sequence goes on from where the old one was', async () => {
  const script = fs.readFileSync(new URL('../../examples/scaling-out/grow.sh', import.meta.url), 'utf8')
  const sequences = await sql<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'pgstore'::regnamespace and relkind = 'S'`,
  )
  for (const { name } of sequences) {
    const how = name === 'mark_gate' ? /select \$schema\.purge_marked\(0\)/ : new RegExp(`from \\$schema\\.${name}\\b`)
    assert.match(script, how, name)
  }
})

test.run()
