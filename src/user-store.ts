// What a store does for users rather than for one session: lists and ends what they have, and works for them in a transaction.
import { type BoundNodeRequest, type BoundNodeResponse, handle } from './bound/endpoint.ts'
import { checkCookie } from './cookie/check-cookie.ts'
import type { RequestLike } from './cookie/cookie-header.ts'
import type { SessionOptions } from './cookie/cookie-options.ts'
import { readTokens } from './cookie/token-cookie.ts'
import { type Entered, enter } from './database/entrance.ts'
import { type Pool, poolProblems } from './database/pool.ts'
import type { TransactionClient } from './database/transaction.ts'
import { PGStoreError, unknownNames } from './errors.ts'
import { SessionHistory } from './history/history.ts'
import type { StoreParts } from './parts.ts'
import { internals, type Session } from './session/session.ts'
import { sessionKey } from './session/token.ts'
import type {
  EndAllOptions,
  ListedSession,
  ListOptions,
  RevokeOptions,
  RevokeTagOptions,
} from './session/user-sessions.ts'

export interface TransactionOptions {
  /**
   * Connections of the role that the work is to be done as, which needs the right `entry` and no other (docs/row-level-security.md).
   * Default: the pool that the store was given; for a connection string, connections of their own, apart from those that read sessions.
   */
  readonly pool?: Pool
  /** Default: 'read committed'. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable'
  /** Default: false. */
  readonly readOnly?: boolean
}

const transactionNames = { pool: true, isolation: true, readOnly: true } satisfies Record<
  keyof TransactionOptions,
  true
>
const isolations = ['read committed', 'repeatable read', 'serializable'] as const

export abstract class UserStore<Values extends object> extends SessionHistory {
  readonly #parts: StoreParts

  protected constructor(parts: StoreParts) {
    super(parts, parts.control)
    this.#parts = parts
  }

  /** What a new session's options are copied from. */
  abstract get options(): Readonly<SessionOptions>

  abstract get(req: RequestLike, name: string): Promise<Session<Values>>

  /** The session that this request has already been given under the name. */
  protected abstract registered(req: RequestLike, name: string): Promise<Session<Values>> | undefined

  /** A user's live sessions, newest first, for a page of devices. */
  async list(userId: string, options: ListOptions = {}): Promise<ListedSession<Values>[]> {
    this.checkOpen()
    return await this.#parts.users.list(userId, options)
  }

  /**
   * Ends a user's sessions: one, all, or all but one. Returns how many ended.
   *
   * @throws {PGStoreError} `invalid_option` for an `id` or `except` that is given as undefined or null: a field missing from a
   * form must not end all sessions
   */
  async revoke(userId: string, options: RevokeOptions = {}): Promise<number> {
    this.checkOpen()
    return await this.#parts.users.revoke(userId, options)
  }

  /**
   * Ends the sessions that carry a tag, such as a tenant's, or all but one. Returns how many ended.
   *
   * @throws {PGStoreError} `invalid_option` as `revoke`
   */
  async revokeTag(tag: string, options: RevokeTagOptions = {}): Promise<number> {
    this.checkOpen()
    return await this.#parts.users.revokeTag(tag, options)
  }

  /**
   * Ends everybody's sessions at once, or all of a tag or a user, by writing one row: those that began, or last signed in, before a
   * time. The purge removes them later. Needs the right `admin`; so does `npx pgstore end-all`, which does the same. Returns the time
   * before which sessions have ended: an earlier mark never takes back a later one.
   *
   * @throws {PGStoreError} `invalid_option` as `revoke`
   */
  async endAll(options: EndAllOptions = {}): Promise<Date> {
    this.checkOpen()
    return await this.#parts.users.endAll(options)
  }

  /**
   * Works in a transaction in which the database itself knows whose session it is, for row-level security by `current_session_user()`
   * (docs/row-level-security.md). It begins, and looks whether the request's session lives, in one round trip; commits when `work` has
   * resolved, and rolls back when it rejects. A request without a live session works for nobody.
   *
   * Resolves to what `work` does; rejects with its error, unchanged. `client` cannot be used afterwards.
   *
   * @throws {PGStoreError} `invalid_option`; `database` if a statement had failed and the error was caught, so that nothing was
   * committed; `forbidden` if the role lacks the right `entry`
   */
  async transaction<Result>(
    req: RequestLike,
    name: string,
    work: (client: TransactionClient, entered: Entered) => Promise<Result> | Result,
    options: TransactionOptions = {},
  ): Promise<Result> {
    this.checkOpen()
    const { settings, schema } = this.#parts
    checkTransaction(work, options)
    checkCookie({ name, options: this.options }, settings.cache !== undefined)
    const key = await this.#keyOf(req, name)
    const pool = options.pool ?? this.#parts.transactionPool()
    const { transaction, entered } = await enter(pool, schema, beginText(options), key)
    let result: Result
    try {
      result = await work(transaction.client, entered)
    } catch (error) {
      await transaction.rollback(error)
      throw error
    }
    await transaction.commit('store.transaction')
    return result
  }

  /**
   * Answers the requests to the path of the option `deviceBound`, where browsers register a key and prove that they have it: one line
   * before the routes. undefined, and at once, for any other request and without the option; a promise for one that is being
   * answered. If the database cannot be reached, the connection is closed, or the answer of fetch is a 503.
   *
   * The adapters for Express, Fastify, Koa, Hono, h3, Elysia, React Router and SvelteKit call it themselves.
   */
  deviceBound(req: Request): Promise<Response> | undefined
  deviceBound(req: BoundNodeRequest, res: BoundNodeResponse): Promise<undefined> | undefined
  deviceBound(req: BoundNodeRequest | Request, res?: BoundNodeResponse): Promise<Response | undefined> | undefined {
    return handle(this.#parts.bound, req, res)
  }

  /** From what the request has been given, or else from its cookie, without a query: the transaction looks whether it lives. */
  async #keyOf(req: RequestLike, name: string): Promise<Buffer | null> {
    let session = await this.registered(req, name)
    if (!session) {
      const { settings, refusals } = this.#parts
      const [read, other] = readTokens(req, name, settings.codecs, refusals)
      if (!read) return null
      if (!other && !settings.deviceBound) return sessionKey(read.token)
      session = await this.get(req, name) // the first that lives, and is bound to no other device
    }
    const stored = internals.stored(session)
    return stored ? sessionKey(stored.known.token) : null
  }
}

function checkTransaction(work: unknown, options: TransactionOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw new PGStoreError('invalid_option', 'transaction: the fourth argument must be an object of options: { pool }.')
  }
  const { pool, isolation, readOnly = false } = options
  const problems = unknownNames(options, transactionNames)
  if (typeof work !== 'function') problems.push('the third argument must be a function: (req, name, work)')
  if (isolation !== undefined && !isolations.includes(isolation)) {
    problems.push(`isolation must be one of ${isolations.join(', ')}`)
  }
  if (typeof readOnly !== 'boolean') problems.push('readOnly must be true or false')
  if (pool !== undefined) problems.push(...poolProblems(pool))
  if (problems.length > 0) throw new PGStoreError('invalid_option', `transaction: ${problems.join('; ')}.`)
}

/** Said in full: an injection may have left other defaults on the connection. */
function beginText({ isolation = 'read committed', readOnly = false }: TransactionOptions): string {
  return `begin isolation level ${isolation} ${readOnly ? 'read only' : 'read write'}`
}
