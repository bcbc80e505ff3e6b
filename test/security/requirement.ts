// A test of a security requirement: its number begins its name, and a line for the runner says how it went, of which
// `npm test -- security` makes its list. A requirement may have several tests, in several files; it is met when all pass.
import fs from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

/** The number of a requirement, `S1` to `S54`. */
export type RequirementNumber = `S${number}`

/** Registers a test of requirement `number`. The sentence says what holds. */
export function requirement(number: RequirementNumber, sentence: string, body: () => unknown): void {
  tell(number, 'declared', sentence)
  test(`${number}: ${sentence}`, async () => {
    try {
      await body()
    } catch (error) {
      tell(number, 'failed', sentence)
      throw error
    }
    tell(number, 'passed', sentence)
  })
}

/**
 * Registers a requirement that SECURITY.md answers in prose, as the project decides otherwise: it must have the row,
 * `| S38 | …`.
 */
export function answered(number: RequirementNumber, sentence: string): void {
  tell(number, 'declared', sentence)
  test(`${number}: ${sentence}`, () => {
    const page = fs.readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8')
    assert.match(page, new RegExp(`^\\| *${number} *\\|`, 'm'))
    tell(number, 'answered', sentence)
  })
}

/** Registers a test that cannot run here: `reason` names what is not installed. */
export function skipped(number: RequirementNumber, sentence: string, reason: string): void {
  tell(number, 'declared', sentence)
  test.skip(`${number}: ${sentence}`)
  tell(number, 'skipped', sentence)
  console.log(`Skipped: ${number}: ${reason}`)
}

/** A line by itself: uvu's dots have none. Read by verdicts.ts. */
function tell(number: RequirementNumber, verdict: string, sentence: string): void {
  process.stdout.write(`\nrequirement ${number} ${verdict}: ${sentence}\n`)
}
