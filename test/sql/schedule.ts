// The row of the recurring purge, and what its functions return and announce.
import type pg from 'pg'
import { admin, row, sql, until } from '../support/harness.ts'
import { type Client, call, connect } from './calls.ts'

/** What the functions return: the row, and the status of the call. `every` and times as text. */
export interface Schedule {
  enabled: boolean
  every: string
  worker_seen_at: string | null
  next_run_at: string | null
  last_run_at: string | null
  last_purged: string | null
  last_ms: number | null
  total_purged: string
  last_error: string | null
  status: string
}

export async function schedule(name: string, args: object = {}, client: Client = admin): Promise<Schedule> {
  const names = Object.keys(args).map((argument, index) => `p_${argument} => $${index + 1}`)
  const { rows } = await client.query<{ state: Schedule }>(
    `select to_jsonb(s) as state from pgstore.${name}(${names.join(', ')}) as s`,
    Object.values(args),
  )
  const [first] = rows
  if (!first || rows.length > 1) throw new Error(`${name} returned ${rows.length} rows.`)
  return first.state
}

/** As a new database has it. */
export async function resetSchedule(): Promise<void> {
  await sql(
    `update pgstore.cleanup
     set enabled = false, every = '5 minutes', worker_seen_at = null, next_run_at = null, last_run_at = null,
       last_purged = null, last_ms = null, total_purged = 0, last_error = null`,
  )
}

/** The database's answer to a question about the row. */
export async function holds(condition: string, client: Client = admin): Promise<boolean> {
  const { rows } = await client.query<{ holds: boolean }>(
    `select (${condition}) is true as holds from pgstore.cleanup as c`,
  )
  return rows[0]?.holds === true
}

/** What listeners of <schema>_cleanup hear of `work`. */
export async function announced(work: () => unknown, client?: pg.Client): Promise<unknown[]> {
  const listener = client ?? (await connect())
  const messages: unknown[] = []
  listener.on('notification', ({ payload = '' }) => messages.push(JSON.parse(payload)))
  await listener.query('listen pgstore_cleanup')
  await work()
  await row(`select pg_notify('pgstore_cleanup', '"end"')`)
  await until(() => messages.includes('end'))
  return messages.slice(0, -1)
}

/** Switches the purge on, due at this time from now. */
export async function startDue(inTime: string, every = '1 hour'): Promise<void> {
  await call('cleanup_start', { every })
  await sql('update pgstore.cleanup set next_run_at = now() + $1::interval', inTime)
}
