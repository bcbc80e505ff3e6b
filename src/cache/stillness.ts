// Whether the event loop has just stood still: the process was stopped, or computed for long. Requests that waited meanwhile might
// be answered before an announcement that waited as long, or before the end of the listener's connection is noticed: they wait until
// both would have been read. A loop whose turns are long under load stays so, and its requests lose nothing by it.
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
  #caughtUp: Promise<void> | undefined
  #stop: (() => void) | undefined

  constructor(clocks: Clocks, quietMs: number) {
    this.#clocks = clocks
    this.#quietMs = quietMs
  }

  /** What to wait for before anything is served; undefined where there is nothing to catch up with. */
  caughtUp(now: number): Promise<void> | undefined {
    this.#askedAt = now
    if (!this.#caughtUp && now - this.#beatAt > longestTurnMs) this.#catchUp()
    return this.#caughtUp
  }

  close(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#beatAt = Number.NEGATIVE_INFINITY
  }

  #catchUp(): void {
    this.#stop ??= this.#clocks.every(beatMs, () => this.#beat())
    this.#caughtUp = new Promise((resolve) => {
      let left = polls
      const polled = () => {
        if (--left > 0) {
          this.#clocks.polled(polled)
          return
        }
        this.#caughtUp = undefined
        this.#beatAt = this.#clocks.monotonic()
        resolve()
      }
      this.#clocks.polled(polled)
    })
  }

  #beat(): void {
    const now = this.#clocks.monotonic()
    if (now - this.#askedAt > this.#quietMs) {
      this.close()
      return
    }
    // A timer that is late may come before the requests that waited.
    if (!this.#caughtUp && now - this.#beatAt > longestTurnMs) this.#catchUp()
    this.#beatAt = now
  }
}
