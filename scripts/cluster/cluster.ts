// A PL/Proxy proxy and its partitions, each a Postgres server of its own on this machine: for tests, measurements and experiments.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { migrate } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { proxySql } from '../../src/schema/proxy.ts'
import { majorVersion, type PostgresServer, startPostgres, systemBin } from '../postgres.ts'

export const schema = 'pgstore'

export interface ClusterOptions {
  /** How many partitions: a power of two. Default: 4. */
  readonly partitions?: number
  /** Settings of every server, besides those below. */
  readonly settings?: Readonly<Record<string, string>>
}

/** A database on the proxy and one of the same name on each partition. */
export interface ClusterDatabase {
  readonly name: string
  /** Of the proxy's database, as its superuser. */
  readonly url: string
  /** Of the partitions' databases, as their superusers. */
  readonly partitionUrls: readonly string[]
  drop(): Promise<void>
}

/** Commits need not survive a crash of the machine. */
const settings = {
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: '300',
  shared_buffers: '32MB',
  max_wal_size: '256MB',
}

/** The proxy's role on the partitions, and the functions' owner on the proxy. */
export const role = 'pgstore_proxy'
const owner = 'pgstore_owner'

/** Folder of the programs of an installed server that has PL/Proxy; undefined if there is none. */
export function plproxyBin(): string | undefined {
  const bin = systemBin()
  return bin !== undefined && fs.existsSync(path.join(bin, '../lib/plproxy.so')) ? bin : undefined
}

/** What to install, for a machine without PL/Proxy. */
export function howToInstall(): string {
  const bin = systemBin()
  const version = bin === undefined ? '15' : majorVersion(bin)
  return `PL/Proxy is not installed here. On Debian or Ubuntu: apt-get install postgresql-${version} postgresql-${version}-plproxy; elsewhere, the package plproxy for your server's version, with initdb and postgres on the path.`
}

export class Cluster {
  readonly proxy: PostgresServer
  readonly #home: string
  readonly #servers: PostgresServer[]
  readonly #start: (index: number, port: number) => Promise<PostgresServer>
  readonly #password: string

  private constructor(
    home: string,
    proxy: PostgresServer,
    partitions: PostgresServer[],
    start: (index: number, port: number) => Promise<PostgresServer>,
    password: string,
  ) {
    this.#home = home
    this.proxy = proxy
    this.#servers = partitions
    this.#start = start
    this.#password = password
  }

  /** @throws {Error} that says what to install, where there is no PL/Proxy */
  static async start({ partitions = 4, settings: more = {} }: ClusterOptions = {}): Promise<Cluster> {
    const bin = plproxyBin()
    if (bin === undefined) throw new Error(howToInstall())
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-cluster-'))
    fs.chmodSync(home, 0o711) // the servers' user has a folder of its own in it
    const start = async (name: string, port?: number) =>
      await startPostgres({
        bin,
        home: path.join(home, name),
        settings: { ...settings, ...more },
        ...(port === undefined ? {} : { port }),
      })
    const names = Array.from({ length: partitions }, (_, n) => `partition${n}`)
    const started = await Promise.allSettled(['proxy', ...names].map((name) => start(name)))
    const servers = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failure = started.find((one) => one.status === 'rejected')
    const [proxy, ...others] = servers
    try {
      if (failure || !proxy) throw failure?.reason
      const password = randomBytes(12).toString('hex')
      const startAgain = (index: number, port: number) => start(`partition${index}`, port)
      const cluster = new Cluster(home, proxy, others, startAgain, password)
      for (const server of others) {
        await query(server.url(), `create role ${role} login password '${password}'`)
      }
      await query(proxy.url(), `create role ${owner}`)
      return cluster
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop()))
      fs.rmSync(home, { recursive: true, force: true })
      throw error
    }
  }

  get partitions(): readonly PostgresServer[] {
    return this.#servers
  }

  /** Ends one partition's server. */
  async stopPartition(index: number): Promise<void> {
    await this.#servers[index]?.stop()
  }

  /** Starts it again, on the same port, with what it holds. */
  async startPartition(index: number): Promise<void> {
    const port = this.#servers[index]?.port
    if (port === undefined) throw new Error(`There is no partition ${index}.`)
    this.#servers[index] = await this.#start(index, port)
  }

  /** The processes of a server, its own first: what to freeze, and whose time to count. */
  pids(server: PostgresServer): number[] {
    const first = Number.parseInt(fs.readFileSync(path.join(server.home, 'data/postmaster.pid'), 'utf8'), 10)
    const children = fs.readFileSync(`/proc/${first}/task/${first}/children`, 'utf8').trim()
    return [first, ...(children === '' ? [] : children.split(' ').map(Number))]
  }

  /**
   * A database on the partitions with the schema, and one on the proxy with its functions.
   *
   * @param servers the partitions that the proxy uses; by default all, each once
   */
  async createDatabase(name: string, servers: readonly PostgresServer[] = this.#servers): Promise<ClusterDatabase> {
    await Promise.all(
      servers.map(async (server) => {
        await query(server.url(), `create database ${name}`)
        const pool = new pg.Pool({ connectionString: server.url(name), max: 1 })
        try {
          await migrate(pool, { schema })
          await pool.query(grantStatements(role, ['proxy'], schema).join('\n'))
        } finally {
          await pool.end()
        }
      }),
    )
    await query(this.proxy.url(), `create database ${name}`)
    const url = this.proxy.url(name)
    await query(
      url,
      'create extension plproxy',
      `create server ${schema} foreign data wrapper plproxy options (${this.#places(name, servers)})`,
      `create schema ${schema} authorization ${owner}`,
      `create user mapping for ${owner} server ${schema} options (user '${role}', password '${this.#password}')`,
      `grant usage on foreign server ${schema} to ${owner}`,
      proxySql({ schema, partitions: servers.length }),
    )
    return this.#database(name, servers)
  }

  /** A copy of a database that `createDatabase` made, which nobody is connected to: in a tenth of the time. */
  async copyDatabase(name: string, template: string): Promise<ClusterDatabase> {
    const servers = this.#servers
    const copy = `create database ${name} template ${template} strategy file_copy`
    await Promise.all([this.proxy, ...servers].map((server) => query(server.url(), copy)))
    await query(
      this.proxy.url(name),
      `alter server ${schema} options (${this.#places(name, servers).replaceAll(/(^|, )/g, '$1set ')})`,
    )
    return this.#database(name, servers)
  }

  async stop(): Promise<void> {
    await Promise.all([this.proxy, ...this.#servers].map((server) => server.stop()))
    fs.rmSync(this.#home, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }

  #places(name: string, servers: readonly PostgresServer[]): string {
    return servers.map(({ port }, n) => `p${n} 'host=127.0.0.1 port=${port} dbname=${name}'`).join(', ')
  }

  #database(name: string, servers: readonly PostgresServer[]): ClusterDatabase {
    return {
      name,
      url: this.proxy.url(name),
      partitionUrls: servers.map((server) => server.url(name)),
      drop: async () => {
        // The proxy first: its connections hold those of the partitions.
        const drop = `drop database if exists ${name} with (force)`
        await query(this.proxy.url(), drop)
        await Promise.all(servers.map((server) => query(server.url(), drop)))
      },
    }
  }
}

/** Statements one after the other, as the owner of the connection string. */
export async function query(url: string, ...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}
