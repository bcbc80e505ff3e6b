// graphile-worker as an alarm clock: exactly one job, which rings when it is due, in one of the processes that wait for it.
//
// The job is done within milliseconds and what it starts runs beside it: a job that is locked when its process is killed stays
// locked for four hours, and this one is locked for no time worth killing it in.

import { EventEmitter } from 'node:events'
import { Logger, type Runner, run, type WorkerPool } from 'graphile-worker'
import type pg from 'pg'
import { messageOf } from '../errors.ts'
import { atMost } from '../events/deadline.ts'

export interface AlarmSettings {
  /**
   * Of the task and of its one job, among those of an application that shares graphile-worker's schema. A runner takes every
   * job of a task that it knows: each schema of pgstore in a database needs a name of its own.
   */
  readonly name: string
  readonly workerSchema: string
  /** Must not reject. */
  readonly ring: () => Promise<void>
  readonly warn: (message: string) => void
}

export class Alarm {
  readonly #pool: pg.Pool
  readonly #settings: AlarmSettings
  #runner: Runner | undefined
  #workerPool: WorkerPool | undefined
  #restart: NodeJS.Timeout | undefined
  #isStopped = false

  /**
   * @param pool of at least two connections, one of which graphile-worker keeps, and with listeners for the errors of its
   *   clients; stays the caller's to end
   */
  constructor(pool: pg.Pool, settings: AlarmSettings) {
    this.#pool = pool
    this.#settings = settings
  }

  /** Installs graphile-worker's schema where it is missing, and waits for the job from here on. */
  async start(): Promise<void> {
    const { name, workerSchema, ring, warn } = this.#settings
    const runner = await run({
      pgPool: withoutCodes(this.#pool),
      schema: workerSchema,
      taskList: { [name]: async () => await ring() },
      concurrency: 1,
      noHandleSignals: true,
      noPreparedStatements: true, // for poolers
      // Without a batch, 0.17 awaits nobody's answer to "this job is done": a connection lost just then would be an unhandled
      // rejection, and end the process.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
      logger: new Logger(() => (level, message) => {
        if ((level === 'error' || level === 'warning') && !this.#isStopped) warn(message)
      }),
      events: this.#pools(),
    })
    // It ends by itself when it cannot report a job as done: an outage at the wrong moment.
    const ended = () => this.#startAnew(1000)
    runner.promise.then(ended, ended)
    if (this.#isStopped) return void runner.stop().catch(() => {})
    this.#runner = runner
  }

  /**
   * Deletes what a process left that was killed, or cut off, in the very moment of a ring: a ring takes milliseconds, and one of
   * twenty seconds is none.
   */
  async tidy(): Promise<void> {
    const { name, workerSchema } = this.#settings
    const { rows } = await this.#pool.query<{ id: string; locked_by: string | null }>(
      `select id, locked_by from ${workerSchema}.jobs
       where task_identifier = $1 and (locked_at < now() - interval '20 seconds' or (locked_at is null and attempts >= max_attempts))`,
      [name],
    )
    if (rows.length === 0) return
    const ids = rows.map(({ id }) => id)
    const lockers = rows.flatMap(({ locked_by }) => locked_by ?? []) // runners of ours: they hold nothing else
    await this.#pool.query(`select ${workerSchema}.force_unlock_workers($1::text[])`, [lockers])
    await this.#pool.query(`select ${workerSchema}.complete_jobs($1::bigint[])`, [ids])
  }

  /** Sets the job for this time by the database's clock, in place of any other time. */
  async set(due: Date): Promise<void> {
    const { name } = this.#settings
    await this.#runner?.addJob(name, {}, { jobKey: name, runAt: due, maxAttempts: 1 })
  }

  /** Looks for the job now: by itself graphile-worker looks every two seconds. */
  look(): void {
    try {
      this.#workerPool?.nudge(1)
    } catch {
      // It has ended, and another is being started.
    }
  }

  /** Waits for a ring under way, a second at the most. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearTimeout(this.#restart)
    await atMost(1000, this.#runner?.stop()) // it rejects when it has ended already
  }

  #pools(): EventEmitter {
    const events = new EventEmitter()
    events.on('pool:create', ({ workerPool }: { workerPool: WorkerPool }) => {
      this.#workerPool = workerPool
    })
    return events
  }

  #startAnew(ms: number): void {
    if (this.#isStopped) return
    this.#restart = setTimeout(() => {
      this.start().catch((error: unknown) => {
        this.#settings.warn(`The job runner cannot start: ${messageOf(error)}`)
        this.#startAnew(Math.min(ms * 2, 10_000))
      })
    }, ms)
  }
}

/**
 * At some errors of a connection graphile-worker sleeps for seconds, later for minutes, before it tries again, and nothing wakes
 * it or lets its process end meanwhile. It goes by their codes; without them it tries every two seconds.
 */
function withoutCodes(pool: pg.Pool): pg.Pool {
  const connect = async () =>
    await pool.connect().catch((error: unknown) => {
      throw new Error(messageOf(error))
    })
  const value = (callback?: (error?: Error) => void) => (callback ? pool.connect(callback) : connect())
  return Object.create(pool, { connect: { value } })
}
