// What this process has asked of Postgres, and what it has been spared.
import type pg from 'pg'
import { type Action, cookieName, type Demo, type Routes, tell } from './exchange.ts'

const reads = 200

export interface Counts {
  readonly reads: number
  /** Those answered from the cache, or with the answer of another request's query. */
  readonly spared: number
  readonly roundTrips: number
}

export class Counter {
  readonly #demo: Pick<Demo, 'store' | 'live'>
  #pastCache = 0
  #roundTrips = 0

  /** @param pool the store's: each call of a function takes a connection from it */
  constructor(demo: Pick<Demo, 'store' | 'live'>, pool: pg.Pool) {
    this.#demo = demo
    pool.on('acquire', () => {
      this.#roundTrips++
    })
  }

  get counts(): Counts {
    const { hits = 0, misses = 0, joins = 0, bypasses } = this.#demo.store.stats().cache ?? {}
    const bypassed = Object.values(bypasses ?? {}).reduce((sum, count) => sum + count, 0)
    const spared = hits + joins
    return { reads: spared + misses + bypassed + this.#pastCache, spared, roundTrips: this.#roundTrips }
  }

  get routes(): Routes {
    const { store } = this.#demo
    return {
      '/reads/batched': {
        POST: this.#measured(async ({ req }) => {
          this.#pastCache += reads
          // #region batch
          const read = () => store.new(req, cookieName)
          await Promise.all(Array.from({ length: reads }, read))
          // #endregion
        }),
      },
      '/reads/cached': {
        POST: this.#measured(async ({ req: { headers } }) => {
          // #region cache
          const read = () => store.get({ headers }, cookieName)
          await Promise.all(Array.from({ length: reads }, read))
          // #endregion
        }),
      },
    }
  }

  #measured(action: Action): Action {
    return async (exchange) => {
      const [started, before] = [performance.now(), this.counts]
      await action(exchange)
      const ms = (performance.now() - started).toFixed(1)
      const { spared, roundTrips } = this.counts
      const asked = roundTrips - before.roundTrips
      this.#demo.live.ring()
      tell(
        exchange,
        `${reads} reads in ${ms} ms: ${spared - before.spared} without a query, ${trips(asked)} to Postgres.`,
      )
    }
  }
}

function trips(count: number): string {
  return count === 1 ? '1 round trip' : `${count} round trips`
}
