// What the dashboard has seen since it was started, in memory and with a bound.
import type { Run, Sample } from './overview.ts'

const mostSamples = 1000
const mostRuns = 500

/** Milliseconds by which two reports of one run may differ: one was heard, the other read. */
const tolerance = 5000

/** Samples over time. When there are too many, every second of the older half is dropped: the recent past stays fine. */
export class Samples {
  #all: Sample[] = []

  get all(): readonly Sample[] {
    return this.#all
  }

  add(sample: Sample): void {
    this.#all.push(sample)
    if (this.#all.length > mostSamples) {
      this.#all = this.#all.filter((_, place) => place >= mostSamples / 2 || place % 2 === 0)
    }
  }
}

/**
 * The runs of the purge: as they were announced, and those that were not heard as the schedule's row tells of the last. The newest
 * 500 are kept.
 */
export class Runs {
  readonly #heard: { readonly run: Run; readonly isHeard: boolean }[] = []

  get all(): Run[] {
    return this.#heard.map(({ run }) => run)
  }

  /** Whether it was new. */
  add(run: Run, isHeard: boolean): boolean {
    // Two that were heard are two, however alike.
    const isKnown = this.#heard.slice(-50).some((known) => !(known.isHeard && isHeard) && isSame(known.run, run))
    if (isKnown) return false
    this.#heard.push({ run, isHeard })
    if (this.#heard.length > mostRuns) this.#heard.shift()
    return true
  }
}

function isSame(one: Run, other: Run): boolean {
  const isNear = Math.abs(one.at - other.at) <= tolerance
  return isNear && one.purged === other.purged && one.ms === other.ms && one.code === other.code
}
