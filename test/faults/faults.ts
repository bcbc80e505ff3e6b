// Fault experiments: which of them run, and their results.
import * as uvu from 'uvu'
import * as assert from 'uvu/assert'

/** The numbers that `npm run faults` was asked for; all, if for none. */
const wanted = (process.env['PGSTORE_FAULTS'] ?? '').split(',').filter(Boolean)

/** The tests of experiments, of which those run that are wanted: their names begin with a number. */
export const test: typeof uvu.test = Object.assign((name: string, body: uvu.Callback) => {
  if (isWanted(name)) uvu.test(name, body)
}, uvu.test)

function isWanted(name: string): boolean {
  return wanted.length === 0 || wanted.includes(/^([A-Z]\d+): /.exec(name)?.[1] ?? '')
}

/**
 * A measurement and the most that it should be. Whether it was is judged by `npm run faults` alone: how long something takes in CI
 * says little.
 */
export interface Figure {
  readonly is: number
  readonly most: number
  /** Default: ms. */
  readonly unit?: string
}

const isJudged = process.env['PGSTORE_COUNTS'] === 'full'

/**
 * Prints the result of an experiment for the table of `npm run faults`, which fails if a figure is far too high: a machine that is busy
 * with other things may take five times as long.
 */
export function report(number: string, what: string, text: string, figures: Record<string, Figure> = {}): void {
  const measured = Object.entries(figures)
  const shown = measured.map(
    ([name, { is, most, unit = 'ms' }]) => `${name} ${Math.round(is)} ${unit} (at most ${Math.round(most)})`,
  )
  const isSlow = measured.some(([, { is, most }]) => is > most)
  const verdict = isSlow ? 'held, slower than wanted' : 'held'
  console.log(
    `Fault: ${JSON.stringify({ number, what, figures: [text, ...shown].filter(Boolean).join('; '), verdict })}`,
  )
  if (!isJudged) return
  for (const [name, { is, most }] of measured) assert.ok(is <= 5 * most, `${number}: ${name} ${Math.round(is)}`)
}

/** Milliseconds until `work` is done. */
export async function duration(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0
}
