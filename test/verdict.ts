export interface Result {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/**
 * What uvu said about a file. By itself uvu counts a file that ran nothing, or whose hook threw, as a success; here a file passes
 * when its tests all did, there was one at least, and it ended with 0; whatever else is one failure more.
 */
export function verdict(output: string, code: number | null): Result {
  const count = (name: string) => Number(new RegExp(`^ {2}${name}: +(\\d+)$`, 'm').exec(output)?.[1] ?? 0)
  const [total, passed, skipped] = [count('Total'), count('Passed'), count('Skipped')]
  const failed = total - passed
  const isSound = code === 0 && total + skipped > 0
  return { passed, failed: failed > 0 || isSound ? failed : 1, skipped }
}
