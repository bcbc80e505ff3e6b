// PgBouncer in front of a server.
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { databaseUrl, until } from './harness.ts'
import { freePort } from './port.ts'

export const hasPgBouncer: boolean = spawnSync('pgbouncer', ['--version']).status === 0

export interface PgBouncer {
  /** The connection string of a database, led through it. */
  through(url?: string): string
  close(): void
}

/** @param settings lines of its section [pgbouncer], beside where it listens; default: transaction mode, two server connections */
export async function startPgBouncer(url: string = databaseUrl, settings: readonly string[] = []): Promise<PgBouncer> {
  const port = await freePort()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-pooler-'))
  const server = new URL(url)
  const user = decodeURIComponent(server.username)
  const lines = [
    '[databases]',
    `* = host=${server.hostname} port=${server.port || 5432} user=${user} password=${decodeURIComponent(server.password)}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = any',
    'pool_mode = transaction',
    'default_pool_size = 2',
    'max_client_conn = 200',
    ...settings,
  ]
  fs.writeFileSync(path.join(folder, 'pgbouncer.ini'), lines.join('\n'), { mode: 0o644 })
  fs.chmodSync(folder, 0o755)
  const asUser = process.getuid?.() === 0 ? ['-u', 'nobody'] : [] // it refuses to run as root
  const pooler = spawn('pgbouncer', [...asUser, path.join(folder, 'pgbouncer.ini')], { stdio: 'ignore' })
  await until(() => isListening(port))
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
