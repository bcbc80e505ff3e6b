// The options of a store, all checked at once: one error names every problem.

import { type CacheLimits, type CacheOptions, parseCache } from './cache/cache-options.ts'
import type { Codec } from './cookie/codec.ts'
import { parseCodecs, sealSecrets } from './cookie/codec-options.ts'
import {
  type CookieOptions,
  cookieOptionProblems,
  defaultCookieOptions,
  longestLife,
  type SessionOptions,
} from './cookie/cookie-options.ts'
import type { Key } from './cookie/keys.ts'
import { type ClearSiteDataDirective, parseClearSiteData } from './cookie/response.ts'
import { type BatchLimits, type BatchOptions, defaultBatchLimits } from './database/batch-limits.ts'
import { connectionStringProblems, type Pool, poolProblems } from './database/pool.ts'
import { PGStoreError } from './errors.ts'
import { listenConnection } from './events/listen.ts'
import { schemaProblems } from './schema/schema-name.ts'
import { type Durability, durabilityProblems } from './session/durability.ts'

/** How a store is set up. Give `connectionString` or `pool`, and `keys`, `keyPairs` or `codecs`; the rest has defaults. */
export interface PGStoreOptions {
  /** `postgres://user:password@host/database`: the store opens a pool and ends it with `close()`. */
  readonly connectionString?: string | undefined
  /** A `pg.Pool` that you open and end; it must use the JavaScript client, without the option `binary`. */
  readonly pool?: Pool | undefined
  /**
   * A direct connection to Postgres, if the above leads to a transaction pooler: LISTEN, which `events()` needs,
   * delivers nothing behind one. Default: the same connection.
   */
  readonly directConnectionString?: string | undefined
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
   * Keeps sessions in this process for `maxStale` seconds after each reading, so that most reads cost no query: docs/cache.md says what
   * may then be stale, and when to leave it off. true takes the defaults of `CacheOptions`. Opens one connection to LISTEN at the
   * first read, which lasts until `close()`. Default: false.
   */
  readonly cache?: boolean | CacheOptions | undefined
  /**
   * What saves of values and touches wait for: 'durable' for the disk, 'relaxed' for the commit alone, so that a crash of the
   * database server can take back those of its last 0.6 s. `Durability` says what is always durable. Default: 'durable'.
   */
  readonly durability?: Durability | undefined
}

/** The options, checked and complete. */
export interface Settings {
  readonly batch: BatchLimits | false
  readonly cache: CacheLimits | undefined
  readonly prepare: boolean | undefined
  readonly connectionString: string | undefined
  readonly pool: Pool | undefined
  readonly directConnectionString: string | undefined
  readonly codecs: readonly Codec[]
  readonly options: SessionOptions
  readonly maxLength: number
  readonly lifetime: number | null
  readonly anonymousMaxAge: number | null
  readonly touchAfter: number | null
  readonly sessionsPerUser: number | null
  /** What the sealing keys are derived from; undefined if nothing is sealed. */
  readonly sealing: { readonly secrets: readonly Uint8Array[]; readonly acceptsPlain: boolean } | undefined
  readonly cacheHeaders: boolean
  readonly clearSiteData: readonly ClearSiteDataDirective[]
  readonly schema: string
  /** undefined over one client: the transaction, and its setting, are the caller's. */
  readonly durability: Durability | undefined
}

const names = {
  connectionString: true,
  pool: true,
  directConnectionString: true,
  keys: true,
  keyPairs: true,
  codecs: true,
  options: true,
  maxLength: true,
  lifetime: true,
  anonymousMaxAge: true,
  touchAfter: true,
  sessionsPerUser: true,
  seal: true,
  cacheHeaders: true,
  clearSiteData: true,
  schema: true,
  prepare: true,
  batch: true,
  cache: true,
  durability: true,
} satisfies Record<keyof PGStoreOptions, true>

/** @throws {PGStoreError} `invalid_option`, with a sentence for each problem */
export function parseOptions(given: PGStoreOptions): Settings {
  if (typeof given !== 'object' || given === null) {
    throw new PGStoreError('invalid_option', 'The options must be an object.')
  }
  const problems = unknownNames(given, names)
  const { connectionString, pool, directConnectionString, maxLength = 4096, lifetime = 90 * 86400 } = given
  if ((connectionString === undefined) === (pool === undefined))
    problems.push('give either connectionString or pool, not both')
  for (const [name, value] of Object.entries({ connectionString, directConnectionString })) {
    problems.push(...connectionStringProblems(value).map((problem) => `${name} ${problem}`))
  }
  if (pool !== undefined) problems.push(...poolProblems(pool))
  problems.push(...maxLengthProblems(maxLength))
  if (lifetime !== null && !(typeof lifetime === 'number' && lifetime >= 0.001 && lifetime <= longestLife)) {
    problems.push('lifetime must be a number of seconds, at most a hundred years, or null')
  }
  const { touchAfter = null } = given
  if (touchAfter !== null && !(typeof touchAfter === 'number' && touchAfter >= 0 && touchAfter <= longestLife / 100)) {
    problems.push('touchAfter must be a number of seconds from 0 to a year')
  }
  const { anonymousMaxAge = null, sessionsPerUser = null, seal = false, cacheHeaders = true } = given
  if (anonymousMaxAge !== null && !(typeof anonymousMaxAge === 'number' && anonymousMaxAge >= 0.001)) {
    problems.push('anonymousMaxAge must be a positive number of seconds, or null')
  }
  if (
    sessionsPerUser !== null &&
    !(Number.isInteger(sessionsPerUser) && sessionsPerUser > 0 && sessionsPerUser < 1e9)
  ) {
    problems.push('sessionsPerUser must be a positive whole number, or null')
  }
  if (![true, false, 'gradual'].includes(seal)) problems.push("seal must be true, false or 'gradual'")
  else if (seal && given.codecs !== undefined)
    problems.push('seal needs keys or keyPairs, from which it derives its keys')
  if (typeof cacheHeaders !== 'boolean') problems.push('cacheHeaders must be true or false')
  const clearSiteData = parseClearSiteData(given.clearSiteData ?? false, problems)
  const schema = given.schema ?? 'pgstore'
  problems.push(...schemaProblems(schema))
  const options = { ...defaultCookieOptions, ...definedOnly(given.options) }
  problems.push(...unknownNames(given.options ?? {}, defaultCookieOptions).map((problem) => `options: ${problem}`))
  problems.push(...cookieOptionProblems(options).map((problem) => `options.${problem}`))
  const { prepare } = given
  if (prepare !== undefined && typeof prepare !== 'boolean') problems.push('prepare must be true or false')
  const batch = given.batch !== false && ({ ...defaultBatchLimits, ...definedOnly(given.batch) } as BatchLimits)
  if (batch) {
    problems.push(...unknownNames(batch, defaultBatchLimits).map((problem) => `batch: ${problem}`))
    for (const [name, limit] of Object.entries(batch)) {
      if (!(Number.isInteger(limit) && limit > 0)) problems.push(`batch.${name} must be a positive whole number`)
    }
  }
  const cache = parseCache(Object.hasOwn(given, 'cache') ? given.cache : undefined, problems)
  if (cache && cache.sessions > 0 && !listenConnection({ connectionString, directConnectionString, pool })) {
    problems.push('cache needs a connection of its own: give connectionString, directConnectionString or a pg.Pool')
  }
  const { durability = 'durable' } = given
  problems.push(...durabilityProblems(durability))
  const codecs = parseCodecs(given, problems)
  if (problems.length > 0) throw new PGStoreError('invalid_option', `${problems.join('; ')}.`)
  return {
    connectionString,
    pool,
    directConnectionString,
    codecs,
    options,
    maxLength,
    lifetime,
    anonymousMaxAge,
    touchAfter,
    sessionsPerUser,
    sealing: seal ? { secrets: sealSecrets(given), acceptsPlain: seal === 'gradual' } : undefined,
    cacheHeaders,
    clearSiteData,
    schema,
    prepare,
    batch,
    cache,
    durability,
  }
}

/** What is wrong with this limit on a session's size; empty if it is valid. */
export function maxLengthProblems(maxLength: unknown): string[] {
  const isLimit = Number.isInteger(maxLength) && Number(maxLength) >= 0 && Number(maxLength) < 2 ** 31
  return isLimit ? [] : ['maxLength must be a whole number of bytes, or 0 for no limit']
}

function unknownNames(given: object, known: object): string[] {
  return Object.keys(given)
    .filter((name) => !Object.hasOwn(known, name))
    .map((name) => `unknown option "${name}"`)
}

/** `{ path: undefined }` means the default, as everywhere. */
function definedOnly<T extends object>(given: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>
}
