// A PgBouncer in front of a proxy, which can be told to PAUSE.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { freePort } from '../postgres.ts'

export interface Bouncer {
  /** Of the database behind it. */
  readonly url: string
  /** Of its console. */
  readonly consoleUrl: string
  stop(): Promise<void>
}

export const canBounce: boolean = spawnSync('pgbouncer', ['--version']).status === 0

/** @param name by which the database is called there */
export async function startBouncer(target: string, name: string): Promise<Bouncer> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-bouncer-'))
  fs.chmodSync(folder, 0o755)
  const port = await freePort()
  const { hostname, port: targetPort, username, password, pathname } = new URL(target)
  const lines = [
    '[databases]',
    `${name} = host=${hostname} port=${targetPort} dbname=${pathname.slice(1)} user=${username} password=${decodeURIComponent(password)}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = any',
    'admin_users = pgbouncer',
    'pool_mode = transaction',
    'default_pool_size = 20',
    'max_client_conn = 500',
  ]
  const file = path.join(folder, 'pgbouncer.ini')
  fs.writeFileSync(file, lines.join('\n'), { mode: 0o644 })
  const asUser = process.getuid?.() === 0 ? ['-u', 'nobody'] : [] // it refuses to run as root
  const bouncer: ChildProcess = spawn('pgbouncer', [...asUser, file], { stdio: 'ignore' })
  const end = () => void bouncer.kill('SIGKILL')
  process.once('exit', end)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  for (let tries = 0; !(await isListening(port)); tries++) {
    if (tries > 200) throw new Error('PgBouncer does not start.')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    url: `postgres://${username}@127.0.0.1:${port}/${name}`,
    consoleUrl: `postgres://pgbouncer@127.0.0.1:${port}/pgbouncer`,
    async stop() {
      process.off('exit', end)
      if (bouncer.exitCode === null) {
        end()
        await once(bouncer, 'exit')
      }
      fs.rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function isListening(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket
      .once('connect', () => {
        socket.end()
        resolve(true)
      })
      .once('error', () => resolve(false))
  })
}
