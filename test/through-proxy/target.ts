// A proxy and four partitions as a target of the tests: a database on each for every file.
//
// Tests arrange and look at the tables in their own database, the proxy's, which has none: there they are views of the partitions',
// through postgres_fdw. And they listen there: what the partitions announce is passed on.
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { Cluster, type ClusterDatabase, plproxyBin, query, schema } from '../../scripts/cluster/cluster.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import type { Target } from '../targets.ts'
import type { Variant } from '../versions.ts'
import { type Chosen, firstByte, leftOut, runsThroughProxy } from './left-out.ts'

/** The other tables have a session's number or one that ends like it: its low byte is the key's first. */
const views = [
  { table: 'sessions', byte: 'get_byte(key, 0)' },
  { table: 'bindings', byte: '(session_id & 255)::integer' },
  { table: 'history', byte: '(session_id & 255)::integer' },
  { table: 'ending_deliveries', byte: '(id & 255)::integer' },
] as const

const template = 'pgstore_test_template'

/** A test that waits for a lock which its own proxy's call holds on a partition would wait for ever. */
const settings = { lock_timeout: '12s', idle_in_transaction_session_timeout: '60s' }

/** With a uvu that leaves out what cannot pass there. */
export function throughProxy(which: Chosen): Variant {
  return {
    name: 'PL/Proxy',
    command: [process.execPath, '--enable-source-maps'],
    packages: { uvu: fileURLToPath(new URL('uvu', import.meta.url)) },
    files: { test: (file) => runsThroughProxy(file, which) },
  }
}

export async function startProxyTarget(): Promise<Target> {
  const cluster = await Cluster.start({ settings })
  const client = { username: 'pgstore_test_client', password: randomBytes(12).toString('hex') }
  let made = 0
  try {
    const { url, partitionUrls } = await cluster.createDatabase(template)
    await query(
      url,
      `create role ${client.username} login password '${client.password}'`,
      ...grantStatements(client.username, ['client', 'account'], schema),
      'revoke all on schema public from public',
      ...viewStatements(partitionUrls),
    )
  } catch (error) {
    await cluster.stop()
    throw error
  }
  return {
    name: `PL/Proxy over ${cluster.partitions.length} partitions`,
    database: async (file) => {
      const name = `pgstore_test_${made++}`
      const database = await cluster.copyDatabase(name, template)
      await query(
        database.url,
        ...database.partitionUrls.map((_, n) => `alter server look_${n} options (set dbname '${name}')`),
        `revoke all on database ${name} from public`,
        `grant connect on database ${name} to ${client.username}`,
      )
      const relay = await passOn(database)
      return {
        env: {
          PGSTORE_TEST_DATABASE_URL: database.url,
          PGSTORE_TEST_CLIENT_URL: Object.assign(new URL(database.url), client).href,
          PGSTORE_TEST_DIRECT_URLS: database.partitionUrls.join(' '),
          PGSTORE_TEST_PARTITION_URLS: database.partitionUrls.join(' '),
          PGSTORE_TEST_BIN: plproxyBin(),
          PGSTORE_TEST_LEFT_OUT: JSON.stringify(leftOut(file)),
          PGSTORE_TEST_FIRST_BYTE: firstByte(file)?.toString(),
        },
        drop: async () => {
          await relay.end()
          await database.drop()
        },
      }
    },
    stop: () => cluster.stop(),
  }
}

function viewStatements(partitionUrls: readonly string[]): string[] {
  const servers = partitionUrls.map((url, n) => {
    const { port, username, password } = new URL(url)
    return `create server look_${n} foreign data wrapper postgres_fdw options (host '127.0.0.1', port '${port}', dbname '${template}');
      create user mapping for current_user server look_${n} options (user '${username}', password '${decodeURIComponent(password)}')`
  })
  const tables = views.flatMap(({ table, byte }) => [
    `import foreign schema ${schema} limit to (${table}) from server look_0 into ${schema}`,
    `create table ${schema}.whole (like ${schema}.${table}) partition by list ((${byte} & ${partitionUrls.length - 1}))`,
    `drop foreign table ${schema}.${table}`,
    `alter table ${schema}.whole rename to ${table}`,
    ...partitionUrls.map(
      (_, n) =>
        `create foreign table ${schema}.${table}_${n} partition of ${schema}.${table} for values in (${n}) server look_${n} options (schema_name '${schema}', table_name '${table}')`,
    ),
  ])
  const alike = `import foreign schema ${schema} limit to (audit, ending_consumers) from server look_0 into ${schema}`
  // Sessions that a test adds to the tables take their numbers from here: none that a partition will give.
  const numbers = `create sequence ${schema}.session_number start 1000000000`
  return ['create extension postgres_fdw', ...servers, ...tables, alike, numbers]
}

/** Passes what is announced on the partitions to whoever listens in the proxy's database. */
async function passOn({ url, partitionUrls }: ClusterDatabase): Promise<{ end(): Promise<void> }> {
  const proxy = new pg.Client({ connectionString: url })
  const ears = partitionUrls.map((connectionString) => new pg.Client({ connectionString }))
  const all = [proxy, ...ears]
  for (const client of all) client.on('error', () => {}) // a test may end every connection there is
  await Promise.all(all.map((client) => client.connect()))
  let told: Promise<unknown> = Promise.resolve()
  for (const ear of ears) {
    ear.on('notification', ({ channel, payload = '' }) => {
      told = told.then(() => proxy.query('select pg_notify($1, $2)', [channel, payload])).catch(() => {})
    })
    await ear.query(`listen ${schema}_sessions`)
  }
  return { end: async () => void (await Promise.allSettled(all.map((client) => client.end()))) }
}
