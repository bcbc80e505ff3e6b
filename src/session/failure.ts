// What a status means for the caller.
import type { SaveResult } from '../database/row.ts'
import { PGStoreError } from '../errors.ts'

/** The error for a status that is neither saved nor a conflict that the caller asked about. */
export function failure(operation: string, { status }: Pick<SaveResult, 'status'>): PGStoreError {
  if (status === 'gone') {
    return new PGStoreError('gone', 'The session was ended elsewhere or has expired; nothing was saved.')
  }
  if (status === 'too_large') {
    return new PGStoreError('too_large', 'The session would exceed maxLength; nothing was saved.')
  }
  if (status === 'conflict' && operation === 'session_regenerate') {
    return new PGStoreError(
      'conflict',
      'The session kept changing while it was being regenerated; nothing was changed. Try again.',
    )
  }
  if (status === 'invalid') return new PGStoreError('invalid_value', `${operation} rejected its arguments.`)
  return new PGStoreError('database', `${operation}: ${status}`) // a token drawn twice, which does not happen in practice
}

/** Whether the database cannot write at the moment: not a reason to fail a page that only reads. */
export function isPassing(error: unknown): boolean {
  return error instanceof PGStoreError && error.isRetryable
}
