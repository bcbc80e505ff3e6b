// `npm test [-- part-of-a-file-name …]`: every test file as a process with its own database, several in parallel. No file is
// tried twice: one that fails now and then has a fault, or its test has. They run on the available servers by turns; files that
// are asked for by name, and those with long counts, on each. Those of faults/ run in CI, by turns, and by name.
//
//   DATABASE_URL=…          only this server, in place of the embedded one and the newest one installed here
//   PGSTORE_COUNTS=full     long counts, as in CI, and faults/ with short ones; with long ones by name: `npm run faults`
//   PGSTORE_SEED=random     new examples for the property tests, as in `npm run faults`, or those of a seed
//   PGSTORE_TARGET=proxy    only through PL/Proxy: `npm run cluster -- test`
//   PGSTORE_NO_SKIPS=1      a skipped test is a failure
//   VERBOSE=1               shows what every file prints
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { howToInstall, plproxyBin } from '../scripts/cluster/cluster.ts'
import { type Bundle, bundle } from './bundle.ts'
import { type Job, plan } from './plan.ts'
import { type PoolerName, skippedBehind } from './poolers.ts'
import { requirementVerdicts } from './security/verdicts.ts'
import { startTargets, type Target } from './targets.ts'
import { startProxyTarget, throughProxy } from './through-proxy/target.ts'
import { type Result, verdict } from './verdict.ts'
import { areInstalled, type Variant, variants } from './versions.ts'

const here = path.dirname(fileURLToPath(import.meta.url))

interface Run extends Result {
  readonly name: string
  readonly output: string
  readonly seconds: number
  /** What the file printed about its failures. */
  readonly failures: readonly string[]
}

const isFull = process.env['PGSTORE_COUNTS'] === 'full'
const isSecurity = (file: string) => file.startsWith('security/')
const isProxy = (file: string) => file.startsWith('through-proxy/')
const isFault = (file: string) => file.startsWith('faults/')

async function main(filters: readonly string[]): Promise<number> {
  const started = performance.now()
  const all = testFiles(here)
  const isProxied = process.env['PGSTORE_TARGET'] === 'proxy'
  const through = throughProxy(isProxied ? 'all' : isFull ? 'chosen' : 'own')
  const isWanted = (file: string) =>
    (!isProxied || through.files.test(file)) &&
    (filters.length > 0 ? filters.some((part) => file.includes(part)) : isFull || !(isFault(file) || isProxy(file)))
  const pooler = process.env['PGSTORE_POOLER'] as PoolerName | undefined
  const left = pooler ? skippedBehind(pooler).map(([file]) => file) : []
  const files = all.filter((file) => isWanted(file) && !left.some((start) => file.startsWith(start)))
  if (files.length === 0) throw new Error(`No test file has ${filters.join(' or ')} in its name.`)
  const counts = countsOf(files)
  const isAll = counts.isFull && !counts.isFaults && !isProxied
  const wanted = isAll && areInstalled ? variants : []
  const isProxyAsked = !isProxied && !counts.isFaults && files.some((file) => through.files.test(file))
  const isProxyWanted = isProxyAsked && plproxyBin() !== undefined
  const bundled = isProxyWanted ? [...wanted, through] : wanted
  const [targets, proxy, own, ...others] = await Promise.all([
    isProxied ? startProxyTarget().then((target) => [target]) : startTargets(),
    isProxyWanted ? startProxyTarget() : undefined,
    bundle(files, isProxied ? through.packages : {}),
    ...bundled.map(({ packages }) => bundle(files, packages)),
  ])
  const bundleOf = (variant: Variant | undefined) => (variant && others[bundled.indexOf(variant)]) ?? own
  const results: Result[] = []
  try {
    const atOnce = counts.isFaults ? 1 : filesAtOnce()
    const proxied = proxy && { target: proxy, variant: through }
    const { jobs, minutes } = plan(
      files,
      targets,
      atOnce,
      // Those of faults/ by turns in CI too: `npm run faults` runs them on each.
      (file) => filters.length === 0 && (!counts.isFull || isFault(file)),
      wanted,
      proxied,
      isProxied,
    )
    const length = counts.isFull ? 'with full counts' : `about ${Math.ceil(minutes)} min on an idle machine`
    const on = targets.map(({ name }) => name).join(' and ')
    console.log(`${files.length} files on ${on}: ${jobs.length} runs, ${atOnce} side by side; ${length}`)
    if (filters.length === 0 && files.length < all.length && !isProxied)
      console.log(
        `Left to CI, npm run faults and npm run cluster: ${all.length - files.length} files of faults and through-proxy.`,
      )
    if (isProxyAsked && !isProxyWanted) {
      console.log(`Skipped: tests through a proxy. ${howToInstall()}`)
      results.push({ passed: 0, failed: 0, skipped: 1 })
    }
    if (targets.length === 1 && !process.env['DATABASE_URL'] && !isProxied && !pooler) {
      console.log('Skipped: a second Postgres version. None is installed here (initdb and postgres on the path).')
      results.push({ passed: 0, failed: 0, skipped: 1 })
    }
    if (isAll && !areInstalled) {
      console.log(
        'Skipped: other versions of Node and of peers. They are not installed: npm ci --prefix test/versions.',
      )
      results.push({ passed: 0, failed: 0, skipped: 1 })
    }
    const runs: Run[] = []
    // It waits more than it works: not in the place of another one.
    const beside = jobs.filter(({ file }) => file === 'faults/soak.test.ts')
    const waiting = jobs.filter((job) => !beside.includes(job))
    const runOne = async (job: Job<Target>) => {
      runs.push(await runJob(job, bundleOf(job.variant), counts))
    }
    const work = async () => {
      for (let job = waiting.shift(); job; job = waiting.shift()) await runOne(job)
    }
    await Promise.all([...beside.map(runOne), ...Array.from({ length: atOnce }, work)])
    results.push(...runs)
    const isComplete = all.every((file) => !isSecurity(file) || files.includes(file))
    if (files.some(isSecurity)) results.push(printRequirements(runs, isComplete))
    const minutesTaken = (performance.now() - started) / 60_000
    console.log(`\n${minutesTaken.toFixed(1)} min; longest were`)
    for (const { name, seconds } of runs.sort((one, other) => other.seconds - one.seconds).slice(0, 5))
      console.log(`  ${seconds.toFixed(1).padStart(6)} s  ${name}`)
    // Once more, where it is seen without a search through everything else.
    for (const { name, failures } of runs.filter(({ failed }) => failed > 0))
      console.log(['', `✘ ${name}`, ...failures].join('\n'))
  } finally {
    for (const bundled of [own, ...others]) bundled.remove()
    await Promise.all([...targets, ...(proxy ? [proxy] : [])].map((target) => target.stop()))
  }
  const sum = (count: keyof Result) => results.reduce((total, result) => total + result[count], 0)
  const skipped = sum('skipped')
  const isRefused = skipped > 0 && process.env['PGSTORE_NO_SKIPS'] !== undefined
  if (isRefused) console.log('\nPGSTORE_NO_SKIPS is set: a skipped test is a failure.')
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return sum('failed') === 0 && !isRefused ? 0 : 1
}

/** More than there are cores: most files wait for something most of the time. */
function filesAtOnce(): number {
  return Math.min(Math.max(2 * os.availableParallelism(), 2), 8)
}

interface Counts {
  readonly isFull: boolean
  /** Whether the experiments of faults/ are repeated as often as they are meant to be, each alone. */
  readonly isFaults: boolean
}

function countsOf(files: readonly string[]): Counts {
  return { isFull, isFaults: isFull && files.every(isFault) }
}

function testFiles(folder: string): string[] {
  // What is installed in versions is large, and not ours.
  const rooms = fs
    .readdirSync(folder, { withFileTypes: true })
    .filter((one) => one.isDirectory() && one.name !== 'versions')
  const names = rooms.flatMap(({ name }) =>
    fs.readdirSync(path.join(folder, name), { recursive: true, encoding: 'utf8' }).map((file) => path.join(name, file)),
  )
  return names.filter((name) => name.endsWith('.test.ts')).sort()
}

function secondsAllowed(file: string, isFull: boolean): number {
  if (!isFull) return 420
  return file.includes('soak') || file.includes('everybody') ? 2400 : file.includes('crashes') ? 1800 : 900
}

async function runJob(
  { file, target, variant, isLong }: Job<Target>,
  bundled: Bundle,
  { isFull, isFaults }: Counts,
): Promise<Run> {
  const { env, drop } = await target.database(file)
  const counts = isFull && isLong && (isFaults || !isFault(file)) ? 'full' : ''
  const started = performance.now()
  const command = variant?.command ?? [process.execPath, ...bundled.flags]
  const { output, code } = await runProcess(
    [...command, bundled.pathOf(file)],
    { ...env, PGSTORE_COUNTS: counts },
    secondsAllowed(file, counts === 'full'),
  )
  const seconds = (performance.now() - started) / 1000
  await drop()
  const result = verdict(output, code)
  const name = `${file} on ${variant?.name ?? target.name}`
  console.log(`${result.failed ? '✘' : '•'} ${name} (${told(result)}, ${seconds.toFixed(1)} s)`)
  if (result.failed || process.env['VERBOSE']) console.log(output)
  else for (const [line] of output.matchAll(/^(?:Skipped|Left out): .*$/gm)) console.log(`  ${line}`)
  const failures = result.failed ? failuresIn(output) : []
  return { ...result, name, output: isSecurity(file) ? output : '', seconds, failures }
}

/** Each test that failed with what it expected, or else the end: of a file that was stopped, or did not begin. */
function failuresIn(output: string): string[] {
  const lines = output.trimEnd().split('\n')
  const starts = lines.flatMap((line, at) => (/^ {3}FAIL /.test(line) ? [at] : []))
  return starts.length === 0 ? lines.slice(-15) : starts.slice(0, 5).flatMap((at) => lines.slice(at, at + 15))
}

function told({ passed, failed, skipped }: Result): string {
  return `${passed} passed${failed > 0 ? `, ${failed} failed` : ''}${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

async function runProcess(
  [program = '', ...args]: readonly string[],
  variables: NodeJS.ProcessEnv,
  mostSeconds: number,
) {
  const env: NodeJS.ProcessEnv = { ...process.env, ...variables, FORCE_COLOR: '0' }
  delete env['DATABASE_URL']
  const child = spawn(program, args, { env })
  let output = ''
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.on('data', (chunk) => {
      output += chunk
    })
  }
  const timer = setTimeout(() => {
    output += `\nStopped after ${mostSeconds} seconds.\n`
    child.kill('SIGKILL')
  }, mostSeconds * 1000)
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  clearTimeout(timer)
  return { output, code }
}

/** A line for each requirement of security/. If all its files ran, a requirement without a test is a failure. */
function printRequirements(runs: readonly Run[], isComplete: boolean): Result {
  console.log('\nSecurity requirements')
  let missing = 0
  for (const { number, verdict, sentences } of requirementVerdicts(runs.map(({ output }) => output).join('\n'))) {
    if (verdict === 'no test' && !isComplete) continue
    if (verdict === 'no test') missing++
    console.log(`${number.padEnd(4)} ${verdict}${sentences.length > 0 ? `: ${sentences.join('; ')}` : ''}`)
  }
  return { passed: 0, failed: missing, skipped: 0 }
}

process.exitCode = await main(process.argv.slice(2))
