// For databases that sleep while nobody asks them anything: what a store keeps open is let go while the store is not called.

/** What a store keeps open beside its pool. */
export interface Sleeper {
  /** Sends nothing and keeps no connection from now on. */
  sleep(): void
  /** The opposite; nothing where it is awake. */
  wake(): void
}

/** A fifth of the time at the most is added to it. */
const looks = 5

/** The first call after a silence wakes what the silence has put to sleep. */
export class Sleep {
  readonly #seconds: number
  readonly #sleepers = new Set<Sleeper>()
  #clock: NodeJS.Timeout | undefined
  #quietLooks = 0
  #isEnded = false

  constructor(seconds: number) {
    this.#seconds = seconds
    this.stir()
  }

  add(sleeper: Sleeper): void {
    this.#sleepers.add(sleeper)
  }

  /** The store is called: the silence begins anew. */
  stir(): void {
    this.#quietLooks = 0
    if (this.#clock || this.#isEnded) return
    this.#clock = setInterval(() => this.#look(), (this.#seconds * 1000) / looks).unref()
    for (const sleeper of this.#sleepers) sleeper.wake()
  }

  /** The store is closing, and ends the sleepers itself. */
  end(): void {
    this.#isEnded = true
    clearInterval(this.#clock)
    this.#sleepers.clear()
  }

  #look(): void {
    if (++this.#quietLooks <= looks) return
    clearInterval(this.#clock)
    this.#clock = undefined
    for (const sleeper of this.#sleepers) sleeper.sleep()
  }
}

export function sleepProblems(seconds: unknown): string[] {
  const isTime = seconds === undefined || (typeof seconds === 'number' && seconds >= 1 && seconds <= 86_400)
  return isTime ? [] : ['sleepAfter must be a number of seconds from 1 to 86,400']
}
