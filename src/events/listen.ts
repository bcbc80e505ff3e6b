// The only wrapper of pg-listen: listens to one channel until it is closed, through every outage.
import type { ConnectionOptions } from 'node:tls'
import type { ClientConfig } from 'pg'
import type { Subscriber } from 'pg-listen'
import { loadPackage } from '../packages.ts'
import { atMost, Sockets } from './deadline.ts'

/**
 * Where to LISTEN: a separate connection, which must lead directly to Postgres and not to a transaction pooler. As in `ClientConfig`
 * of pg, whose types a program need not have installed.
 */
export interface ListenConnection {
  readonly connectionString?: string | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly user?: string | undefined
  readonly password?: string | (() => string | Promise<string>) | undefined
  readonly database?: string | undefined
  readonly ssl?: boolean | ConnectionOptions | undefined
}

export interface ListenHandlers {
  /** A message arrived: its payload as parsed JSON, or undefined if it is not JSON. Anyone may NOTIFY: check it. */
  notified(payload: unknown): void
  /** LISTEN is in force, at first and after each outage. What was announced in between is lost: read the table. */
  connected(): void
  /** The connection has ended, or is given up: told in the same turn of the event loop, and perhaps more than once. */
  lost?(): void
}

/** Nobody sends anything here: to LISTEN to it, or no longer, is a question that a listening connection can be asked. */
const pingChannel = 'pgstore_ping'

/** pg-listen gives up after three seconds, hangs on a frozen server and survives its close(): see docs/design.md. */
export class ChannelListener {
  readonly #connection: ListenConnection
  readonly #channel: string
  readonly #handlers: ListenHandlers
  readonly #sockets = new Sockets()
  readonly #abandoned = new WeakSet<Subscriber>()
  #subscriber: Subscriber
  #restart: NodeJS.Timeout | undefined
  #closed = false

  /**
   * Connects in the background.
   *
   * @throws {PGStoreError} `invalid_option` if pg-listen is not installed, as beside a bundle
   */
  constructor(connection: ListenConnection, channel: string, handlers: ListenHandlers) {
    this.#connection = connection
    this.#channel = channel
    this.#handlers = handlers
    this.#subscriber = this.#subscribe()
  }

  /**
   * Resolves when the server has answered on the connection that listens, and so after all that it had sent before; rejects when it
   * does not in time.
   */
  async ping(): Promise<void> {
    const subscriber = this.#subscriber
    const isListening = subscriber.getSubscribedChannels().includes(pingChannel)
    await (isListening ? subscriber.unlisten(pingChannel) : subscriber.listenTo(pingChannel))
  }

  /** Ends within about a second, in an outage too, and leaves no timer, socket or connection behind. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#restart)
    await atMost(1000, this.#subscriber.close())
    this.#sockets.cut()
  }

  #subscribe(): Subscriber {
    const isOver = () => this.#closed || this.#abandoned.has(subscriber)
    const subscriber = loadPackage('pg-listen').default(this.#config(), {
      retryTimeout: 0,
      retryInterval: (attempt: number) => {
        if (isOver()) throw new Error('closed') // the only way out of pg-listen's retry loop
        return Math.min(100 * 2 ** attempt, 1000)
      },
      paranoidChecking: 5000,
      parse: parseJson,
    })
    const connected = () => {
      if (isOver()) void subscriber.close().catch(() => {})
      else this.#handlers.connected()
    }
    subscriber.notifications.on(this.#channel, (payload: unknown) => {
      if (!isOver()) this.#handlers.notified(payload)
    })
    subscriber.events.on('error', () => this.#startAnew(subscriber))
    subscriber.events.on('reconnect', () => {
      if (!isOver()) this.#handlers.lost?.()
    })
    const connecting = subscriber.connect()
    const listening = subscriber.listenTo(this.#channel) ?? Promise.resolve()
    listening.catch(() => {}) // awaited below, if ever
    // On the first connection LISTEN follows "connected", on the others it precedes it.
    connecting
      .then(
        () => listening.then(connected).catch(() => this.#startAnew(subscriber)),
        () => {}, // it keeps trying by itself
      )
      .finally(() => subscriber.events.on('connected', connected))
    return subscriber
  }

  /** pg-listen stops after an error while reconnecting. */
  #startAnew(failed: Subscriber): void {
    if (this.#closed || this.#abandoned.has(failed)) return
    this.#abandoned.add(failed)
    this.#handlers.lost?.()
    void failed.close().catch(() => {})
    clearTimeout(this.#restart)
    this.#restart = setTimeout(() => {
      if (!this.#closed) this.#subscriber = this.#subscribe()
    }, 250)
  }

  #config(): ClientConfig {
    return {
      ...this.#connection,
      application_name: 'pgstore listen',
      connectionTimeoutMillis: 3000,
      query_timeout: 3000,
      stream: this.#sockets.create, // so that close() can end a connection attempt of pg-listen
    }
  }
}

function parseJson(payload: string): unknown {
  try {
    return JSON.parse(payload)
  } catch {
    return undefined
  }
}

export interface Ways {
  /** Several: one for each partition. */
  readonly directConnectionString: string | readonly string[] | undefined
  readonly connectionString: string | undefined
  /** A `pg.Pool`, which tells where it leads. */
  readonly pool: object | undefined
}

/** Where the cleanup's schedule is and is announced: not on partitions. */
export function controlConnection({ directConnectionString: direct, ...ways }: Ways): ListenConnection | undefined {
  return listenConnections({ ...ways, directConnectionString: typeof direct === 'string' ? direct : undefined })[0]
}

/** Where to LISTEN: beside the pool, never through it, since the pool lends its connections to other callers. Empty if unknown. */
export function listenConnections({
  directConnectionString,
  connectionString,
  pool,
}: Ways): readonly ListenConnection[] {
  const direct = directConnectionString ?? connectionString
  if (direct !== undefined) return [direct].flat().map((url) => ({ connectionString: url }))
  const given = (pool as { options?: ListenConnection } | undefined)?.options
  if (given === undefined) return [] // a client, or another kind of pool: where it leads is unknown
  return [
    Object.fromEntries(listenFields.map((field) => [field, given[field]]).filter(([, value]) => value !== undefined)),
  ]
}

const listenFields = ['connectionString', 'host', 'port', 'user', 'password', 'database', 'ssl'] as const
