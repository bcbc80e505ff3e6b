// What is stored of an express-session session, and how it is read back. Its `cookie` is a key of the data like any other;
// only its expiry moves at every request, so that is kept only in the row.
import { isDeepStrictEqual } from 'node:util'
import type { SessionData } from 'express-session'
import { longestLife } from '../cookie/cookie-options.ts'
import { readJson } from '../database/read-json.ts'
import type { KnownSession } from '../session/known-session.ts'

type RollingCookie = SessionData['cookie'] & { originalMaxAge: number; originalExpires?: unknown }

/** Whether the cookie's expiry is counted from each visit; a fixed date, or none, is stored unchanged. */
function isRolling(cookie: SessionData['cookie'] | undefined): cookie is RollingCookie {
  return typeof cookie?.originalMaxAge === 'number'
}

/** How much time may pass between two readings of the clock, in milliseconds: a garbage collection, for example. */
const pause = 100

/** A session's cookie as it is stored with it. */
export type StoredCookie = Readonly<Record<string, unknown>>

export type StoredValues = Record<string, unknown> & { readonly cookie?: StoredCookie | undefined }

/** What was read or saved, with the cookie in it. */
export class Stored {
  readonly known: KnownSession
  readonly cookie: StoredCookie | undefined

  constructor(known: KnownSession, cookie: StoredCookie | undefined) {
    this.known = known
    this.cookie = cookie
  }

  /** JSON shows nothing of it. */
  toJSON(): undefined {}
}

/**
 * As JSON: dates are strings, and what JSON cannot carry is left out, as in every store for express-session.
 *
 * @param before the cookie that was stored when the session was read
 */
export function storedValues(data: SessionData, before?: StoredCookie): StoredValues {
  const values = readJson(JSON.stringify(data)) as StoredValues
  prepare(values.cookie as SessionData['cookie'] | undefined, before)
  return values
}

/** Of a session in which at most its cookie has changed: the one to store, or undefined if that has not changed either. */
export function changedCookie(data: SessionData, before: StoredCookie | undefined): StoredCookie | undefined {
  if (!data.cookie) return undefined
  const cookie = readJson(JSON.stringify(data.cookie)) as SessionData['cookie'] & StoredCookie
  prepare(cookie, before)
  return isDeepStrictEqual(cookie, before) ? undefined : cookie
}

/**
 * Leaves out what moves at every visit.
 *
 * express-session 1.19 reads the clock twice when it renews a cookie's maxAge: the milliseconds that pass in between are
 * missing from the cookie's originalMaxAge, and a visit that changes nothing would count as a change.
 */
function prepare(cookie: SessionData['cookie'] | undefined, before: StoredCookie | undefined): void {
  if (!isRolling(cookie)) return
  delete cookie.expires
  delete cookie.originalExpires // @fastify/session's own record of it
  const stored = before as SessionData['cookie'] | undefined
  if (isRolling(stored) && Math.abs(stored.originalMaxAge - cookie.originalMaxAge) <= pause) {
    cookie.originalMaxAge = stored.originalMaxAge
  }
}

/** The session's data; its expiry is by this server's clock, whatever the database's clock says. */
export function sessionData(known: KnownSession): { readonly data: SessionData; readonly stored: Stored } {
  const values: StoredValues = known.values()
  const cookie = values.cookie && { ...values.cookie }
  const data = values as unknown as SessionData
  if (isRolling(data.cookie)) {
    const { originalMaxAge } = data.cookie // the row lives a little longer, so that a visit need not be recorded at once
    data.cookie.expires = new Date(Date.now() + Math.min(known.remainingMs, originalMaxAge))
  }
  return { data, stored: new Stored(known, cookie) }
}

/** Whether the session ends at a fixed time, visits or not. */
export function isFixed({ cookie }: SessionData): boolean {
  return Boolean(cookie?.expires) && !isRolling(cookie)
}

/** Seconds that the session lives without a visit; 0 or less if it has expired. */
export function ttlOf({ cookie }: SessionData, ttlWithoutExpiry: number): number {
  const untilExpiry = cookie?.expires ? new Date(cookie.expires).getTime() - Date.now() : Number.NaN
  const ms = isRolling(cookie) ? cookie.originalMaxAge : untilExpiry
  return Number.isFinite(ms) ? Math.min(ms / 1000, longestLife) : ttlWithoutExpiry
}
