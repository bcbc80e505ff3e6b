// The worker of the recurring purge: reads the schedule, keeps the alarm set for the next run, and purges when it rings here.
import type pg from 'pg'
import { type CleanupState, MaintenanceDatabase } from '../database/cleanup-functions.ts'
import { openPool } from '../database/pool.ts'
import { databaseError, PGStoreError } from '../errors.ts'
import { atMost, Sockets } from '../events/deadline.ts'
import { ChannelListener, type ListenConnection } from '../events/listen.ts'
import { Alarm } from './alarm.ts'
import { cleanupChannel } from './cleanup-events.ts'
import { DeliveryProbe } from './delivery-probe.ts'
import { runPurge } from './run.ts'
import { parseWorkerOptions, type RunWorkerOptions, type WorkerSettings } from './worker-options.ts'

export type { RunWorkerOptions } from './worker-options.ts'

/** This process's part in the recurring purge. */
export interface CleanupHandle extends AsyncDisposable {
  /** Ends this process's part, after the current batch; the schedule stays. Idempotent. */
  stop(): Promise<void>
  /** Settles when this process's part has ended. */
  readonly done: Promise<void>
}

/**
 * Runs a worker for the recurring purge in this process: `npx pgstore worker` as a function. It waits for a schedule, set by
 * `startCleanup`, psql or the command line, for as long as it runs, and survives outages of the database.
 *
 * @throws {PGStoreError} `invalid_option`; `unavailable`, `forbidden` or `not_installed` when it cannot start
 */
export async function runWorker({ connectionString, ...settings }: RunWorkerOptions): Promise<CleanupHandle> {
  if (typeof connectionString !== 'string')
    throw new PGStoreError('invalid_option', 'connectionString must be a string.')
  return await CleanupWorker.start({ connectionString }, settings)
}

/** Changes are announced; missed announcements are made up for by polling. */
const pollMs = 30_000

const unheard = `This connection leads through a transaction pooler: announcements do not arrive. Use one that leads directly to Postgres; until then the worker polls every ${pollMs / 1000} seconds.`

export class CleanupWorker implements CleanupHandle {
  readonly done: Promise<void>
  readonly #sockets = new Sockets()
  readonly #pool: pg.Pool
  readonly #database: MaintenanceDatabase
  #listener: ChannelListener | undefined
  readonly #settings: WorkerSettings
  readonly #channel: string
  #poll: NodeJS.Timeout | undefined
  readonly #alarm: Alarm
  #look: NodeJS.Timeout | undefined
  readonly #probe: DeliveryProbe
  #purge: Promise<void> | undefined
  #syncing: Promise<void> | undefined
  #syncAgain = false
  /** The time for which this worker knows the job to be set; undefined to set it again. */
  #armedFor: number | undefined
  #wasEnabled = false
  #complaint: string | undefined
  #stopping: Promise<void> | undefined
  #resolveDone: () => void = () => {}

  static async start(
    connection: ListenConnection,
    { schema = 'pgstore', ...settings }: Omit<RunWorkerOptions, 'connectionString'>,
  ): Promise<CleanupWorker> {
    const worker = new CleanupWorker(connection, schema, parseWorkerOptions(schema, settings))
    try {
      await worker.#database.cleanupBeat() // an obstacle is reported here, and not in a loop
      await worker.#alarm.start()
      worker.#listen(connection)
      return worker
    } catch (error) {
      await worker.stop()
      throw databaseError('Starting the worker', error)
    }
  }

  private constructor(connection: ListenConnection, schema: string, settings: WorkerSettings) {
    const { create: stream } = this.#sockets
    const pool = openPool({ ...connection, application_name: 'pgstore worker', max: 4, stream })
    // graphile-worker borrows clients without listening to all of them: losing one meanwhile would end the process.
    pool.on('connect', (client) => client.on('error', () => {}))
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve
    })
    this.#pool = pool
    this.#database = new MaintenanceDatabase(pool, schema)
    this.#settings = settings
    this.#channel = cleanupChannel(schema)
    this.#probe = new DeliveryProbe(this.#database, this.#channel, () => settings.log('warning', unheard))
    this.#alarm = new Alarm(pool, {
      name: `${schema}:purge`,
      workerSchema: settings.workerSchema,
      ring: () => this.#ring(),
      warn: (message) => settings.log('warning', message),
    })
  }

  #listen(connection: ListenConnection): void {
    this.#listener = new ChannelListener(connection, this.#channel, {
      notified: (payload) => this.#notified(payload),
      connected: () => this.#connected(),
    })
    this.#poll = setInterval(() => {
      this.#armedFor = undefined
      void this.#sync()
      this.#tidy()
    }, pollMs)
    this.#tidy()
  }

  #tidy(): void {
    this.#alarm.tidy().catch((error) => this.#complain(error))
  }

  /** After the current batch; within two seconds even if the database does not respond: a batch cut off is purged later. */
  async stop(): Promise<void> {
    this.#stopping ??= (async () => {
      clearInterval(this.#poll)
      clearTimeout(this.#look)
      this.#probe.stop()
      await Promise.all([
        this.#listener?.close(),
        this.#alarm.stop().then(() => atMost(400, this.#purge)),
        atMost(1400, this.#purge),
      ])
      await atMost(500, this.#pool.end())
      this.#sockets.cut()
      this.#resolveDone()
    })()
    await this.#stopping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** The job's work. It never fails: a failed job would stay in the table, and the next poll sets another anyway. */
  async #ring(): Promise<void> {
    this.#armedFor = undefined // this job is used up
    try {
      const state = await this.#database.cleanupBeginRun()
      await this.#apply(state).catch((error) => this.#lookAgain(error)) // the run is ours, whatever happens to the next job
      if (state.status !== 'due') return
      this.#purge ??= runPurge(this.#database, this.#settings, () => this.#stopping !== undefined).finally(() => {
        this.#purge = undefined
      })
    } catch (error) {
      this.#lookAgain(error)
    }
  }

  #notified(payload: unknown): void {
    const { type, probe } = (payload ?? {}) as { type?: unknown; probe?: unknown }
    if (type !== 'probe') void this.#sync()
    else this.#probe.heard(probe)
  }

  #connected(): void {
    this.#armedFor = undefined
    void this.#sync()
    this.#probe.start()
  }

  /** Reads the schedule and acts on it; one at a time, and once more if something happened meanwhile. */
  async #sync(): Promise<void> {
    if (this.#stopping) return
    this.#syncAgain = true
    this.#syncing ??= (async () => {
      while (this.#syncAgain && !this.#stopping) {
        this.#syncAgain = false
        try {
          const state = await this.#database.cleanupBeat()
          if (isOverdue(state)) await this.#ring()
          else await this.#apply(state)
        } catch (error) {
          this.#lookAgain(error)
        }
      }
    })().finally(() => {
      this.#syncing = undefined
    })
    await this.#syncing
  }

  #lookAgain(error: unknown): void {
    if (this.#stopping) return
    this.#complain(error)
    clearTimeout(this.#look)
    this.#look = setTimeout(() => void this.#sync(), 1000)
  }

  /** Once, not every second of an outage. */
  #complain(error: unknown): void {
    const { message } = databaseError('Reading the schedule', error)
    if (this.#stopping || message === this.#complaint) return
    this.#complaint = message
    this.#settings.log('warning', message)
  }

  /** Keeps exactly one job, set for the next run; a job no longer needed rings once and finds nothing to do. */
  async #apply({ enabled, nextRunAt, now }: CleanupState): Promise<void> {
    const due = enabled ? nextRunAt : this.#wasEnabled ? now : undefined
    this.#wasEnabled = enabled
    if (due !== undefined && this.#armedFor !== due.getTime() && !this.#stopping) {
      await this.#alarm.set(due)
      this.#armedFor = due.getTime()
    }
    this.#complaint = undefined
    clearTimeout(this.#look)
    if (due === undefined || this.#stopping) return
    const wait = Math.min(Math.max(due.getTime() - now.getTime(), 0) + 2, pollMs) // both times are the database's
    this.#look = setTimeout(() => {
      this.#alarm.look()
      // Another worker may have been faster, or the job may be lost: read the schedule.
      this.#look = setTimeout(() => void this.#sync(), 250)
    }, wait)
  }
}

/**
 * The job did not ring: a killed process took it along, or graphile-worker is still waiting out an outage, which may take
 * minutes. The schedule does not need the job, only a worker that claims the run.
 */
function isOverdue({ enabled, nextRunAt, now }: CleanupState): boolean {
  return enabled && nextRunAt !== undefined && now.getTime() - nextRunAt.getTime() > 2000
}
