// How the table and the cleanup stand, asked of the database at most once per interval, whoever collects and how often.
import { MaintenanceDatabase } from '../database/cleanup-functions.ts'
import { type Pool, poolProblems } from '../database/pool.ts'
import { economical } from '../database/statement-pool.ts'
import { refuse } from '../errors.ts'
import { schemaProblems } from '../schema/schema-name.ts'
import type { Measure } from './measures.ts'

/** A database whose sessions and cleanup are shown as gauges. */
export interface WatchOptions {
  /** A pool whose role has the right *cleanup* or *admin*. It stays yours to close. */
  readonly pool: Pool
  /** Default: 'pgstore'. */
  readonly schema?: string | undefined
  /** Seconds for which an answer is shown again, from 1 to 3600. Default: 60. */
  readonly every?: number | undefined
}

type GaugeName = 'up' | 'live' | 'expired' | 'oldest' | 'enabled' | 'lateness' | 'worker' | 'failing' | 'size' | 'dead'

/** The gauges, and their values at the database's clock. Ages are 0 where there is nothing that could be late. */
export const gauges: Readonly<Record<GaugeName, Measure>> = {
  up: {
    name: 'pgstore.watch.up',
    unit: '',
    description: '1 if the database answered when it was last asked for these.',
  },
  live: {
    name: 'pgstore.sessions.live',
    unit: '{session}',
    description: 'Live sessions; an estimate in large tables.',
  },
  expired: {
    name: 'pgstore.sessions.expired',
    unit: '{session}',
    description: 'Expired sessions that are due for purging.',
  },
  oldest: { name: 'pgstore.sessions.expired.age', unit: 's', description: 'Time since the oldest of them expired.' },
  enabled: { name: 'pgstore.cleanup.enabled', unit: '', description: '1 if the recurring purge is on.' },
  lateness: { name: 'pgstore.cleanup.lateness', unit: 's', description: 'How long the next run is overdue.' },
  worker: { name: 'pgstore.cleanup.worker.age', unit: 's', description: 'Time since a worker reported in.' },
  failing: { name: 'pgstore.cleanup.failing', unit: '', description: '1 if the last run failed.' },
  size: { name: 'pgstore.table.size', unit: 'By', description: 'Table and indexes on disk.' },
  dead: { name: 'pgstore.table.dead_rows', unit: '{row}', description: 'Rows that wait for VACUUM.' },
}

export type Reading = Partial<Record<GaugeName, number>>

export class Standing {
  readonly schema: string
  readonly #database: MaintenanceDatabase
  readonly #every: number
  #askedAt = Number.NEGATIVE_INFINITY
  #reading: Promise<Reading> = Promise.resolve({})

  /** @throws {PGStoreError} `invalid_option` */
  constructor({ pool, schema = 'pgstore', every = 60 }: WatchOptions) {
    const problems = [...poolProblems(pool), ...schemaProblems(schema)]
    if (!(every >= 1 && every <= 3600)) problems.push('every must be from 1 to 3600 seconds')
    refuse(problems)
    this.schema = schema
    // As the store does: each call has its time limit, and none reads from a standby.
    this.#database = new MaintenanceDatabase(economical(pool, false), schema)
    this.#every = every * 1000
  }

  /** Never rejects: where the database did not answer, there is nothing but `up`, 0. */
  read(): Promise<Reading> {
    const now = performance.now()
    if (now - this.#askedAt >= this.#every) {
      this.#askedAt = now
      this.#reading = this.#ask().catch(() => ({ up: 0 }))
    }
    return this.#reading
  }

  async #ask(): Promise<Reading> {
    const { live, expired, oldestExpiredAt, totalBytes, deadRows } = await this.#database.sessionStats()
    const { enabled, nextRunAt, workerSeenAt, lastError, now } = await this.#database.cleanupStatus()
    const since = (time: Date | undefined) => (time ? Math.max(now.getTime() - time.getTime(), 0) / 1000 : 0)
    return {
      up: 1,
      live,
      expired,
      oldest: since(oldestExpiredAt),
      enabled: Number(enabled),
      lateness: enabled ? since(nextRunAt) : 0,
      worker: since(workerSeenAt),
      failing: Number(lastError !== undefined),
      size: totalBytes,
      dead: deadRows,
    }
  }
}
