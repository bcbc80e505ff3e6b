// Whether announcements arrive: a transaction pooler accepts LISTEN, but nothing is ever delivered.
import type { MaintenanceDatabase } from '../database/cleanup-functions.ts'

/** A busy server takes seconds to deliver one. */
const patienceMs = 10_000

/** Rings the doorbell of a channel that is being listened to, and warns if it is not heard. */
export class DeliveryProbe {
  readonly #database: MaintenanceDatabase
  readonly #channel: string
  readonly #unheard: () => void
  #timer: NodeJS.Timeout | undefined
  #text = ''

  constructor(database: MaintenanceDatabase, channel: string, unheard: () => void) {
    this.#database = database
    this.#channel = channel
    this.#unheard = unheard
  }

  start(): void {
    this.stop()
    this.#text = `${process.pid}.${process.hrtime.bigint()}`
    this.#timer = setTimeout(this.#unheard, patienceMs).unref()
    this.#database.notify(this.#channel, { type: 'probe', probe: this.#text }).catch(() => this.stop())
  }

  /** @param probe from a message of type `probe`, which may be another worker's */
  heard(probe: unknown): void {
    if (probe === this.#text) this.stop()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
