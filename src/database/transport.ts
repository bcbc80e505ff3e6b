// How a batcher sends its calls, and what it may do with them.
import type { PGStoreError } from '../errors.ts'

/** Instead of a result: must be sent alone. */
export const alone: unique symbol = Symbol('alone')

export interface Transport<Item, Result> {
  readonly sendOne: (item: Item) => Promise<Result>
  /** A result for each; `alone` for one that would have made the others wait. */
  readonly sendMany: (items: readonly Item[]) => Promise<readonly (Result | typeof alone)[]>
  readonly keyOf: (item: Item) => string
  readonly sizeOf: (item: Item) => number
  /** Whether the two may go into one call. */
  readonly fit: (first: Item, other: Item) => boolean
  /** What to send for a call whose response was lost, so that it cannot take effect twice; undefined for nothing. */
  readonly again: (item: Item, error: PGStoreError) => Item | undefined
  /** What the response to such a second call means for the first. Default: the same. */
  readonly judge?: (item: Item, result: Result) => Promise<Result>
  /** Calls with equal keys are one item and share its result; otherwise they take turns, in order of arrival. */
  readonly sharesKeys: boolean
}
