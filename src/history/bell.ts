// When to look for endings: when one is announced, and now and then.
import { PGStoreError } from '../errors.ts'
import type { ChannelEvents, EventStream } from '../events/channel-events.ts'
import type { SessionEvent } from '../events/session-events.ts'

const firstPauseMs = 50
const longestPauseMs = 2000

/** After a ring for which nothing was there, as another process may have been handing it out just then: longer each time. */
const lookAgainMs = 100
const lookAgainGrowth = 8

export class Bell {
  readonly #pollMs: number
  readonly #announcements: EventStream<SessionEvent> | undefined
  #hasRung = false
  #isStopped = false
  #pauseMs = firstPauseMs
  #lookAgainMs = lookAgainMs
  /** Ends the wait in progress. */
  #wake = () => {}

  constructor(events: ChannelEvents<SessionEvent>, pollMs: number) {
    this.#pollMs = pollMs
    this.#announcements = subscribed(events)
    if (this.#announcements) void this.#listen(this.#announcements)
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Forgets what has rung so far: what is read from now on has it. */
  hush(): void {
    this.#hasRung = false
  }

  /** Until it rings, or has since `hush`; the polling time at most, and less soon after it rang. */
  async wait(): Promise<void> {
    if (this.#hasRung) return
    const ms = Math.min(this.#lookAgainMs, this.#pollMs)
    this.#lookAgainMs = ms * lookAgainGrowth
    await this.#sleep(ms)
  }

  /** After a failure: longer each time. */
  async pause(): Promise<void> {
    await this.#sleep(this.#pauseMs)
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
  }

  succeeded(): void {
    this.#pauseMs = firstPauseMs
  }

  stop(): void {
    this.#isStopped = true
    void this.#announcements?.return?.()
    this.#wake()
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#isStopped) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #ring(): void {
    this.#hasRung = true
    this.#lookAgainMs = lookAgainMs
    this.#wake()
  }

  async #listen(announcements: EventStream<SessionEvent>): Promise<void> {
    void announcements.ready.then(() => this.#ring()) // what was announced before is unknown
    for await (const { type } of announcements) if (type !== 'regenerated' && type !== 'changed') this.#ring()
  }
}

/** undefined where there is no connection to LISTEN on: then it polls. */
function subscribed(events: ChannelEvents<SessionEvent>): EventStream<SessionEvent> | undefined {
  try {
    return events.subscribe()
  } catch (error) {
    if (error instanceof PGStoreError && error.code === 'invalid_option') return undefined
    throw error
  }
}
