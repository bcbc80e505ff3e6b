// The numbers of the announcements: one that does not come was lost. They are drawn before the commit, and so come out of order.
import type { Clocks } from './clocks.ts'

/** More missing numbers than this are lost at once. */
const most = 10_000

export class Numbers {
  readonly #clocks: Clocks
  readonly #patienceMs: number
  readonly #lost: () => void
  #newest: number | undefined
  readonly #missing = new Set<number>()

  /** @param lost one has been missing for `patienceMs`. A rollback draws a number too: it is taken for lost. */
  constructor(clocks: Clocks, patienceMs: number, lost: () => void) {
    this.#clocks = clocks
    this.#patienceMs = patienceMs
    this.#lost = lost
  }

  heard(number: number): void {
    if (this.#newest === undefined || this.#missing.delete(number) || number <= this.#newest) return
    if (this.#miss(this.#newest + 1, number)) this.#newest = number
  }

  /** This is the newest: all up to it should be heard, or all from here on where none was known before. */
  expect(newest: number): void {
    this.#newest ??= newest
    if (newest > this.#newest && this.#miss(this.#newest + 1, newest + 1)) this.#newest = newest
  }

  forget(): void {
    this.#newest = undefined
    this.#missing.clear()
  }

  /** Returns whether there is still hope. */
  #miss(from: number, to: number): boolean {
    if (to - from + this.#missing.size > most) {
      this.#lost()
      return false
    }
    const added: number[] = []
    for (let number = from; number < to; number++) {
      this.#missing.add(number)
      added.push(number)
    }
    if (added.length > 0) {
      this.#clocks.after(this.#patienceMs, () => {
        if (added.some((number) => this.#missing.has(number))) this.#lost()
      })
    }
    return true
  }
}
