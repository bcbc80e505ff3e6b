// Whether announcements are heard, proven and not assumed: nothing is believed that was read in another span of hearing, an epoch.
import { randomBytes } from 'node:crypto'
import { messageOf } from '../errors.ts'
import type { Clocks } from './clocks.ts'
import type { Bell, Ear } from './ear.ts'
import { Numbers } from './numbers.ts'

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

const noConnectionYet = 'there is no connection to LISTEN on yet'

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
  /** Of each place. */
  readonly #numbers: readonly Numbers[]
  #epochs = 0
  #state: CacheState = 'waiting'
  #isConnected = false
  #isPinging = false
  #pingAt = 0
  #proveAt = 0
  #pausedUntil = 0
  /** The echo that is waited for. */
  #echo: string | undefined
  /** Which database it came from, by place. */
  readonly #echoes = new Map<number, string>()
  /** How many databases sent it; undefined until that is known. */
  #told: number | undefined

  constructor(ear: Ear, bell: Bell, clocks: Clocks, handlers: HearingHandlers) {
    this.#ear = ear
    this.#bell = bell
    this.#clocks = clocks
    this.#handlers = handlers
    const missing = () => this.end('an announcement is missing')
    this.#numbers = Array.from({ length: ear.places }, () => new Numbers(clocks, patienceMs, missing))
  }

  get state(): CacheState {
    return this.#state
  }

  /** Called by reads, once it is due: while nothing is read, nothing is asked. */
  check(now: number): void {
    this.dueAt = now + pingMs / 4
    if (this.#state === 'waiting') {
      this.#tell('connecting', noConnectionYet)
      this.#ear.listen({
        notified: (payload, place) => this.#notified(payload, place),
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
    this.#echo = undefined // and an answer that is still under way counts no more
    this.#proveAt = Math.max(now, this.#proveAt - proofMs + patienceMs)
    this.#pausedUntil = Math.max(this.#pausedUntil, now + pauseMs)
    if (this.epoch === 0) {
      this.#handlers.state(this.#state, reason)
      return
    }
    this.epoch = 0
    this.dueAt = 0
    for (const numbers of this.#numbers) numbers.forget()
    this.#tell(this.#isConnected ? 'proving' : 'connecting', reason)
    this.#handlers.ended()
  }

  /** For good. */
  close(): void {
    this.end('closed', Number.POSITIVE_INFINITY)
    this.dueAt = Number.POSITIVE_INFINITY
  }

  #connected(): void {
    this.#isConnected = true
    this.end('the listener connected anew')
    this.#tell('proving', 'no echo through the pool has been heard yet')
    this.#proveAt = 0
    void this.#prove(this.#clocks.monotonic())
  }

  #lost(): void {
    const reason = this.#isConnected ? 'the listener lost its connection' : noConnectionYet
    this.#isConnected = false
    this.end(reason)
    if (this.#state !== 'waiting') this.#tell('connecting')
  }

  #notified(payload: unknown, place: number): void {
    const { type, echo, from, ids, n } = (payload ?? {}) as Record<'type' | 'echo' | 'from' | 'ids' | 'n', unknown>
    if (type === 'echo') {
      if (echo === this.#echo && typeof from === 'string' && Number.isSafeInteger(n))
        this.#echoed(from, n as number, place)
      return
    }
    if (!types.has(type) || !Array.isArray(ids) || !ids.every(Number.isSafeInteger) || !Number.isSafeInteger(n)) {
      // Of a later version perhaps, which announces what this one knows nothing of.
      this.end('an announcement was not understood')
      return
    }
    if (this.epoch !== 0) {
      if (type === 'ended_before') this.#handlers.heardSome()
      else this.#handlers.heard(ids.map(String))
    }
    this.#numbers[place]?.heard(n as number)
  }

  #echoed(from: string, number: number, place: number): void {
    const echo = this.#echo
    this.#numbers[place]?.expect(number)
    if (this.#echo !== echo) return // too much is missing
    this.#echoes.set(place, from)
    this.#judge()
  }

  /** Proven once each database that sent the echo was heard at a place of its own. */
  #judge(): void {
    if (this.#told === this.#ear.places && new Set(this.#echoes.values()).size === this.#told) this.#proven()
  }

  /** Sends an echo through the pool: that LISTEN was answered says nothing about where the pool leads, or what stands between. */
  async #prove(now: number): Promise<void> {
    if (now < this.#pausedUntil) return
    this.#proveAt = now + proofMs
    this.#echoes.clear()
    this.#told = undefined
    if (this.epoch === 0) for (const numbers of this.#numbers) numbers.forget()
    const echo = randomBytes(16).toString('base64url')
    this.#echo = echo
    try {
      const told = await this.#bell.ring(echo)
      if (this.#echo !== echo) return
      const { places } = this.#ear
      if (told !== places)
        return this.#unsupported(`directConnectionString: ${told} databases announce, ${places} are listened to`)
      this.#told = told
      this.#judge()
      // From here on: what waits for a connection of a busy pool has not been sent yet.
      this.#clocks.after(patienceMs, () => {
        if (this.#echo === echo) this.#unproven('an echo through the pool was not heard')
      })
    } catch (error) {
      if (this.#echo === echo) this.#failed(error)
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
    this.#unsupported(code === 'forbidden' ? 'the role lacks the right "client"' : 'run "npx pgstore migrate"')
  }

  #unsupported(reason: string): void {
    this.end(reason)
    this.#proveAt = this.#clocks.monotonic() + unsupportedMs
    this.#tell('unsupported', reason)
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

const types: ReadonlySet<unknown> = new Set([
  'destroyed',
  'regenerated',
  'revoked',
  'changed',
  'unbound',
  'ended_before',
])
