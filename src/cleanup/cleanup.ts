// The recurring purge for clients: one shared schedule, in the database. The work itself is in worker.ts.

import type { CleanupState, CleanupStatus, MaintenanceDatabase } from '../database/cleanup-functions.ts'
import { closedError, PGStoreError } from '../errors.ts'
import type { ChannelEvents, EventStream } from '../events/channel-events.ts'
import type { ListenConnection } from '../events/listen.ts'
import type { Sleep } from '../events/sleep.ts'
import { type CleanupEvent, cleanupEvents, publicStatus } from './cleanup-events.ts'
import { purge } from './purge.ts'
import { StoreWorker } from './store-worker.ts'
import type { CleanupHandle } from './worker.ts'

export interface StartCleanupOptions {
  /**
   * Run a worker in this process, which needs the package graphile-worker. false only sets the schedule, for a worker
   * elsewhere (`npx pgstore worker`). Default: true.
   */
  readonly worker?: boolean
  /**
   * graphile-worker's schema, which an application with the same version of graphile-worker may share; a worker already running
   * on this store keeps its schema. Default: 'graphile_worker'.
   */
  readonly workerSchema?: string | undefined
}

/** StartCleanup, StopCleanup and CountExpiredSessions of Go's PGStore, for a fleet. */
export abstract class SessionCleanup {
  readonly #database: MaintenanceDatabase
  readonly #events: ChannelEvents<CleanupEvent>
  readonly #worker: StoreWorker
  #isClosed = false

  protected constructor(
    database: MaintenanceDatabase,
    connection: ListenConnection | undefined,
    schema: string,
    sleep: Sleep | undefined,
  ) {
    this.#database = database
    this.#events = cleanupEvents(database, connection, schema, sleep)
    this.#worker = new StoreWorker(connection, schema, sleep)
  }

  /** How many expired sessions are waiting to be purged. */
  async countExpiredSessions(): Promise<number> {
    this.#checkOpen()
    return await this.#database.countExpired()
  }

  /** Purges all expired sessions now, in batches of `limit` (default 1000). Returns how many. */
  async purgeExpired({ limit = 1000 }: { readonly limit?: number } = {}): Promise<number> {
    if (!Number.isInteger(limit) || limit < 1) {
      throw new PGStoreError('invalid_option', 'limit must be a whole number of at least 1.')
    }
    this.#checkOpen()
    return await purge(this.#database, { batchSize: limit, pauseMs: 0, goOn: () => true })
  }

  /**
   * Switches the recurring purge on for all servers, and runs a worker for it in this process. Any number of servers may do so:
   * one of their workers does each run. Starting it again with another interval changes the interval.
   *
   * @param every the time between two runs as a Postgres interval, from '100 milliseconds' to '1 year'; default '5 minutes'
   * @throws {PGStoreError} `invalid_option` for any other interval, or if graphile-worker is not installed or its version is not
   * the schema's
   */
  async startCleanup(
    every = '5 minutes',
    { worker = true, workerSchema }: StartCleanupOptions = {},
  ): Promise<CleanupHandle> {
    checkInterval(every)
    this.#checkOpen()
    // First, so that a worker that cannot start does not leave a schedule without a worker.
    const handle = worker ? await this.#worker.join(workerSchema) : { stop: async () => {}, done: Promise.resolve() }
    try {
      this.#checkOpen()
      await setSchedule(this.#database, every)
    } catch (error) {
      await handle.stop()
      throw error
    }
    return { ...handle, [Symbol.asyncDispose]: handle.stop }
  }

  /**
   * Switches the recurring purge off for all servers. Once this resolves no run begins. A run in progress checks before each
   * batch whether it may continue: it deletes at most the batch already started, 1,000 sessions by default.
   */
  async stopCleanup(): Promise<CleanupStatus> {
    this.#checkOpen()
    return publicStatus(await this.#database.cleanupStop())
  }

  async cleanupStatus(): Promise<CleanupStatus> {
    this.#checkOpen()
    return publicStatus(await this.#database.cleanupStatus())
  }

  /** What the purge does, on all servers, as it happens; begins with the current state and continues through outages. */
  watchCleanup(): EventStream<CleanupEvent> {
    this.#checkOpen()
    return this.#events.subscribe()
  }

  protected async closeCleanup(): Promise<void> {
    this.#isClosed = true
    await Promise.all([this.#events.close(), this.#worker.close()])
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closedError()
  }
}

/** @throws {PGStoreError} `invalid_option` for what cannot be an interval */
export async function setSchedule(database: MaintenanceDatabase, every: string): Promise<CleanupState> {
  checkInterval(every)
  const state = await database.cleanupStart(every).catch((error: PGStoreError) => {
    if (error.sqlState?.startsWith('22')) throw notAnInterval('every')
    throw error
  })
  if (state.status === 'invalid') {
    throw new PGStoreError('invalid_option', 'every must be an interval from 100 milliseconds to a year.')
  }
  return state
}

function notAnInterval(name: string): PGStoreError {
  return new PGStoreError('invalid_option', `${name} must be an interval such as '5 minutes' or '00:05:00'.`)
}

/** Postgres decides what an interval is; text that is clearly not one would be an error there and end a connection. */
export function checkInterval(every: unknown, name: string = 'every'): void {
  const unit = '(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d|weeks?|w|months?|mons?|years?|y)'
  const isInterval =
    typeof every === 'string' &&
    (new RegExp(`^(\\s*\\d{1,9}(\\.\\d{1,6})?\\s*${unit}\\b)+\\s*$`, 'i').test(every) ||
      /^\d{1,4}:\d\d(:\d\d(\.\d{1,6})?)?$/.test(every))
  if (!isInterval) throw notAnInterval(name)
}
