// An old store as the import sees it: sessions in batches, each ready to be saved or skipped with a reason.

import { readJson } from '../../database/read-json.ts'
import { PGStoreError } from '../../errors.ts'
import { encodeJson } from '../../session/json.ts'

/** A store to read, and only to read. */
export interface Source {
  /** About how many sessions it holds, found cheaply; 0 if unknown. */
  total(): Promise<number>
  batches(): AsyncIterable<readonly Item[]>
  close(): Promise<void>
}

export type Item = Found | Left

export interface Found {
  /** What the visitor's cookie carries; its digest is the session's key. */
  readonly token: string
  readonly values: { readonly [key: string]: unknown }
  /** The values as JSON text. */
  readonly json: string
  readonly ttlSeconds: number
}

/** Skipped, and counted as this. */
export type Left =
  | { readonly as: 'expired' | 'tooLarge' }
  /** `problem` is a phrase that quotes none of the session. */
  | { readonly as: 'unreadable'; readonly problem: string }

/** Sessions read at once; each may be as large as `mostBytes`. */
export const batchSize = 250

/** A session of more bytes than this is not read. */
export const mostBytes: number = 4 * 1024 * 1024

/** In seconds: express-session's stores give a session without an expiry a day. */
const browserSessionSeconds = 86400

/** session_save refuses more than a hundred years, of 360 days as Postgres compares them. */
const longestSeconds = 98 * 365 * 86400

export function unreadable(problem: string): Left {
  return { as: 'unreadable', problem }
}

/** A session with `seconds` left to live. */
export function found(token: string, values: { readonly [key: string]: unknown }, seconds: number): Item {
  if (!(seconds >= 0.001)) return { as: 'expired' }
  try {
    const json = encodeJson(values, 'values')
    return { token, values, json, ttlSeconds: Math.min(seconds, longestSeconds) }
  } catch (error) {
    if (!(error instanceof PGStoreError)) throw error
    return unreadable('a value that a session cannot store')
  }
}

/** A session of express-session as its stores keep it: JSON text of an object with the key `cookie` among others. */
export function readExpressSession(sid: string, text: string): { readonly [key: string]: unknown } | undefined {
  if (sid === '') return undefined
  let session: unknown
  try {
    session = readJson(text)
  } catch {
    return undefined
  }
  const isObject = typeof session === 'object' && session !== null && !Array.isArray(session)
  return isObject ? (session as { readonly [key: string]: unknown }) : undefined
}

/**
 * As pgstore/express-session stores it: if the cookie's expiry moves with each visit, it is kept only in the row.
 * `originalExpires` is @fastify/session's.
 */
export function foundExpressSession(sid: string, session: { readonly [key: string]: unknown }, seconds: number): Item {
  const { cookie } = session as { cookie?: { originalMaxAge?: unknown } | null }
  if (typeof cookie?.originalMaxAge !== 'number') return found(sid, session, seconds)
  const { expires: _, originalExpires: __, ...kept } = cookie as Record<string, unknown>
  return found(sid, Object.assign(session, { cookie: kept }), seconds)
}

/** Until the cookie's own expiry, for a store that keeps no other. */
export function cookieSeconds({ cookie }: { readonly [key: string]: unknown }): number {
  const expires = (cookie as { expires?: unknown } | null | undefined)?.expires
  const time = typeof expires === 'string' ? Date.parse(expires) : Number.NaN
  return Number.isNaN(time) ? browserSessionSeconds : (time - Date.now()) / 1000
}
