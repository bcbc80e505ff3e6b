import { print } from './command.ts'

/** A progress bar on a terminal; elsewhere a line every few seconds. */
export class Progress {
  readonly #label: string
  readonly #total: number
  readonly #isTerminal: boolean
  #lastShown = 0

  constructor(label: string, total: number) {
    this.#label = label
    this.#total = total
    this.#isTerminal = process.stdout.isTTY === true
  }

  update(done: number): void {
    const now = performance.now()
    if (now - this.#lastShown < (this.#isTerminal ? 100 : 5000)) return
    this.#lastShown = now
    const total = Math.max(this.#total, done)
    const text = `${this.#label}: ${done.toLocaleString('en-US')} of ${total.toLocaleString('en-US')}`
    if (!this.#isTerminal) {
      print(text)
      return
    }
    const width = 30
    const filled = total === 0 ? width : Math.round((width * done) / total)
    process.stdout.write(`\r[${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${text} `)
  }

  /** Clears the bar, as the result follows. */
  end(): void {
    if (this.#isTerminal) process.stdout.write('\r\x1b[K')
  }
}
