// The options of a store, and of its saves.
import type { DeviceBoundOptions } from './bound/bound-options.ts'
import type { CacheOptions } from './cache/cache-options.ts'
import type { Codec } from './cookie/codec.ts'
import type { CookieOptions } from './cookie/cookie-options.ts'
import type { Key } from './cookie/keys.ts'
import type { ClearSiteDataDirective } from './cookie/response.ts'
import type { BatchOptions } from './database/batch-limits.ts'
import type { Pool } from './database/pool.ts'
import type { Durability } from './session/durability.ts'
import type { InvalidValues, StandardSchema } from './session/standard-schema.ts'
import type { ReadOptions } from './session/token-sessions.ts'

/** How a store is set up. Give `connectionString` or `pool`, and `keys`, `keyPairs` or `codecs`; the rest has defaults. */
export interface PGStoreOptions {
  /** `postgres://user:password@host/database`: the store opens a pool and ends it with `close()`. */
  readonly connectionString?: string | undefined
  /** A `pg.Pool` that you open and end; it must use the JavaScript client, without the option `binary`. */
  readonly pool?: Pool | undefined
  /**
   * A direct connection to Postgres, if the above leads to a transaction pooler: LISTEN, which `events()` needs,
   * delivers nothing behind one. Behind PL/Proxy a list, one for each partition: what ends there is announced there, and the cache
   * counts as listening only while all are heard; the cleanup then uses the connection above. Default: the same connection.
   */
  readonly directConnectionString?: string | readonly string[] | undefined
  /**
   * The keys that sign the cookies: the first key signs, all verify. To rotate, put the new key first, and drop the old one when
   * the cookies that it signed have expired. A key has at least 32 bytes; a string counts as its UTF-8 bytes, so use the 43
   * characters that `npx pgstore key` prints as they are. An undefined key, such as a variable that is not set, is refused.
   */
  readonly keys?: readonly (Key | undefined)[] | undefined
  /**
   * Instead of `keys`, for cookies that are encrypted, or that a Go program reads or writes with the same pairs: hash key, block
   * key, hash key, block key …, as in Go's CodecsFromPairs. The first pair signs, all verify. Hash keys have at least 32 bytes;
   * block keys 16, 24 or 32, or null for cookies that are signed but not encrypted. `[newKey, oldKey]` does not rotate: it is one
   * pair, whose block key is the old key, and every cookie signed before is refused. Write `[newKey, null, oldKey]`, or
   * `keys: [newKey, oldKey]`; a block key of 32 bytes cannot be told from a hash key.
   */
  readonly keyPairs?: readonly (Key | null | undefined)[] | undefined
  /** Instead of `keys`: your own codecs. */
  readonly codecs?: readonly Codec[] | undefined
  /** The cookie's attributes and a session's life. */
  readonly options?: CookieOptions | undefined
  /** Largest session in bytes of JSON text as Postgres prints it, after merging; 0 means no limit. Default: 4096. */
  readonly maxLength?: number | undefined
  /** Seconds after its creation, or its last sign-in, at which a session ends, visited or not; null means never. Default: 7,776,000 (90 days). */
  readonly lifetime?: number | null | undefined
  /**
   * Seconds after which a visit is worth a write: a session that is only read is touched at most this often, and lives this much
   * longer than its maxAge, so that it lives maxAge after each visit. Default: a tenth of maxAge, at most 3,600.
   */
  readonly touchAfter?: number | undefined
  /**
   * Seconds a session without a user lives without a visit, if less than its `maxAge`: most such sessions belong to bots. null
   * means as long as the others. Default: null.
   */
  readonly anonymousMaxAge?: number | null | undefined
  /**
   * How many live sessions a user may have: each sign-in ends those beyond this number that signed in first, with one more
   * query. null means any number. Default: null.
   */
  readonly sessionsPerUser?: number | null | undefined
  /**
   * Encrypts each top-level value with AES-256-GCM, under a key derived from `keys`, or the hash keys of `keyPairs`, and bound
   * to the session and the value's name: the database's operator sees only names and sizes. The first key seals, all open, and
   * a save re-seals what an older key had sealed. 'gradual' also reads values from before sealing was switched on, and seals
   * them at the next save. `maxLength` counts the sealed text, about 4/3 of the plain text plus 52 bytes for each value;
   * `store.list()` shows none of the values. Default: false.
   */
  readonly seal?: boolean | 'gradual' | undefined
  /**
   * Sets `Vary: Cookie` and, unless the response forbids shared caches already, `Cache-Control: no-store` on every response that
   * a session is saved to, changed or not. false leaves caching to you. Default: true.
   */
  readonly cacheHeaders?: boolean | undefined
  /**
   * Sends `Clear-Site-Data` with the response that ends a session, so that the browser drops the site's data; a list says which,
   * true is `['cache', 'storage']`. 'storage' removes the origin's local storage, databases and service workers, even those
   * unrelated to the session. 'cookies' and '*' remove the cookies of the whole registrable domain, including those of other
   * hosts. Browsers obey it only over HTTPS and from localhost. Default: false. https://www.w3.org/TR/clear-site-data/
   */
  readonly clearSiteData?: boolean | readonly ClearSiteDataDirective[] | undefined
  /** The schema in the database: a lower-case identifier. Default: 'pgstore'. */
  readonly schema?: string | undefined
  /**
   * Whether statements are prepared once per connection, which a pooler in transaction mode may not forward. Default: with
   * `connectionString`, if the connection leads directly to Postgres and not to a pooler; with `pool`, no: the application's
   * other queries run there too, and an injectable one could prepare something else under the same name.
   */
  readonly prepare?: boolean | undefined
  /** How the calls of many requests are batched into one; false sends each separately. Default: see the fields. */
  readonly batch?: BatchOptions | false | undefined
  /**
   * Calls in a row that the database does not answer, after which only one at a time is sent and the others fail at once with
   * `unavailable`, so that requests do not pile up during an outage. Each call that comes while none is being tried is tried: the
   * first answer ends it. An error of the server is an answer, and a pool whose connections are all in use is not counted. false
   * lets every call wait for as long as it may. Default: 3.
   */
  readonly failFast?: number | false | undefined
  /**
   * Keeps sessions in this process for `maxStale` seconds after each reading, so that most reads cost no query: docs/cache.md says what
   * may then be stale, and when to leave it off. true takes the defaults of `CacheOptions`. Opens one connection to LISTEN at the
   * first read, which lasts until `close()`. Default: false.
   */
  readonly cache?: boolean | CacheOptions | undefined
  /**
   * Seconds without a call after which the store sends nothing and keeps no connection for `events()`, the cache, `watchCleanup()`
   * and the worker of `startCleanup()`, from 1 to 86,400; the next call opens them again. For databases that scale to zero:
   * docs/scale-to-zero.md says what is missed meanwhile. Default: they stay open.
   */
  readonly sleepAfter?: number | undefined
  /**
   * A schema that types the values and checks them when they are read and saved: any Standard Schema, as zod, valibot and arktype
   * make them. `session.values` is its output; keys that it drops stay in the database. What is saved must be readable again: JSON
   * that it accepts. Not for sessions by token. Default: none.
   */
  // biome-ignore lint/suspicious/noExplicitAny: the schema of any values; the constructor and `open` infer them
  readonly values?: StandardSchema<any> | undefined
  /**
   * What becomes of a stored session that no longer fits the schema: 'error' is `invalid_value` with the path, 'new' a new session
   * in its place. Default: 'error'.
   */
  readonly invalidValues?: InvalidValues | undefined
  /**
   * What saves of values and touches wait for: 'durable' for the disk, 'relaxed' for the commit alone, so that a crash of the
   * database server can take back those of its last 0.6 s. `Durability` says what is always durable. Default: 'durable'.
   */
  readonly durability?: Durability | undefined
  /**
   * Binds sessions of signed-in users to the device, in browsers that can (DBSC; Chrome from 145): a stolen cookie is then worth ten
   * minutes. true takes the defaults of `DeviceBoundOptions`; `store.deviceBound` has to answer its path. Needs HTTPS. Experimental:
   * docs/device-bound-sessions.md. Default: false.
   */
  readonly deviceBound?: boolean | DeviceBoundOptions | undefined
}

export interface GetOptions extends ReadOptions {
  /**
   * For a route that a stolen cookie must never reach: 'require' gives a session that is bound to a device of which this request has
   * brought the proof, or else a new one, as for an unknown cookie, of which a save keeps nothing unless somebody signs in. The
   * request's own session stays as it is. Needs the option `deviceBound`. Default: 'prefer', whose sessions say `isBound`.
   */
  readonly bound?: 'prefer' | 'require' | undefined
}

export interface SaveOptions {
  /**
   * Save only if no other request has saved since this session was read; otherwise the session takes the current values and
   * the save fails with `conflict`: change it again and save again. For counters, carts and anything else that must not be
   * merged. Default: false.
   */
  readonly ifUnchanged?: boolean
  /**
   * Announce the session as changed, as is always done for a change of its user: `store.events()` on all servers reports it at
   * once. For changes that every server must know about, such as a revoked role. Default: false.
   */
  readonly announce?: boolean
  /** What this save waits for; see `Durability`. Default: as the store's option says. */
  readonly durability?: Durability | undefined
}

export interface RegenerateOptions {
  /**
   * Count this as a sign-in even of the same user: `signedInAt` is now, and the lifetime restarts. For re-entering the
   * password. A changed user id is a sign-in in any case. Default: false.
   */
  readonly signIn?: boolean
}
