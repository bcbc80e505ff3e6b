// What a batcher sends by, and what it may do with it.
import type { PGStoreError } from '../errors.ts'

/** In place of a result: to be sent alone. */
export const alone: unique symbol = Symbol('alone')

export interface Transport<Item, Result> {
  readonly sendOne: (item: Item) => Promise<Result>
  /** A result for each; `alone` for one that would have kept the others waiting. */
  readonly sendMany: (items: readonly Item[]) => Promise<readonly (Result | typeof alone)[]>
  readonly keyOf: (item: Item) => string
  readonly sizeOf: (item: Item) => number
  /** Whether the two may stand in one call. */
  readonly fit: (first: Item, other: Item) => boolean
  /** What to send in place of a call whose answer was lost, so that it cannot happen twice; undefined for nothing. */
  readonly again: (item: Item, error: PGStoreError) => Item | undefined
  /** What the answer to such a second call says of the first. Default: the same. */
  readonly judge?: (item: Item, result: Result) => Promise<Result>
  /** Equal keys are one item, answered at once; otherwise they take turns, in order of arrival. */
  readonly sharesKeys: boolean
}
