// What the operator is told when a call fails.
import { databaseError, PGStoreError } from '../../errors.ts'

/** What a role lacks, and what gives it that. */
export interface Needed {
  /** As in "This role may not …". */
  readonly to: string
  readonly right: 'account' | 'admin'
}

/** The error in words for people: which right is missing, or what happened, without the name of the function that was called. */
export function told(error: unknown, needed: Needed): PGStoreError {
  const found = databaseError('', error)
  if (found.code === 'forbidden') {
    const advice = `run "npx pgstore grant ROLE --as ${needed.right}" as the owner of the schema`
    return new PGStoreError('forbidden', `This role may not ${needed.to}: ${advice}.`)
  }
  return new PGStoreError(found.code, found.message.replace(/^\w*: /, ''), found.sqlState)
}
