// A failover below a proxy: one partition's primary dies under load, and libpq finds its standby once that is promoted.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Cluster, query, role } from '../../scripts/cluster/cluster.ts'
import type { PostgresServer } from '../../scripts/postgres.ts'
import { PGStore } from '../../src/index.ts'
import { Load } from '../faults/load.ts'
import { OwnServer } from '../faults/own-server.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, until, Visitor } from '../support/harness.ts'

test.after(closeAll)

test('a partition fails over to its standby, and the others go on', async () => {
  const cluster = await Cluster.start({ partitions: 1 })
  const primary = new OwnServer({ synchronous_standby_names: '*', synchronous_commit: 'local' })
  await primary.start()
  const standby = await primary.standby({ fsync: 'off' })
  try {
    const [first] = cluster.partitions as [PostgresServer]
    // With the password that the proxy has for all partitions.
    const verifier = await passwordOn(first)
    await query(
      primary.url,
      `create role ${role} login password '${verifier}'`,
      `alter role ${role} set synchronous_commit = 'on'`,
    )
    const { url } = await cluster.createDatabase('failover', [first, named(primary)])
    const hosts = `host=127.0.0.1,127.0.0.1 port=${portOf(primary)},${portOf(standby)}`
    await query(url, `alter server pgstore options (set p1 '${hosts} target_session_attrs=read-write dbname=failover')`)
    const store = new PGStore({ connectionString: url, keyPairs: [hashKey], batch: { lanes: 2 } })
    const load = new Load(store)
    await load.start()
    const [other, moved] = [await visitorAt(store, 0), await visitorAt(store, 1)]
    await load.more(counts(200, 2000), 120)

    await primary.crash('SIGKILL')
    const isSignedIn = async (visitor: Visitor) => !(await store.get(visitor.request(), 'sid')).isNew
    for (let turn = 0; turn < 20; turn++) assert.ok(await isSignedIn(other), 'the other partition')
    await standby.promote()
    await until(async () => await isSignedIn(moved).catch(() => false))
    await load.more(counts(200, 2000), 120)
    await load.judged()
    await store.close()
  } finally {
    await cluster.stop()
    await primary.remove()
    await standby.remove()
  }
})

/** A visitor whose session lies on this one of two partitions. */
async function visitorAt(store: PGStore, partition: number): Promise<Visitor> {
  for (let turn = 0; turn < 100; turn++) {
    const visitor = new Visitor()
    const { session } = await visitor.visit(store, ({ values }) => Object.assign(values, { here: true }))
    if (Number(BigInt(session.id as string) & 1n) === partition) return visitor
  }
  throw new Error('A hundred tokens lie on one partition.')
}

async function passwordOn(server: PostgresServer): Promise<string> {
  const client = new pg.Client(server.url())
  await client.connect()
  try {
    const { rows } = await client.query<{ text: string }>(
      'select rolpassword as text from pg_authid where rolname = $1',
      [role],
    )
    return rows[0]?.text ?? ''
  } finally {
    await client.end()
  }
}

const portOf = (server: OwnServer) => Number(new URL(server.url).port)

/** As the cluster knows its servers. */
function named(server: OwnServer): PostgresServer {
  const url = (database?: string) => {
    const at = new URL(server.url)
    if (database !== undefined) at.pathname = database
    return at.href
  }
  return { port: portOf(server), url } as PostgresServer
}

test.run()
