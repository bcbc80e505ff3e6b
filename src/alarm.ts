// graphile-worker as an alarm clock: exactly one job, which rings when it is due, in one of the processes that wait for it.
//
// The job is done within milliseconds and what it starts runs beside it: a job that is locked when its process is killed stays
// locked for four hours, and this one is locked for no time worth killing it in.

import { EventEmitter } from 'node:events'
import { Logger, type Runner, run, type WorkerPool } from 'graphile-worker'
import type pg from 'pg'

const taskName = 'pgstore_purge'

export interface AlarmSettings {
  /** The one job there is, among those of an application that shares graphile-worker's schema. */
  readonly jobKey: string
  readonly workerSchema: string
  readonly ring: () => Promise<void>
  readonly warn: (message: string) => void
}

export class Alarm {
  readonly #pool: pg.Pool
  readonly #settings: AlarmSettings
  #runner: Runner | undefined
  #workerPool: WorkerPool | undefined
  #restart: NodeJS.Timeout | undefined
  #stopped = false

  /** @param pool of at least two connections, one of which graphile-worker keeps; stays the caller's to end */
  constructor(pool: pg.Pool, settings: AlarmSettings) {
    this.#pool = pool
    this.#settings = settings
  }

  /** Installs graphile-worker's schema where it is missing, and waits for the job from here on. */
  async start(): Promise<void> {
    const runner = await run({
      pgPool: this.#pool,
      schema: this.#settings.workerSchema,
      taskList: { [taskName]: async () => await this.#settings.ring() },
      concurrency: 1,
      noHandleSignals: true,
      noPreparedStatements: true, // for poolers
      logger: new Logger(() => (level, message) => {
        if (level === 'error' || level === 'warning') this.#settings.warn(message)
      }),
      events: this.#pools(),
    })
    this.#runner = runner
    // It ends by itself when it cannot report a job as done: an outage at the wrong moment.
    const ended = () => this.#startAnew(1000)
    runner.promise.then(ended, ended)
    await this.tidy()
  }

  /**
   * Deletes what a process left that was killed, or cut off, in the very moment of a ring: a ring takes milliseconds, and one of
   * a minute is none.
   */
  async tidy(): Promise<void> {
    const schema = this.#settings.workerSchema
    const { rows } = await this.#pool.query<{ id: string; locked_by: string | null }>(
      `select id, locked_by from ${schema}.jobs
       where task_identifier = $1 and (locked_at < now() - interval '1 minute' or (locked_at is null and attempts >= max_attempts))`,
      [taskName],
    )
    if (rows.length === 0) return
    const ids = rows.map(({ id }) => id)
    const lockers = rows.flatMap(({ locked_by }) => locked_by ?? [])
    await this.#pool.query(`select ${schema}.force_unlock_workers($1::text[])`, [lockers])
    await this.#pool.query(`select ${schema}.complete_jobs($1::bigint[])`, [ids])
  }

  /** Sets the job for this time by the database's clock, in place of any other time. */
  async set(due: Date): Promise<void> {
    await this.#runner?.addJob(taskName, {}, { jobKey: this.#settings.jobKey, runAt: due, maxAttempts: 1 })
  }

  /** Looks for the job now: by itself graphile-worker looks every two seconds. */
  look(): void {
    try {
      this.#workerPool?.nudge(1)
    } catch {
      // It has ended, and another is being started.
    }
  }

  /** Idempotent; waits for a ring under way, a second and a half at the most. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#restart)
    const giveUp = new Promise<void>((resolve) => setTimeout(resolve, 1500).unref())
    const stopping = this.#runner?.stop().catch(() => {}) // "already stopped" is what was wanted
    await Promise.race([stopping, giveUp])
  }

  #pools(): EventEmitter {
    const events = new EventEmitter()
    events.on('pool:create', ({ workerPool }: { workerPool: WorkerPool }) => {
      this.#workerPool = workerPool
    })
    return events
  }

  #startAnew(ms: number): void {
    if (this.#stopped) return
    this.#restart = setTimeout(() => {
      this.start().catch((error: Error) => {
        this.#settings.warn(`The job runner cannot start: ${error.message}`)
        this.#startAnew(Math.min(ms * 2, 10_000))
      })
    }, ms)
  }
}
