// Pgpool-II in front of a primary and a standby, to which it sends every read that it takes for one.
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { freePort } from './port.ts'

/** Debian puts it where only root's path leads. */
const program = ['pgpool', '/usr/sbin/pgpool'].find((name) => spawnSync(name, ['--version']).error === undefined)

export const hasPgpool: boolean = program !== undefined

export interface Pgpool {
  /** The connection string of a database, led through it. */
  through(url: string): string
  close(): Promise<void>
}

/** @param primary as superuser, which it asks who follows whom */
export async function startPgpool(primary: string, standby?: string): Promise<Pgpool> {
  const [port, pcpPort] = [await freePort(), await freePort()]
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-pgpool-'))
  const { username, password } = new URL(primary)
  const backends = [primary, ...(standby === undefined ? [] : [standby])].flatMap((url, n) => [
    `backend_hostname${n} = '${new URL(url).hostname}'`,
    `backend_port${n} = ${new URL(url).port}`,
    `backend_weight${n} = ${n === 0 && standby !== undefined ? 0 : 1}`,
    `backend_flag${n} = '${n === 0 ? 'ALWAYS_PRIMARY|' : ''}DISALLOW_TO_FAILOVER'`,
  ])
  const lines = [
    "listen_addresses = '127.0.0.1'",
    `port = ${port}`,
    `unix_socket_directories = '${folder}'`,
    "pcp_listen_addresses = '127.0.0.1'",
    `pcp_port = ${pcpPort}`,
    `pcp_socket_dir = '${folder}'`,
    `logdir = '${folder}'`,
    `pid_file_name = '${folder}/pgpool.pid'`,
    "backend_clustering_mode = 'streaming_replication'",
    'load_balance_mode = on',
    'num_init_children = 40',
    'max_pool = 1',
    'enable_pool_hba = off',
    'allow_clear_text_frontend_auth = on',
    'sr_check_period = 1',
    `sr_check_user = '${decodeURIComponent(username)}'`,
    `sr_check_password = '${decodeURIComponent(password)}'`,
    'delay_threshold = 0',
    'health_check_period = 0',
    ...backends,
  ]
  for (const name of ['pcp.conf', 'pool_hba.conf', 'pool_passwd']) fs.writeFileSync(path.join(folder, name), '')
  fs.writeFileSync(path.join(folder, 'pgpool.conf'), lines.join('\n'))
  const file = (name: string) => path.join(folder, name)
  const args = ['-n', '-f', file('pgpool.conf'), '-F', file('pcp.conf'), '-a', file('pool_hba.conf')]
  const child = spawn(program ?? '', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said = (said + chunk).slice(-4000)
  })
  const through = (url: string) => Object.assign(new URL(url), { port: String(port) }).href
  const close = async () => {
    const ended = new Promise((resolve) => child.once('close', resolve))
    if (child.exitCode === null)
      child.kill('SIGINT') // ends its children too
    else return
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await ended
    clearTimeout(timer)
    fs.rmSync(folder, { recursive: true, force: true })
  }
  try {
    for (let looks = 0; !(await answers(through(primary))); looks++) {
      if (child.exitCode !== null || looks > 600) throw new Error('Pgpool-II did not start.')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  } catch (error) {
    await close()
    throw new Error(`${String(error)}\n${said}`)
  }
  return { through, close }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000, query_timeout: 5000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}
