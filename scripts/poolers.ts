// `npm run poolers [-- transaction statement pgpool] [--few]`: the suite behind each of these poolers, or those of them that are named;
// --few takes the files that CI has time for.
import { spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { fewFiles, files, type PoolerName, skippedBehind } from '../test/poolers.ts'
import { hasPgBouncer } from '../test/support/pgbouncer.ts'
import { hasPgpool } from '../test/support/pgpool.ts'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const poolers: Readonly<Record<PoolerName, boolean>> = {
  transaction: hasPgBouncer,
  statement: hasPgBouncer,
  pgpool: hasPgpool,
}
const args = process.argv.slice(2)
const names = args.filter((arg) => arg !== '--few')
const unknown = names.filter((name) => !Object.hasOwn(poolers, name))
if (unknown.length > 0) throw new Error(`There is no pooler ${unknown.join(', ')}: ${Object.keys(poolers).join(', ')}.`)

let failed = 0
for (const [name, isInstalled] of Object.entries(poolers) as [PoolerName, boolean][]) {
  if (names.length > 0 && !names.includes(name)) continue
  if (!isInstalled) {
    console.log(`Skipped: ${name}. It is not installed.`)
    if (process.env['PGSTORE_NO_SKIPS'] !== undefined) failed++
    continue
  }
  console.log(`\n${name}`)
  for (const [file, reason] of skippedBehind(name)) console.log(`  without ${file}: ${reason}`)
  const wanted = args.includes('--few') ? fewFiles : files
  // What it leaves out is said above, and is no skip.
  const env = {
    ...process.env,
    PGSTORE_POOLER: name,
    PGSTORE_COUNTS: '',
    PGSTORE_NO_SKIPS: undefined,
    DATABASE_URL: undefined,
  }
  const run = spawn(process.execPath, ['--import', 'tsx', 'test/run.ts', ...wanted], {
    cwd: root,
    env,
    stdio: 'inherit',
  })
  const code = await new Promise<number | null>((resolve) => run.on('close', resolve))
  if (code !== 0) failed++
}
process.exitCode = failed === 0 ? 0 : 1
