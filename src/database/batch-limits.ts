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
  /**
   * Lanes, a power of two up to 256: calls for sessions whose key's first byte agrees in its lowest bits share a lane, which has its own
   * batches and its own share of the pool's connections. Behind PL/Proxy, as many as there are partitions: one that is away
   * then fails its own sessions alone, and each call goes to one partition (docs/scaling-out.md). Otherwise they only make batches
   * smaller. Default: 1.
   */
  readonly lanes?: number | undefined
}

export type BatchLimits = Readonly<Record<keyof BatchOptions, number>>

export const defaultBatchLimits: BatchLimits = {
  inFlight: 2,
  items: 256,
  bytes: 1024 * 1024,
  waiting: 10_000,
  lanes: 1,
}

/** What is wrong with these limits. `connections` is how many the pool may open, if that is known. */
export function batchProblems(limits: BatchLimits, connections: number | undefined): string[] {
  const problems: string[] = []
  for (const [name, limit] of Object.entries(limits)) {
    if (!(Number.isInteger(limit) && limit > 0)) problems.push(`batch.${name} must be a positive whole number`)
  }
  const { lanes } = limits
  if (problems.length > 0) return problems
  if (lanes > 256 || (lanes & (lanes - 1)) !== 0) return ['batch.lanes must be a power of two, at most 256']
  if (lanes > 1 && connections !== undefined && connections <= lanes) {
    problems.push(`batch.lanes of ${lanes} needs a pool of more than ${lanes} connections; this one has ${connections}`)
  }
  return problems
}
