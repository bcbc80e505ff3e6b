// What the dashboard has seen since it was started, in memory and with a bound.
import type { Run, Sample } from './overview.ts'

const mostSamples = 1000
const mostRuns = 500

/** Milliseconds by which two reports of one run may differ: one was heard, on a busy machine late, the other read. */
const tolerance = 60_000

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

interface Reported {
  run: Run
  isHeard: boolean
  /** The database's time of the run, by which a second reading is known; undefined until it is read. */
  readAt: number | undefined
}

/**
 * The runs of the purge: as they were announced, and the last as the schedule's row tells of it, for those that were not heard. A
 * run that is reported both ways is one. The newest 500 are kept.
 */
export class Runs {
  readonly #reported: Reported[] = []

  get all(): Run[] {
    return this.#reported.map(({ run }) => run)
  }

  heard(run: Run): void {
    const known = this.#reported.find((one) => !one.isHeard && isSame(one.run, run))
    if (!known) this.#add({ run, isHeard: true, readAt: undefined })
    else Object.assign(known, { run: { ...run, at: known.run.at }, isHeard: true })
  }

  /** @param readAt the database's time of the run */
  read(run: Run, readAt: number): void {
    if (this.#reported.some((one) => one.readAt === readAt)) return
    const known = this.#reported.find((one) => one.readAt === undefined && isSame(one.run, run))
    if (known) known.readAt = readAt
    else this.#add({ run, isHeard: false, readAt })
  }

  #add(reported: Reported): void {
    this.#reported.push(reported)
    if (this.#reported.length > mostRuns) this.#reported.shift()
  }
}

function isSame(one: Run, other: Run): boolean {
  const isNear = Math.abs(one.at - other.at) <= tolerance
  return isNear && one.purged === other.purged && one.ms === other.ms && one.code === other.code
}
