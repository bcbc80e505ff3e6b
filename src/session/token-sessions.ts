// Sessions by their token alone, for a framework that reads and writes the cookie itself.

import type { SaveArguments, SaveResult, SessionDatabase, SessionRow } from '../database/row.ts'
import { parseTime } from '../database/row.ts'
import type { Database } from '../database/session-functions.ts'
import { PGStoreError } from '../errors.ts'
import type { Settings } from '../options.ts'
import { isTouchDue, unexpected } from '../saver.ts'
import { changedUserId, difference, parseBase } from './changes.ts'
import type { Json } from './json.ts'
import { newToken, sessionKey } from './token.ts'

const pageLength = 1000

/** What this page alone sees of a known session. */
let read: (known: KnownSession) => {
  readonly token: string
  readonly row: SessionRow
  readonly base: ReadonlyMap<string, Json>
}

/** A session as it was last read or saved: the next save sends what differs from this. */
export class KnownSession {
  readonly #token: string
  readonly #row: SessionRow
  readonly #saved: ReadonlyMap<string, Json> | undefined

  constructor(token: string, row: SessionRow, saved?: ReadonlyMap<string, Json>) {
    this.#token = token
    this.#row = row
    this.#saved = saved
  }

  /** The session's number: not secret, fit for logs. */
  get id(): string {
    return this.#row.id
  }

  get userId(): string | undefined {
    return this.#row.userId ?? undefined
  }

  /** Milliseconds until it expires, counted from when it was read or saved. */
  get remainingMs(): number {
    return parseTime(this.#row.expiresAt) - parseTime(this.#row.now)
  }

  /** What it held, in an object of your own. */
  values(): Record<string, unknown> {
    return this.#saved ? structuredClone(Object.fromEntries(this.#saved)) : JSON.parse(this.#row.data)
  }

  /** Nothing of it shows in JSON. */
  toJSON(): undefined {}

  static {
    read = (known) => ({ token: known.#token, row: known.#row, base: known.#saved ?? parseBase(known.#row.data) })
  }
}

export interface SaveByTokenOptions {
  /** Seconds that the session lives without a visit. */
  readonly ttl: number
  /** Whose session this is; null clears it, undefined leaves it as it is. Default: undefined. */
  readonly userId?: string | null | undefined
  /** What the values were read from. Default: nothing: the session is new. */
  readonly known?: KnownSession | undefined
}

/** What `PGStore` does with sessions, without the cookie. Tokens are any text that cannot be guessed; they stay in this process. */
export class TokenSessions {
  readonly #sessions: SessionDatabase
  readonly #database: Database
  readonly #settings: Settings

  /** @param sessions the database, seen through the seal where there is one */
  constructor(sessions: SessionDatabase, database: Database, settings: Settings) {
    this.#sessions = sessions
    this.#database = database
    this.#settings = settings
  }

  /** The live session of this token. */
  async get(token: string): Promise<KnownSession | undefined> {
    const row = await this.#sessions.get(sessionKey(token))
    return row && new KnownSession(token, row)
  }

  /**
   * Saves the top-level keys that differ from what is known; one that is unchanged, and not due for a touch, costs no query.
   * With nothing known of this token's session it is created, or, if there is one already, made to hold these values.
   *
   * @returns what is known of it now; undefined for a known session that was ended elsewhere: it is not brought back
   * @throws {PGStoreError} `too_large`, `invalid_value`; `conflict` when an expired session, not purged yet, has this token
   */
  async save(token: string, values: object, options: SaveByTokenOptions): Promise<KnownSession | undefined> {
    const { known } = options
    if (known && read(known).token === token) return await this.#merge(known, values, options)
    const changes = difference(new Map(), values)
    const userId = changedUserId(null, options.userId)
    const key = sessionKey(token)
    const ttl = this.#ttl(options, null)
    const result = await this.#sessions.save({ ...this.#arguments(ttl), ...changes, key, userId, version: 0 })
    if (result.status === 'saved') return await this.#saved(savedAs(token, userId, changes.base, result), userId)
    if (result.status !== 'conflict') throw unexpected('session_save', result)
    const present = await this.get(token)
    if (!present) throw new PGStoreError('conflict', 'An expired session that is not purged yet has this token.')
    return await this.#merge(present, values, options)
  }

  async #merge(known: KnownSession, values: object, options: SaveByTokenOptions): Promise<KnownSession | undefined> {
    const { token, row, base } = read(known)
    const ttl = this.#ttl(options, row.userId)
    const userId = options.userId === undefined ? null : changedUserId(row.userId, options.userId)
    const save = { ...this.#arguments(ttl), key: sessionKey(token), userId }
    // Outdated values are old news where somebody else saves in between: theirs counts then.
    const renews = row.outdated !== undefined && row.outdated.size > 0
    let changes = difference(base, values, undefined, row.outdated)
    if (!changes.isData && userId === null && !isTouchDue(row, ttl, this.#settings.lifetime)) return known
    let result = await this.#sessions.save({ ...save, ...changes, version: renews ? row.version : null })
    if (renews && result.status === 'conflict') {
      changes = difference(base, values)
      result = await this.#sessions.save({ ...save, ...changes, version: null })
    }
    if (result.status === 'gone') return undefined
    if (result.status !== 'saved') throw unexpected('session_save', result)
    return await this.#saved(savedAs(token, userId, changes.base, result, row), userId)
  }

  /**
   * Moves a session to a new token, saving what differs, in one statement: its old token is dead at once.
   *
   * @returns undefined when somebody else regenerated or ended it first
   * @throws {PGStoreError} as `save`
   */
  async regenerate(
    known: KnownSession,
    values: object,
    options: Omit<SaveByTokenOptions, 'known'>,
  ): Promise<{ readonly token: string; readonly known: KnownSession } | undefined> {
    const { token: oldToken, row, base } = read(known)
    const changes = difference(base, values)
    const userId = options.userId === undefined ? null : changedUserId(row.userId, options.userId)
    const key = sessionKey(oldToken)
    const token = newToken(key)
    const save = { ...this.#arguments(this.#ttl(options, row.userId)), ...changes, key, userId }
    const result = await this.#sessions.regenerate(save, sessionKey(token))
    if (result.status === 'gone') return undefined
    if (result.status !== 'saved') throw unexpected('session_regenerate', result)
    return { token, known: await this.#saved(savedAs(token, userId, changes.base, result, row), userId) }
  }

  /** Ends the session; none is no error. Returns whether there was one. */
  async destroy(token: string): Promise<boolean> {
    return (await this.#sessions.destroy(sessionKey(token))) > 0
  }

  /** Everybody's live sessions, read in pages; what they are known as names no token. Takes the role admin. */
  async *all(): AsyncGenerator<KnownSession, void, void> {
    for (let after: Buffer | null | undefined = null; after !== undefined; ) {
      const { rows, place } = await this.#database.all(after, pageLength)
      // Sealed values open with their session's key alone, which is not listed.
      for (const row of rows) yield new KnownSession('', this.#settings.sealing ? { ...row, data: '{}' } : row)
      after = place
    }
  }

  /** How many live sessions there are: counted one by one. Takes the role admin. */
  async count(): Promise<number> {
    return await this.#database.countLive()
  }

  /** Ends everybody's sessions, in batches. Takes the role admin. */
  async clear(): Promise<number> {
    let ended = 0
    for (let batch = pageLength; batch === pageLength; ended += batch) batch = await this.#database.clear(pageLength)
    return ended
  }

  #arguments(ttl: number): Pick<SaveArguments, 'ttlSeconds' | 'maxLength' | 'lifetimeSeconds'> {
    const { maxLength, lifetime } = this.#settings
    return { ttlSeconds: ttl, maxLength, lifetimeSeconds: lifetime }
  }

  /** @param storedUserId whose session it is, where this save does not say so */
  #ttl({ ttl, userId }: SaveByTokenOptions, storedUserId: string | null): number {
    const isAnonymous = (userId === undefined ? storedUserId : userId) === null
    return isAnonymous ? Math.min(ttl, this.#settings.anonymousMaxAge ?? ttl) : ttl
  }

  /** After a sign-in, this session is the newest of its user's. */
  async #saved(known: KnownSession, userId: string | null): Promise<KnownSession> {
    const { sessionsPerUser } = this.#settings
    if (sessionsPerUser !== null && userId) await this.#database.limit(userId, sessionsPerUser)
    return known
  }
}

function savedAs(
  token: string,
  userId: string | null,
  base: ReadonlyMap<string, Json>,
  { id, version, expiresAt, now }: SaveResult,
  before?: SessionRow,
): KnownSession {
  const row: SessionRow = {
    id: id as string,
    userId: userId === null ? (before?.userId ?? null) : userId || null,
    data: '{}',
    version,
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
    expiresAt: expiresAt as string,
    now,
  }
  return new KnownSession(token, row, base)
}
