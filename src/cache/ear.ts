// What a cache hears by, and what it tries that with.
import type { Tap } from '../events/listeners.ts'

/** The connections that listen, one for each database that announces, shared with `store.events()`. */
export interface Ear {
  /** How many they are. */
  readonly places: number
  /** Listens from now on: `connected` and `lost` are called in the tick in which it is known. */
  listen(tap: Tap): void
  /** Resolves when the servers have answered on all connections, and so after all that they had sent before. */
  ping(): Promise<unknown>
}

/** The connections that sessions are read by. */
export interface Bell {
  /**
   * Lets every database with sessions send this to all who listen, with the number of its newest announcement; returns how many did.
   * Rejects with `not_installed` or `forbidden` over a schema that cannot.
   */
  ring(echo: string): Promise<number>
}
