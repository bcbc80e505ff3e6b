// When a save counts as done: once it is on disk, or as soon as Postgres has committed it.
import { PGStoreError } from '../errors.ts'
import type { Changes } from './changes.ts'

/**
 * What a save waits for. 'durable': until Postgres has written it to disk. 'relaxed': until it is committed, which every reader sees
 * at once; it reaches the disk within about three times `wal_writer_delay`, 0.6 s by default. If the database server crashes before
 * that, the session is what it was before the save: older, but whole, and nothing is corrupted. A process of Postgres that crashes
 * or is killed counts, because Postgres then restarts them all, and so does a failover, because no synchronous standby is waited
 * for. Nothing is lost where only the application ends, or its connection.
 *
 * Only changed values and touches are ever relaxed. A new session, a change of user, label or tags, a save with `announce`,
 * `regenerate` and every end are durable, and put on disk whatever was committed before them. So is every save through
 * `withClient`: a transaction commits as a whole, and the setting would be your transaction's.
 *
 * What must not come back after a crash, such as a role that is kept in `values` and was taken away, needs a durable save.
 * https://www.postgresql.org/docs/current/wal-async-commit.html
 */
export type Durability = 'durable' | 'relaxed'

/** What is wrong with this durability; empty when it is right. */
export function durabilityProblems(durability: unknown): string[] {
  const isOne = durability === 'durable' || durability === 'relaxed'
  return isOne ? [] : ["durability must be 'durable' or 'relaxed'"]
}

/** @throws {PGStoreError} `invalid_option` */
export function checkDurability(durability: Durability | undefined): Durability | undefined {
  const [problem] = durability === undefined ? [] : durabilityProblems(durability)
  if (problem) throw new PGStoreError('invalid_option', `${problem}.`)
  return durability
}

/** Whether a crash may take back a merge or touch: only where it changes nothing but data. */
export function isRelaxed(durability: Durability, { userId, label, tags }: Changes, announce: boolean): boolean {
  return durability === 'relaxed' && userId === null && label === null && tags === null && !announce
}
