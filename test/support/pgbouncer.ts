// PgBouncer in front of a server.
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { freePort } from './port.ts'

export const hasPgBouncer: boolean = spawnSync('pgbouncer', ['--version']).status === 0

export interface PgBouncer {
  /** The connection string of a database, led through it. */
  through(url?: string): string
  close(): void
}

/**
 * Everybody is let in, as the user of `url`.
 *
 * @param settings lines of its section [pgbouncer], beside where it listens; default: transaction mode, two server connections
 */
export async function startPgBouncer(
  url: string = process.env['PGSTORE_TEST_DATABASE_URL'] ?? '',
  settings: readonly string[] = [],
): Promise<PgBouncer> {
  const { hostname, port, username, password } = new URL(url)
  const user = `user=${decodeURIComponent(username)} password=${decodeURIComponent(password)}`
  return await start(url, `* = host=${hostname} port=${port || 5432} ${user}`, ['auth_type = any', ...settings])
}

/** Each of these users is let in as itself. */
export async function startPgBouncerFor(
  urls: readonly [string, ...string[]],
  settings: readonly string[],
): Promise<PgBouncer> {
  const { hostname, port } = new URL(urls[0])
  const users = urls.map((url) => {
    const { username, password } = new URL(url)
    return `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"`
  })
  return await start(urls[0], `* = host=${hostname} port=${port || 5432}`, ['auth_type = plain', ...settings], users)
}

async function start(
  url: string,
  database: string,
  settings: readonly string[],
  users: readonly string[] = [],
): Promise<PgBouncer> {
  const port = await freePort()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-pooler-'))
  const lines = [
    '[databases]',
    database,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    `auth_file = ${path.join(folder, 'users')}`,
    'pool_mode = transaction',
    'default_pool_size = 2',
    'max_client_conn = 200',
    ...settings,
  ]
  fs.writeFileSync(path.join(folder, 'pgbouncer.ini'), lines.join('\n'), { mode: 0o644 })
  fs.writeFileSync(path.join(folder, 'users'), users.join('\n'), { mode: 0o644 })
  fs.chmodSync(folder, 0o755)
  const asUser = process.getuid?.() === 0 ? ['-u', 'nobody'] : [] // it refuses to run as root
  const pooler = spawn('pgbouncer', [...asUser, path.join(folder, 'pgbouncer.ini')], { stdio: 'ignore' })
  for (let looks = 0; looks < 500 && !(await isListening(port)); looks++)
    await new Promise((resolve) => setTimeout(resolve, 20))
  return {
    through: (other = url) => Object.assign(new URL(other), { port: String(port) }).href,
    close() {
      pooler.kill('SIGKILL')
      fs.rmSync(folder, { recursive: true })
    },
  }
}

async function isListening(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.end())
  })
}
