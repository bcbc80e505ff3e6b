// `npm run check`: everything that can be checked without running pgstore. Every step runs; its first line names it.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { apiPage } from './api.ts'
import { migrationsModule } from './migration.ts'
import { roomProblems } from './rooms.ts'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-check-'))
let failures = 0

function step(name: string, check: () => boolean): void {
  console.log(`\n# ${name}`)
  if (check()) return
  failures++
  console.log(`FAILED: ${name}`)
}

function run(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status === 0
}

/** squawk reads SQL, not placeholders. */
function lintSql(): boolean {
  const folder = path.join(root, 'migrations/committed')
  const files = fs.readdirSync(folder).map((name) => {
    const file = path.join(temporary, name)
    const sql = fs.readFileSync(path.join(folder, name), 'utf8')
    fs.writeFileSync(file, sql.replaceAll(':PGSTORE_SCHEMA', 'pgstore'))
    return file
  })
  return run('squawk', '--config', path.join(root, '.squawk.toml'), ...files)
}

function migrationsAreFresh(): boolean {
  return fs.readFileSync(path.join(root, 'src/schema/migrations.generated.ts'), 'utf8') === migrationsModule()
}

/** The benchmark has separate packages, the stores it measures, which nobody else should have to install. */
function checkBench(): boolean {
  if (!fs.existsSync(path.join(root, 'bench/node_modules'))) {
    console.log('Skipped: its packages are not installed here (npm ci --prefix bench).')
    return true
  }
  return run('tsc', '-p', 'bench/tsconfig.json') && run('oxlint', '--type-aware', '--deny-warnings', 'bench')
}

/** The tarball as npm would publish it: its entry points, types and size. */
function checkPackage(): boolean {
  const packed = spawnSync('npm', ['pack', '--silent', '--pack-destination', temporary], {
    cwd: root,
    encoding: 'utf8',
  })
  const tarball = path.join(temporary, packed.stdout.trim().split('\n').at(-1) ?? '')
  if (packed.status !== 0) return run('npm', 'pack', '--dry-run')
  const kilobytes = Math.ceil(fs.statSync(tarball).size / 1024)
  console.log(`${path.basename(tarball)}: ${kilobytes} KB packed (limit ${maxKilobytes}).`)
  const results = [
    run('publint', '--strict', tarball),
    run('attw', tarball, '--profile', 'esm-only', '--quiet'),
    kilobytes <= maxKilobytes,
  ]
  return results.every(Boolean)
}

/** Of these, the pages of docs/ are a third: the README's links lead to them. 42 are the dashboard, half of that uPlot. */
const maxKilobytes = 640

step('build: tsc, and the page of the dashboard', () => run('npm', 'run', '--silent', 'build'))
step('format and lint: biome', () => run('biome', 'ci', '--colors=off', '--error-on-warnings', '.'))
step('types: tsc', () => run('tsc') && run('tsc', '-p', 'examples')) // the examples see the package as its users do
step('promises: oxlint', () => run('oxlint', '--type-aware', '--deny-warnings', 'src', 'test', 'scripts', 'examples'))
step('rooms: arrows point downwards, no file outgrows its room', () => {
  const problems = roomProblems(() => {})
  for (const problem of problems) console.log(problem)
  return problems.length === 0
})
step('bench: tsc, oxlint', checkBench)
step('SQL: squawk', lintSql)
step('src/schema/migrations.generated.ts is what migrations/committed says: npm run migration', migrationsAreFresh)
step(
  'docs/api.md is what the comments say: npm run api',
  () => fs.readFileSync(path.join(root, 'docs/api.md'), 'utf8') === apiPage(),
)
step('nothing unused: knip', () => run('knip'))
step('package: publint, are-the-types-wrong', checkPackage)
fs.rmSync(temporary, { recursive: true })
console.log(failures === 0 ? '\nAll checks passed.' : `\n${failures} checks failed.`)
process.exitCode = failures === 0 ? 0 : 1
