import { inspect } from 'node:util'
import { boundProblems } from './bound/bound-options.ts'
import { offer } from './bound/endpoint.ts'
import type { Codec } from './cookie/codec.ts'
import type { RequestLike } from './cookie/cookie-header.ts'
import { cookieOptionProblems, type SessionOptions } from './cookie/cookie-options.ts'
import type { ResponseLike } from './cookie/response.ts'
import type { Queryable } from './database/pool.ts'
import { closedError, refuse } from './errors.ts'
import type { EventStream } from './events/channel-events.ts'
import type { SessionEvent } from './events/session-events.ts'
import type { GetOptions, PGStoreOptions, RegenerateOptions, SaveOptions } from './options.ts'
import { StoreParts, type StoreStats } from './parts.ts'
import { migrate } from './schema/migrate.ts'
import { refresh } from './session/refresh.ts'
import { Registry } from './session/registry.ts'
import { Session } from './session/session.ts'
import type { Typed } from './session/standard-schema.ts'
import { noteAwaited } from './session/stored-session.ts'
import type { TokenSessions } from './session/token-sessions.ts'
import { maxLengthProblems, parseOptions } from './settings.ts'
import { UserStore } from './user-store.ts'

/**
 * Sessions in Postgres, for the requests of Node and of fetch: Go's PGStore for gorilla/sessions, in TypeScript.
 *
 * Every method that reaches the database rejects with a `PGStoreError` whose code is `unavailable`, `timeout`, `full`,
 * `forbidden`, `not_installed` or `database` if the database fails; the cookie is then left alone.
 */
export class PGStore<Values extends object = Record<string, unknown>> extends UserStore<Values> {
  /** The first signs, all verify. */
  readonly codecs: readonly Codec[]
  readonly #parts: StoreParts
  #options: SessionOptions
  #registry = new Registry<Session<Values>>()
  /** The store that `withClient` was called on: a session's own save() uses it, as the client is only lent. */
  #origin: PGStore<Values> = this
  /** What reads from the cache; this store where nothing may come from it; undefined where there is none. */
  #cached: Pick<PGStore<Values>, 'new'> | undefined
  #closing: Promise<void> | undefined

  /**
   * Connects at the first call. `open` returns a store that has installed its schema first.
   * @throws {PGStoreError} `invalid_option`, naming every problem at once
   */
  constructor(options: PGStoreOptions & Typed<Values>)
  /** @internal */
  constructor(options: PGStoreOptions | StoreParts)
  constructor(options: PGStoreOptions | StoreParts) {
    const parts = options instanceof StoreParts ? options : StoreParts.open(parseOptions(options))
    const { settings } = parts
    super(parts)
    this.#parts = parts
    this.codecs = settings.codecs
    this.#options = settings.options
    const { cachedReader } = parts
    this.#cached = cachedReader && {
      new: (req, name) =>
        this.#closing ? this.new(req, name) : cachedReader.readCached(this.#origin, req, name, this.#options),
    }
    if (parts !== options) this.maxAge(settings.options.maxAge)
  }

  /**
   * Connects, and installs or upgrades the schema; with `migrate: false` it does neither, and connects at the first call. Installing
   * needs a role that may create it; using the store needs only `client` (docs/operations.md).
   *
   * @throws {PGStoreError} `invalid_option`; what `migrate` throws; `unavailable` if the database cannot be reached
   */
  static async open<Values extends object = Record<string, unknown>>(
    options: PGStoreOptions & Typed<Values> & { readonly migrate?: boolean | undefined },
  ): Promise<PGStore<Values>> {
    const { migrate: wanted = true, ...rest } = options
    const store = new PGStore<Values>(rest)
    try {
      const pool = store.#parts.ownPool ?? rest.pool
      if (wanted && pool) await migrate(pool, { schema: store.#parts.settings.schema })
      return store
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** What a new session's options are copied from. */
  get options(): Readonly<SessionOptions> {
    return this.#options
  }

  /**
   * The session for this request and cookie name: read once per request, then the same object. A missing, forged, expired or
   * unreadable cookie gives a new session, and only an expired one costs a query. Of several cookies with the name, at most
   * four, the first with a live session counts: if more than one verifies, one query asks about all.
   *
   * @throws {PGStoreError} `invalid_option` for a name that is not a valid cookie name or breaks its prefix's rules; `sealed`
   * for data that this store did not seal
   */
  get(req: RequestLike, name: string, options?: GetOptions): Promise<Session<Values>> {
    if (options?.bound !== undefined) return this.#getBound(req, name, options)
    const cached = this.#cached
    if (cached === undefined) return this.#registry.get(this, req, name)
    return options?.fresh || cached === this ? this.#getFresh(req, name) : this.#registry.get(cached, req, name)
  }

  async #getBound(req: RequestLike, name: string, { bound, ...options }: GetOptions): Promise<Session<Values>> {
    refuse(boundProblems(bound, name, this.#parts.bound?.settings.name))
    const session = await this.get(req, name, options)
    if (bound === 'prefer' || session.isBound) return session
    const other = new Session<Values>(this.#origin, name, this.#options)
    noteAwaited(other)
    return await (this.#parts.settings.values?.read(other) ?? other)
  }

  async #getFresh(req: RequestLike, name: string): Promise<Session<Values>> {
    if (this.#cached !== this) this.#parts.cache?.counts.bypass('fresh')
    return await refresh(await this.#registry.get(this, req, name), this.#parts)
  }

  protected registered(req: RequestLike, name: string): Promise<Session<Values>> | undefined {
    return this.#registry.find(req, name)
  }

  /** As `get`, but always read from the database and not remembered. */
  new(req: RequestLike, name: string): Promise<Session<Values>> {
    if (this.#closing) return Promise.reject(closedError()) // not async: another promise is a tenth of a read's cost
    return this.#parts.reader.read(this.#origin, req, name, this.#options)
  }

  /**
   * Saves what changed; call it before the body is sent. A new session without data is not saved, nor is one that is unchanged
   * and not due for a touch: that costs no query. The cookie is set if the visitor needs one: for a new session, a touch, a new
   * maxAge or user, or if the request came with a different cookie. `session.options.maxAge = -1` ends it, like `destroy`.
   *
   * @throws {PGStoreError} `gone`: ended elsewhere; nothing is saved, the cookie is left alone and `session` is a new one.
   * `conflict`, `too_large`, `invalid_value`, `headers_sent`: nothing is saved.
   */
  async save(req: RequestLike, res: ResponseLike, session: Session<Values>, options: SaveOptions = {}): Promise<void> {
    this.checkOpen()
    const { saver, bound } = this.#parts
    await saver.save(req, res, session, options)
    if (bound) offer(bound, req, res, session, false)
  }

  /**
   * Gives the session a new token and saves it: the old token is dead at once, and with it any copy that an attacker has.
   * Call it at sign-in and at every change of privilege, and set `session.userId` before. `values` are kept: drop those that
   * belonged to another user. The expiry is reset, even to an earlier time: this is where "remember me" is decided, by
   * `session.options.maxAge`.
   *
   * @throws {PGStoreError} `gone` when another request regenerated or ended the session first; else as `save`
   */
  async regenerate(
    req: RequestLike,
    res: ResponseLike,
    session: Session<Values>,
    options: RegenerateOptions = {},
  ): Promise<void> {
    this.checkOpen()
    const { saver, bound } = this.#parts
    await saver.regenerate(req, res, session, options)
    if (bound) offer(bound, req, res, session, true)
  }

  /**
   * Ends the session: deletes the row, and the cookie with the response. The object is then a new, empty session, which can be
   * saved again, for example with a goodbye message. The same as a save with `maxAge = -1`.
   */
  async destroy(req: RequestLike, res: ResponseLike, session: Session<Values>): Promise<void> {
    this.checkOpen()
    await this.#parts.saver.destroy(req, res, session)
  }

  /** `session.take(name)`; of a store that `withClient` returned, inside your transaction. */
  async take<N extends keyof Values & string>(session: Session<Values>, name: N): Promise<Values[N] | undefined> {
    this.checkOpen()
    return (await this.#parts.saver.take(session, name)) as Values[N] | undefined
  }

  /** The same sessions by their token, for a framework that reads and writes the cookie itself, and values by key. */
  get byToken(): TokenSessions {
    this.checkOpen()
    return this.#parts.byToken
  }

  /**
   * Sessions as any server destroys, revokes or regenerates them, to end a websocket or drop a cache, but not those that
   * expire. Opens one connection to LISTEN, which survives outages; ends with the loop or with `close()`.
   */
  events(): EventStream<SessionEvent> {
    this.checkOpen()
    return this.#parts.events.subscribe()
  }

  /**
   * Seconds a session lives without a visit, for sessions read from now on; the codecs refuse older cookies. 0 is a
   * browser-session cookie, and a negative number destroys every session at its next save, as in Go's PGStore.
   */
  maxAge(seconds: number): void {
    const options = { ...this.#options, maxAge: seconds }
    refuse(cookieOptionProblems(options))
    this.#options = options
    const late = seconds > 0 ? this.#parts.writer.touchAfter(seconds) : 0
    for (const codec of this.codecs) codec.maxAge?.(Math.max(Math.ceil(seconds + late), 0))
  }

  /** Largest session in bytes of JSON text as Postgres prints it, after merging, for saves from now on; 0 means no limit. */
  maxLength(bytes: number): void {
    refuse(maxLengthProblems(bytes))
    this.#parts.writer.maxLength = bytes
  }

  /**
   * The same store over one `pg` client, inside the transaction that you began on it: a sign-in and the user's row then commit
   * together or not at all. After a rollback, discard the session object and the response's cookie. Not through PL/Proxy.
   */
  withClient(client: Queryable): PGStore<Values> {
    this.checkOpen()
    const store = new PGStore<Values>(this.#parts.lend(client))
    store.#options = this.#options
    store.#registry = this.#registry
    store.#origin = this.#origin
    store.#cached = this.#parts.cache && store
    return store
  }

  /** What this store has done since it was created; as it happens: `RefusedCookie`, `CacheRead`, `CacheStateChange`. */
  stats(): StoreStats {
    return this.#parts.stats
  }

  /**
   * Refuses new calls, waits up to five seconds for calls in progress, and ends what the store opened: its worker, its
   * listening connections, its pool, but never a pool that it was given. If no calls are in progress it takes two seconds at
   * most, whether or not the server responds.
   */
  async close(): Promise<void> {
    this.#closing ??= Promise.all([this.#parts.events.close(), this.closeCleanup(), this.#parts.end()]).then(() => {})
    await this.#closing
  }

  static {
    // No keys, no connection.
    Object.defineProperty(PGStore.prototype, inspect.custom, {
      value(this: PGStore) {
        return `PGStore { schema: '${this.#parts.settings.schema}' }`
      },
    })
  }
}
