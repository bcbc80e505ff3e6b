// graphile-worker as an alarm clock: exactly one job, which rings when it is due, in one of the processes waiting for it.
//
// The job is done within milliseconds and the run that it starts continues beside it: a job whose process is killed stays
// locked for four hours, and this one is locked too briefly for that to happen in practice.

import { EventEmitter } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import type { Runner, WorkerPool } from 'graphile-worker'
import type pg from 'pg'
import { messageOf, PGStoreError } from '../errors.ts'
import { atMost } from '../events/deadline.ts'
import { findPackage, loadPackage } from '../packages.ts'

/** What graphile-worker sets when it ends at an announced migration, though the process goes on. */
const migratedExitCode = 57

export interface AlarmSettings {
  /**
   * Name of the task and of its job, among those of an application that shares graphile-worker's schema. A runner takes
   * every job of a task that it knows, so each pgstore schema in a database needs a different name.
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
  readonly #package = loadPackage('graphile-worker')
  #runner: Runner | undefined
  #workerPool: WorkerPool | undefined
  #restart: NodeJS.Timeout | undefined
  #isStopped = false

  /**
   * @param pool of at least two connections, one of which graphile-worker keeps, and with listeners for the errors of its
   * clients; the caller ends it
   * @throws {PGStoreError} `invalid_option` if graphile-worker is not installed
   */
  constructor(pool: pg.Pool, settings: AlarmSettings) {
    this.#pool = pool
    this.#settings = settings
  }

  /**
   * Installs graphile-worker's schema if it is missing, and waits for the job from then on.
   *
   * @throws {PGStoreError} `invalid_option` if the schema has another version, which ours would change under its users
   */
  async start(): Promise<void> {
    const { name, workerSchema, ring, warn } = this.#settings
    const isNew = (await checkRevision(this.#pool, workerSchema)) === undefined
    const { Logger, run, runMigrations } = this.#package
    if (isNew) await runMigrations({ pgPool: withoutAnnouncement(this.#pool), schema: workerSchema })
    const { exitCode } = process
    const runner = await run({
      pgPool: withoutCodes(this.#pool),
      schema: workerSchema,
      taskList: { [name]: async () => await ring() },
      concurrency: 1,
      noHandleSignals: true,
      noPreparedStatements: true, // for poolers
      // Without a batch, 0.17 does not await the response to "this job is done": a connection lost at that moment would be an
      // unhandled rejection and end the process.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
      logger: new Logger(() => (level, message) => {
        if ((level === 'error' || level === 'warning') && !this.#isStopped) warn(message)
      }),
      events: this.#pools(),
    })
    // It ends by itself if it cannot report a job as done, after an outage at the wrong moment.
    const ended = () => {
      if (process.exitCode === migratedExitCode) process.exitCode = exitCode
      this.#startAnew(1000)
    }
    runner.promise.then(ended, ended)
    if (this.#isStopped) return void runner.stop().catch(() => {})
    this.#runner = runner
  }

  /**
   * Deletes the job of a process that was killed or cut off during a ring: a ring takes milliseconds, so a job locked for twenty
   * seconds is left over.
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
    const lockers = rows.flatMap(({ locked_by }) => locked_by ?? []) // our runners: they hold nothing else
    await this.#pool.query(`select ${workerSchema}.force_unlock_workers($1::text[])`, [lockers])
    await this.#pool.query(`select ${workerSchema}.complete_jobs($1::bigint[])`, [ids])
  }

  /** Sets the job for this time by the database's clock, replacing any other time. */
  async set(due: Date): Promise<void> {
    const { name } = this.#settings
    await this.#runner?.addJob(name, {}, { jobKey: name, runAt: due, maxAttempts: 1 })
  }

  /** Looks for the job now: by default graphile-worker looks every two seconds. */
  look(): void {
    try {
      this.#workerPool?.nudge(1)
    } catch {
      // It has ended, and another one is starting.
    }
  }

  /** Waits for a ring in progress, at most a second. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearTimeout(this.#restart)
    await atMost(1000, this.#runner?.stop()) // it rejects if it has already ended
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
 * graphile-worker migrates any schema it finds to its own revision, and the runners of an application with another version end.
 * While another process installs the schema its revision grows, so a low one is checked again.
 */
async function checkRevision(pool: pg.Pool, workerSchema: string): Promise<number | undefined> {
  const wanted = shippedRevision()
  let found = await installedRevision(pool, workerSchema)
  for (let looks = 0; looks < 5 && wanted !== undefined && found !== undefined && found < wanted; looks++) {
    await new Promise((resolve) => setTimeout(resolve, 200))
    const before = found
    found = await installedRevision(pool, workerSchema)
    if (found !== before) looks = 0
  }
  if (wanted === undefined || found === undefined || found === wanted) return found
  throw new PGStoreError(
    'invalid_option',
    `Schema ${workerSchema} is at revision ${found} of graphile-worker's, but the graphile-worker installed here needs ${wanted}: install the version that the other programs use, or give the worker a separate schema (workerSchema, --worker-schema). If no other program uses it, "npx graphile-worker --schema-only" upgrades an older one.`,
  )
}

/** undefined if nothing is installed, or an installation has not begun. */
async function installedRevision(pool: pg.Pool, workerSchema: string): Promise<number | undefined> {
  const table = `${workerSchema}.migrations`
  const { rows } = await pool.query<{ columns: string[] | null }>(
    `select array_agg(attname::text) as columns from pg_catalog.pg_attribute
     where attrelid = to_regclass($1) and attnum > 0 and not attisdropped having to_regclass($1) is not null`,
    [table],
  )
  const [row] = rows
  if (!row) return undefined
  if (!['id', 'ts'].every((column) => row.columns?.includes(column))) {
    throw new PGStoreError(
      'invalid_option',
      `Schema ${workerSchema} has a table "migrations" that is not graphile-worker's: give the worker a separate schema (workerSchema, --worker-schema).`,
    )
  }
  const revision = await pool.query<{ id: number | null }>(`select max(id)::integer as id from ${table}`)
  return revision.rows[0]?.id ?? undefined
}

/** graphile-worker does not export it, but has its migrations as files; undefined without that folder. */
function shippedRevision(): number | undefined {
  const folder = path.join(path.dirname(findPackage('graphile-worker')), '../sql')
  if (!fs.existsSync(folder)) return undefined
  const numbers = fs.readdirSync(folder).map((name) => Number(/^(\d{6})\.sql$/.exec(name)?.[1] ?? 0))
  return Math.max(...numbers)
}

/**
 * graphile-worker tells of each migration on a channel that does not name the schema, and at a breaking one every runner in the database
 * ends, those of an application's schema too. Of a schema that is new, nobody has to be told.
 */
function withoutAnnouncement(pool: pg.Pool): pg.Pool {
  const connect = async () => {
    const client = await pool.connect()
    const query = (text: unknown, values?: unknown[]) =>
      values?.[0] === 'worker:migrate' ? Promise.resolve({ rows: [] }) : client.query(text as string, values)
    return new Proxy(client, {
      get(target, name) {
        if (name === 'query') return query
        const member: unknown = Reflect.get(target, name, target)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
  }
  return Object.create(pool, { connect: { value: connect } })
}

/**
 * After some connection errors graphile-worker sleeps for seconds, later for minutes, before it retries, and nothing wakes it or
 * lets its process end meanwhile. It goes by their codes; without a code it retries every two seconds.
 */
function withoutCodes(pool: pg.Pool): pg.Pool {
  const connect = async () =>
    await pool.connect().catch((error: unknown) => {
      throw new Error(messageOf(error))
    })
  const value = (callback?: (error?: Error) => void) => (callback ? pool.connect(callback) : connect())
  return Object.create(pool, { connect: { value } })
}
