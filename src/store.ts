import { inspect } from 'node:util'
import type pg from 'pg'
import { SessionCleanup } from './cleanup/cleanup.ts'
import type { Codec } from './cookie/codec.ts'
import type { RequestLike } from './cookie/cookie-header.ts'
import { cookieOptionProblems, type SessionOptions } from './cookie/cookie-options.ts'
import type { ResponseLike } from './cookie/response.ts'
import { readToken } from './cookie/token-cookie.ts'
import { BatchedDatabase } from './database/batched-sessions.ts'
import { openPool, type Pool, type Queryable } from './database/pool.ts'
import type { SessionDatabase } from './database/row.ts'
import { Database } from './database/session-functions.ts'
import { economical } from './database/statement-pool.ts'
import { closedError, PGStoreError } from './errors.ts'
import type { ChannelEvents, EventStream } from './events/channel-events.ts'
import { atMost, Sockets } from './events/deadline.ts'
import { type SessionEvent, sessionEvents } from './events/session-events.ts'
import { listenConnection, maxLengthProblems, type PGStoreOptions, parseOptions, type Settings } from './options.ts'
import { checkCookie, type SaveOptions, Saver } from './saver.ts'
import { migrate } from './schema/migrate.ts'
import { attachment } from './session/attachment.ts'
import { SealedDatabase } from './session/seal.ts'
import { internals, Session } from './session/session.ts'
import { sessionKey } from './session/token.ts'
import { TokenSessions } from './session/token-sessions.ts'
import { type ListedSession, listSessions, type RevokeOptions, revokeSessions } from './session/user-sessions.ts'

/** How long `close()` lets calls that were begun go on. */
const closingMs = 5000

/**
 * Sessions in Postgres, for node's and fetch's requests: Go's PGStore for gorilla/sessions in TypeScript.
 *
 * Every method that reaches the database rejects with a `PGStoreError` whose code is `unavailable`, `timeout`, `full`,
 * `forbidden`, `not_installed` or `database` when that fails; the cookie is then left as it is.
 */
export class PGStore<Values extends object = Record<string, unknown>> extends SessionCleanup {
  /** The first signs, all verify. */
  readonly codecs: readonly Codec[]
  #settings: Settings
  readonly #database: Database
  /** The same, seen through the seal where there is one. */
  #sessions: SessionDatabase
  readonly #ownPool: pg.Pool | undefined
  readonly #sockets: Sockets
  readonly #events: ChannelEvents<SessionEvent>
  #options: SessionOptions
  /** Cookie names that are right for these options. */
  readonly #checkedNames = new Set<string>()
  #registry = attachment<Map<string, Promise<Session<Values>>>>()
  #saver: Saver
  /** The store that `withClient` was called on: a session's own save() goes there, as the client is lent. */
  #origin: PGStore<Values> = this
  #closing: Promise<void> | undefined

  /**
   * Connects at the first call. See `open` for a store that installs its schema first.
   *
   * @throws {PGStoreError} `invalid_option`, naming every problem at once
   */
  constructor(options: PGStoreOptions) {
    const settings = parseOptions(options)
    const { connectionString, pool, schema, prepare, batch } = settings
    const sockets = new Sockets()
    // Calls have a limit of their own, and ask by themselves where a connection leads.
    const ownOptions = { query_timeout: 0, onConnect: () => {}, stream: sockets.create }
    const ownPool = connectionString === undefined ? undefined : openPool({ connectionString, ...ownOptions })
    // On a pool that is shared, an injection elsewhere in the application could put a statement of its own under our names.
    const queryable = ownPool ? economical(ownPool, prepare) : economical(pool as Pool, prepare ?? false)
    const database = batch ? new BatchedDatabase(queryable, schema, batch) : new Database(queryable, schema)
    const listen = listenConnection(settings)
    super(database, listen, schema)
    this.#settings = settings
    this.codecs = settings.codecs
    this.#options = settings.options
    this.#ownPool = ownPool
    this.#sockets = sockets
    this.#database = database
    this.#sessions = sealed(database, settings)
    this.#saver = new Saver(this.#sessions, settings, undefined)
    this.#events = sessionEvents(listen, schema)
    this.maxAge(settings.options.maxAge)
  }

  /**
   * Connects, and installs or upgrades the schema unless `migrate` is false: that takes a role with the right to, while
   * using the store takes none but `client` (docs/operations.md).
   *
   * @throws {PGStoreError} `invalid_option`; what `migrate` throws; `unavailable` when there is no database
   */
  static async open<Values extends object = Record<string, unknown>>(
    options: PGStoreOptions & { readonly migrate?: boolean | undefined },
  ): Promise<PGStore<Values>> {
    const { migrate: wanted = true, ...rest } = options
    const store = new PGStore<Values>(rest)
    try {
      const pool = store.#ownPool ?? rest.pool
      if (wanted && pool) await migrate(pool, { schema: store.#settings.schema })
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
   * The session of this request and cookie name: once per request, then the same object again. A missing, forged, expired or
   * unreadable cookie is a new session, and none of these but the expired one costs a query. Of several cookies with the name,
   * the first that verifies counts, among the first four.
   *
   * @throws {PGStoreError} `invalid_option` for a name that is no cookie name or breaks its prefix's rules; `sealed` for data
   *   that this store did not seal
   */
  async get(req: RequestLike, name: string): Promise<Session<Values>> {
    const sessions = this.#registry.get(req) ?? new Map<string, Promise<Session<Values>>>()
    this.#registry.set(req, sessions)
    let session = sessions.get(name)
    if (!session) {
      session = this.new(req, name)
      sessions.set(name, session)
      session.catch(() => sessions.delete(name)) // the next get asks again
    }
    return await session
  }

  /** As `get`, but read anew and not remembered. */
  async new(req: RequestLike, name: string): Promise<Session<Values>> {
    if (!this.#checkedNames.has(name)) {
      checkCookie({ name, options: this.#options })
      this.#checkedNames.add(name)
    }
    this.#checkOpen()
    const found = readToken(req, name, this.codecs)
    const row = found && (await this.#sessions.get(sessionKey(found.token)))
    // Made no sooner than there is something to hold: what waits with a request is what garbage collection copies.
    const session = new Session<Values>(this.#origin, name, this.#options)
    if (found && row) {
      const { token, isOutdated } = found // each by name: with `...found` a read of a busy server takes half as long again
      internals.load(session, { token, isOutdated, row, seenVersion: row.version })
    }
    return session
  }

  /**
   * Saves what changed and sets the cookie; call it before the body is sent. A new session that holds nothing is not saved, and
   * neither is one that is unchanged and not due for a touch: that costs no query. `session.options.maxAge = -1` ends the
   * session, as `destroy` does.
   *
   * @throws {PGStoreError} `gone`: ended elsewhere; nothing is saved, the cookie is deleted and `session` is a new one.
   *   `conflict`, `too_large`, `invalid_value`, `headers_sent`: nothing is saved.
   */
  async save(req: RequestLike, res: ResponseLike, session: Session<Values>, options: SaveOptions = {}): Promise<void> {
    this.#checkOpen()
    await this.#saver.save(req, res, session, options)
  }

  /**
   * Gives the session a new token and saves it: the old token is dead at once, and so is whatever an attacker did with it.
   * Call it at sign-in and at every change of privilege, with `session.userId` set before. What `values` held before is still
   * there: drop what belonged to another user. The expiry is set anew, shorter too: "remember me" is decided here, by
   * `session.options.maxAge`.
   *
   * @throws {PGStoreError} `gone` when somebody else regenerated or ended the session first; else as `save`
   */
  async regenerate(req: RequestLike, res: ResponseLike, session: Session<Values>): Promise<void> {
    this.#checkOpen()
    await this.#saver.regenerate(req, res, session)
  }

  /**
   * Ends the session: the row goes and the response deletes the cookie. The object is a new, empty session from here on, which
   * may be saved again: with a message that says goodbye, for instance. The same as `maxAge = -1` and a save.
   */
  async destroy(req: RequestLike, res: ResponseLike, session: Session<Values>): Promise<void> {
    session.options.maxAge = -1
    await this.save(req, res, session)
  }

  /**
   * A user's live sessions, newest first: a page of devices. `updatedAt` is when a session's data last changed, not when it was
   * last seen: keep that in `values` if you show it.
   */
  async list(userId: string): Promise<ListedSession<Values>[]> {
    this.#checkOpen()
    return await listSessions(this.#database, userId, this.#settings.sealing !== undefined)
  }

  /**
   * Ends a user's sessions: one, all, or all but one. Returns how many ended.
   *
   * @throws {PGStoreError} `invalid_option` for an `id` or `except` that is given as undefined or null: a field that a form did
   *   not send must not end all
   */
  async revoke(userId: string, options: RevokeOptions = {}): Promise<number> {
    this.#checkOpen()
    return await revokeSessions(this.#database, userId, options)
  }

  /** The same sessions by their token, for a framework that keeps the cookie itself and this store's codecs out of it. */
  get byToken(): TokenSessions {
    this.#checkOpen()
    return new TokenSessions(this.#sessions, this.#database, { ...this.#settings, maxLength: this.#saver.maxLength })
  }

  /**
   * Sessions that are destroyed, revoked or regenerated, by anybody, as it happens: to end a websocket, to drop a cache. Not
   * those that expire. Opens one connection to LISTEN, which outlives outages; ends with the loop or with `close()`.
   */
  events(): EventStream<SessionEvent> {
    this.#checkOpen()
    return this.#events.subscribe()
  }

  /**
   * Seconds a session lives without a visit, for sessions read from now on; the codecs refuse older cookies. 0 is a
   * browser-session cookie, and a negative number destroys every session at its next save, as in the seed.
   */
  maxAge(seconds: number): void {
    const options = { ...this.#options, maxAge: seconds }
    const problems = cookieOptionProblems(options)
    if (problems.length > 0) throw new PGStoreError('invalid_option', `${problems.join('; ')}.`)
    this.#options = options
    this.#checkedNames.clear()
    for (const codec of this.codecs) codec.maxAge?.(Math.max(Math.ceil(seconds), 0))
  }

  /** Largest session in bytes of JSON text after merging, for saves from now on; 0 means no limit. */
  maxLength(bytes: number): void {
    const problems = maxLengthProblems(bytes)
    if (problems.length > 0) throw new PGStoreError('invalid_option', `${problems.join('; ')}.`)
    this.#saver.maxLength = bytes
  }

  /**
   * The same store over one `pg` client, inside the transaction that you began on it: signing in and the user's row then commit
   * together or not at all. After a rollback, throw the session object and the response's cookie away.
   */
  withClient(client: Queryable): PGStore<Values> {
    const { codecs, options } = this
    const { maxLength } = this.#saver
    const settings = { ...this.#settings, maxLength }
    const { schema } = settings
    const store = new PGStore<Values>({ pool: client as Pool, codecs, options, schema, batch: false })
    store.#settings = settings
    store.#sessions = sealed(store.#database, settings)
    store.#registry = this.#registry
    store.#origin = this.#origin
    store.#saver = new Saver(store.#sessions, settings, this.#saver)
    return store
  }

  /**
   * Refuses new calls, finishes those that were begun, for up to five seconds, and ends what the store opened: its worker, its
   * listening connections, its pool. Never a pool that it was given. Where nothing is under way it takes two seconds at most,
   * whether the server answers or not.
   */
  async close(): Promise<void> {
    this.#closing ??= Promise.all([this.#events.close(), this.closeCleanup(), this.#endCalls()]).then(() => {})
    await this.#closing
  }

  async #endCalls(): Promise<void> {
    await this.#database.end(closingMs)
    await atMost(500, this.#ownPool?.end())
    this.#sockets.cut()
  }

  static {
    // No keys, no connection.
    Object.defineProperty(PGStore.prototype, inspect.custom, {
      value(this: PGStore) {
        return `PGStore { schema: '${this.#settings.schema}' }`
      },
    })
  }

  #checkOpen(): void {
    if (this.#closing) throw closedError()
  }
}

function sealed(database: Database, { sealing }: Settings): SessionDatabase {
  return sealing ? new SealedDatabase(database, sealing.secrets, sealing.acceptsPlain) : database
}
