// The results: tables for the terminal and for docs/performance.md, and the file that a program reads.
import fs from 'node:fs'
import { chart } from './chart.ts'
import type { Row } from './measure.ts'
import type { Verdict } from './targets.ts'

export type Fact = string | number | Readonly<Record<string, string>>

export interface Results {
  /** When it ended, where, on what: a figure means nothing without. */
  readonly facts: Readonly<Record<string, Fact>>
  readonly verdicts: readonly Verdict[]
  readonly rows: readonly Row[]
}

const folder = new URL('results/', import.meta.url)

const headings: Readonly<Record<string, string>> = {
  system: 'system',
  concurrency: 'callers',
  opsPerSecond: 'ops/s',
  p50Ms: 'p50 ms',
  p99Ms: 'p99 ms',
  clientCpuUs: 'client CPU µs/op',
  serverCpuUs: 'server CPU µs/op',
}

/** A Markdown table, padded so that it is one on a terminal too. Columns that no row has a figure in are left out. */
export function table(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const isGiven = (name: string) => rows.some((row) => row[name] !== null && row[name] !== undefined)
  const names = [...new Set(rows.flatMap(Object.keys))].filter((name) => name !== 'bench' && isGiven(name))
  const lines = [
    names.map((name) => headings[name] ?? name),
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
  )
}

export function writeResults(results: Results): void {
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(new URL('latest.json', folder), `${JSON.stringify(results, undefined, 2)}\n`)
  const svg = chart(results.rows)
  if (svg) fs.writeFileSync(new URL('latest.svg', folder), svg)
}

const page = new URL('../docs/performance.md', import.meta.url)

/** Puts this run's tables between the page's markers: `<!-- bench read -->` … `<!-- end -->`. */
export function writePage({ facts, verdicts, rows }: Results): void {
  const text = fs
    .readFileSync(page, 'utf8')
    .replaceAll(/(<!-- bench (\w+) -->\n)[\s\S]*?(?=<!-- end -->)/g, (whole, mark, name) => {
      if (name === 'facts') return `${mark}\n${factList(facts)}\n\n`
      const content = name === 'verdicts' ? verdictTable(verdicts) : table(rows.filter(({ bench }) => bench === name))
      return content.includes('\n') ? `${mark}\n${content}\n\n` : whole
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
