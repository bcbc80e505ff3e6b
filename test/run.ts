// `npm test [-- part-of-a-file-name …]`: every test file as a process with a database of its own, on each server there is: the
// embedded Postgres, and the newest one installed here; or DATABASE_URL's alone where that is set.
//
// With PGSTORE_SECOND_TRY set, as in CI, a file that fails is run once more, alone, and that counts: on a machine that is shared
// with others, time runs out now and then. What failed at first is shown all the same.
//
// uvu by itself calls a file that ran nothing a success, and one whose hook threw; here a file passes when it ran at least one
// test, passed all, and ended by itself in time.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { embeddedBin, majorVersion, startPostgres, systemBin } from '../scripts/postgres.ts'
import { migrate } from '../src/index.ts'
import { grantStatements } from '../src/schema/grants.ts'
import { requirementVerdicts } from './security/verdicts.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
const secondsPerFile = process.env['PGSTORE_FAULTS'] === 'full' ? 1800 : 240
const filesAtOnce = 2
/** Those that measure, or break a server: after the others, and one at a time. */
const aloneFiles = /^faults\/|\/hot\.test\.ts$|^security\/crash\./

interface Result {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const isSecurity = (file: string) => file.startsWith('security/')
const securityOutput = new Map<string, string>()

interface Target {
  readonly name: string
  readonly url: string
  /** Programs of the server, for tests that start one of their own; '' where only DATABASE_URL is known. */
  readonly bin: string
}

/** The role of an application: it has *client* and *account* and nothing else, in databases where PUBLIC has nothing. */
interface Client {
  readonly role: string
  readonly password: string
}

async function main(filters: readonly string[]): Promise<number> {
  const files = testFiles(here).filter((file) => filters.length === 0 || filters.some((part) => file.includes(part)))
  if (files.length === 0) throw new Error(`No test file has ${filters.join(' or ')} in its name.`)
  const results: Result[] = []
  for await (const target of targets(results)) {
    console.log(`\n${target.name}: ${files.length} files`)
    results.push(...(await runFiles(files, target)))
  }
  if (files.some(isSecurity))
    results.push(printRequirements(testFiles(here).every((file) => !isSecurity(file) || files.includes(file))))
  const sum = (count: keyof Result) => results.reduce((total, result) => total + result[count], 0)
  const skipped = sum('skipped')
  const isRefused = skipped > 0 && process.env['PGSTORE_NO_SKIPS'] !== undefined
  if (isRefused) console.log('\nPGSTORE_NO_SKIPS is set: a skipped test is a failure.')
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return sum('failed') === 0 && !isRefused ? 0 : 1
}

function testFiles(folder: string): string[] {
  const names = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith('.test.ts')).sort()
}

async function* targets(results: Result[]): AsyncGenerator<Target> {
  const given = process.env['DATABASE_URL']
  if (given) {
    yield { name: 'DATABASE_URL', url: given, bin: '' }
    return
  }
  const embedded = await embeddedBin()
  const system = systemBin()
  if (!system) {
    console.log('Skipped: a second Postgres version. None is installed here (initdb and postgres on the path).')
    results.push({ passed: 0, failed: 0, skipped: 1 })
  }
  for (const [name, bin] of [
    ['embedded', embedded],
    ['installed', system],
  ] as const) {
    if (!bin) continue
    const server = await startPostgres({ bin, settings: { fsync: 'off', max_connections: '200' } })
    try {
      yield { name: `PostgreSQL ${majorVersion(bin)} (${name})`, url: server.url(), bin }
    } finally {
      await server.stop()
    }
  }
}

async function runFiles(files: readonly string[], target: Target): Promise<Result[]> {
  const admin = new pg.Pool({ connectionString: target.url, max: 2 })
  admin.on('error', () => {}) // the server goes before the pool's last connection has
  const prefix = `pgstore_test_${randomBytes(4).toString('hex')}`
  const template = `${prefix}_template`
  const client = { role: `${prefix}_client`, password: randomBytes(12).toString('hex') }
  const results: Result[] = []
  try {
    await admin.query(`create database ${template}`)
    const pool = new pg.Pool({ connectionString: databaseUrl(target.url, template) })
    pool.on('error', () => {})
    await migrate(pool)
    await admin.query(`create role ${client.role} login password '${client.password}'`)
    for (const statement of grantStatements(client.role, ['client', 'account'], 'pgstore')) await pool.query(statement)
    await pool.query('revoke all on schema public from public')
    await pool.end()
    const numbered = files.map((file, index) => ({ file, database: `${prefix}_${index}` }))
    const again: typeof numbered = []
    const work = async (waiting: typeof numbered, isLastTry = process.env['PGSTORE_SECOND_TRY'] === undefined) => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const { file, database } = next
        await admin.query(`create database ${database} template ${template}`)
        await admin.query(`revoke all on database ${database} from public`)
        await admin.query(`grant connect on database ${database} to ${client.role}`)
        const result = await runFile(file, target, database, client)
        if (result.failed === 0 || isLastTry) results.push(result)
        else again.push(next)
        await admin.query(`drop database ${database} with (force)`)
      }
    }
    const together = numbered.filter(({ file }) => !aloneFiles.test(file))
    await Promise.all(Array.from({ length: filesAtOnce }, () => work(together)))
    await work(numbered.filter(({ file }) => aloneFiles.test(file)))
    if (again.length > 0) console.log(`Once more, alone, what failed: ${again.map(({ file }) => file).join(', ')}`)
    await work([...again], true)
  } finally {
    await admin.query(`drop database if exists ${template} with (force)`)
    await admin.query(`drop role if exists ${client.role}`)
    await admin.end()
  }
  return results
}

async function runFile(file: string, target: Target, database: string, client: Client): Promise<Result> {
  const started = Date.now()
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PGSTORE_TEST_DATABASE_URL: databaseUrl(target.url, database),
    PGSTORE_TEST_CLIENT_URL: databaseUrl(target.url, database, client),
    PGSTORE_TEST_BIN: target.bin,
    FORCE_COLOR: '0',
  }
  delete env['DATABASE_URL']
  const child = spawn(process.execPath, ['--import', 'tsx', path.join(here, file)], { env })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  const timer = setTimeout(() => {
    output += `\nStopped after ${secondsPerFile} seconds.\n`
    child.kill('SIGKILL')
  }, secondsPerFile * 1000)
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  clearTimeout(timer)
  const result = verdict(output, code)
  if (isSecurity(file)) securityOutput.set(`${target.name} ${file}`, output)
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  const counts = `${result.passed} passed${result.failed ? `, ${result.failed} failed` : ''}${result.skipped ? `, ${result.skipped} skipped` : ''}`
  console.log(`${result.failed ? '✘' : '•'} ${file} (${counts}, ${seconds} s)`)
  if (result.failed || process.env['VERBOSE']) console.log(output)
  else for (const [line] of output.matchAll(/^Skipped: .*$/gm)) console.log(`  ${line}`)
  return result
}

/** A file passes when its tests all did, there was one at least, and it ended with 0; whatever else is one failure more. */
export function verdict(output: string, code: number | null): Result {
  const count = (name: string) => Number(new RegExp(`^ {2}${name}: +(\\d+)$`, 'm').exec(output)?.[1] ?? 0)
  const [total, passed, skipped] = [count('Total'), count('Passed'), count('Skipped')]
  const failed = total - passed
  const isSound = code === 0 && total + skipped > 0
  return { passed, failed: failed > 0 || isSound ? failed : 1, skipped }
}

/** A line for each requirement of security/. Where all its files ran, one without a test is a failure. */
function printRequirements(isComplete: boolean): Result {
  console.log('\nSecurity requirements')
  let missing = 0
  for (const { number, verdict, sentences } of requirementVerdicts([...securityOutput.values()].join('\n'))) {
    if (verdict === 'no test' && !isComplete) continue
    if (verdict === 'no test') missing++
    console.log(`${number.padEnd(4)} ${verdict}${sentences.length > 0 ? `: ${sentences.join('; ')}` : ''}`)
  }
  return { passed: 0, failed: missing, skipped: 0 }
}

function databaseUrl(server: string, database: string, client?: Client): string {
  const url = new URL(server)
  url.pathname = `/${database}`
  if (client) Object.assign(url, { username: client.role, password: client.password })
  return url.href
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2))
