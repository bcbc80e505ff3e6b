// Whether announcements are heard, proven and not assumed: a span of time in which they were is an epoch, and nothing that was read
// in another is believed.
import { randomBytes } from 'node:crypto'
import { messageOf } from '../errors.ts'
import type { ListenHandlers } from '../events/listen.ts'
import type { Clocks } from './clocks.ts'
import { Numbers } from './numbers.ts'

/** The one connection that listens, shared with `store.events()`. */
export interface Ear {
  /** Listens from now on: `connected` and `lost` are called in the tick in which it is known. */
  listen(handlers: Required<ListenHandlers>): void
  /** Resolves when the server has answered on that connection, and so after all that it had sent before. */
  ping(): Promise<unknown>
}

/** The connections that sessions are read by. */
export interface Bell {
  /** The number of the newest announcement. Rejects with `not_installed` or `forbidden` over a schema that has none. */
  number(): Promise<number>
  /** Sends this to all who listen. */
  ring(message: object): Promise<unknown>
}

/**
 * How a cache hears: `waiting` for the first read; `connecting`; `proving` that what is sent through the pool arrives; `listening`;
 * `unsupported` by the schema in the database, or by the role's rights.
 */
export type CacheState = 'waiting' | 'connecting' | 'proving' | 'listening' | 'unsupported'

export interface HearingHandlers {
  /** These sessions have ended or changed. */
  heard(ids: readonly string[]): void
  /** Some have ended, and nobody says which. */
  heardSome(): void
  /** What was read until now is not to be believed, and nothing is to be stored until the next epoch. */
  ended(): void
  /** @param reason why it is no longer so, a few words for an operator */
  state(state: CacheState, reason: string | undefined): void
}

/** An answer, or an echo, that has not come in this time will not come. */
const patienceMs = 1000

/** How often the connection is asked, while sessions are read. */
const pingMs = 1000

/** How often the way through the pool is proven again: it may lead to another server by now. */
const proofMs = 10_000

/** When to look again whether the schema has been upgraded, or a right granted. */
const unsupportedMs = 30_000

export class Hearing {
  /** 0 while nothing is proven. */
  epoch = 0
  /** `check` is due from this monotonic time on. */
  dueAt = 0
  readonly #ear: Ear
  readonly #bell: Bell
  readonly #clocks: Clocks
  readonly #handlers: HearingHandlers
  readonly #numbers: Numbers
  #epochs = 0
  #state: CacheState = 'waiting'
  #isConnected = false
  #isPinging = false
  #pingAt = 0
  #proveAt = 0
  #pausedUntil = 0
  /** The echo that is waited for. */
  #echo: string | undefined
  /** Which connection an answer belongs to. */
  #connection = 0

  constructor(ear: Ear, bell: Bell, clocks: Clocks, handlers: HearingHandlers) {
    this.#ear = ear
    this.#bell = bell
    this.#clocks = clocks
    this.#handlers = handlers
    this.#numbers = new Numbers(clocks, patienceMs, () => this.end('an announcement is missing'))
  }

  get state(): CacheState {
    return this.#state
  }

  /** Called by reads, once it is due: while nothing is read, nothing is asked. */
  check(now: number): void {
    this.dueAt = now + pingMs / 4
    if (this.#state === 'waiting') {
      this.#tell('connecting')
      this.#ear.listen({
        notified: (payload) => this.#notified(payload),
        connected: () => this.#connected(),
        lost: () => this.#lost(),
      })
      return
    }
    if (!this.#isConnected) return
    if (now >= this.#proveAt) void this.#prove(now)
    if (this.epoch !== 0 && now >= this.#pingAt) this.#ping(now)
  }

  /** @param pauseMs how long no other epoch may begin. Default: it may begin at once. */
  end(reason: string, pauseMs = 0): void {
    const now = this.#clocks.monotonic()
    this.#echo = undefined
    this.#proveAt = Math.max(now, this.#proveAt - proofMs + patienceMs)
    this.#pausedUntil = Math.max(this.#pausedUntil, now + pauseMs)
    if (this.epoch === 0) return
    this.epoch = 0
    this.dueAt = 0
    this.#numbers.forget()
    this.#tell(this.#isConnected ? 'proving' : 'connecting', reason)
    this.#handlers.ended()
  }

  /** For good. */
  close(): void {
    this.end('closed', Number.POSITIVE_INFINITY)
    this.dueAt = Number.POSITIVE_INFINITY
  }

  #connected(): void {
    this.#connection++
    this.#isConnected = true
    this.end('the listener connected anew')
    this.#tell('proving')
    this.#proveAt = 0
    void this.#prove(this.#clocks.monotonic())
  }

  #lost(): void {
    this.#isConnected = false
    this.#connection++
    this.end('the listener lost its connection')
    if (this.#state !== 'waiting') this.#tell('connecting')
  }

  #notified(payload: unknown): void {
    const { type, echo, ids, n } = (payload ?? {}) as Record<'type' | 'echo' | 'ids' | 'n', unknown>
    if (type === 'echo') {
      if (echo === this.#echo) this.#proven()
      return
    }
    const isKnown = typeof type === 'string' && types.has(type)
    if (!isKnown || !Array.isArray(ids) || !ids.every(Number.isSafeInteger) || !Number.isSafeInteger(n)) {
      // Of a later version perhaps, which announces what this one knows nothing of.
      this.end('an announcement was not understood')
      return
    }
    if (this.epoch !== 0) {
      if (type === 'ended_before') this.#handlers.heardSome()
      else this.#handlers.heard(ids.map(String))
    }
    this.#numbers.heard(n as number)
  }

  /** Sends an echo through the pool: that LISTEN was answered says nothing about where the pool leads, or what stands between. */
  async #prove(now: number): Promise<void> {
    if (now < this.#pausedUntil) return
    this.#proveAt = now + proofMs
    this.#echo = undefined
    if (this.epoch === 0) this.#numbers.forget()
    const connection = this.#connection
    const isStale = () => connection !== this.#connection
    try {
      const number = await this.#bell.number()
      if (isStale()) return
      this.#numbers.expect(number)
      const echo = randomBytes(16).toString('base64url')
      this.#echo = echo
      await this.#bell.ring({ type: 'echo', echo })
      // From here on: what waits for a connection of a busy pool has not been sent yet.
      this.#clocks.after(patienceMs, () => {
        if (this.#echo === echo) this.#unproven('an echo through the pool was not heard')
      })
    } catch (error) {
      if (!isStale()) this.#failed(error)
    }
  }

  #proven(): void {
    const now = this.#clocks.monotonic()
    this.#echo = undefined
    this.#proveAt = now + proofMs
    if (this.epoch !== 0) return
    this.#pingAt = now + pingMs
    this.epoch = ++this.#epochs
    this.#tell('listening')
  }

  #unproven(reason: string): void {
    this.end(reason)
    this.#proveAt = this.#clocks.monotonic() + patienceMs
  }

  #failed(error: unknown): void {
    const { code } = (error ?? {}) as { readonly code?: unknown }
    this.#proveAt = this.#clocks.monotonic() + patienceMs
    if (code !== 'not_installed' && code !== 'forbidden') {
      // The pool's trouble: it says nothing about what is heard.
      if (this.epoch === 0) this.#handlers.state(this.#state, messageOf(error))
      return
    }
    this.end('the schema cannot tell')
    this.#proveAt = this.#clocks.monotonic() + unsupportedMs
    this.#tell('unsupported', code === 'forbidden' ? 'the role lacks the right "client"' : 'run "npx pgstore migrate"')
  }

  #ping(now: number): void {
    this.#pingAt = now + pingMs
    if (this.#isPinging) return
    this.#isPinging = true
    const { epoch } = this
    const over = () => {
      cancel()
      this.#isPinging = false
    }
    const silent = () => {
      over()
      if (this.epoch === epoch) this.#unproven('the listening connection did not answer')
    }
    const cancel = this.#clocks.after(patienceMs, silent)
    this.#ear.ping().then(over, silent)
  }

  #tell(state: CacheState, reason?: string): void {
    if (this.#state === state) return
    this.#state = state
    this.#handlers.state(state, reason)
  }
}

const types = new Set(['destroyed', 'regenerated', 'revoked', 'changed', 'unbound', 'ended_before'])
