// Express's sessions in Postgres: a store for express-session, and for @fastify/session, which takes the same stores.
/* oxlint-disable typescript/no-misused-promises -- with a callback, the returned promise, which Store's types do not mention, never rejects */

import session, { type SessionData } from 'express-session'
import type { SessionCleanup } from '../cleanup/cleanup.ts'
import type { Codec } from '../cookie/codec.ts'
import { longestLife } from '../cookie/cookie-options.ts'
import { PGStoreError } from '../errors.ts'
import { attachment } from '../session/attachment.ts'
import { failure } from '../session/failure.ts'
import type { KnownSession } from '../session/known-session.ts'
import type { SaveByTokenOptions, TokenSessions } from '../session/token-sessions.ts'
import type { ListedSession, ListOptions } from '../session/user-sessions.ts'
import { PGStore } from '../store.ts'
import { answer, type Callback, Changes } from './express-calls.ts'
import { changedCookie, isFixed, Stored, type StoredValues, sessionData, storedValues, ttlOf } from './express-data.ts'
import type { ExpressSessionStoreOptions } from './express-options.ts'
import { ResponseEnds } from './express-response.ts'

export type { ExpressSessionStoreOptions } from './express-options.ts'

/** A session as returned by `all`. */
export type IdentifiedSession = SessionData & { readonly id: string }

type Request = Parameters<session.Store['createSession']>[0]

const defaultMaxLength = 65_536

/** express-session signs the cookie; our PGStore never does. */
const noCookies: Codec = { encode: () => '', decode: () => undefined }

/** @fastify/session copies sessions by `for in`, including inherited keys, and so carries along what is known of it. */
const knownKey = '__pgstore'
type Marked = { [knownKey]?: Stored }

/**
 * A store for express-session: concurrent requests that change different keys both keep their changes, and no save brings
 * back a session that was ended.
 *
 * The methods of express-session's store interface take a callback, or return a promise without one. They fail with a
 * `PGStoreError`, which explains its codes.
 */
export class ExpressSessionStore extends session.Store {
  readonly #store: PGStore
  readonly #sessions: TokenSessions
  readonly #ttl: number
  readonly #userId: ExpressSessionStoreOptions['userId']
  readonly #stored = attachment<Stored>()
  readonly #ends: ResponseEnds
  readonly #changes = new Changes()
  /** The store to close: one that was given is not ours to close. */
  #own: PGStore | undefined

  /** @throws {PGStoreError} `invalid_option` */
  constructor({ store, ttl = 86_400, userId, ...options }: ExpressSessionStoreOptions) {
    super()
    if (!(typeof ttl === 'number' && ttl >= 0.001 && ttl <= longestLife)) {
      throw new PGStoreError('invalid_option', 'ttl must be a number of seconds, at most a hundred years.')
    }
    const [extra] = Object.keys(options)
    if (store && extra) throw new PGStoreError('invalid_option', `${extra} must be set on the store that you pass.`)
    if (!store) this.#own = new PGStore({ maxLength: defaultMaxLength, ...options, codecs: [noCookies] })
    this.#store = store ?? (this.#own as PGStore)
    this.#sessions = this.#store.byToken
    this.#ttl = ttl
    this.#userId = userId
    this.#ends = new ResponseEnds(this)
  }

  /** As the constructor, and installs or upgrades the schema unless `migrate` is false: see `PGStore.open`. */
  static async open(
    options: Omit<ExpressSessionStoreOptions, 'store'> & { readonly migrate?: boolean | undefined },
  ): Promise<ExpressSessionStore> {
    const { ttl, userId, ...rest } = options
    const store = await PGStore.open({ maxLength: defaultMaxLength, ...rest, codecs: [noCookies] })
    const opened = new ExpressSessionStore({ store, ttl, userId })
    opened.#own = store
    return opened
  }

  /** For the cleanup of expired sessions, the events, and what the store counts. */
  get pgstore(): SessionCleanup & Pick<PGStore, 'events' | 'stats'> {
    return this.#store
  }

  /** The live session; if this process is saving or ending it, as it is afterwards. */
  override async get(sid: string, callback?: Callback<SessionData>): Promise<SessionData | undefined> {
    return await answer(callback, async () => {
      await this.#changes.of(sid)
      const known = await this.#sessions.get(sid)
      if (!known) return undefined
      const data = this.#show(known)
      return callback ? Object.setPrototypeOf(data, { [knownKey]: this.#storedOf(data) }) : data
    })
  }

  /**
   * Saves what changed since the session was read. One that was not read is created, or replaces the stored one; one that has
   * expired is ended.
   *
   * A session that was ended in the meantime stays ended, and nothing is saved: `gone`. The save that express-session makes at
   * the end of a response does not fail with it: it is too late to report, and the connection would be closed.
   */
  override async set(sid: string, data: SessionData, callback?: Callback<void>): Promise<void> {
    const { isEnding } = this.#ends
    await this.#change(sid, callback, async () => {
      if (this.#isOver(data)) return void (await this.#sessions.destroy(sid))
      const values = storedValues(data, this.#storedOf(data)?.cookie)
      if (!(await this.#save(sid, data, values, this.#options(data))) && !isEnding) throw gone()
    })
  }

  /**
   * Extends the session's life once a tenth of it has passed; one that has expired is ended. A session that was ended is not
   * an error, nor is a database that cannot write at the moment: only the time of this visit is lost.
   */
  override async touch(sid: string, data: SessionData, callback?: Callback<void>): Promise<void> {
    await this.#change(sid, callback, async () => {
      if (this.#isOver(data)) return void (await this.#sessions.destroy(sid))
      const stored = this.#storedOf(data) ?? (await this.#read(sid))
      if (!stored) return
      const { known } = stored
      const options = { ttl: ttlOf(data, this.#ttl), isFixed: isFixed(data), known }
      // express-session only touches a session when nothing else changed, which includes a new maxAge.
      const cookie = changedCookie(data, stored.cookie)
      if (cookie) return void (await this.#save(sid, data, { ...known.values(), cookie }, options))
      const touched = await this.#sessions.touch(sid, known, options)
      if (touched) this.#stored.set(data, new Stored(touched, stored.cookie))
    })
  }

  override async destroy(sid: string, callback?: Callback<void>): Promise<void> {
    await this.#change(sid, callback, async () => void (await this.#sessions.destroy(sid)))
  }

  /** All live sessions, each with its number as `id`: the sid cannot be derived from what is stored. Needs the right admin. */
  override async all(callback?: Callback<IdentifiedSession[]>): Promise<IdentifiedSession[]> {
    return await answer(callback, async () => {
      const sessions: IdentifiedSession[] = []
      for await (const known of this.#sessions.all()) sessions.push({ ...this.#show(known), id: known.id })
      return sessions
    })
  }

  /** The numbers of all live sessions, not their sids. Needs the right admin. */
  async ids(callback?: Callback<string[]>): Promise<string[]> {
    return await answer(callback, async () => (await this.all()).map(({ id }) => id))
  }

  /** How many live sessions there are. Needs the right admin. */
  override async length(callback?: Callback<number>): Promise<number> {
    return await answer(callback, async () => await this.#sessions.count())
  }

  /** Ends all sessions. Needs the right admin. */
  override async clear(callback?: Callback<void>): Promise<void> {
    return await answer(callback, async () => void (await this.#sessions.clear()))
  }

  /**
   * Saves the request's session under a new sid, in one statement: the old sid is dead at once, and the values are kept. For
   * sign-in, where `req.session.regenerate()` would begin an empty session. `req.session` is a new object afterwards. With `signIn`
   * the `lifetime` begins again for the same user too.
   *
   * @throws {PGStoreError} `gone` when another request renewed or ended it first
   */
  async renew(req: Request, { signIn }: { readonly signIn?: boolean } = {}): Promise<void> {
    const data = req.session as SessionData
    const stored = this.#storedOf(data)
    if (!stored) return await this.set(req.sessionID, data) // never stored: nobody else has its sid
    const options = { ...this.#options(data), signIn }
    const renewed = await this.#sessions.regenerate(stored.known, storedValues(data, stored.cookie), options)
    if (!renewed) throw gone()
    req.sessionID = renewed.token
    this.createSession(req, this.#show(renewed.known))
  }

  /** A user's live sessions, newest first; `idOf` tells which of them a session is. */
  async list(userId: string, options: ListOptions = {}): Promise<ListedSession<SessionData>[]> {
    return (await this.#store.list(userId, options)) as unknown as ListedSession<SessionData>[]
  }

  /** Ends a user's sessions: the one with this number, all, or all but the one with the sid `except`. Returns how many. */
  async revoke(
    userId: string,
    options: { readonly id?: string | number | bigint; readonly except?: string } = {},
  ): Promise<number> {
    return await this.#store.revoke(userId, options)
  }

  /** The number of a session that was read or saved: not secret, safe to log. */
  idOf(data: object): string | undefined {
    return this.#storedOf(data)?.known.id
  }

  /** Closes what the store opened, and nothing that it was given. */
  async close(): Promise<void> {
    await this.#own?.close()
  }

  /** express-session's method, which also remembers what the session was read with. */
  override createSession(req: Request, data: SessionData): session.Session & SessionData {
    const stored = this.#storedOf(data)
    const created = super.createSession(req, data)
    delete (created as Marked)[knownKey]
    if (stored) this.#stored.set(created, stored)
    this.#ends.watch(req)
    return created
  }

  /** Until this is done, the session is not read, and a response that is ending is held back. */
  async #change(sid: string, callback: Callback<void> | undefined, work: () => Promise<void>): Promise<void> {
    const change = work()
    void this.#changes.add(sid, change)
    await answer(this.#ends.hold(callback), () => change)
  }

  #isOver(data: SessionData): boolean {
    return ttlOf(data, this.#ttl) < 0.001
  }

  #storedOf(data: object): Stored | undefined {
    return this.#stored.get(data) ?? (data as Marked)[knownKey]
  }

  async #read(sid: string): Promise<Stored | undefined> {
    const known = await this.#sessions.get(sid, { fresh: true })
    return known && sessionData(known).stored
  }

  #show(known: KnownSession): SessionData {
    const { data, stored } = sessionData(known)
    this.#stored.set(data, stored)
    return data
  }

  #options(data: SessionData): SaveByTokenOptions {
    const userId = this.#userId?.(data) ?? null
    return {
      ttl: ttlOf(data, this.#ttl),
      isFixed: isFixed(data),
      userId: this.#userId && (typeof userId === 'number' ? String(userId) : userId),
      known: this.#storedOf(data)?.known,
    }
  }

  /** Returns whether the session is live. */
  async #save(sid: string, data: SessionData, values: StoredValues, options: SaveByTokenOptions): Promise<boolean> {
    const known = await this.#sessions.save(sid, values, options)
    if (known) this.#stored.set(data, new Stored(known, values.cookie))
    return known !== undefined
  }
}

function gone(): PGStoreError {
  return failure('session_save', { status: 'gone' })
}
