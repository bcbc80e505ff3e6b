// The one wrapper of pg-listen: one channel, heard until it is closed, through every outage.
import { Socket } from 'node:net'
import type { ClientConfig } from 'pg'
import pgListen, { type Subscriber } from 'pg-listen'

/** Where to LISTEN: a connection of its own, which must reach Postgres itself and no transaction pooler. */
export type ListenConnection = Pick<
  ClientConfig,
  'connectionString' | 'host' | 'port' | 'user' | 'password' | 'database' | 'ssl'
>

export interface ListenHandlers {
  /** A message arrived: its payload as parsed JSON, or undefined where it is none. Anybody may NOTIFY: check it. */
  notified(payload: unknown): void
  /** LISTEN is in force, at first and after each outage. What was announced in between is lost: read the table. */
  connected(): void
}

/** pg-listen gives up after three seconds, hangs on a frozen server and outlives its close(): see docs/design.md. */
export class ChannelListener {
  readonly #connection: ListenConnection
  readonly #channel: string
  readonly #handlers: ListenHandlers
  readonly #sockets = new Set<Socket>()
  #subscriber: Subscriber
  #restart: NodeJS.Timeout | undefined
  #closed = false

  /** Connects in the background. */
  constructor(connection: ListenConnection, channel: string, handlers: ListenHandlers) {
    this.#connection = connection
    this.#channel = channel
    this.#handlers = handlers
    this.#subscriber = this.#subscribe()
  }

  /** Ends within about a second, in an outage too, and leaves no timer, socket or connection behind. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#restart)
    const giveUp = new Promise<void>((resolve) => setTimeout(resolve, 1000).unref())
    await Promise.race([this.#subscriber.close().catch(() => {}), giveUp])
    for (const socket of this.#sockets) socket.destroy()
  }

  #subscribe(): Subscriber {
    const options = {
      retryTimeout: 0,
      retryInterval: (attempt: number) => {
        if (this.#closed) throw new Error('closed') // the only way out of pg-listen's retry loop
        return Math.min(100 * 2 ** attempt, 1000)
      },
      paranoidChecking: 5000,
      parse: parseJson,
    }
    const subscriber = pgListen.default(this.#config(), options)
    subscriber.notifications.on(this.#channel, (payload: unknown) => {
      if (!this.#closed) this.#handlers.notified(payload)
    })
    subscriber.events.on('error', () => this.#startAnew(subscriber))
    // On the first connection LISTEN follows "connected", on the others it precedes it.
    let listening: Promise<void> = Promise.resolve()
    subscriber.events.on('connected', () => {
      if (this.#closed) void subscriber.close().catch(() => {})
      else
        void listening.then(() => {
          if (!this.#closed && subscriber === this.#subscriber) this.#handlers.connected()
        })
    })
    subscriber.connect().catch(() => {}) // and goes on trying by itself
    listening = (subscriber.listenTo(this.#channel) ?? Promise.resolve()).then(
      () => {},
      () => {},
    )
    return subscriber
  }

  /** pg-listen stands still after an error in the middle of reconnecting. */
  #startAnew(failed: Subscriber): void {
    if (this.#closed || failed !== this.#subscriber) return
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
      // So that close() can end an attempt that pg-listen has under way.
      stream: () => {
        const socket = new Socket()
        this.#sockets.add(socket)
        return socket.once('close', () => this.#sockets.delete(socket))
      },
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
