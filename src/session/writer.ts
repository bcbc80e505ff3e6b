// The only place where sessions are created, merged, moved and ended. The store with its cookies (saver.ts) and the sessions
// by token (token-sessions.ts) both write through it.
import {
  parseTime,
  type SaveArguments,
  type SaveResult,
  type SessionDatabase,
  type SessionRow,
} from '../database/row.ts'
import { PGStoreError } from '../errors.ts'
import type { Changes } from './changes.ts'
import { type Durability, isRelaxed } from './durability.ts'
import { failure, isPassing } from './failure.ts'
import { type Known, knownAfter, knownFrom } from './known.ts'
import { newToken, sessionKey } from './token.ts'

/** The longest time before a touch, however long a session lives. */
const latestTouch = 3600

export interface WriterSettings {
  /** Seconds, or null for none. */
  readonly lifetime: number | null
  readonly maxLength: number
  readonly anonymousMaxAge: number | null
  readonly sessionsPerUser: number | null
  readonly touchAfter: number | null
  readonly durability: Durability | undefined
}

export interface WriteOptions {
  /** Seconds that the session lives without a visit. */
  readonly maxAge: number
  /** Whose session it is after this write; undefined for an anonymous visitor's. */
  readonly userId: string | undefined
  /** maxAge is the time left until a fixed time: nothing is added to it. Default: false. */
  readonly isFixed?: boolean | undefined
  readonly announce?: boolean | undefined
  /** Default: as the settings say. */
  readonly durability?: Durability | undefined
}

export interface Merge {
  /** What changed, and the values to re-seal. */
  readonly changes: Changes
  /** What changed, without those. */
  readonly plain: () => Changes
  /** Touch the row where nothing changed, due or not, to learn whether it still lives. Default: false. */
  readonly mustLive?: boolean | undefined
  /** Save only at the version that the caller has seen. */
  readonly ifUnchanged?: boolean | undefined
}

export interface Written {
  readonly known: Known
  readonly changes: Changes
  /** Whether a row was written: false if nothing changed and no touch was due. */
  readonly isWritten: boolean
}

export class Writer {
  readonly #sessions: SessionDatabase
  readonly #settings: WriterSettings
  /** Largest session in bytes of JSON text; 0 means no limit. */
  maxLength: number

  constructor(sessions: SessionDatabase, settings: WriterSettings) {
    this.#sessions = sessions
    this.#settings = settings
    this.maxLength = settings.maxLength
  }

  /** Seconds for which visits may go unrecorded: a session lives that much longer, so that it lives maxAge after each visit. */
  touchAfter(maxAge: number): number {
    return this.#settings.touchAfter ?? Math.min(maxAge / 10, latestTouch)
  }

  /** Seconds from this visit to the expiry of the row. */
  ttl(options: WriteOptions): number {
    const seconds = this.#idleSeconds(options)
    return options.isFixed ? seconds : seconds + this.touchAfter(seconds)
  }

  /** Seconds after which a visit is recorded again. */
  grain(options: WriteOptions): number {
    return this.touchAfter(this.#idleSeconds(options))
  }

  #idleSeconds({ maxAge, userId }: WriteOptions): number {
    return userId === undefined ? Math.min(maxAge, this.#settings.anonymousMaxAge ?? maxAge) : maxAge
  }

  /**
   * Whether the last recorded visit is long enough ago, or the expiry would move far enough, that a write is worth it. All times
   * are the database's.
   */
  isTouchDue(known: Known, options: WriteOptions): boolean {
    return this.#isVisitDue(known.row, options) && (known.mayRenew?.() ?? true)
  }

  #isVisitDue(row: SessionRow, options: WriteOptions): boolean {
    const grain = this.grain(options) * 1000
    const now = parseTime(row.now)
    if (now - parseTime(row.seenAt) >= grain) return true
    const start = Math.max(parseTime(row.createdAt), row.signedInAt === null ? 0 : parseTime(row.signedInAt))
    const lifetime = (this.#settings.lifetime ?? Number.POSITIVE_INFINITY) * 1000
    return Math.min(now + this.ttl(options) * 1000, start + lifetime) - parseTime(row.expiresAt) >= grain
  }

  /**
   * Creates the session of this token. Call `limit` afterwards.
   *
   * @returns undefined when the token has a live session already
   */
  async create(token: string, changes: Changes, options: WriteOptions): Promise<Known | undefined> {
    const result = await this.#sessions.save(this.#arguments(sessionKey(token), changes, options, 0, 0))
    if (result.status === 'conflict') return undefined
    if (result.status !== 'saved') throw failure('session_save', result)
    return knownAfter(token, undefined, changes, result)
  }

  /**
   * Merges what changed into the live session, or touches it. Re-sealed values count as changed, unless another request saved in
   * the meantime: then its values win, and `plain` is saved. A touch that fails is left to the next visit. Call `limit`
   * afterwards.
   *
   * @returns undefined if the session is gone; 'conflict' if `ifUnchanged` found another version than the one seen
   */
  async merge(known: Known, merge: Merge, options: WriteOptions): Promise<Written | 'conflict' | undefined> {
    const { changes, plain, mustLive, ifUnchanged } = merge
    if (changes.isEmpty && !mustLive && !this.isTouchDue(known, options)) return { known, changes, isWritten: false }
    const { token, row, seenVersion } = known
    const key = sessionKey(token)
    const version = ifUnchanged || row.unsealed?.size ? seenVersion : null
    let saved = changes
    let result: SaveResult
    try {
      result = await this.#sessions.save(this.#arguments(key, changes, options, version, row.version))
    } catch (error) {
      if (!isPassing(error) || !(changes.isEmpty || plain().isEmpty)) throw error
      return { known, changes, isWritten: false }
    }
    if (result.status === 'conflict' && !ifUnchanged) {
      saved = plain()
      result = await this.#sessions.save(this.#arguments(key, saved, options, null, row.version))
    }
    if (result.status === 'gone') return undefined
    if (result.status === 'conflict') return 'conflict'
    if (result.status !== 'saved') throw failure('session_save', result)
    return { known: knownAfter(token, known, saved, result), changes: saved, isWritten: true }
  }

  /**
   * Moves a session to a new token and saves what changed, in one statement: its old token is dead at once. Sending a user id
   * counts as a sign-in. Call `limit` afterwards.
   *
   * @param token from `nextToken`
   * @returns undefined when another request regenerated or ended the session first
   */
  async move(known: Known, token: string, changes: Changes, options: WriteOptions): Promise<Known | undefined> {
    const durable = { ...options, durability: 'durable' } as const
    const save = this.#arguments(sessionKey(known.token), changes, durable, null, known.row.version)
    const newKey = sessionKey(token)
    let result: SaveResult
    try {
      result = await this.#sessions.regenerate(save, newKey)
    } catch (error) {
      // If the response was lost, the session may have moved, and its visitor would be signed out. Nobody else knows the new
      // token.
      if (!(error instanceof PGStoreError && error.code === 'unavailable')) throw error
      const row = await this.#sessions.get(newKey)
      if (!row) throw error
      return knownFrom(token, row)
    }
    if (result.status === 'gone') return undefined
    if (result.status !== 'saved') throw failure('session_regenerate', result)
    return knownAfter(token, known, changes, result)
  }

  /** A token that `move` can move this session to, on the same shard. */
  nextToken(known: Known): string {
    return newToken(sessionKey(known.token))
  }

  /**
   * Gives a token these values, whatever was there.
   *
   * @param set JSON text of an object
   * @param userId null leaves the user of a live session, '' clears it
   */
  async put(token: string, set: string, ttlSeconds: number, userId: string | null): Promise<void> {
    const key = sessionKey(token)
    const { lifetime: lifetimeSeconds } = this.#settings
    const put = { key, set, ttlSeconds, userId, maxLength: this.maxLength, lifetimeSeconds }
    const result = await this.#sessions.put(put)
    if (result.status !== 'saved') throw failure('session_put', result)
    await this.limit({ token }, { userId })
  }

  /** Ends the session of this token, or the one regenerated from it. Returns whether there was one. */
  async end(token: string, id?: string): Promise<boolean> {
    return (await this.#sessions.destroy(sessionKey(token), id)) > 0
  }

  /** After a sign-in: ends the user's sessions beyond `sessionsPerUser`, this one being the newest. */
  async limit({ token }: Pick<Known, 'token'>, { userId }: Pick<Changes, 'userId'>): Promise<void> {
    const { sessionsPerUser } = this.#settings
    if (sessionsPerUser !== null && userId) await this.#sessions.limit(userId, sessionsPerUser, sessionKey(token))
  }

  #arguments(
    key: Buffer,
    changes: Changes,
    options: WriteOptions,
    version: number | null,
    knownVersion: number,
  ): SaveArguments {
    return {
      key,
      set: changes.set,
      unset: changes.unset,
      ttlSeconds: this.ttl(options),
      version,
      userId: changes.userId,
      label: changes.label,
      tags: changes.tags,
      lives: changes.lives,
      announce: options.announce === true,
      relaxed: version !== 0 && isRelaxed(this.#settings.durability, options, changes),
      maxLength: this.maxLength,
      lifetimeSeconds: this.#settings.lifetime,
      knownVersion,
    }
  }
}
