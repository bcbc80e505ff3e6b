// Reads the lines of requirement.ts, for the list at the end of a run.

export const requirementNumbers: readonly string[] = Array.from({ length: 54 }, (_, index) => `S${index + 1}`)

type Verdict = 'passed' | 'failed' | 'skipped' | 'answered in SECURITY.md' | 'no test'

export interface RequirementVerdict {
  readonly number: string
  readonly verdict: Verdict
  readonly sentences: readonly string[]
}

/** One verdict for each number, from everything that the files of a run printed: it passed if every test of it did. */
export function requirementVerdicts(output: string): RequirementVerdict[] {
  const lines = [...output.matchAll(/^requirement (S\d+) (\w+): (.*)$/gm)]
  return requirementNumbers.map((number) => {
    const mine = lines.filter(([, found]) => found === number)
    const count = (name: string) => mine.filter(([, , verdict]) => verdict === name).length
    const told = count('passed') + count('answered') + count('skipped')
    return {
      number,
      verdict: overall(count, told),
      sentences: [...new Set(mine.map(([, , , sentence]) => sentence ?? ''))],
    }
  })
}

/** A test that was declared and never said how it went is one that failed: its file ended before it, or in the middle of it. */
function overall(count: (name: string) => number, told: number): Verdict {
  if (count('declared') === 0) return 'no test'
  if (told < count('declared')) return 'failed'
  if (count('passed') > 0) return 'passed'
  return count('answered') > 0 ? 'answered in SECURITY.md' : 'skipped'
}
