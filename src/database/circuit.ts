// While the database cannot be reached, one call at a time finds out whether it still cannot, and the others fail at once.
import { isAnswer, messageOf, unsentError } from '../errors.ts'

export const defaultFailFast = 3

/** All connections are in use: the server may be slow, but it is there. */
const isFull = 'timeout exceeded when trying to connect' // as in pg-pool

export class Circuit {
  readonly #most: number
  /** Calls in a row to which the server said nothing, counted from the last answer. */
  #failures = 0
  #firstAt = 0
  #reason = ''
  #code: string | undefined
  #isTrying = false

  /** @param most failures in a row after which it opens; infinity for never */
  constructor(most: number) {
    this.#most = most
  }

  get hasFailed(): boolean {
    return this.#failures > 0
  }

  /** Whether calls must ask `begin` before they are sent. */
  get isOpen(): boolean {
    return this.#failures >= this.#most
  }

  /**
   * For a call that would try the database, until `end`.
   *
   * @throws {PGStoreError} `unavailable` while another one tries it
   */
  begin(): void {
    if (this.#isTrying) {
      const seconds = Math.round((performance.now() - this.#firstAt) / 1000)
      throw unsentError(
        `The database has not answered for ${seconds} s, and one call at a time tries to reach it; this one was not sent. The last that tried: ${this.#reason}`,
        this.#code,
      )
    }
    this.#isTrying = true
  }

  end(): void {
    this.#isTrying = false
  }

  answered(): void {
    this.#failures = 0
  }

  /**
   * @param isSilent whether no call has been answered since this one began
   * @returns whether it opens with this failure
   */
  failed(error: unknown, isSilent: boolean): boolean {
    if (isAnswer(error)) {
      this.answered()
      return false
    }
    const reason = messageOf(error)
    if (!isSilent || reason === isFull) return false
    if (this.#failures === 0) this.#firstAt = performance.now()
    this.#failures++
    this.#reason = reason
    this.#code = (error as { code?: string }).code
    return this.#failures === this.#most
  }
}
