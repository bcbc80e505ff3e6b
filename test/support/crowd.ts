// Many sessions at once, for the tests of the purge.
import pg from 'pg'
import { databaseUrl, row, sql, until } from './harness.ts'

/** Runs a statement as the owner: on this file's database, or another. */
export type Run = (text: string, ...values: unknown[]) => Promise<unknown>

/** Adds `many` sessions that expired a moment ago. */
export async function addExpired(many: number, schema = 'pgstore', run: Run = sql): Promise<void> {
  await add(many, `now() - interval '1 second'`, schema, run)
}

/** Adds `many` sessions that live for an hour. */
export async function addLive(many: number, schema = 'pgstore', run: Run = sql): Promise<void> {
  await add(many, `now() + interval '1 hour'`, schema, run)
}

async function add(many: number, expiresAt: string, schema: string, run: Run): Promise<void> {
  await run(
    `insert into ${schema}.sessions (id, created_at, updated_at, seen_at, expires_at, purge_at, key, version, data)
     select nextval('${schema}.session_number') * 256, now(), now(), now(), ${expiresAt}, ${expiresAt}, sha256(uuid_send(gen_random_uuid())), 1, '{}'
     from generate_series(1, $1::integer)`,
    many,
  )
}

/** Sessions in the table, due ones and live ones. */
export async function countSessions(schema = 'pgstore'): Promise<{ due: number; live: number }> {
  return await row<{ due: number; live: number }>(
    `select
       (count(*) filter (where purge_at <= now()))::integer as due,
       (count(*) filter (where expires_at > now()))::integer as live
     from ${schema}.sessions`,
  )
}

export interface Hold {
  /** Resolves when a statement waits for the release. */
  untilHeld(): Promise<void>
  release(): Promise<void>
}

/** Every statement that deletes sessions pauses at its end until the release, and so does a purge in the middle of a batch. */
export async function holdPurge(): Promise<Hold> {
  return await holdAtTrigger('after delete on pgstore.sessions for each statement')
}

/** Whatever fires this trigger waits, so that what is done meanwhile happens at that moment, on fast and busy machines alike. */
export async function holdAtTrigger(trigger: string): Promise<Hold> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  await client.query('select pg_advisory_lock(1)')
  await sql(`create function public.hold() returns trigger language plpgsql as
    'begin perform pg_advisory_xact_lock_shared(1); return new; end'`)
  await sql(`create trigger hold ${trigger} execute function public.hold()`)
  return {
    async untilHeld() {
      await until(async () => {
        const waiting = await sql(
          `select from pg_locks as l join pg_database as d on d.oid = l.database
           where d.datname = current_database() and l.locktype = 'advisory' and not l.granted`,
        )
        return waiting.length > 0
      })
    },
    async release() {
      await client.end()
      await sql('drop function public.hold() cascade')
    },
  }
}

/**
 * Starts a purge of `many` sessions, and ends it as `start` says while a batch is being deleted. It begins anew where the machine was
 * so slow that the batch may have been cut off: whoever ends a worker waits for 1.4 seconds.
 */
export async function stopInBatch(many: number, start: () => Promise<() => Promise<unknown>>): Promise<void> {
  await until(async () => {
    await startOver()
    await addExpired(many)
    const hold = await holdPurge()
    const stop = await start()
    await hold.untilHeld()
    const began = performance.now()
    const stopped = stop()
    await hold.release()
    await stopped
    return performance.now() - began < 1000
  })
}

/** Connections to this file's database under one of the names that the package gives its own. */
export async function connections(name: 'pgstore' | 'pgstore worker' | 'pgstore listen'): Promise<number> {
  const { number } = await row<{ number: number }>(
    `select count(*)::integer as number from pg_stat_activity where datname = current_database() and application_name = $1`,
    name,
  )
  return number
}

/** Ends those connections as an administrator would, or a server that fails. Returns how many. */
export async function terminate(...names: readonly string[]): Promise<number> {
  const { number } = await row<{ number: number }>(
    `select count(pg_terminate_backend(pid))::integer as number
     from pg_stat_activity
     where datname = current_database() and application_name = any($1)`,
    names,
  )
  return number
}

/** No sessions, no schedule, no jobs. */
export async function startOver(): Promise<void> {
  await sql('truncate pgstore.sessions')
  await sql(
    `update pgstore.cleanup
     set enabled = false, every = '5 minutes', worker_seen_at = null, next_run_at = null, last_run_at = null,
       last_purged = null, last_ms = null, total_purged = 0, last_error = null`,
  )
  const { installed } = await row(`select to_regclass('graphile_worker._private_jobs') is not null as installed`)
  if (installed) await sql('delete from graphile_worker._private_jobs')
}
