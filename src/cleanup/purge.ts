// Deletes expired sessions in batches: short statements, with room for others in between.

import type { MaintenanceDatabase } from '../database/cleanup-functions.ts'
import { PGStoreError } from '../errors.ts'
import { tellPurge } from '../tracing.ts'

/** The size of a batch after one that took too long. */
const smallBatch = 100

export interface PurgeOptions {
  /** Sessions deleted by one statement. */
  readonly batchSize: number
  /** Milliseconds between two batches. */
  readonly pauseMs: number
  /** Called before each batch, including the first, with the number purged so far: false ends the purge. */
  readonly goOn: (purged: number) => Promise<boolean> | boolean
}

/** Purges until a batch is short or `goOn` returns false. Returns how many; after a failure only `goOn` knows the number. */
export async function purge(
  database: MaintenanceDatabase,
  { batchSize, pauseMs, goOn }: PurgeOptions,
): Promise<number> {
  let limit = batchSize
  let total = 0
  while (await goOn(total)) {
    let purged: number
    const began = performance.now()
    try {
      purged = await database.purgeExpired(limit)
      tellPurge(database.schema, purged, began)
    } catch (error) {
      const isTooSlow = error instanceof PGStoreError && error.code === 'timeout'
      if (!isTooSlow || limit <= smallBatch) throw error
      limit = smallBatch
      continue
    }
    total += purged
    if (purged < limit) return total
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  return total
}
