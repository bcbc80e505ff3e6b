// The recurring purge, and something for it to do.
import type { CleanupHandle } from 'pgstore'
import { type Action, type Demo, Refusal, type Routes, tell } from './exchange.ts'

export const expiredSessions = 100_000
const mostExpired = 500_000

/** Between two points of the chart's line: a run says only at its end what it has done. */
const sampleMs = 250

export class Purge {
  readonly #demo: Demo
  #cleanup: CleanupHandle | undefined
  readonly #clock: NodeJS.Timeout
  #isAdding = false
  #isSampling = false

  constructor(demo: Demo) {
    this.#demo = demo
    this.#clock = setInterval(() => void this.#sample(), sampleMs)
    void this.#watch()
  }

  get routes(): Routes {
    return {
      '/cleanup/start': { POST: this.#start },
      '/cleanup/stop': { POST: this.#stop },
      '/cleanup/expired': { POST: this.#addExpired },
    }
  }

  /** A schedule that was begun here ends here. */
  async close(): Promise<void> {
    clearInterval(this.#clock)
    if (this.#cleanup) await this.#demo.store.stopCleanup()
  }

  readonly #start: Action = async (exchange) => {
    const { store } = this.#demo
    const before = this.#cleanup
    // #region purge
    // Every server may start it: one of them does each run.
    this.#cleanup = await store.startCleanup('1 second')
    // #endregion
    await before?.stop()
    tell(exchange, 'The cleanup is on, every second.')
  }

  readonly #stop: Action = async (exchange) => {
    await this.#demo.store.stopCleanup()
    tell(exchange, 'The cleanup is off.')
  }

  readonly #addExpired: Action = async (exchange) => {
    const { rows, live } = this.#demo
    if (this.#isAdding || (await rows.countExpired()) > mostExpired - expiredSessions) {
      throw new Refusal(409, 'That is enough: start the cleanup first.')
    }
    this.#isAdding = true
    try {
      await rows.addExpired(expiredSessions)
    } finally {
      this.#isAdding = false
    }
    live.ring()
    tell(exchange, `Added ${expiredSessions.toLocaleString('en')} sessions that expired a day ago.`)
  }

  async #sample(): Promise<void> {
    const { rows, live } = this.#demo
    if (this.#isSampling || !live.isWatched) return
    this.#isSampling = true
    try {
      live.send('expired', { expired: await rows.countExpired() })
    } catch {
      // The database is away: no point of the line.
    }
    this.#isSampling = false
  }

  async #watch(): Promise<void> {
    const { store, live } = this.#demo
    // #region watch
    for await (const event of store.watchCleanup()) {
      if (event.type === 'purged') live.send('purged', event)
      live.ring() // whatever it was: look again
    }
    // #endregion
  }
}
