// Announcements of a channel as async iterables: one connection for as long as somebody iterates.
import { ChannelListener, type ListenConnection } from './listen.ts'

/** An endless sequence of events; leaving the loop ends the subscription. */
export interface EventStream<Event> extends AsyncIterableIterator<Event> {
  /** Resolves once events arrive: what happens before is not seen. */
  readonly ready: Promise<void>
}

/** A consumer that stopped reading holds no more than this many events. */
const backlog = 10_000

/** Hands what is pushed to whoever iterates, in order; holds it back until it is opened. */
export class EventQueue<Event> implements EventStream<Event> {
  readonly ready: Promise<void>
  readonly #close: () => void
  readonly #overflow: Event | undefined
  readonly #events: Event[] = []
  readonly #waiting: ((result: IteratorResult<Event>) => void)[] = []
  #resolveReady: () => void = () => {}
  #state: 'opening' | 'open' | 'ended' = 'opening'

  /** @param overflow stands for the events dropped when the backlog is full; @param close is called once, at the end */
  constructor(overflow: Event | undefined, close: () => void) {
    this.#overflow = overflow
    this.#close = close
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve
    })
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** @param first comes before what was pushed until now */
  open(first?: Event): void {
    if (this.#state !== 'opening') return
    this.#state = 'open'
    if (first !== undefined) this.#events.unshift(first)
    this.#resolveReady()
    this.#deliver()
  }

  push(event: Event): void {
    if (this.#state === 'ended') return
    if (this.#events.length >= backlog) {
      this.#events.length = 0
      if (this.#overflow !== undefined) this.#events.push(this.#overflow)
    }
    this.#events.push(event)
    if (this.#state === 'open') this.#deliver()
  }

  end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#resolveReady()
    this.#deliver()
    this.#close()
  }

  async next(): Promise<IteratorResult<Event>> {
    const result = new Promise<IteratorResult<Event>>((resolve) => this.#waiting.push(resolve))
    if (this.#state !== 'opening') this.#deliver()
    return await result
  }

  async return(): Promise<IteratorResult<Event>> {
    this.#events.length = 0
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #deliver(): void {
    while (this.#waiting.length > 0 && (this.#events.length > 0 || this.#state === 'ended')) {
      const value = this.#events.shift()
      this.#waiting.shift()?.(value === undefined ? { done: true, value: undefined } : { done: false, value })
    }
  }
}

export interface ChannelHandlers<Event> {
  /** The event that a payload stands for; undefined to ignore it. Any role that can connect may NOTIFY: check it. */
  parse(payload: unknown): Event | undefined
  /**
   * LISTEN is in force: what a consumer sees first, and again after each outage, in which announcements were lost. undefined
   * for nothing; a rejection is taken for it.
   */
  connected(isFirst: boolean): Promise<Event | undefined>
  /** Stands for events dropped, for a consumer that fell far behind. Default: they are dropped without a word. */
  readonly overflow?: Event
}

export class ChannelEvents<Event> {
  readonly #connection: ListenConnection
  readonly #channel: string
  readonly #handlers: ChannelHandlers<Event>
  readonly #queues = new Set<EventQueue<Event>>()
  #listener: ChannelListener | undefined
  #isConnected = false

  constructor(connection: ListenConnection, channel: string, handlers: ChannelHandlers<Event>) {
    this.#connection = connection
    this.#channel = channel
    this.#handlers = handlers
  }

  subscribe(): EventStream<Event> {
    const queue = new EventQueue<Event>(this.#handlers.overflow, () => {
      this.#queues.delete(queue)
      if (this.#queues.size === 0) void this.#stop()
    })
    this.#queues.add(queue)
    if (this.#isConnected) void this.#greet(queue)
    this.#listener ??= new ChannelListener(this.#connection, this.#channel, {
      notified: (payload) => this.#notified(payload),
      connected: () => this.#connected(),
    })
    return queue
  }

  async close(): Promise<void> {
    for (const queue of this.#queues) queue.end()
    await this.#stop()
  }

  async #stop(): Promise<void> {
    const listener = this.#listener
    this.#listener = undefined
    this.#isConnected = false
    await listener?.close()
  }

  #connected(): void {
    this.#isConnected = true
    for (const queue of this.#queues) void this.#greet(queue)
  }

  async #greet(queue: EventQueue<Event>): Promise<void> {
    const event = await this.#handlers.connected(!queue.isOpen).catch(() => undefined)
    if (queue.isOpen && event !== undefined) queue.push(event)
    else queue.open(event)
  }

  #notified(payload: unknown): void {
    const event = this.#handlers.parse(payload)
    if (event !== undefined) for (const queue of this.#queues) queue.push(event)
  }
}

/**
 * Sessions that ended before their time or changed their key, by number. `missed`: the connection was lost for a while, or the
 * consumer fell far behind, and what was announced meanwhile is unknown.
 */
export type SessionEvent =
  | { readonly type: 'destroyed' | 'regenerated' | 'revoked'; readonly ids: readonly string[] }
  | { readonly type: 'missed'; readonly ids: readonly [] }

export function sessionEvents(connection: ListenConnection, schema: string): ChannelEvents<SessionEvent> {
  const missed: SessionEvent = { type: 'missed', ids: [] }
  return new ChannelEvents<SessionEvent>(connection, `${schema}_sessions`, {
    parse: parseSessionEvent,
    connected: async (isFirst) => (isFirst ? undefined : missed),
    overflow: missed,
  })
}

function parseSessionEvent(payload: unknown): SessionEvent | undefined {
  const { type, ids } = (payload ?? {}) as { type?: unknown; ids?: unknown }
  if (type !== 'destroyed' && type !== 'regenerated' && type !== 'revoked') return undefined
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id))) return undefined
  return { type, ids: ids.map(String) }
}
