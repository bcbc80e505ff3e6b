// `npm run faults [-- F7 F12 … part-of-a-file-name …]`: the experiments of test/faults, each at its full count, on each server. Prints
// a table, and writes bench/results/faults.json and the table of docs/faults.md. All take an hour or more for each version of Postgres;
// `soak`, half an hour more, runs when it is asked for.
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { fileURLToPath } from 'node:url'
import { embeddedBin, systemBin } from './postgres.ts'

interface Row {
  readonly number: string
  readonly what: string
  readonly figures: string
  readonly verdict: string
}

/** One row of an experiment, on one server. */
interface Result extends Row {
  readonly postgres: string
  readonly node: string
  readonly measured: string
}

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const resultsFile = path.join(root, 'bench/results/faults.json')
const page = path.join(root, 'docs/faults.md')
const folder = path.join(root, 'test/faults')

/** The files that report these experiments. */
function filesOf(numbers: readonly string[]): string[] {
  const files = fs.readdirSync(folder).filter((name) => name.endsWith('.test.ts'))
  const found = numbers.map((number) => {
    const pattern = new RegExp(`['\`]${number}\\b`)
    const holding = files.filter((file) => pattern.test(fs.readFileSync(path.join(folder, file), 'utf8')))
    if (holding.length === 0) throw new Error(`No experiment ${number} in test/faults.`)
    return holding
  })
  return [...new Set(found.flat())].map((file) => `faults/${file}`)
}

const asked = process.argv.slice(2)
const numbers = asked.filter((part) => /^[A-Z]\d+$/.test(part))
const named = [...asked.filter((part) => !numbers.includes(part)), ...filesOf(numbers)]
const all = fs.readdirSync(folder).filter((name) => name.endsWith('.test.ts') && !name.startsWith('soak.'))
const parts = named.length > 0 ? named : all.map((file) => `faults/${file}`)
const runner = spawn(process.execPath, ['--import', 'tsx', 'test/run.ts', ...parts], {
  cwd: root,
  env: {
    ...process.env,
    PGSTORE_COUNTS: 'full',
    PGSTORE_SEED: 'random',
    PGSTORE_FAULTS: numbers.join(),
    VERBOSE: '1',
  },
  stdio: ['ignore', 'pipe', 'inherit'],
})

const ended = new Promise<number>((resolve) => runner.on('close', (code) => resolve(code ?? 1)))

const servers = await versions()
const results: Result[] = []
let heading = ''
for await (const line of readline.createInterface({ input: runner.stdout })) {
  // Each file's line is followed by its output.
  const [, next] = /^[•✘] \S+\.test\.ts on (.+) \(\d+ passed/.exec(line) ?? []
  if (next !== undefined) {
    write() // what there is: it may be stopped
    heading = next
  }
  const [, json] = /Fault: (\{.*\})$/.exec(line) ?? []
  const [, number, what] = /^ *FAIL +"([A-Z]\d+): (.*)"/.exec(line) ?? []
  const row: Row | undefined = json
    ? JSON.parse(json)
    : number && what && { number, what, figures: '', verdict: 'FAILED' }
  if (row)
    results.push({
      ...row,
      postgres: servers.get(heading) ?? heading,
      node: process.version,
      measured: new Date().toISOString(),
    })
  if (!json) console.log(line)
}
process.exitCode = await ended
console.log(`\n${table(results)}`)
write()

/** The full version of each server, by the name under which the tests run on it. */
async function versions(): Promise<Map<string, string>> {
  const bins = [await embeddedBin(), systemBin()].filter((bin) => bin !== undefined)
  return new Map(
    bins.map((bin, index) => {
      const text = execFileSync(path.join(bin, 'postgres'), ['--version'], { encoding: 'utf8' })
      const [version = '', major = ''] = /(\d+)[.\d]*/.exec(text) ?? []
      return [`PostgreSQL ${major} (${index === 0 ? 'embedded' : 'installed'})`, version]
    }),
  )
}

function inOrder(rows: readonly Result[]): Result[] {
  const place = ({ number }: Row) => [number.slice(0, 1), Number(number.slice(1))] as const
  return [...rows].sort((one, other) => {
    const [[letter, number], [otherLetter, otherNumber]] = [place(one), place(other)]
    return letter === otherLetter ? number - otherNumber : letter < otherLetter ? -1 : 1
  })
}

function table(rows: readonly Result[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|')
  const lines = inOrder(rows).map(({ number, what, figures, verdict, postgres }) => {
    return `| ${number} | ${postgres} | ${cell(what)} | ${cell(figures)} | ${verdict} |`
  })
  return ['| # | Postgres | What | Figures | Verdict |', '| --- | --- | --- | --- | --- |', ...lines].join('\n')
}

/** What was measured now takes the place of earlier results of the same experiments on the same servers. */
function write(): void {
  if (results.length === 0 || process.env['DATABASE_URL'] !== undefined) return
  const earlier: { results: Result[] } = fs.existsSync(resultsFile)
    ? JSON.parse(fs.readFileSync(resultsFile, 'utf8'))
    : { results: [] }
  const key = ({ number, postgres }: Result) => `${number} ${postgres}`
  const anew = new Set(results.map(key))
  const merged = inOrder([...earlier.results.filter((result) => !anew.has(key(result))), ...results])
  const machine = `${os.cpus().length} cores of ${os.cpus()[0]?.model.trim() ?? os.arch()}, ${os.type()} ${os.release()}`
  fs.writeFileSync(resultsFile, `${JSON.stringify({ machine, results: merged }, null, 2)}\n`)
  const text = fs.readFileSync(page, 'utf8')
  const dates = merged.map(({ measured }) => measured.slice(0, 10)).sort()
  const when = `${machine}; Node ${process.version}; ${[...new Set([dates[0], dates.at(-1)])].join(' to ')}.`
  const tables = `<!-- faults -->\n\n${when}\n\n${table(merged)}\n\n<!-- end -->`
  fs.writeFileSync(
    page,
    text.replace(/<!-- faults -->[\s\S]*?<!-- end -->/, () => tables),
  )
}
