// What is kept of a session's row and cookie between reading and saving it.
import type { Changes } from './changes.ts'
import type { Known } from './known.ts'

/** The cookie that a request brought this session by. */
export interface CarriedCookie {
  /** Whether to re-sign it: it was not signed by the first codec. */
  readonly isOutdated: boolean
  /** When it was signed, in milliseconds since the epoch by this server's clock; undefined if the codec does not say. */
  readonly signedAt: number | undefined
}

/** What the store knows of a session. */
export interface Stored {
  readonly known: Known
  /** undefined if the request did not bring this session's own token, or not as the first of its cookies. */
  readonly cookie: CarriedCookie | undefined
  /** Whether the next save is to hint at a change, its own or not: a take has no response to do so. Default: false. */
  readonly isHintDue?: boolean
}

/** What a save changes, and whether the session's own maxAge is part of it. */
export interface SessionChanges extends Changes {
  readonly isMaxAge: boolean
}
