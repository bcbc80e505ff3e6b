// The parts of a store and how they are put together: over a pool, or over one client inside a transaction.
import type pg from 'pg'
import { BoundCheck } from './bound/bound-check.ts'
import { DeviceBound } from './bound/device-bound.ts'
import type { CacheStats } from './cache/cache-counts.ts'
import type { CacheLimits } from './cache/cache-options.ts'
import { systemClocks } from './cache/clocks.ts'
import { NotedSessions } from './cache/noted-sessions.ts'
import { SessionCache } from './cache/session-cache.ts'
import { CachedReader } from './cached-reader.ts'
import { Refusals, type RefusedCookies } from './cookie/refusals.ts'
import { BatchedDatabase } from './database/batched-sessions.ts'
import { connectionsFor, LanedDatabase } from './database/lanes.ts'
import { LentClients } from './database/lent-client.ts'
import { openPool, type Pool, poolProblems, poolSize, type Queryable } from './database/pool.ts'
import type { SessionDatabase } from './database/row.ts'
import { Database } from './database/session-functions.ts'
import { economical } from './database/statement-pool.ts'
import { TracedSessions } from './database/traced-sessions.ts'
import { PGStoreError } from './errors.ts'
import type { ChannelEvents } from './events/channel-events.ts'
import { atMost, Sockets } from './events/deadline.ts'
import { controlConnection, type ListenConnection, listenConnections } from './events/listen.ts'
import { type SessionEvent, sessionEvents } from './events/session-events.ts'
import { Sleep } from './events/sleep.ts'
import { findPackage } from './packages.ts'
import { Reader } from './reader.ts'
import { Saver } from './saver.ts'
import { CachedSessions } from './session/cached-sessions.ts'
import { SealedDatabase } from './session/seal.ts'
import { TokenSessions } from './session/token-sessions.ts'
import { UserSessions } from './session/user-sessions.ts'
import type { ValuesSchema } from './session/values-schema.ts'
import { Writer } from './session/writer.ts'
import type { Settings } from './settings.ts'

/** How long calls in progress may continue. */
const closingMs = 5000

export class StoreParts {
  readonly settings: Settings
  /**
   * The pool that the store opened and ends; undefined if it was given one.
   *
   * @internal
   */
  readonly ownPool: pg.Pool | undefined
  /** The pool for transactions of ours: the one above or the one that was given; undefined over one client. */
  readonly pool: Pool | undefined
  readonly #sockets: Sockets | undefined
  readonly #clients: LentClients
  #transactions: pg.Pool | undefined
  readonly database: Database
  readonly schema: string
  /** The same, through the seal if there is one. */
  readonly sessions: SessionDatabase
  readonly writer: Writer
  readonly saver: Saver
  readonly reader: Pick<Reader, 'read'>
  readonly refusals: Refusals
  /** undefined where sessions are not bound to devices. */
  readonly bound: DeviceBound | undefined
  readonly byToken: TokenSessions
  readonly users: UserSessions
  /** Where to LISTEN; empty if no connection for it is known. */
  readonly listen: readonly ListenConnection[]
  /** Where the cleanup runs, and is listened to: behind PL/Proxy on the proxy. */
  readonly control: ListenConnection | undefined
  readonly events: ChannelEvents<SessionEvent>
  /** Puts to sleep what a silent store keeps open, where that is asked for. */
  readonly sleep: Sleep | undefined
  /** Of the store that lends its sessions, where this one works over a client. */
  readonly cache: SessionCache | undefined
  /** undefined where nothing is read from the cache. */
  readonly cachedReader: Pick<CachedReader, 'readCached'> | undefined

  /** @param lender the parts of the store that lends its sessions, if this one works over a client */
  private constructor(
    settings: Settings,
    ownPool: pg.Pool | undefined,
    sockets: Sockets | undefined,
    database: Database,
    { lender, sleep }: { readonly lender?: StoreParts; readonly sleep?: Sleep | undefined } = {},
  ) {
    const { sealing, cache: limits, schema, codecs } = settings
    this.settings = settings
    this.ownPool = ownPool
    this.pool = lender ? undefined : (ownPool ?? settings.pool)
    this.schema = schema
    this.#clients = lender ? lender.#clients : new LentClients(schema, 'withClient')
    this.#sockets = sockets
    this.database = database
    this.listen = lender ? [] : listenConnections(settings)
    this.control = lender ? undefined : controlConnection(settings)
    this.sleep = sleep
    this.events = sessionEvents(this.listen, schema, sleep)
    const traced = new TracedSessions(database)
    this.cache = lender ? lender.cache : limits && limits.sessions > 0 ? this.#openCache(limits, traced) : undefined
    const noted = this.cache ? new NotedSessions(traced, this.cache, lender !== undefined) : traced
    const sealed = sealing && new SealedDatabase(noted, sealing.secrets, sealing.acceptsPlain)
    this.sessions = sealed ?? noted
    this.writer = new Writer(this.sessions, settings)
    this.saver = new Saver(this.sessions, this.writer, settings, lender?.saver)
    this.refusals = lender ? lender.refusals : new Refusals(schema)
    const { deviceBound, lifetime } = settings
    const check = deviceBound && new BoundCheck(deviceBound, database)
    this.bound = deviceBound && new DeviceBound(deviceBound, database, { codecs, refusals: this.refusals, lifetime })
    database.readsBound = deviceBound !== undefined
    const reader = new Reader(traced, this.sessions, sealed, codecs, this.refusals, limits !== undefined, check)
    this.reader = checkedReader(reader, settings.values)
    // A transaction sees what nobody else does: over a client nothing is read from the cache, or put there.
    const cached = lender || !limits ? undefined : this.cache && new CachedSessions(this.cache, sealed, limits.byToken)
    const cachedReader = cached && new CachedReader(traced, this.sessions, sealed, codecs, this.refusals, cached, check)
    this.cachedReader = checkedCachedReader(cachedReader, settings.values)
    this.byToken = new TokenSessions(this.sessions, database, this.writer, sealing !== undefined, cached)
    this.users = new UserSessions(database, sealing !== undefined, this.cache, lender !== undefined)
  }

  #openCache(limits: CacheLimits, traced: TracedSessions): SessionCache {
    const { database, events, settings } = this
    const { schema } = settings
    findPackage('pg-listen') // which the first read loads
    return new SessionCache(limits, {
      clocks: systemClocks,
      ear: events,
      bell: { ring: (echo) => database.echo(echo) },
      read: (key, sent) => traced.get(key, sent),
      schema,
    })
  }

  static open(settings: Settings): StoreParts {
    const { connectionString, pool, schema, prepare, batch, failFast } = settings
    const sockets = new Sockets()
    // Calls have their own time limit, and check where a connection leads.
    const lanes = batch ? batch.lanes : 1
    const ownOptions = { query_timeout: 0, onConnect: () => {}, stream: sockets.create, max: connectionsFor(lanes) }
    const ownPool = connectionString === undefined ? undefined : openPool({ connectionString, ...ownOptions })
    // On a shared pool, an injection elsewhere in the application could prepare another statement under our names.
    const queryable = economical(ownPool ?? (pool as Pool), ownPool ? prepare : (prepare ?? false), failFast)
    const sleep = settings.sleepAfter === undefined ? undefined : new Sleep(settings.sleepAfter)
    const called = sleep ? stirring(queryable, sleep) : queryable
    const database = !batch
      ? new Database(called, schema)
      : lanes === 1
        ? new BatchedDatabase(called, schema, batch)
        : new LanedDatabase(called, schema, batch, (pool && poolSize(pool)) ?? connectionsFor(lanes))
    return new StoreParts(settings, ownPool, sockets, database, { sleep })
  }

  /** Over something that does what the database does. */
  static over(settings: Settings, database: Database): StoreParts {
    return new StoreParts(settings, undefined, undefined, database)
  }

  /** For work of the application's own: what an injection leaves on a connection must not meet the next read of a session. */
  transactionPool(): Pool {
    const { connectionString } = this.settings
    if (!this.pool)
      throw new PGStoreError('invalid_option', 'transaction: this store works inside a transaction already.')
    if (connectionString === undefined) return this.pool
    const { create: stream } = this.#sockets as Sockets
    this.#transactions ??= openPool({
      connectionString,
      application_name: 'pgstore transactions',
      onConnect: () => {},
      stream,
    })
    return this.#transactions
  }

  get stats(): StoreStats {
    return { refused: this.refusals.counts, ...(this.cache && { cache: this.cache.stats }) }
  }

  /** Lets calls in progress continue for a while, refuses others, and ends the pool that was opened here. */
  async end(): Promise<void> {
    this.sleep?.end()
    this.cache?.close()
    await this.database.end(closingMs)
    await atMost(500, Promise.all([this.ownPool?.end(), this.#transactions?.end()]))
    this.#sockets?.cut()
  }

  /** The same over one client, without batching: a transaction has one caller. */
  lend(client: Queryable): StoreParts {
    const problems = poolProblems(client, 'client').map((problem) => problem.replace('pool', 'client'))
    if (problems.length > 0) throw new PGStoreError('invalid_option', `withClient: ${problems.join('; ')}.`)
    const settings = { ...this.settings, maxLength: this.writer.maxLength, durability: undefined }
    const database = new Database(this.#clients.lent(economical(client as Pool, false)), settings.schema)
    return new StoreParts(settings, undefined, undefined, database, { lender: this })
  }
}

export interface StoreStats {
  /** Cookies that led to no session, by reason. A burst after a change of keys means that an old key is missing. */
  readonly refused: RefusedCookies
  /** Missing without the option `cache`, and where it only sets hints. */
  readonly cache?: CacheStats
}

/** Each call through it keeps the store awake. */
function stirring(queryable: Queryable, sleep: Sleep): Queryable {
  return {
    query(query) {
      sleep.stir()
      return queryable.query(query)
    },
  }
}

/** The reader, and below the cached one, whose sessions hold values that the schema has checked, if there is one. */
function checkedReader(reader: Reader, schema: ValuesSchema | undefined): Pick<Reader, 'read'> {
  return schema ? { read: async (...asked) => await schema.read(await reader.read(...asked)) } : reader
}

function checkedCachedReader(
  reader: CachedReader | undefined,
  schema: ValuesSchema | undefined,
): Pick<CachedReader, 'readCached'> | undefined {
  if (!reader || !schema) return reader
  return { readCached: async (...asked) => await schema.read(await reader.readCached(...asked)) }
}
