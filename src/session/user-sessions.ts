// A user's sessions: the page of devices.
import { parseTime } from '../database/row.ts'
import type { Database } from '../database/session-functions.ts'
import { PGStoreError } from '../errors.ts'
import { checkText } from './json.ts'
import { internals, parseValues, type Session } from './session.ts'
import { sessionKey } from './token.ts'

/** One of a user's sessions, as `store.list()` shows it. */
export interface ListedSession<Values extends object = Record<string, unknown>> {
  /** For `store.revoke()`; not secret. */
  readonly id: string
  readonly userId: string
  /** Empty with the option `seal`: values open with the key of their session alone, which is not listed. */
  readonly values: Values
  readonly version: number
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly expiresAt: Date
}

export interface RevokeOptions {
  /** Only the session with this number. Default: all. */
  readonly id?: string | number | bigint
  /**
   * All but this one: "sign out everywhere else"; its token where a framework keeps the cookie itself. One that is not saved
   * yet spares none. Default: spare none.
   */
  readonly except?: Session<object> | string
}

export async function listSessions<Values extends object>(
  database: Database,
  userId: string,
  isSealed: boolean,
): Promise<ListedSession<Values>[]> {
  checkText(userId, 'userId')
  const rows = await database.list(userId)
  return rows.map((row) => ({
    id: row.id,
    userId,
    values: parseValues(isSealed ? '{}' : row.data) as Values,
    version: row.version,
    createdAt: new Date(parseTime(row.createdAt)),
    updatedAt: new Date(parseTime(row.updatedAt)),
    expiresAt: new Date(parseTime(row.expiresAt)),
  }))
}

export async function revokeSessions(database: Database, userId: string, options: RevokeOptions): Promise<number> {
  checkText(userId, 'userId')
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null) {
      throw new PGStoreError('invalid_option', `revoke: ${name} is given as ${value}; leave it out to end all.`)
    }
  }
  const { id, except } = options
  if (id !== undefined && !/^\d{1,18}$/.test(String(id))) return 0 // no session has such a number
  const token = typeof except === 'string' ? except : except && internals.stored(except)?.token
  const key = token === undefined ? null : sessionKey(token)
  return await database.revoke(userId, id === undefined ? null : String(id), key)
}
