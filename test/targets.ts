// The servers that the tests run on, and a database on them for each file.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { embeddedBin, majorVersion, startPostgres, systemBin } from '../scripts/postgres.ts'
import { migrate } from '../src/index.ts'
import { grantStatements } from '../src/schema/grants.ts'
import { type PoolerName, startPooler } from './poolers.ts'

export interface Target {
  readonly name: string
  /** The environment of a test file, with a newly created database. */
  readonly database: (file: string) => Promise<{ readonly env: NodeJS.ProcessEnv; readonly drop: () => Promise<void> }>
  readonly stop: () => Promise<void>
}

interface Server {
  readonly name: string
  readonly url: string
  /** Programs of the server, for tests that start one themselves; '' if only DATABASE_URL is known. */
  readonly bin: string
  readonly stop: () => Promise<void>
}

/** In front of the server: PGSTORE_POOLER, as in `npm run poolers`. */
const pooler = process.env['PGSTORE_POOLER'] as PoolerName | undefined

/** Only DATABASE_URL's server if that is set; else the embedded Postgres, and the newest one installed here. */
export async function startTargets(): Promise<Target[]> {
  const url = process.env['DATABASE_URL']
  const servers = url ? [{ name: 'DATABASE_URL', url, bin: '', stop: async () => {} }] : await startServers()
  const started = await Promise.allSettled(servers.map(prepare))
  const targets = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const failure = started.find((outcome) => outcome.status === 'rejected')
  if (failure === undefined) return targets
  await Promise.all([...targets, ...servers].map((one) => one.stop()))
  throw failure.reason
}

async function startServers(): Promise<Server[]> {
  const bins = [await embeddedBin(), pooler ? undefined : systemBin()].filter((bin) => bin !== undefined)
  return await Promise.all(
    bins.map(async (bin, index) => {
      // Commits need not survive a crash of the machine: the tests that crash a server start one that syncs.
      const settings = { fsync: 'off', full_page_writes: 'off', max_connections: '200' }
      const server = await startPostgres({ bin, settings })
      const name = `PostgreSQL ${majorVersion(bin)} (${index === 0 ? 'embedded' : 'installed'})`
      return { name, url: server.url(), bin, stop: () => server.stop() }
    }),
  )
}

/** An application's role has *client* and nothing else, in databases where PUBLIC has no rights. */
async function prepare({ name, url, bin, stop }: Server): Promise<Target> {
  const admin = new pg.Pool({ connectionString: url, max: 4 })
  admin.on('error', () => {}) // the server goes before the pool's last connection has
  const prefix = `pgstore_test_${randomBytes(4).toString('hex')}`
  const template = `${prefix}_template`
  const client = { username: `${prefix}_client`, password: randomBytes(12).toString('hex') }
  const copying = await copyStrategy(admin)
  let made = 0
  const remove = async () => {
    await admin.query(`drop database if exists ${template} with (force)`)
    await admin.query(`drop role if exists ${client.username}`)
    await admin.end()
    await stop()
  }
  try {
    await admin.query(`create database ${template}`)
    const pool = new pg.Pool({ connectionString: databaseUrl(url, template) })
    pool.on('error', () => {})
    await migrate(pool)
    await admin.query(`create role ${client.username} login password '${client.password}'`)
    for (const statement of grantStatements(client.username, ['client', 'account'], 'pgstore'))
      await pool.query(statement)
    await pool.query('revoke all on schema public from public')
    await pool.end()
  } catch (error) {
    await remove()
    throw error
  }
  const clientUrlOf = (database: string) => databaseUrl(url, database, client)
  const through = pooler && (await startPooler(pooler, clientUrlOf('postgres'), url))
  return {
    name: through ? `${name} behind ${through.name}` : name,
    database: async () => {
      const database = `${prefix}_${made++}`
      await admin.query(`create database ${database} template ${template}${copying}`)
      await admin.query(`revoke all on database ${database} from public`)
      await admin.query(`grant connect on database ${database} to ${client.username}`)
      const env = {
        PGSTORE_TEST_DATABASE_URL: databaseUrl(url, database),
        PGSTORE_TEST_CLIENT_URL: through ? through.lead(clientUrlOf(database)) : clientUrlOf(database),
        ...(through && { PGSTORE_TEST_DIRECT_URLS: clientUrlOf(database), PGSTORE_TEST_POOLER: pooler }),
        PGSTORE_TEST_BIN: bin,
      }
      return { env, drop: async () => void (await admin.query(`drop database ${database} with (force)`)) }
    },
    stop: async () => {
      await through?.close()
      await remove()
    },
  }
}

/** Copying the files takes half the time of copying through the write-ahead log, the default since there is a choice, in 15. */
async function copyStrategy(admin: pg.Pool): Promise<string> {
  const { rows } = await admin.query<{ version: number }>(
    `select current_setting('server_version_num')::integer as version`,
  )
  return (rows[0]?.version ?? 0) >= 150000 ? ' strategy file_copy' : ''
}

function databaseUrl(server: string, database: string, client: object = {}): string {
  const url = new URL(server)
  url.pathname = `/${database}`
  return Object.assign(url, client).href
}
