export type { DeviceBoundOptions } from './bound/bound-options.ts'
export type { BoundNodeRequest, BoundNodeResponse } from './bound/endpoint.ts'
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
export type { Entered } from './database/entrance.ts'
export type { SessionEnding, SessionHistoryEntry } from './database/history-functions.ts'
export type { Pool, PoolClient, Queryable } from './database/pool.ts'
export type { TransactionClient } from './database/transaction.ts'
export { PGStoreError, type PGStoreErrorCode } from './errors.ts'
export type { EventStream } from './events/channel-events.ts'
export type { SessionEvent } from './events/session-events.ts'
export type { SessionEndingInTransaction } from './history/ending-transaction.ts'
export type { EndingStream, EndingsOptions } from './history/endings.ts'
export type { HistoryOptions } from './history/history.ts'
export type { GetOptions, PGStoreOptions, RegenerateOptions, SaveOptions } from './options.ts'
export type { StoreStats } from './parts.ts'
export { type MigrateOptions, migrate, schemaSql } from './schema/migrate.ts'
export type { Durability } from './session/durability.ts'
export type { KnownSession } from './session/known-session.ts'
export type { Session } from './session/session.ts'
export type { InvalidValues, SchemaIssue, SchemaResult, StandardSchema } from './session/standard-schema.ts'
export type { ReadOptions, SaveByTokenOptions, TokenSessions } from './session/token-sessions.ts'
export type { IncrementOptions, PutOptions } from './session/token-values.ts'
export type {
  EndAllOptions,
  ListedSession,
  ListOptions,
  RevokeOptions,
  RevokeTagOptions,
} from './session/user-sessions.ts'
export { PGStore } from './store.ts'
export type { TracedBatch, TracedCall, TracedCleanup, TracedOperation, TracedPurge } from './tracing.ts'
export type { TransactionOptions } from './user-store.ts'
