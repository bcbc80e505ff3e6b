// A server of a test's own: to read its log and its files, and to kill it. Its database is as strict as one can be: PUBLIC may
// do nothing in it, and the application's role has *client* and *account* alone.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { type PostgresServer, startPostgres } from '../../scripts/postgres.ts'
import { migrate } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { serverBin, until } from '../support/harness.ts'

/** Whether there are programs to start a server with. */
export const canStart: boolean = serverBin !== ''

export const startReason = 'the tests run on a server that is not ours, and none can be started'

export interface StrictServer extends PostgresServer {
  /** As superuser. */
  readonly owner: pg.Pool
  readonly ownerUrl: string
  readonly clientUrl: string
  readonly role: string
  /** What the server has logged since it was set up. */
  readLog(): string
  end(): Promise<void>
}

/** Starts one with these settings; `home` as in `startPostgres`, for one that was there before. */
export async function startStrict(
  settings: Readonly<Record<string, string>> = {},
  home?: string,
): Promise<StrictServer> {
  const server = await startPostgres({ bin: serverBin, settings, ...(home === undefined ? {} : { home }) })
  const ownerUrl = server.url()
  const owner = new pg.Pool({ connectionString: ownerUrl, max: 4 })
  owner.on('error', () => {})
  const password = randomBytes(12).toString('hex')
  const role = 'strict_client'
  await migrate(owner)
  await strip(owner, role, password)
  const url = new URL(ownerUrl)
  Object.assign(url, { username: role, password })
  const from = await endOfLog(server, owner)
  return {
    ...server,
    owner,
    ownerUrl,
    clientUrl: url.href,
    role,
    readLog: () => fs.readFileSync(server.log).subarray(from).toString('latin1'),
    async end() {
      await owner.end()
      await server.stop()
    },
  }
}

/** Everything logged so far is before this position in the file, which the server's lines reach in order and with a delay. */
async function endOfLog(server: PostgresServer, owner: pg.Pool): Promise<number> {
  const mark = `from here on ${randomBytes(8).toString('hex')}`
  await owner.query(`do $$ begin raise log '${mark}'; end $$`)
  await until(() => fs.readFileSync(server.log).includes(mark))
  const log = fs.readFileSync(server.log)
  return log.indexOf(mark) + mark.length
}

/** Revokes from PUBLIC what can be revoked, and grants the role *client*. */
async function strip(owner: pg.Pool, role: string, password: string): Promise<void> {
  await owner.query(`
    do $$
    begin
      if not exists (select from pg_roles where rolname = '${role}') then
        create role ${role};
      end if;
    end
    $$;
    alter role ${role} login password '${password}';
    revoke all on database postgres from public;
    revoke all on schema public from public;
    revoke all on language plpgsql, sql from public;
    grant connect on database postgres to ${role};
    ${grantStatements(role, ['client', 'account'], 'pgstore').join('\n')}`)
}

/** SIGKILL to the postmaster, whose children notice and end. */
export async function kill(server: StrictServer): Promise<void> {
  const file = path.join(server.home, 'data', 'postmaster.pid')
  process.kill(Number.parseInt(fs.readFileSync(file, 'utf8'), 10), 'SIGKILL')
  await server.owner.end()
  await server.stop()
}

/** A backend may outlive its postmaster by a moment, and no other server starts until it has ended. */
export async function startAgain(home: string, settings: Readonly<Record<string, string>> = {}): Promise<StrictServer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startStrict(settings, home)
    } catch (error) {
      if (attempt === 20) throw error
    }
  }
}

const homes: string[] = []

/** A folder for a server that is to be started again in it; removed by `removeHomes`. */
export function newHome(): string {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-security-'))
  fs.chmodSync(home, 0o755) // the server's user must get in
  homes.push(home)
  return path.join(home, 'server')
}

export function removeHomes(): void {
  for (const home of homes.splice(0)) fs.rmSync(home, { recursive: true, force: true })
}
