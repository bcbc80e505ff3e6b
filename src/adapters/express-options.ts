// How the store for express-session is set up.
import type { SessionData } from 'express-session'
import type { PGStoreOptions } from '../options.ts'
import type { PGStore } from '../store.ts'

/** How the store is set up: give `connectionString`, `pool` or `store`; the rest has defaults, those of `PGStore` but for maxLength. */
export interface ExpressSessionStoreOptions extends Omit<PGStoreOptions, 'keyPairs' | 'codecs' | 'options'> {
  /** A `PGStore` that you open and close; whatever is an option of `PGStore` is then its. */
  readonly store?: PGStore | undefined
  /** Largest session in bytes of JSON text, after merging; 0 means no limit. Default: 65,536. */
  readonly maxLength?: number | undefined
  /** Seconds that a session lives without a visit when its cookie has neither maxAge nor expires. Default: 86,400 (a day). */
  readonly ttl?: number | undefined
  /**
   * Whose session it is, asked at every save, so that a user's sessions can be listed and revoked; undefined and null are an
   * anonymous visitor's. Default: nobody's.
   */
  readonly userId?: ((session: Partial<SessionData>) => string | number | null | undefined) | undefined
}
