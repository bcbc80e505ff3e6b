import { ChannelListener, type ListenConnection } from './listen.ts'

/**
 * Sessions that ended before their time or changed their key, by number. `missed`: the connection was lost for a while, or the
 * consumer fell far behind, and what was announced meanwhile is unknown.
 */
export type SessionEvent =
  | { readonly type: 'destroyed' | 'regenerated' | 'revoked'; readonly ids: readonly string[] }
  | { readonly type: 'missed'; readonly ids: readonly [] }

/** An endless sequence of events; leaving the loop ends the subscription. */
export interface EventStream<Event> extends AsyncIterableIterator<Event> {
  /** Resolves once events arrive: what happens before is not seen. */
  readonly ready: Promise<void>
}

/** A consumer that stopped reading holds no more than this many events. */
const backlog = 10_000

/** Hands what is pushed to whoever iterates, in order. */
export class EventQueue<Event> implements EventStream<Event> {
  readonly ready: Promise<void>
  readonly #close: () => void
  readonly #overflow: Event
  readonly #events: Event[] = []
  readonly #waiting: ((result: IteratorResult<Event>) => void)[] = []
  #open: () => void = () => {}
  #ended = false

  /** @param overflow stands for the events dropped when the backlog is full; @param close is called once, at the end */
  constructor(overflow: Event, close: () => void) {
    this.#overflow = overflow
    this.#close = close
    this.ready = new Promise((resolve) => {
      this.#open = resolve
    })
  }

  open(): void {
    this.#open()
  }

  push(event: Event): void {
    if (this.#ended) return
    const waiting = this.#waiting.shift()
    if (waiting) {
      waiting({ done: false, value: event })
      return
    }
    if (this.#events.length >= backlog) this.#events.splice(0, this.#events.length, this.#overflow)
    this.#events.push(event)
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#open()
    for (const waiting of this.#waiting.splice(0)) waiting({ done: true, value: undefined })
    this.#close()
  }

  async next(): Promise<IteratorResult<Event>> {
    const event = this.#events.shift()
    if (event !== undefined) return { done: false, value: event }
    if (this.#ended) return { done: true, value: undefined }
    return await new Promise((resolve) => this.#waiting.push(resolve))
  }

  async return(): Promise<IteratorResult<Event>> {
    this.#events.length = 0
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/** The sessions channel, heard through one connection for as long as somebody iterates. */
export class SessionEvents {
  readonly #connection: ListenConnection
  readonly #channel: string
  readonly #queues = new Set<EventQueue<SessionEvent>>()
  #listener: ChannelListener | undefined
  #connected = false

  constructor(connection: ListenConnection, schema: string) {
    this.#connection = connection
    this.#channel = `${schema}_sessions`
  }

  subscribe(): EventStream<SessionEvent> {
    const queue = new EventQueue<SessionEvent>({ type: 'missed', ids: [] }, () => {
      this.#queues.delete(queue)
      if (this.#queues.size === 0) void this.#stop()
    })
    this.#queues.add(queue)
    if (this.#connected) queue.open()
    this.#listener ??= new ChannelListener(this.#connection, this.#channel, {
      notified: (payload) => this.#notified(payload),
      connected: () => this.#onConnected(),
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
    this.#connected = false
    await listener?.close()
  }

  #onConnected(): void {
    for (const queue of this.#queues) {
      if (this.#connected) queue.push({ type: 'missed', ids: [] })
      else queue.open()
    }
    this.#connected = true
  }

  #notified(payload: unknown): void {
    const event = parseEvent(payload)
    if (event) for (const queue of this.#queues) queue.push(event)
  }
}

/** Any role that can connect may NOTIFY: what is not of the documented shape is ignored. */
function parseEvent(payload: unknown): SessionEvent | undefined {
  const { type, ids } = (payload ?? {}) as { type?: unknown; ids?: unknown }
  if (type !== 'destroyed' && type !== 'regenerated' && type !== 'revoked') return undefined
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id))) return undefined
  return { type, ids: ids.map(String) }
}
