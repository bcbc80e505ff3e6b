// The options of the store for express-session.
import type { SessionData } from 'express-session'
import type { PGStoreOptions } from '../options.ts'
import type { PGStore } from '../store.ts'

/**
 * The options of the store: give `connectionString`, `pool` or `store`; the rest has the defaults of `PGStore`, except maxLength.
 */
export interface ExpressSessionStoreOptions extends Omit<PGStoreOptions, 'keyPairs' | 'codecs' | 'options'> {
  /** A `PGStore` that you open and close; the options of `PGStore` are then set on it. */
  readonly store?: PGStore | undefined
  /** Largest session in bytes of JSON text as Postgres prints it, after merging; 0 means no limit. Default: 65,536. */
  readonly maxLength?: number | undefined
  /** Seconds that a session lives without a visit when its cookie has neither maxAge nor expires. Default: 86,400 (a day). */
  readonly ttl?: number | undefined
  /**
   * Whose session it is, called at every save, so that a user's sessions can be listed and revoked; undefined and null mean
   * an anonymous visitor. Default: every session is anonymous.
   */
  readonly userId?: ((session: Partial<SessionData>) => string | number | null | undefined) | undefined
}
