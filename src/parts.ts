// What a store is made of, and how the parts are put together: over a pool, or over one client inside a transaction.
import type pg from 'pg'
import { BatchedDatabase } from './database/batched-sessions.ts'
import { openPool, type Pool, type Queryable, queryTimeoutMs } from './database/pool.ts'
import type { SessionDatabase } from './database/row.ts'
import { Database } from './database/session-functions.ts'
import { economical, StatementPool } from './database/statement-pool.ts'
import type { ListenConnection } from './events/listen.ts'
import { listenConnection, type Settings } from './options.ts'
import { Saver } from './saver.ts'
import { SealedDatabase } from './session/seal.ts'
import { TokenSessions } from './session/token-sessions.ts'
import { UserSessions } from './session/user-sessions.ts'
import { Writer } from './session/writer.ts'

export class StoreParts {
  readonly settings: Settings
  /** The pool that the store opened and ends; undefined where it was given one. */
  readonly ownPool: pg.Pool | undefined
  readonly database: Database
  /** The same, seen through the seal where there is one. */
  readonly sessions: SessionDatabase
  readonly writer: Writer
  readonly saver: Saver
  readonly byToken: TokenSessions
  readonly users: UserSessions
  /** Where to LISTEN; undefined where no connection for it is known. */
  readonly listen: ListenConnection | undefined

  /** @param lender the parts of the store that lends its sessions, where this one works over a client */
  private constructor(settings: Settings, ownPool: pg.Pool | undefined, database: Database, lender?: StoreParts) {
    const { sealing } = settings
    this.settings = settings
    this.ownPool = ownPool
    this.database = database
    this.sessions = sealing ? new SealedDatabase(database, sealing.secrets, sealing.acceptsPlain) : database
    this.writer = new Writer(this.sessions, settings)
    this.saver = new Saver(this.sessions, this.writer, settings, lender?.saver)
    this.byToken = new TokenSessions(this.sessions, database, this.writer, sealing !== undefined)
    this.users = new UserSessions(database, sealing !== undefined)
    this.listen = lender ? undefined : listenConnection(settings)
  }

  static open(settings: Settings): StoreParts {
    const { connectionString, pool, schema, prepare, batch } = settings
    const ownPool = connectionString === undefined ? undefined : openPool({ connectionString, query_timeout: 0 })
    // On a pool that is shared, an injection elsewhere in the application could put a statement of its own under our names.
    const queryable = ownPool
      ? new StatementPool(ownPool, prepare, queryTimeoutMs)
      : economical(pool as Pool, prepare ?? false)
    const database = batch ? new BatchedDatabase(queryable, schema, batch) : new Database(queryable, schema)
    return new StoreParts(settings, ownPool, database)
  }

  /** The same over one client, where nothing is gathered: a transaction is one caller's. */
  lend(client: Queryable): StoreParts {
    const settings = { ...this.settings, maxLength: this.writer.maxLength }
    return new StoreParts(settings, undefined, new Database(client, settings.schema), this)
  }
}
