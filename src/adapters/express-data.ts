// What is stored of an express-session session, and how it is read back. Its `cookie` is a key of the data like any other;
// only its expiry moves at every request, so that is kept only in the row.
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

/**
 * As JSON: dates are strings, and what JSON cannot carry is left out, as in every store for express-session.
 *
 * express-session 1.19 reads the clock twice when it renews a cookie's maxAge: the milliseconds that pass in between are
 * missing from the cookie's originalMaxAge, and a visit that changes nothing would count as a change.
 *
 * @param before what the session held when it was read
 */
export function storedValues(data: SessionData, before: Record<string, unknown> = {}): Record<string, unknown> {
  const values = readJson(JSON.stringify(data)) as Record<string, unknown> & Pick<SessionData, 'cookie'>
  if (!isRolling(values.cookie)) return values
  delete values.cookie.expires
  delete values.cookie.originalExpires // @fastify/session's own record of it
  const cookie = before['cookie'] as SessionData['cookie'] | undefined
  if (isRolling(cookie) && Math.abs(cookie.originalMaxAge - values.cookie.originalMaxAge) <= pause) {
    values.cookie.originalMaxAge = cookie.originalMaxAge
  }
  return values
}

/** The session's data; its expiry is by this server's clock, whatever the database's clock says. */
export function sessionData(known: KnownSession): SessionData {
  const data = known.values() as unknown as SessionData
  if (isRolling(data.cookie)) {
    const { originalMaxAge } = data.cookie // the row lives a little longer, so that a visit need not be recorded at once
    data.cookie.expires = new Date(Date.now() + Math.min(known.remainingMs, originalMaxAge))
  }
  return data
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
