/**
 * What went wrong, for programs to act on. The set is closed: a new code is a new major version.
 *
 * - `invalid_option`: an option or argument is not what its documentation says; thrown before anything happens.
 * - `invalid_value`: a session holds something that JSON or Postgres cannot carry; the message names the path.
 * - `too_large`: the merged session would exceed `maxLength`; the stored session is unchanged.
 * - `gone`: the session was destroyed, revoked, regenerated elsewhere or has expired; nothing was saved.
 * - `conflict`: a save with `ifUnchanged` found that another request had saved first.
 * - `sealed`: a sealed value was damaged, moved here from elsewhere, or sealed with a key that is no longer in the list.
 * - `headers_sent`: it is too late to set a cookie on the response.
 * - `not_installed`: the schema, or a function of it, is missing in this database.
 * - `forbidden`: the database role lacks a right.
 * - `migration`: the database's schema and this version of pgstore do not match.
 * - `unavailable`: the database could not be reached, ended the connection or was too busy; trying again later may work.
 * - `timeout`: the database did not respond in time; a save may or may not have happened.
 * - `full`: the database has run out of disk, memory or another resource; nothing was saved.
 * - `database`: the database failed in another way; see `sqlState`.
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
  | 'full'
  | 'database'
  | 'closed'

const statusCodes: Partial<Record<PGStoreErrorCode, 409 | 503>> = {
  gone: 409,
  conflict: 409,
  unavailable: 503,
  timeout: 503,
  full: 503,
}

/** The error class of pgstore. It contains no token, key, session data or connection string, and no cause that might. */
export class PGStoreError extends Error {
  override readonly name = 'PGStoreError'
  readonly code: PGStoreErrorCode
  /**
   * The HTTP status if this is not caught, as Fastify, Koa and Express read it: 409 for `gone` and `conflict` (a retry
   * sees the current state), 503 for `unavailable`, `timeout` and `full`, else 500.
   */
  readonly statusCode: 409 | 500 | 503
  /**
   * Whether the same call may succeed later, without any change to the program, the role or the schema: true for `unavailable`,
   * `timeout` and `full`. After a `timeout` without `sqlState`, a save may already have happened.
   */
  readonly isRetryable: boolean
  /** The SQLSTATE or the system's error code (`ECONNREFUSED`), if a database call failed. */
  readonly sqlState?: string

  constructor(code: PGStoreErrorCode, message: string, sqlState?: string) {
    super(message)
    this.code = code
    this.statusCode = statusCodes[code] ?? 500
    this.isRetryable = this.statusCode === 503
    if (sqlState !== undefined) this.sqlState = sqlState
  }
}

/** @throws {PGStoreError} `invalid_option`, naming every problem; nothing if there is none */
export function refuse(problems: readonly string[]): void {
  if (problems.length > 0) throw new PGStoreError('invalid_option', `${problems.join('; ')}.`)
}

/** A problem for each name that is not among the known ones. */
export function unknownNames(given: object, known: object): string[] {
  return Object.keys(given)
    .filter((name) => !Object.hasOwn(known, name))
    .map((name) => `unknown option "${name}"`)
}

export function closedError(): PGStoreError {
  return new PGStoreError('closed', 'The store is closed.')
}

const unsent = new WeakSet<PGStoreError>()

/** `unavailable` for a call that never left, as what it would go by has been silent: sending it again would only wait again. */
export function unsentError(message: string, sqlState?: string): PGStoreError {
  const error = new PGStoreError('unavailable', message, sqlState)
  unsent.add(error)
  return error
}

export function wasSent(error: PGStoreError): boolean {
  return !unsent.has(error)
}

// Serialization failures and deadlocks are among them: nothing has happened, and a retry may succeed.
const passing = /^(08|57P0[1235]|53300|25006|40001|40P01|E[A-Z]+)/
const timedOut = /^(57014|55P03|25P0[34])/
// 54000 is a server that assigns no more transaction numbers, to save what it has: it reads and does not write.
const outOfRoom = /^(53|54000)/

/**
 * Whether the server could not write its own log, and goes down: the transaction may be in the part that it did write. A server's PANIC
 * is told by where it was raised, as its severity is in the language of `lc_messages`.
 */
function isOfLog(error: unknown): boolean {
  const { file } = (error ?? {}) as { file?: unknown }
  return (typeof file === 'string' && file.startsWith('xlog')) || / REMOTE PANIC: /.test(messageOf(error))
}

/** What PL/Proxy says of a partition that it cannot reach: the text goes on with the partition's name and address. */
const unreachable = /^PL\/Proxy function \S+\(\d+\): (\[|connect timeout)/
const tooSlow = /^PL\/Proxy function \S+\(\d+\): query timeout/

/** What PL/Proxy puts before an error that a partition raised, with the name of its database; the SQLSTATE is the error's own. */
const raisedThere = /^\S+\(\d+\): \[[^\]]*\] REMOTE [^:]*: /

/** Whether a partition behind this connection failed, and not the connection. */
export function isOfPartition(error: unknown): boolean {
  const text = messageOf(error)
  return raisedThere.test(text) || (codeOf(error) === 'XX000' && (unreachable.test(text) || tooSlow.test(text)))
}

/**
 * The error for a failed database call. A driver's error is never passed on: its `detail` and `where` can quote a row.
 * Its message is passed on only for classes whose messages name things, not values.
 */
export function databaseError(operation: string, error: unknown): PGStoreError {
  if (error instanceof PGStoreError) return error
  const code = codeOf(error)
  const text = messageOf(error).replace(raisedThere, '')
  if (code === undefined) {
    // node-postgres reports these by their message only.
    const isLost = /connection|terminated|pool/i.test(text)
    return new PGStoreError(
      /timeout/i.test(text) ? 'timeout' : isLost ? 'unavailable' : 'database',
      `${operation}: ${text}`,
    )
  }
  if (code === '42883' || code === '3F000' || code === '42P01') {
    return new PGStoreError('not_installed', `${operation}: ${text}; run "npx pgstore migrate"`, code)
  }
  if (code === '42501') return new PGStoreError('forbidden', `${operation}: ${text}`, code)
  if (timedOut.test(code)) return new PGStoreError('timeout', `${operation}: ${text}`, code)
  if (passing.test(code)) return new PGStoreError('unavailable', `${operation}: ${text}`, code)
  if (code === 'XX000' && unreachable.test(text))
    return new PGStoreError('unavailable', `${operation}: a partition could not be reached`, code)
  if (code === 'XX000' && tooSlow.test(text))
    return new PGStoreError('timeout', `${operation}: a partition did not answer in time`, code)
  if (outOfRoom.test(code))
    return new PGStoreError(isOfLog(error) ? 'unavailable' : 'full', `${operation}: ${text}`, code)
  if (!isSqlState(code)) return new PGStoreError('unavailable', `${operation}: ${code}`, code) // mostly TLS errors
  const named = /^(0A|25|28|3D|40|42|54|57|58)/.test(code) ? `: ${text}` : ''
  return new PGStoreError('database', `${operation}: SQLSTATE ${code}${named}`, code)
}

/** An error's message; if it is empty, as for a host that refuses at all its addresses, those of its parts, or its code. */
export function messageOf(error: unknown): string {
  const { message, errors } = (error ?? {}) as { message?: unknown; errors?: unknown }
  if (typeof message === 'string' && message.trim() !== '') return message
  const parts = Array.isArray(errors) ? [...new Set(errors.map(messageOf))].join(', ') : ''
  return parts || codeOf(error) || 'unknown error'
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' && code !== '' ? code : undefined
}

/** Not `EPIPE` and the like: Postgres has no class that begins with an E. */
function isSqlState(code: string): boolean {
  return /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(code)
}

/** Whether the server itself says this, and so can be reached: neither the network, nor a limit of ours. */
export function isAnswer(error: unknown): boolean {
  return error instanceof PGStoreError || isSqlState(codeOf(error) ?? '')
}

/** This server accepts no writes: it is a demoted primary, or the database is read-only. */
export const readOnly = '25006'

// The server ends the connection, or its state is unknown; for lack of memory, ending the connection frees some.
const ending = /^(08|25006|25P0[34]|28|3D|53[023]00|57P|58|XX)/

/**
 * Whether a connection must not be used again after this error. The error's severity does not decide, as the server writes it
 * in the language of `lc_messages`. A partition's failure leaves the connection to its proxy intact.
 */
export function endsConnection(error: unknown): boolean {
  const code = codeOf(error)
  return code === undefined || !isSqlState(code) || ((ending.test(code) || isOfLog(error)) && !isOfPartition(error))
}
