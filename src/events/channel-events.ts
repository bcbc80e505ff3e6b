// Announcements of a channel as async iterables.

import { closedError, PGStoreError } from '../errors.ts'
import type { ListenConnection } from './listen.ts'
import { ChannelListeners, type Tap } from './listeners.ts'
import type { Sleep, Sleeper } from './sleep.ts'

/** An endless sequence of events; leaving the loop ends the subscription. */
export interface EventStream<Event> extends AsyncIterableIterator<Event> {
  /** Resolves once events are delivered: earlier ones are not seen. */
  readonly ready: Promise<void>
}

/** A consumer that stopped reading holds no more than this many events. */
const backlog = 10_000

/** Hands pushed events to the iterating consumer, in order; holds them back at first. */
export class EventQueue<Event> implements EventStream<Event> {
  readonly ready: Promise<void>
  readonly #overflowed: () => void
  readonly #ended: () => void
  readonly #events: Event[] = []
  readonly #waiting: ((result: IteratorResult<Event>) => void)[] = []
  #resolveReady: () => void = () => {}
  #state: 'held' | 'open' | 'ended' = 'held'
  /** How many of the events are older than the hold. */
  #older = 0
  #release: ((first?: Event) => void) | undefined

  /** @param overflowed the backlog was full, and all of it is dropped; @param ended is called once, at the end */
  constructor(overflowed: () => void, ended: () => void) {
    this.#overflowed = overflowed
    this.#ended = ended
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve
    })
  }

  /**
   * Holds back events from now on, until the returned function is called with the event to put before them. If it is held
   * more than once, the last hold counts.
   */
  hold(): (first?: Event) => void {
    if (this.#state === 'open') {
      this.#state = 'held'
      this.#older = this.#events.length
    }
    const release = (first?: Event) => {
      if (this.#state !== 'held' || this.#release !== release) return
      this.#state = 'open'
      if (first !== undefined) this.#events.splice(this.#older, 0, first)
      this.#resolveReady()
      this.#deliver()
    }
    this.#release = release
    return release
  }

  push(event: Event): void {
    if (this.#state === 'ended') return
    if (this.#events.length >= backlog) {
      this.#events.length = 0
      this.#older = 0
      this.#overflowed()
    }
    this.#events.push(event)
    this.#deliver()
  }

  end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#resolveReady()
    this.#deliver()
    this.#ended()
  }

  async next(): Promise<IteratorResult<Event>> {
    const result = new Promise<IteratorResult<Event>>((resolve) => this.#waiting.push(resolve))
    this.#deliver()
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
    if (this.#state === 'held') return
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
   * What a consumer sees first, once LISTEN is in force, and again whenever announcements were lost: after an outage, and if
   * the consumer fell far behind. It precedes whatever is announced after this call. undefined for nothing; called again if
   * it rejects.
   */
  connected(isFirst: boolean): Promise<Event | undefined>
}

/** One connection, or one for each partition, for as long as anyone iterates. */
export class ChannelEvents<Event> implements Sleeper {
  readonly #connections: readonly ListenConnection[]
  readonly #channel: string
  readonly #handlers: ChannelHandlers<Event>
  readonly #sleep: Sleep | undefined
  readonly #queues = new Set<EventQueue<Event>>()
  #listeners: ChannelListeners | undefined
  #isConnected = false
  #tap: Tap | undefined
  readonly #closing = new Set<Promise<void>>()

  /** @param connections one for each database that announces; if there is none, subscribing fails */
  constructor(
    connections: readonly ListenConnection[],
    channel: string,
    handlers: ChannelHandlers<Event>,
    sleep?: Sleep,
  ) {
    this.#connections = connections
    this.#channel = channel
    this.#handlers = handlers
    this.#sleep = sleep
    sleep?.add(this)
  }

  /** How many connections it listens on. */
  get places(): number {
    return this.#connections.length
  }

  subscribe(): EventStream<Event> {
    if (this.places === 0) throw new PGStoreError('invalid_option', noConnection)
    const queue: EventQueue<Event> = new EventQueue<Event>(
      () => void this.#greet(queue, false),
      () => {
        this.#queues.delete(queue)
        if (this.#queues.size === 0 && !this.#tap) this.#stop()
      },
    )
    this.#sleep?.stir()
    this.#listeners ??= this.#listen()
    this.#queues.add(queue)
    if (this.#isConnected) void this.#greet(queue, true)
    return queue
  }

  /** Hears everything at once, and before every consumer; keeps the connection until `close()`. There is one tap at the most. */
  listen(tap: Tap): void {
    if (this.places === 0) throw new PGStoreError('invalid_option', noConnection)
    this.#sleep?.stir()
    this.#listeners ??= this.#listen()
    this.#tap = tap
    if (this.#isConnected) tap.connected()
  }

  /** Resolves when all servers have answered on the connections that listen; rejects when one does not, or there is none. */
  async ping(): Promise<void> {
    if (!this.#listeners) throw closedError()
    await this.#listeners.ping()
  }

  /** As if the connection had been lost, until `wake()`. */
  sleep(): void {
    if (!this.#listeners) return
    this.#stop()
    this.#tap?.lost()
  }

  wake(): void {
    if (this.places === 0 || (this.#queues.size === 0 && !this.#tap)) return
    this.#listeners ??= this.#listen(false)
  }

  async close(): Promise<void> {
    this.#tap = undefined
    for (const queue of this.#queues) queue.end()
    this.#stop()
    await Promise.all(this.#closing)
  }

  #listen(isFirstTime = true): ChannelListeners {
    let isFirst = isFirstTime
    return new ChannelListeners(this.#connections, this.#channel, {
      notified: (payload, place) => {
        this.#tap?.notified(payload, place)
        const event = this.#handlers.parse(payload)
        if (event !== undefined) for (const queue of this.#queues) queue.push(event)
      },
      connected: () => {
        this.#isConnected = true
        this.#tap?.connected()
        for (const queue of this.#queues) void this.#greet(queue, isFirst)
        isFirst = false
      },
      lost: () => {
        this.#isConnected = false
        this.#tap?.lost()
      },
    })
  }

  #stop(): void {
    this.#isConnected = false
    const closing = this.#listeners?.close()
    this.#listeners = undefined
    if (!closing) return
    this.#closing.add(closing)
    void closing.then(() => this.#closing.delete(closing))
  }

  async #greet(queue: EventQueue<Event>, isFirst: boolean): Promise<void> {
    const release = queue.hold()
    for (let wait = 50; this.#queues.has(queue); wait = Math.min(wait * 2, 2000)) {
      try {
        release(await this.#handlers.connected(isFirst))
        return
      } catch {
        await new Promise((resolve) => setTimeout(resolve, wait).unref())
      }
    }
  }
}

/** For callers that need a separate connection when none can be derived from what the store was given. */
export const noConnection =
  'This needs a separate connection: give the store connectionString, directConnectionString or a pg.Pool.'
