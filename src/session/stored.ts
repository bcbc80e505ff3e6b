// What is kept of a session's row and cookie between its reading and its saving.
import type { Changes } from './changes.ts'
import type { Known } from './writer.ts'

/** The cookie that a request brought this session by. */
export interface CarriedCookie {
  /** Whether it is to be signed anew: another codec than the first had signed it. */
  readonly isOutdated: boolean
  /** When it was signed, in milliseconds since the epoch by this server's clock; undefined where the codec does not tell. */
  readonly signedAt: number | undefined
}

/** What the store knows of a session. */
export interface Stored {
  readonly known: Known
  /** undefined where the request did not bring this session's own token, or not as the first of its cookies. */
  readonly cookie: CarriedCookie | undefined
}

/** What a save changes, and whether the session's own maxAge is part of it. */
export interface SessionChanges extends Changes {
  readonly isMaxAge: boolean
}
