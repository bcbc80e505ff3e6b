// The parts of a store and how they are put together: over a pool, or over one client inside a transaction.
import type pg from 'pg'
import { Refusals } from './cookie/refusals.ts'
import { BatchedDatabase } from './database/batched-sessions.ts'
import { openPool, type Pool, poolProblems, type Queryable } from './database/pool.ts'
import type { SessionDatabase } from './database/row.ts'
import { Database } from './database/session-functions.ts'
import { economical } from './database/statement-pool.ts'
import { PGStoreError } from './errors.ts'
import { atMost, Sockets } from './events/deadline.ts'
import type { ListenConnection } from './events/listen.ts'
import { listenConnection, type Settings } from './options.ts'
import { Reader } from './reader.ts'
import { Saver } from './saver.ts'
import { SealedDatabase } from './session/seal.ts'
import { TokenSessions } from './session/token-sessions.ts'
import { UserSessions } from './session/user-sessions.ts'
import { Writer } from './session/writer.ts'

/** How long calls in progress may continue. */
const closingMs = 5000

export class StoreParts {
  readonly settings: Settings
  /** The pool that the store opened and ends; undefined if it was given one. */
  readonly ownPool: pg.Pool | undefined
  readonly #sockets: Sockets | undefined
  readonly database: Database
  /** The same, through the seal if there is one. */
  readonly sessions: SessionDatabase
  readonly writer: Writer
  readonly saver: Saver
  readonly reader: Reader
  readonly refusals: Refusals
  readonly byToken: TokenSessions
  readonly users: UserSessions
  /** Where to LISTEN; undefined if no connection for it is known. */
  readonly listen: ListenConnection | undefined

  /** @param lender the parts of the store that lends its sessions, if this one works over a client */
  private constructor(
    settings: Settings,
    ownPool: pg.Pool | undefined,
    sockets: Sockets | undefined,
    database: Database,
    lender?: StoreParts,
  ) {
    const { sealing } = settings
    this.settings = settings
    this.ownPool = ownPool
    this.#sockets = sockets
    this.database = database
    this.sessions = sealing ? new SealedDatabase(database, sealing.secrets, sealing.acceptsPlain) : database
    this.writer = new Writer(this.sessions, settings)
    this.saver = new Saver(this.sessions, this.writer, settings, lender?.saver)
    this.refusals = lender ? lender.refusals : new Refusals(settings.schema)
    this.reader = new Reader(database, this.sessions, settings.codecs, this.refusals)
    this.byToken = new TokenSessions(this.sessions, database, this.writer, sealing !== undefined)
    this.users = new UserSessions(database, sealing !== undefined)
    this.listen = lender ? undefined : listenConnection(settings)
  }

  static open(settings: Settings): StoreParts {
    const { connectionString, pool, schema, prepare, batch } = settings
    const sockets = new Sockets()
    // Calls have their own time limit, and check where a connection leads.
    const ownOptions = { query_timeout: 0, onConnect: () => {}, stream: sockets.create }
    const ownPool = connectionString === undefined ? undefined : openPool({ connectionString, ...ownOptions })
    // On a shared pool, an injection elsewhere in the application could prepare another statement under our names.
    const queryable = ownPool ? economical(ownPool, prepare) : economical(pool as Pool, prepare ?? false)
    const database = batch ? new BatchedDatabase(queryable, schema, batch) : new Database(queryable, schema)
    return new StoreParts(settings, ownPool, sockets, database)
  }

  /** Lets calls in progress continue for a while, refuses others, and ends the pool that was opened here. */
  async end(): Promise<void> {
    await this.database.end(closingMs)
    await atMost(500, this.ownPool?.end())
    this.#sockets?.cut()
  }

  /** The same over one client, without batching: a transaction has one caller. */
  lend(client: Queryable): StoreParts {
    const problems = poolProblems(client).map((problem) => problem.replace('pool', 'client'))
    if (problems.length > 0) throw new PGStoreError('invalid_option', `withClient: ${problems.join('; ')}.`)
    const settings = { ...this.settings, maxLength: this.writer.maxLength }
    const database = new Database(economical(client as Pool, false), settings.schema)
    return new StoreParts(settings, undefined, undefined, database, this)
  }
}
