// When a save counts as done: once it is on disk, or as soon as Postgres has committed it.
import { PGStoreError } from '../errors.ts'
import type { Changes } from './changes.ts'

/**
 * What a save waits for. 'durable': until Postgres has written it to disk. 'relaxed': until it is committed, which every reader sees
 * at once; it reaches the disk within about three times `wal_writer_delay`, 0.6 s by default. If the database server crashes before
 * that, the session is what it was before the save: older but whole, and nothing is corrupted. A single Postgres process that is
 * killed counts as a crash, because Postgres then restarts them all; a failover can lose relaxed saves too, because they do not
 * wait for a synchronous standby. Nothing is lost if only the application or its connection ends.
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

/** What a save asks for. */
interface Asked {
  readonly durability?: Durability | undefined
  readonly announce?: boolean | undefined
}

/**
 * Whether a crash may take back a merge or touch: only if it changes nothing but data.
 *
 * @param setting undefined if nothing may be relaxed
 */
export function isRelaxed(
  setting: Durability | undefined,
  { durability = setting, announce }: Asked,
  { userId, label, tags }: Changes,
): boolean {
  const isWanted = setting !== undefined && durability === 'relaxed' && !announce
  return isWanted && userId === null && label === null && tags === null
}
