export type { CacheBypass, CacheRead, CacheStateChange, CacheStats } from './cache/cache-counts.ts'
export type { CacheOptions } from './cache/cache-options.ts'
export type { CacheState } from './cache/hearing.ts'
export type { StartCleanupOptions } from './cleanup/cleanup.ts'
export type { CleanupEvent } from './cleanup/cleanup-events.ts'
export type { CleanupHandle } from './cleanup/worker.ts'
export { type Codec, type CodecRefusal, codecsFromKeys, codecsFromPairs, SecureCookie } from './cookie/codec.ts'
export type { CookieSource, RequestLike } from './cookie/cookie-header.ts'
export type { CookieAttributes, CookieOptions, SessionOptions } from './cookie/cookie-options.ts'
export type { Key } from './cookie/keys.ts'
export type { CookieRefusal, RefusedCookie, RefusedCookies } from './cookie/refusals.ts'
export type {
  ClearSiteDataDirective,
  CookieSink,
  HeadersLike,
  NodeResponseLike,
  ResponseLike,
} from './cookie/response.ts'
export type { BatchOptions } from './database/batch-limits.ts'
export type { CleanupStatus } from './database/cleanup-functions.ts'
export type { Pool, PoolClient, Queryable } from './database/pool.ts'
export { PGStoreError, type PGStoreErrorCode } from './errors.ts'
export type { EventStream } from './events/channel-events.ts'
export type { SessionEvent } from './events/session-events.ts'
export type { PGStoreOptions } from './options.ts'
export type { StoreStats } from './parts.ts'
export type { RegenerateOptions, SaveOptions } from './saver.ts'
export { type MigrateOptions, migrate, schemaSql } from './schema/migrate.ts'
export type { Durability } from './session/durability.ts'
export type { Session } from './session/session.ts'
export type { KnownSession, ReadOptions, SaveByTokenOptions, TokenSessions } from './session/token-sessions.ts'
export type { ListedSession, ListOptions, RevokeOptions, RevokeTagOptions } from './session/user-sessions.ts'
export { PGStore } from './store.ts'
