// What is stored of an express-session session, and how it is read back. Its `cookie` is a key of the data like any other;
// only its expiry moves at every request, so that is kept only in the row.
import type { SessionData } from 'express-session'
import { longestLife } from '../cookie/cookie-options.ts'
import type { KnownSession } from '../session/token-sessions.ts'

type RollingCookie = SessionData['cookie'] & { originalMaxAge: number }

/** Whether the cookie's expiry is counted from each visit; a fixed date, or none, is stored unchanged. */
function isRolling(cookie: SessionData['cookie'] | undefined): cookie is RollingCookie {
  return typeof cookie?.originalMaxAge === 'number'
}

/** What the clock may lose between two readings, in milliseconds. */
const tick = 2

/**
 * As JSON: dates are strings, and what JSON cannot carry is left out, as in every store for express-session.
 *
 * express-session 1.19 reads the clock twice when it renews a cookie's maxAge: if a millisecond ends in between, the
 * cookie's originalMaxAge loses it, and a visit that changes nothing would count as a change.
 *
 * @param known the session as it was read
 */
export function storedValues(data: SessionData, known: KnownSession | undefined): Record<string, unknown> {
  const values = JSON.parse(JSON.stringify(data))
  if (!isRolling(values.cookie)) return values
  delete values.cookie.expires
  delete values.cookie.originalExpires // @fastify/session's own record of it
  const before = known?.values()['cookie'] as SessionData['cookie'] | undefined
  if (isRolling(before) && Math.abs(before.originalMaxAge - values.cookie.originalMaxAge) <= tick) {
    values.cookie.originalMaxAge = before.originalMaxAge
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
