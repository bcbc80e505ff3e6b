// Sessions by token, for a framework that reads and writes the cookie itself.

import { type SessionDatabase, withData } from '../database/row.ts'
import type { Database } from '../database/session-functions.ts'
import { PGStoreError } from '../errors.ts'
import type { CachedSessions } from './cached-sessions.ts'
import { type Changes, changedUserId, difference } from './changes.ts'
import { checkDurability, type Durability } from './durability.ts'
import type { Json } from './json.ts'
import { type Known, knownFrom } from './known.ts'
import { baseOf, KnownSession, partsOf } from './known-session.ts'
import { sessionKey } from './token.ts'
import { TokenValues } from './token-values.ts'
import type { WriteOptions, Writer } from './writer.ts'

const pageLength = 1000

/** How often to retry for a session that is created and ended meanwhile. */
const tries = 3

const nothing: Changes = {
  set: '{}',
  unset: [],
  isData: false,
  base: new Map(),
  userId: null,
  label: null,
  tags: null,
  lives: null,
  isEmpty: true,
}

export interface ReadOptions {
  /**
   * Read from the database, whatever the store's cache holds: for a handler that needs certainty. A session that this request has
   * already from the cache is read anew, and what was changed in it stays changed. Without the option `cache` every read is fresh.
   * Default: false.
   */
  readonly fresh?: boolean
}

export interface SaveByTokenOptions {
  /** Seconds that the session lives without a visit. */
  readonly ttl: number
  /**
   * `ttl` is the time left until a fixed time; otherwise the session lives a little longer: see `touchAfter`. Default:
   * false.
   */
  readonly isFixed?: boolean | undefined
  /** Whose session this is; null clears it, undefined leaves it unchanged. Default: undefined. */
  readonly userId?: string | null | undefined
  /** The known session that the values were read from. Default: none, for a new session. */
  readonly known?: KnownSession | undefined
  /**
   * Save only if no other request has saved since `known` was read, or created the session where nothing is known; else the save
   * fails with `conflict`: read it again. Default: false.
   */
  readonly ifUnchanged?: boolean | undefined
  /** What this save waits for; see `Durability`. Default: as the store's option says. */
  readonly durability?: Durability | undefined
}

/**
 * What `PGStore` does with sessions, without the cookie. A token is any text that cannot be guessed; it stays in this process.
 */
export class TokenSessions extends TokenValues {
  readonly #sessions: SessionDatabase
  readonly #database: Database
  readonly #writer: Writer
  readonly #isSealed: boolean
  readonly #cached: CachedSessions | undefined

  /** @param sessions the database, through the seal if there is one */
  constructor(
    sessions: SessionDatabase,
    database: Database,
    writer: Writer,
    isSealed: boolean,
    cached: CachedSessions | undefined,
  ) {
    super(sessions, writer)
    this.#sessions = sessions
    this.#database = database
    this.#writer = writer
    this.#isSealed = isSealed
    this.#cached = cached
  }

  /** The live session of this token: from the cache where the store's option `cache.byToken` says so, unless it is to be fresh. */
  async get(token: string, { fresh = false }: ReadOptions = {}): Promise<KnownSession | undefined> {
    const known = this.#cached
      ? await this.#cached.byToken(token, fresh, () => this.#read(token))
      : await this.#read(token)
    return known && new KnownSession(known)
  }

  async #read(token: string): Promise<Known | undefined> {
    const row = await this.#sessions.get(sessionKey(token))
    return row && knownFrom(token, row)
  }

  /**
   * Saves the top-level keys that differ from what is known; one that is unchanged, and not due for a touch, costs no query.
   * If nothing is known of this token's session it is created, or, if there is one already, given these values.
   *
   * @returns what is known of it now; undefined for a known session that was ended elsewhere, which is not brought back
   * @throws {PGStoreError} `too_large`, `invalid_value`; with `ifUnchanged` also `conflict`
   */
  async save(token: string, values: object, options: SaveByTokenOptions): Promise<KnownSession | undefined> {
    if (options.known && partsOf(options.known).known.token === token) {
      return await this.#merge(options.known, values, options)
    }
    for (let attempt = 0; attempt < tries; attempt++) {
      const changes = changesOf(new Map(), null, values, options)
      const created = await this.#writer.create(token, changes, writeOptions(options, null))
      if (created) return await this.#written(created, changes)
      if (options.ifUnchanged) throw changedMeanwhile()
      const present = await this.#read(token)
      const merged = present && (await this.#merge(new KnownSession(present), values, options))
      if (merged) return merged
    }
    throw new PGStoreError(
      'conflict',
      'Other requests kept creating and ending the session of this token; nothing was saved. Try again.',
    )
  }

  /**
   * Records a visit of a session whose values have not changed, where that is due: as `save`, which would compare them.
   *
   * @returns as `save`
   */
  async touch(token: string, session: KnownSession, options: SaveByTokenOptions): Promise<KnownSession | undefined> {
    const { known, saved } = partsOf(session)
    const { row } = known
    if (known.token !== token || row.unsealed?.size) return await this.save(token, session.values(), options)
    const merge = { changes: nothing, plain: () => nothing }
    const written = await this.#writer.merge(known, merge, writeOptions(options, row.userId))
    if (written === undefined || written === 'conflict') return undefined
    return written.isWritten ? new KnownSession(written.known, saved) : session
  }

  async #merge(session: KnownSession, values: object, options: SaveByTokenOptions): Promise<KnownSession | undefined> {
    const { known } = partsOf(session)
    const base = baseOf(session)
    const { userId } = known.row
    const changes = changesOf(base, userId, values, options, known.row.unsealed)
    const plain = () => changesOf(base, userId, values, options)
    const merge = { changes, plain, ifUnchanged: options.ifUnchanged }
    const written = await this.#writer.merge(known, merge, writeOptions(options, userId))
    if (written === 'conflict') throw changedMeanwhile()
    if (written === undefined) return undefined
    return written.isWritten ? await this.#written(written.known, written.changes) : session
  }

  /**
   * Moves a session to a new token, saving what differs, in one statement: its old token is dead at once.
   *
   * @param options `signIn` counts this as a sign-in of the same user too: the lifetime begins again. Default: false
   * @returns undefined when another request regenerated or ended it first
   * @throws {PGStoreError} as `save`
   */
  async regenerate(
    session: KnownSession,
    values: object,
    options: Omit<SaveByTokenOptions, 'known' | 'durability' | 'ifUnchanged'> & {
      readonly signIn?: boolean | undefined
    },
  ): Promise<{ readonly token: string; readonly known: KnownSession } | undefined> {
    const { known } = partsOf(session)
    const base = baseOf(session)
    const { userId } = known.row
    const changed = changesOf(base, userId, values, options)
    const isSame = changed.userId === null && userId !== null
    const changes = options.signIn && isSame ? { ...changed, userId } : changed
    const token = this.#writer.nextToken(known)
    const moved = await this.#writer.move(known, token, changes, writeOptions(options, userId))
    return moved && { token, known: await this.#written(moved, changes) }
  }

  /** Ends the session, if there is one. Returns whether there was. */
  async destroy(token: string): Promise<boolean> {
    return await this.#writer.end(token)
  }

  /** All live sessions, read in pages; the results contain no token. Needs the right admin. */
  async *all(): AsyncGenerator<KnownSession, void, void> {
    for (let after: Buffer | null | undefined = null; after !== undefined; ) {
      const { rows, place } = await this.#database.all(after, pageLength)
      // Sealed values open only with their session's key, which is not listed.
      for (const row of rows) yield new KnownSession(knownFrom('', this.#isSealed ? withData(row, '{}') : row))
      after = place
    }
  }

  /** How many live sessions there are, counted one by one. Needs the right admin. */
  async count(): Promise<number> {
    return await this.#database.countLive()
  }

  /** Ends all sessions, in batches. Needs the right admin. */
  async clear(): Promise<number> {
    let ended = 0
    for (let batch = pageLength; batch === pageLength; ended += batch) {
      batch = await this.#database.clear(pageLength)
      this.#cached?.cache.sessions()
    }
    return ended
  }

  async #written(known: Known, changes: Changes): Promise<KnownSession> {
    await this.#writer.limit(known, changes)
    return new KnownSession(known, changes.base)
  }
}

function changedMeanwhile(): PGStoreError {
  return new PGStoreError('conflict', 'Another request saved this session first; nothing was saved. Read it again.')
}

/** @param userId whose session it is in the database */
function writeOptions(options: Omit<SaveByTokenOptions, 'known'>, userId: string | null): WriteOptions {
  return {
    durability: checkDurability(options.durability),
    maxAge: options.ttl,
    isFixed: options.isFixed,
    userId: (options.userId === undefined ? userId : options.userId) ?? undefined,
  }
}

function changesOf(
  base: ReadonlyMap<string, Json>,
  storedUserId: string | null,
  values: object,
  options: Pick<SaveByTokenOptions, 'userId'>,
  unsealed?: ReadonlySet<string>,
): Changes {
  const { set, unset, isData, base: next } = difference(base, values, undefined, unsealed)
  const userId = options.userId === undefined ? null : changedUserId(storedUserId, options.userId)
  return {
    set,
    unset,
    isData,
    base: next,
    userId,
    label: null,
    tags: null,
    lives: null,
    isEmpty: !isData && userId === null,
  }
}
