// The results: tables for the terminal and for docs/performance.md, and a file for programs.
import fs from 'node:fs'
import type { Row } from '../measure.ts'
import type { Verdict } from '../targets.ts'
import { chart } from './chart.ts'

export type Fact = string | number | Readonly<Record<string, string>>

export interface Results {
  /** When it ended, where and on what: a figure means nothing without that. */
  readonly facts: Readonly<Record<string, Fact>>
  readonly verdicts: readonly Verdict[]
  readonly rows: readonly Row[]
}

const folder = new URL('../results/', import.meta.url)
const resultsFile = new URL('latest.json', folder)

const headings: Readonly<Record<string, string>> = {
  concurrency: 'callers',
  opsPerSecond: 'ops/s',
  p50Ms: 'p50 ms',
  p99Ms: 'p99 ms',
  clientCpuUs: 'client CPU µs/op',
  serverCpuUs: 'server CPU µs/op',
  opsRange: 'rounds',
  readP50Ms: 'read p50 ms',
  readP50Range: 'rounds',
  saveP50Ms: 'save p50 ms',
  saveP50Range: 'rounds',
  pageP50Ms: 'page p50 ms',
  pageP50Range: 'rounds',
  readFirstRatio: 'first / alone',
  savesPerSecond: 'saves/s',
  savesRange: 'rounds',
  saveServerCpuUs: 'server CPU µs/save',
  saveFirstRatio: 'first / alone',
  walBytes: 'WAL B/save',
  walBytesAfterCheckpoint: 'after a checkpoint',
  walBytesInAll: 'WAL B/save in all',
  hotShare: 'heap-only share',
  tableMbBefore: 'table MB before',
  tableMbAfter: 'after',
  indexMbBefore: 'indexes MB before',
  indexMbAfter: 'indexes after',
  purgedPerSecond: 'purged/s',
  readP99BeforeMs: 'p99 ms before',
  readP99Ratio: 'during / before',
  bytesPerEntry: 'heap bytes each',
  heapMb: 'heap MB for 100,000',
  heapMbFirst: 'heap MB at first',
  heapMbLast: 'at last',
  heapGrowth: 'last third / first',
  rssMbPerMinute: 'RSS MB/minute',
}

const common = [
  'system',
  'concurrency',
  'opsPerSecond',
  'opsRange',
  'p50Ms',
  'p99Ms',
  'clientCpuUs',
  'serverCpuUs',
  'errors',
]
const sizes = ['hotShare', 'tableMbBefore', 'tableMbAfter', 'indexMbBefore', 'indexMbAfter']
const lone = ['readP50Ms', 'readP50Range', 'saveP50Ms', 'saveP50Range', 'pageP50Ms', 'pageP50Range']

/** The columns that the tables show of a group, if not the common ones; the file has everything. */
const columns: Readonly<Record<string, readonly string[]>> = {
  distance: ['system', ...lone, 'opsPerSecond', 'opsRange', 'errors'],
  distance_pages: ['system', 'opsPerSecond', 'p99Ms', 'pageP50Ms', 'pageP50Range', 'errors'],
  processes: [
    'system',
    'concurrency',
    'opsPerSecond',
    'opsRange',
    'serverCpuUs',
    'readFirstRatio',
    'savesPerSecond',
    'savesRange',
    'saveServerCpuUs',
    'saveFirstRatio',
    'errors',
  ],
  purge: ['system', 'opsPerSecond', 'p50Ms', 'p99Ms', 'readP99BeforeMs', 'readP99Ratio'],
  storage: ['system', 'concurrency', 'opsPerSecond', 'walBytes', 'walBytesAfterCheckpoint', ...sizes],
  indexes: ['system', 'walBytes', 'walBytesInAll', ...sizes, 'purgedPerSecond'],
  cache: ['system', 'entries', 'bytesPerEntry', 'heapMb'],
  cache_use: ['system', 'opsPerSecond', 'reads', 'seconds', 'rows', 'ends', 'p50Ms', 'p99Ms', 'worstMs'],
  memory: [
    'system',
    'concurrency',
    'opsPerSecond',
    'seconds',
    'heapMbFirst',
    'heapMbLast',
    'heapGrowth',
    'rssMbPerMinute',
  ],
}

/** Headings that are different in one group. */
const ownHeadings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  distance: { opsPerSecond: 'reads/s, 128 callers' },
  distance_pages: { opsPerSecond: 'pages/s' },
  processes: { opsPerSecond: 'reads/s', serverCpuUs: 'server CPU µs/read' },
}

export function rowTable(bench: string, rows: readonly Row[]): string {
  return table(
    rows.filter((row) => row.bench === bench),
    columns[bench] ?? common,
    ownHeadings[bench],
  )
}

/** A Markdown table, padded so that it is readable on a terminal too. Columns without any figure are left out. */
export function table(
  rows: readonly Readonly<Record<string, unknown>>[],
  wanted: readonly string[],
  own: Readonly<Record<string, string>> = {},
): string {
  const isGiven = (name: string) => rows.some((row) => row[name] !== null && row[name] !== undefined)
  const names = wanted.filter(isGiven)
  const lines = [
    names.map((name) => own[name] ?? headings[name] ?? name),
    ...rows.map((row) => names.map((name) => cell(row[name]))),
  ]
  const widths = names.map((_, index) => Math.max(...lines.map((line) => (line[index] as string).length)))
  const isNumber = names.map((name) => rows.every((row) => typeof row[name] !== 'string'))
  const written = lines.map((line) => {
    const cells = line.map((text, index) => {
      const width = widths[index] as number
      return isNumber[index] ? text.padStart(width) : text.padEnd(width)
    })
    return `| ${cells.join(' | ')} |`
  })
  const rule = widths.map((width, index) => (isNumber[index] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)))
  return [written[0], `| ${rule.join(' | ')} |`, ...written.slice(1)].join('\n')
}

function cell(value: unknown): string {
  if (typeof value === 'number') return formatNumber(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'string' ? value : '–'
}

function formatNumber(value: number): string {
  return value.toLocaleString(
    'en',
    Math.abs(value) < 100 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 },
  )
}

export function verdictTable(verdicts: readonly Verdict[]): string {
  return table(
    verdicts.map(({ measure, target, measured, isMet }) => ({
      measure,
      target,
      measured: Number(measured.toPrecision(3)),
      met: isMet,
    })),
    ['measure', 'target', 'measured', 'met'],
  )
}

/** Adds to the rows of this full run those of the last one that it has not measured, unless that was a quick one. */
export function withEarlierRows(rows: readonly Row[]): Row[] {
  const measured = new Set(rows.map(({ bench }) => bench))
  const last = fs.existsSync(resultsFile) ? (JSON.parse(fs.readFileSync(resultsFile, 'utf8')) as Results) : undefined
  const earlier = last?.facts['run'] === 'full' ? last.rows : []
  return [...earlier.filter(({ bench }) => !measured.has(bench)), ...rows]
}

export function writeResults(results: Results): void {
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(resultsFile, `${JSON.stringify(results, undefined, 2)}\n`)
  const svg = chart(results.rows)
  if (svg) fs.writeFileSync(new URL('latest.svg', folder), svg)
}

const page = new URL('../../docs/performance.md', import.meta.url)

/** Puts this run's tables between the page's markers: `<!-- bench read -->` … `<!-- end -->`. */
export function writePage({ facts, verdicts, rows }: Results): void {
  const text = fs
    .readFileSync(page, 'utf8')
    .replaceAll(/(<!-- bench (\w+) -->\n)[\s\S]*?(?=<!-- end -->)/g, (whole, mark, name) => {
      if (name === 'facts') return `${mark}\n${factList(facts)}\n\n`
      // Tables that this run did not measure stay unchanged.
      if (name === 'verdicts') return verdicts.length > 0 ? `${mark}\n${verdictTable(verdicts)}\n\n` : whole
      return rows.some(({ bench }) => bench === name) ? `${mark}\n${rowTable(name, rows)}\n\n` : whole
    })
  fs.writeFileSync(page, text)
}

export function factList(facts: Results['facts']): string {
  return Object.entries(facts)
    .map(([name, fact]) => {
      if (typeof fact !== 'object') return `- ${name}: ${fact}`
      const parts = Object.entries(fact).map((pair) => pair.join(' '))
      return `- ${name}: ${parts.join(', ')}`
    })
    .join('\n')
}
