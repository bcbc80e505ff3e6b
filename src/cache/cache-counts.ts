// What the cache did: counts, and events for whoever subscribes. Never a value, a token, an id or a user.
import { channel } from 'node:diagnostics_channel'
import type { CacheState } from './hearing.ts'

/**
 * Why a read went past the cache. `not_listening`: announcements are not proven to be heard. `several`: several cookies, or hints, of
 * the name. `fresh`: the caller asked for it.
 */
export type CacheBypass = 'not_listening' | 'several' | 'fresh'

/** What a cache has done since the store was made. */
export interface CacheStats {
  /** `waiting` for the first read, `connecting` to LISTEN, `proving` that it hears, `listening`, or `unsupported` by the schema. */
  readonly state: CacheState
  /** Why it does not listen: undefined while it listens, and before the first read. */
  readonly reason: string | undefined
  /** Reads that cost no query. */
  readonly hits: number
  /** Reads that did, and filled the cache if the session lives. */
  readonly misses: number
  /** Reads that shared the query of another request. */
  readonly joins: number
  /** Reads that went past the cache, by reason. A cookie that does not verify is no read: `stats().refused` counts it. */
  readonly bypasses: Readonly<Record<CacheBypass, number>>
  /** Sessions dropped for lack of room: `sessions` or `bytes` is too small for what is read within `maxStale`. */
  readonly evictions: number
  readonly entries: number
  readonly bytes: number
}

/** What a subscriber to the channel `pgstore:cache` of `node:diagnostics_channel` is told of each read. */
export interface CacheRead {
  readonly outcome: 'hit' | 'miss' | 'join' | 'bypass'
  /** Of a bypass. */
  readonly reason?: CacheBypass
  /** The store's schema. */
  readonly schema: string
}

/** What a subscriber to the channel `pgstore:cache-state` of `node:diagnostics_channel` is told when it begins or ceases to hear. */
export interface CacheStateChange {
  readonly state: CacheState
  readonly reason: string | undefined
  /** The store's schema. */
  readonly schema: string
}

const reads = channel('pgstore:cache')
const states = channel('pgstore:cache-state')

export class CacheCounts {
  readonly #schema: string
  hits = 0
  misses = 0
  joins = 0
  readonly bypasses: Record<CacheBypass, number> = { not_listening: 0, several: 0, fresh: 0 }
  reason: string | undefined
  #state: CacheState = 'waiting'

  constructor(schema: string) {
    this.#schema = schema
  }

  hit(): void {
    this.hits++
    if (reads.hasSubscribers) this.#publish('hit')
  }

  miss(): void {
    this.misses++
    if (reads.hasSubscribers) this.#publish('miss')
  }

  join(): void {
    this.joins++
    if (reads.hasSubscribers) this.#publish('join')
  }

  bypass(reason: CacheBypass): void {
    this.bypasses[reason]++
    if (reads.hasSubscribers) this.#publish('bypass', reason)
  }

  state(state: CacheState, reason: string | undefined): void {
    const known = state === 'listening' ? undefined : (reason ?? this.reason)
    if (state === this.#state && known === this.reason) return
    this.#state = state
    this.reason = known
    if (states.hasSubscribers) states.publish({ state, reason, schema: this.#schema } satisfies CacheStateChange)
  }

  #publish(outcome: CacheRead['outcome'], reason?: CacheBypass): void {
    reads.publish({ outcome, schema: this.#schema, ...(reason && { reason }) } satisfies CacheRead)
  }
}
