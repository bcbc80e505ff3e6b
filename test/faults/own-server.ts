// Servers of a test's own, that may be stopped, killed, frozen, and followed by a standby.
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { type PostgresServer, startPostgres } from '../../scripts/postgres.ts'
import { migrate } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { serverBin, until } from '../support/harness.ts'

/** None of these can run on a server that is not ours. */
export const canStartServers: boolean = serverBin !== ''

/** A server of this file's own, which keeps its data and its port when it is stopped and started. */
export class OwnServer {
  readonly #home = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-fault-'))
  readonly #settings: Readonly<Record<string, string>>
  readonly #bin: string
  readonly #password = randomBytes(12).toString('hex')
  #server: PostgresServer | undefined
  #port: number | undefined

  /** @param bin folder of the server's programs */
  constructor(settings: Readonly<Record<string, string>> = {}, bin: string = serverBin) {
    this.#bin = bin
    this.#settings = { fsync: 'off', ...settings }
  }

  /** As its superuser. */
  get url(): string {
    if (!this.#server) throw new Error('It has never run.')
    return this.#server.url()
  }

  /** As an application's role, after `install`. */
  get clientUrl(): string {
    return Object.assign(new URL(this.url), { username: clientRole, password: this.#password }).href
  }

  /** Folder of `data` and `log`. */
  get home(): string {
    return path.join(this.#home, 'server')
  }

  get log(): string {
    return fs.readFileSync(path.join(this.home, 'log'), 'latin1')
  }

  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const port = this.#port === undefined ? {} : { port: this.#port }
    fs.chmodSync(this.#home, 0o755) // the server's user must get in
    this.#server = await startPostgres({
      bin: this.#bin,
      home: this.home,
      settings: { ...this.#settings, ...settings },
      ...port,
    })
    this.#port = this.#server.port
  }

  /** Starts with the schema and a role that has *client* and *account*. */
  async install(): Promise<void> {
    await this.start()
    await this.use(async (owner) => {
      await migrate(owner)
      await owner.query(`create role ${clientRole} login password '${this.#password}'`)
      for (const statement of grantStatements(clientRole, ['client', 'account'], 'pgstore'))
        await owner.query(statement)
    })
  }

  /** What `work` does as the superuser. */
  async use<Result>(work: (pool: pg.Pool) => Promise<Result>): Promise<Result> {
    const pool = new pg.Pool({ connectionString: this.url, max: 4, connectionTimeoutMillis: 10_000 })
    pool.on('error', () => {})
    try {
      return await work(pool)
    } finally {
      await pool.end()
    }
  }

  /** Rows of one statement over a connection of its own, as the superuser. */
  async ask<Row extends object = Record<string, unknown>>(text: string, values: unknown[] = []): Promise<Row[]> {
    const client = new pg.Client(this.url)
    client.on('error', () => {})
    await client.connect()
    try {
      return (await client.query<Row>(text, values)).rows
    } finally {
      await client.end()
    }
  }

  /** As `pg_ctl stop -m fast`. */
  async stop(): Promise<void> {
    await this.#server?.stop()
  }

  /** Crashes: SIGQUIT is `pg_ctl stop -m immediate`, SIGKILL ends the postmaster alone, whose backends notice. */
  async crash(signal: 'SIGQUIT' | 'SIGKILL'): Promise<void> {
    process.kill(this.#postmaster(), signal)
    await this.#server?.stop()
  }

  /** A backend may outlive its postmaster by a moment, and no other server starts until it has ended. */
  async startAgain(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.start(settings)
      } catch (error) {
        if (attempt === 20) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  /** Stops all its processes where they are; what thaws them. */
  freeze(): () => void {
    const postmaster = this.#postmaster()
    const children = (of: number) =>
      execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
        .split('\n')
        .map((line) => line.trim().split(/\s+/).map(Number) as [number, number])
        .flatMap(([pid, parent]) => (parent === of ? [pid] : []))
    process.kill(postmaster, 'SIGSTOP') // first, so that it makes no more
    const all = [...children(postmaster), postmaster]
    const tell = (signal: NodeJS.Signals) => {
      for (const pid of all) {
        try {
          process.kill(pid, signal)
        } catch {
          // it has ended meanwhile
        }
      }
    }
    tell('SIGSTOP')
    return () => tell('SIGCONT')
  }

  /** Comes back as a standby, as an old primary does after a failover, of `primary` if there is one; see `promote`. */
  async demote(primary?: OwnServer): Promise<void> {
    await this.stop()
    this.#becomeStandby(primary)
    await this.startAgain()
  }

  /** A standby that follows this server, which stops for a moment to be copied. */
  async standby(settings: Readonly<Record<string, string>> = this.#settings): Promise<OwnServer> {
    const other = new OwnServer(settings, this.#bin)
    await this.stop()
    // With its owner: `fs.cp` would make it root's.
    spawnSync('cp', ['-a', this.home, other.#home])
    fs.rmSync(path.join(other.home, 'keeper.pid'), { force: true })
    await this.start()
    other.#becomeStandby(this)
    await other.start()
    await until(async () => (await this.ask('select from pg_stat_replication')).length > 0, 60)
    return other
  }

  async promote(): Promise<void> {
    await this.ask('select pg_promote()')
  }

  #becomeStandby(primary: OwnServer | undefined): void {
    const data = path.join(this.home, 'data')
    const { uid, gid } = fs.statSync(data)
    const write = (name: string, text: string) => {
      fs.appendFileSync(path.join(data, name), text)
      fs.chownSync(path.join(data, name), uid, gid)
    }
    write('standby.signal', '')
    if (!primary) return
    const { hostname, port, username, password } = new URL(primary.url)
    const conninfo = `host=${hostname} port=${port} user=${username} password=${decodeURIComponent(password)}`
    write('postgresql.auto.conf', `\nprimary_conninfo = '${conninfo}'\n`)
  }

  #postmaster(): number {
    return Number.parseInt(fs.readFileSync(path.join(this.home, 'data/postmaster.pid'), 'utf8'), 10)
  }

  async remove(): Promise<void> {
    await this.stop()
    fs.rmSync(this.#home, { recursive: true, force: true })
  }
}

const clientRole = 'fault_client'
