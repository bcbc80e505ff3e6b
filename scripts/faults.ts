// `npm run faults [-- part-of-a-file-name …]`: the tests in test/faults, each experiment at its full count, and a table of
// the results. About half an hour for each version of Postgres.
import { spawn } from 'node:child_process'
import path from 'node:path'
import readline from 'node:readline'
import { fileURLToPath } from 'node:url'

interface Row {
  readonly number: string
  readonly what: string
  readonly figures: string
  readonly verdict: string
}

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const parts = process.argv.slice(2)
const runner = spawn(
  process.execPath,
  ['--import', 'tsx', 'test/run.ts', ...(parts.length > 0 ? parts : ['faults/'])],
  {
    cwd: root,
    env: { ...process.env, PGSTORE_COUNTS: 'full', PGSTORE_SEED: 'random', VERBOSE: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  },
)
const tables = new Map<string, Row[]>()
let heading = ''
for await (const line of readline.createInterface({ input: runner.stdout })) {
  // Each file's line is followed by its output.
  heading = /^[•✘] \S+\.test\.ts on (.+) \(\d+ passed/.exec(line)?.[1] ?? heading
  const [, json] = /Fault: (\{.*\})$/.exec(line) ?? []
  if (json) tables.set(heading, [...(tables.get(heading) ?? []), JSON.parse(json)])
  else console.log(line)
}
for (const [heading, rows] of tables) {
  console.log(`\n${heading}\n\n| # | What | Figures | Verdict |\n| --- | --- | --- | --- |`)
  const byNumber = rows.sort((a, b) => Number(a.number.slice(1)) - Number(b.number.slice(1)))
  for (const { number, what, figures, verdict } of byNumber)
    console.log(`| ${number} | ${what} | ${figures} | ${verdict} |`)
}
process.exitCode = runner.exitCode ?? 1
