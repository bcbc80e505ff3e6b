// @ts-check
// Runs one Postgres server and ends it when the process that asked for it ends, however that one ends: the two share a
// pipe, and a pipe closes even on SIGKILL. Detached, so that Ctrl-C in a terminal reaches the owner alone and the owner
// can still close its connections. Plain JavaScript: it must start fast, and without a loader.
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

/**
 * @typedef {object} KeeperTask
 * @property {string} bin folder of initdb and postgres
 * @property {string} home folder of `data`, `log` and `keeper.pid`
 * @property {boolean} temporary delete `home` at the end
 * @property {number} port
 * @property {string} password
 * @property {Record<string, string>} settings
 * @property {{ uid?: number, gid?: number }} user
 */

/** @type {KeeperTask} Through the pipe and not as an argument: it has a password, and anybody may list arguments. */
const task = JSON.parse(await firstLine(process.stdin))
const data = path.join(task.home, 'data')
const log = path.join(task.home, 'log')
const pidFile = path.join(task.home, 'keeper.pid')
const env = { ...process.env, LC_ALL: 'C' }

/** @param {import('node:stream').Readable} stream @returns {Promise<string>} */
async function firstLine(stream) {
  let text = ''
  return await new Promise((resolve) => {
    stream.on('data', (chunk) => {
      text += chunk
      if (text.endsWith('\n')) resolve(text)
    })
  })
}

/** @param {string} program @param {string[]} args */
function run(program, args) {
  execFileSync(path.join(task.bin, program), args, { ...task.user, env, stdio: ['ignore', 'ignore', 'pipe'] })
}

/** @param {string} file */
function readPid(file) {
  try {
    return Number.parseInt(fs.readFileSync(file, 'utf8'), 10)
  } catch {
    return undefined
  }
}

/** @param {number} pid */
function exists(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/**
 * Whether this process runs with `text` in its command line. That there is one of this number says little: it may be another
 * program's by now, and an ended process keeps it until its parent asks, which in a container may be never.
 * @param {number | undefined} pid @param {string} text
 */
function isRunning(pid, text) {
  if (!pid || !exists(pid)) return false
  try {
    if (fs.existsSync('/proc/self/cmdline')) return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).includes(text)
  } catch {
    return false // ended in between
  }
}

/** @param {() => boolean} done @param {number} seconds */
async function waitUntil(done, seconds) {
  for (let i = 0; i < seconds * 20 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  return done()
}

/** A server whose keeper was killed is still running on our folder: end it, then this start recovers like any crash. */
async function endOrphan() {
  if (isRunning(readPid(pidFile), task.home)) {
    throw new Error(`A server is already running in ${task.home}.`)
  }
  const lock = path.join(data, 'postmaster.pid')
  const pid = readPid(lock)
  if (!pid) return
  if (!isRunning(pid, data)) {
    // Where there is no such process, postgres sees to the file itself; another's number it takes for a server.
    if (exists(pid)) fs.rmSync(lock)
    return
  }
  process.kill(pid, 'SIGINT')
  if (await waitUntil(() => !isRunning(pid, data), 10)) return
  process.kill(pid, 'SIGQUIT')
  await waitUntil(() => !isRunning(pid, data), 5)
}

/** Into a folder beside it, then renamed: an initdb that was cut short leaves nothing that looks finished. */
function createData() {
  if (fs.existsSync(path.join(data, 'PG_VERSION'))) return
  const fresh = path.join(task.home, 'data.new')
  const passwordFile = path.join(task.home, 'initdb-password')
  fs.rmSync(fresh, { recursive: true, force: true })
  fs.writeFileSync(passwordFile, `${task.password}\n`, { mode: 0o600 })
  if (task.user.uid !== undefined) fs.chownSync(passwordFile, task.user.uid, task.user.gid ?? task.user.uid)
  try {
    run('initdb', [
      `--pgdata=${fresh}`,
      '--username=postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      ...(task.temporary ? ['--no-sync'] : []),
    ])
  } finally {
    fs.rmSync(passwordFile, { force: true })
  }
  fs.renameSync(fresh, data)
}

function startServer() {
  const settings = { listen_addresses: '127.0.0.1', unix_socket_directories: '', ...task.settings }
  const args = ['-D', data, '-p', String(task.port)]
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`)
  const server = spawn(path.join(task.bin, 'postgres'), args, {
    ...task.user,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const file = fs.createWriteStream(log, { flags: 'a', mode: 0o600 })
  let ready = false
  let tail = ''
  server.stderr?.on('data', (/** @type {Buffer} */ chunk) => {
    file.write(chunk)
    if (ready) return
    tail = (tail + chunk).slice(-4000)
    if (!/ready to accept (read-only )?connections/.test(tail)) return // a standby says read-only
    ready = true
    process.stdout.write('ready\n')
  })
  server.on('exit', () => {
    if (!ready) process.stderr.write(tail)
    cleanUp()
    process.exit(ready ? 0 : 1)
  })
  return server
}

function cleanUp() {
  fs.rmSync(pidFile, { force: true })
  if (task.temporary) fs.rmSync(task.home, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

try {
  await endOrphan()
  fs.writeFileSync(pidFile, String(process.pid))
  createData()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  if (task.temporary) cleanUp()
  process.exit(1)
}

const server = startServer()
let ending = false
function end() {
  if (ending) return
  ending = true
  server.kill('SIGINT')
  setTimeout(() => server.kill('SIGQUIT'), 10_000).unref()
}
process.stdin.on('end', end).on('error', end).resume()
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, end)
process.stdout.on('error', end)
