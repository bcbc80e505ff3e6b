// Whether the event loop has just stood still: the process was stopped, or computed for long. Requests that waited meanwhile may
// be answered before an announcement that waited as long, or before the end of the listener's connection is noticed.
import type { Clocks } from './clocks.ts'

/** A loop that was away for longer stood still. */
const longestTurnMs = 50

const beatMs = 25

/** The poll that is under way, and two more: the second tells of a connection whose end the first one read. */
const polls = 3

export class Stillness {
  readonly #clocks: Clocks
  /** The heart stops when nothing was read for so long. */
  readonly #quietMs: number
  #beatAt = Number.NEGATIVE_INFINITY
  #askedAt = Number.NEGATIVE_INFINITY
  #isCatchingUp = false
  /** Why it is catching up: nothing was read for a while, and so nobody watched the loop. */
  wasIdle = false
  #stop: (() => void) | undefined

  constructor(clocks: Clocks, quietMs: number) {
    this.#clocks = clocks
    this.#quietMs = quietMs
  }

  /** Whether nothing must be served yet. */
  isRecent(now: number): boolean {
    this.#askedAt = now
    if (!this.#isCatchingUp && now - this.#beatAt > longestTurnMs) this.#catchUp()
    return this.#isCatchingUp
  }

  close(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#beatAt = Number.NEGATIVE_INFINITY
  }

  #catchUp(): void {
    this.#isCatchingUp = true
    this.wasIdle = this.#stop === undefined
    this.#stop ??= this.#clocks.every(beatMs, () => this.#beat())
    let left = polls
    const polled = () => {
      if (--left > 0) {
        this.#clocks.polled(polled)
        return
      }
      this.#isCatchingUp = false
      this.#beatAt = this.#clocks.monotonic()
    }
    this.#clocks.polled(polled)
  }

  #beat(): void {
    const now = this.#clocks.monotonic()
    if (now - this.#askedAt > this.#quietMs) {
      this.close()
      return
    }
    // A timer that is late may come before the requests that waited.
    if (!this.#isCatchingUp && now - this.#beatAt > longestTurnMs) this.#catchUp()
    this.#beatAt = now
  }
}
