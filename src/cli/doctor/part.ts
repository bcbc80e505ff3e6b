// The examination consists of parts: what the database refuses of one is said, and the others go on.
import { databaseError, type PGStoreError } from '../../errors.ts'
import { unreachable } from './connection.ts'
import { type Finding, wrong } from './finding.ts'
import type { Situation } from './situation.ts'

/** @param otherwise the result if the database refuses it */
export async function part<Result>(
  found: Situation,
  what: string,
  otherwise: Result,
  look: (found: Situation) => Promise<Result>,
): Promise<Result> {
  try {
    return await look(found)
  } catch (error) {
    found.failures.push({ what, error: databaseError('The database', error) })
    return otherwise
  }
}

/** What makes our functions fail, so that their failing is no finding by itself. */
const causes: ReadonlySet<string> = new Set(['owners_differ', 'table_missing', 'functions_missing', 'schema_older'])

/** The parts that failed: a finding if none of `findings` says why, else only not looked at. */
export function failureFindings({ failures, unseen }: Situation, findings: readonly Finding[]): Finding[] {
  const passing = ['unavailable', 'timeout', 'full']
  const lost = failures.find(({ error }) => passing.includes(error.code))
  const sentences = [...new Set(failures.map(({ what, error }) => `${what}: ${reason(error)}.`))]
  if (lost) return [unreachable(lost.error)]
  if (findings.some(({ id }) => causes.has(id))) {
    unseen.push(...sentences)
    return []
  }
  return sentences.map((sentence) => wrong('unusable', `The database refuses a part of this examination. ${sentence}`))
}

/** Without the name of the function that was called, and without advice that does not fit. */
function reason({ message }: PGStoreError): string {
  return message.replace(/^(The database|[a-z]+(_[a-z]+)+): /, '').replace(/; run "npx pgstore migrate"$/, '')
}
