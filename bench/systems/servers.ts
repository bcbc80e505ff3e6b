// The servers that are measured: Postgres as in production, and Redis without persistence.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { startPostgres } from '../../scripts/postgres.ts'
import type { CpuMeter } from '../measure.ts'
import { reserveHugePages, sharedBuffersMb } from './huge-pages.ts'

/** Durable: every commit waits for the disk. Memory and WAL as on a dedicated server. */
const settings = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: `${sharedBuffersMb}MB`,
  max_wal_size: '4GB',
  checkpoint_timeout: '15min',
  max_connections: '200',
  track_io_timing: 'off',
}

export interface Postgres {
  readonly url: string
  /** What the server reports about itself and the settings that matter. */
  readonly facts: Record<string, string>
  readonly cpu: CpuMeter
  stop(): Promise<void>
}

/** A pool for the benchmark's own queries. */
export function openPool(connectionString: string, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString, max })
  pool.on('error', () => {}) // at the end the database is dropped before the pool ends
  return pool
}

/** A new database on `DATABASE_URL`'s server if that is set, else on an embedded server. */
export async function openPostgres(): Promise<Postgres> {
  const given = process.env['DATABASE_URL']
  const releaseHugePages = given ? undefined : reserveHugePages()
  const server = given ? undefined : await startPostgres({ settings })
  const admin = openPool(given ?? (server?.url() as string), 1)
  const name = `pgstore_bench_${process.pid}`
  await admin.query(`create database ${name}`)
  const url = new URL(given ?? (server?.url() as string))
  url.pathname = `/${name}`
  const { rows } = await admin.query<{ name: string; setting: string }>(
    `select name, current_setting(name) as setting from pg_settings where name = any ($1) order by name`,
    [['server_version', 'huge_pages_status', ...Object.keys(settings)]],
  )
  return {
    url: url.href,
    facts: Object.fromEntries(rows.map(({ name, setting }) => [name, setting])),
    cpu: await postgresCpu(admin),
    async stop() {
      await admin.query(`drop database ${name} with (force)`)
      await admin.end()
      await server?.stop()
      releaseHugePages?.()
    },
  }
}

/** Of all the server's processes, including ended ones; only if it runs on this machine, under Linux. */
async function postgresCpu(admin: pg.Pool): Promise<CpuMeter> {
  const { rows } = await admin.query<{ pid: number }>('select pg_backend_pid() as pid')
  const pid = rows[0]?.pid ?? 0
  const isHere = fs.existsSync(`/proc/${pid}/comm`) && /postgres/.test(fs.readFileSync(`/proc/${pid}/comm`, 'utf8'))
  const postmaster = isHere ? processTimes(pid)?.parent : undefined
  if (postmaster === undefined) return () => undefined
  const children = () => fs.readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8')
  return () => {
    // Again if one has ended in between: its time would be missing or counted twice.
    for (let before = children(), i = 0; i < 10; i++) {
      const sum = before
        .trim()
        .split(' ')
        .reduce((total, pid) => total + (processTimes(Number(pid))?.own ?? 0), 0)
      const own = processTimes(postmaster)
      const after = children()
      if (own && before === after) return own.own + own.ended + sum
      before = after
    }
    return undefined
  }
}

const ticksPerSecond = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout) || 100

/** Microseconds of processor time of a process and of its children that have ended: proc(5). */
function processTimes(pid: number): { parent: number; own: number; ended: number } | undefined {
  try {
    const fields = fs
      .readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
      .map(Number)
    const microseconds = (from: number) => (((fields[from] ?? 0) + (fields[from + 1] ?? 0)) / ticksPerSecond) * 1e6
    return { parent: fields[1] as number, own: microseconds(11), ended: microseconds(13) }
  } catch {
    return undefined // ended in between
  }
}

/** Of one process of ours. */
export function processCpu(pid: number): CpuMeter {
  return () => processTimes(pid)?.own
}

export interface Redis {
  readonly port: number
  readonly version: string
  readonly cpu: CpuMeter
  stop(): Promise<void>
}

/** Undefined, after printing the reason, if there is no redis-server. */
export async function openRedis(): Promise<Redis | undefined> {
  if (spawnSync('redis-server', ['--version']).status !== 0) installRedis()
  const version = spawnSync('redis-server', ['--version'], { encoding: 'utf8' })
  if (version.status !== 0) {
    console.log('Skipped: connect-redis: redis-server is not installed: apt-get install redis-server.')
    return undefined
  }
  const port = await freePort()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-bench-redis-'))
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder]
  const child = spawn('redis-server', options, { stdio: 'ignore' })
  const end = () => void child.kill()
  process.once('exit', end)
  await untilOpen(port, child)
  return {
    port,
    version: /v=(\S+)/.exec(version.stdout)?.[1] ?? '',
    cpu: processCpu(child.pid as number),
    async stop() {
      process.off('exit', end)
      await new Promise((resolve) => {
        child.once('exit', resolve)
        child.kill()
      })
      fs.rmSync(folder, { recursive: true, force: true })
    },
  }
}

function installRedis(): void {
  if (process.getuid?.() !== 0 || spawnSync('apt-get', ['--version']).status !== 0) return
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '-qq', '-y', '--no-install-recommends', 'redis-server']
  try {
    execFileSync('apt-get', ['update', '-qq'], { env, stdio: 'ignore' })
    execFileSync('apt-get', install, { env, stdio: 'ignore' })
  } catch {
    // reported by the caller
  }
}

export async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function untilOpen(port: number, child: ChildProcess): Promise<void> {
  for (let i = 0; i < 100 && child.exitCode === null; i++) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (isOpen) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  child.kill()
  throw new Error('redis-server did not start.')
}

/** Median milliseconds of a write of 8 kB that waits for this disk: the least that a commit costs. */
export function syncMs(): number {
  const file = path.join(os.tmpdir(), `pgstore-bench-sync-${process.pid}`)
  const handle = fs.openSync(file, 'w')
  const page = Buffer.alloc(8192, 1)
  const times: number[] = []
  for (let i = 0; i < 200; i++) {
    const start = performance.now()
    fs.writeSync(handle, page, 0, page.length, (i % 64) * page.length)
    fs.fdatasyncSync(handle)
    times.push(performance.now() - start)
  }
  fs.closeSync(handle)
  fs.rmSync(file)
  return times.sort((a, b) => a - b)[100] as number
}
