// How many calls go into a batch, and how many may wait.

/** How the store's calls of get, save and destroy are batched. The defaults suit one process and a pool of ten. */
export interface BatchOptions {
  /** Calls of each kind in flight to Postgres before further ones are batched. Default: 2. */
  readonly inFlight?: number | undefined
  /** Sessions in one call, at most. Default: 256. */
  readonly items?: number | undefined
  /** Bytes of session data in one call, at most; a larger session is sent alone. Default: 1,048,576. */
  readonly bytes?: number | undefined
  /** Calls of each kind that may wait; further ones are refused with `unavailable`. Default: 10,000. */
  readonly waiting?: number | undefined
}

export type BatchLimits = Readonly<Record<keyof BatchOptions, number>>

export const defaultBatchLimits: BatchLimits = { inFlight: 2, items: 256, bytes: 1024 * 1024, waiting: 10_000 }
