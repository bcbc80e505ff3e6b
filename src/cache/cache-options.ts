// What the cache is set up with.

export interface CacheOptions {
  /** Seconds that a session is believed after it was read, whatever happens to it unheard; 60 at most. Default: 1. */
  readonly maxStale?: number | undefined
  /** The most sessions that are kept; 0 keeps none and only sets the hints that other servers go by. Default: 10,000. */
  readonly sessions?: number | undefined
  /** The most bytes of memory that they take together, an estimate. Default: 67,108,864 (64 MiB). */
  readonly bytes?: number | undefined
  /**
   * Keep what is read by token too, through `store.byToken` and `pgstore/express-session`. Such a request carries no hint, so that
   * after a save another server may show what was there before, for `maxStale`: only for one server, or visitors that stay with one.
   * Default: false.
   */
  readonly byToken?: boolean | undefined
}

export interface CacheLimits {
  readonly maxStale: number
  readonly sessions: number
  readonly bytes: number
  readonly byToken: boolean
}

const defaults: CacheLimits = { maxStale: 1, sessions: 10_000, bytes: 64 * 2 ** 20, byToken: false }

/** A hint must outlive what may be stale on any server, of whatever maxStale. */
export const longestStale = 60

/** Adds to `problems` what is wrong with them; undefined for no cache. */
export function parseCache(given: unknown, problems: string[]): CacheLimits | undefined {
  if (given === undefined || given === false) return undefined
  if (given === true) return defaults
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    problems.push('cache must be true, false or an object with maxStale, sessions, bytes and byToken')
    return undefined
  }
  // Its own properties alone: what a polluted Object.prototype lends to every object must not decide.
  const own = Object.entries(given).filter(([, value]) => value !== undefined)
  for (const [name] of own) {
    if (!Object.hasOwn(defaults, name)) problems.push(`cache: unknown option "${name}"`)
  }
  const limits = { __proto__: null, ...defaults, ...Object.fromEntries(own) } as unknown as CacheLimits
  const { maxStale, sessions, bytes, byToken } = limits
  if (!(typeof maxStale === 'number' && maxStale >= 0.001 && maxStale <= longestStale)) {
    problems.push(`cache.maxStale must be a number of seconds above 0, ${longestStale} at most`)
  }
  if (!(Number.isInteger(sessions) && sessions >= 0 && sessions <= 1e7)) {
    problems.push('cache.sessions must be a whole number from 0 to 10,000,000')
  }
  if (!(Number.isSafeInteger(bytes) && bytes > 0)) problems.push('cache.bytes must be a whole number above 0')
  if (typeof byToken !== 'boolean') problems.push('cache.byToken must be true or false')
  return { maxStale, sessions, bytes, byToken }
}
