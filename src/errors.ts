/**
 * What went wrong, for programs to act on. The set is closed: a new code is a new major version.
 *
 * - `invalid_option`: an option or argument is not what its documentation says; thrown before anything happens.
 * - `invalid_value`: a session holds something that JSON or Postgres cannot carry; the message names the path.
 * - `too_large`: the merged session would exceed `maxLength`; the stored session is unchanged.
 * - `gone`: the session was destroyed, revoked, regenerated elsewhere or has expired; nothing was saved.
 * - `conflict`: a save with `ifUnchanged` found that somebody else had saved first.
 * - `sealed`: a sealed value was damaged, moved here from elsewhere, or sealed with a key that is no longer in the ring.
 * - `headers_sent`: the response can take no cookie any more.
 * - `not_installed`: the schema, or a function of it, is missing in this database.
 * - `forbidden`: the database role lacks a right.
 * - `migration`: the database's schema and this version of pgstore do not fit each other.
 * - `unavailable`: the database could not be reached, ended the connection or was too busy; trying again later may work.
 * - `timeout`: the database did not answer in time; a save may or may not have happened.
 * - `database`: the database failed in another way; `sqlState` tells which.
 * - `closed`: the store was closed.
 */
export type PGStoreErrorCode =
  | 'invalid_option'
  | 'invalid_value'
  | 'too_large'
  | 'gone'
  | 'conflict'
  | 'sealed'
  | 'headers_sent'
  | 'not_installed'
  | 'forbidden'
  | 'migration'
  | 'unavailable'
  | 'timeout'
  | 'database'
  | 'closed'

/** The one error class of pgstore. It holds no token, key, session data or connection string, and no cause that might. */
export class PGStoreError extends Error {
  override readonly name = 'PGStoreError'
  readonly code: PGStoreErrorCode
  /** The SQLSTATE or the system's error code (`ECONNREFUSED`), where a database call failed. */
  readonly sqlState?: string

  constructor(code: PGStoreErrorCode, message: string, sqlState?: string) {
    super(message)
    this.code = code
    if (sqlState !== undefined) this.sqlState = sqlState
  }
}

// Serialization failures and deadlocks are among them: nothing has happened, and another try may succeed.
const passing = /^(08|57P0[1235]|53300|25006|40001|40P01|E[A-Z]+)/
const timedOut = /^(57014|55P03|25P03)/

/**
 * The error for a failed database call. A driver's error is never passed on: its `detail` and `where` can quote a row.
 * Its message is passed on only for classes whose messages name things, not values.
 */
export function databaseError(operation: string, error: unknown): PGStoreError {
  if (error instanceof PGStoreError) return error
  const { code, message } = error as { code?: unknown; message?: unknown }
  const text = typeof message === 'string' ? message : 'unknown error'
  const state = typeof code === 'string' ? code : undefined
  if (state === undefined) {
    // node-postgres says these in words alone.
    const isLost = /connection|terminated|pool/i.test(text)
    return new PGStoreError(
      /timeout/i.test(text) ? 'timeout' : isLost ? 'unavailable' : 'database',
      `${operation}: ${text}`,
    )
  }
  if (state === '42883' || state === '3F000' || state === '42P01') {
    return new PGStoreError('not_installed', `${operation}: ${text}; run "npx pgstore migrate"`, state)
  }
  if (state === '42501') return new PGStoreError('forbidden', `${operation}: ${text}`, state)
  if (timedOut.test(state)) return new PGStoreError('timeout', `${operation}: ${text}`, state)
  if (passing.test(state)) return new PGStoreError('unavailable', `${operation}: ${text}`, state)
  const named = /^(0A|25|28|3D|40|42|53|54|57|58)/.test(state) ? `: ${text}` : ''
  return new PGStoreError('database', `${operation}: SQLSTATE ${state}${named}`, state)
}
