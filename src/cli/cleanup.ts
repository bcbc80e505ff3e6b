import { setSchedule } from '../cleanup/cleanup.ts'
import { type CleanupEvent, cleanupEvents } from '../cleanup/cleanup-events.ts'
import { purge } from '../cleanup/purge.ts'
import { runWorker } from '../cleanup/worker.ts'
import { type CleanupStatus, MaintenanceDatabase } from '../database/cleanup-functions.ts'
import { databaseUrl, type Flags, onSignal, print, withPool } from './command.ts'
import { Progress } from './progress.ts'

const withDatabase = async <Result>(
  flags: Flags,
  work: (database: MaintenanceDatabase) => Promise<Result>,
): Promise<Result> => await withPool(flags, async (pool) => await work(new MaintenanceDatabase(pool, flags.schema)))

export async function start(flags: Flags): Promise<void> {
  const { every = '5 minutes' } = flags
  const state = await withDatabase(flags, (database) => setSchedule(database, every))
  if (flags.json) printJson(state)
  else print(`The purge runs every ${state.every}.${workerNote(state)}`)
}

export async function stop(flags: Flags): Promise<void> {
  const state = await withDatabase(flags, (database) => database.cleanupStop())
  if (flags.json) printJson(state)
  else print('The purge is off.')
}

export async function status(flags: Flags): Promise<void> {
  const { state, expired } = await withDatabase(flags, async (database) => ({
    state: await database.cleanupStatus(),
    expired: await database.countExpired(),
  }))
  if (flags.json) print(JSON.stringify({ ...publicStatus(state), expired }))
  else print(`${describeCleanup(state)}\nExpired sessions: ${count(expired)} waiting to be purged.`)
}

export async function watch(flags: Flags): Promise<void> {
  await withDatabase(flags, async (database) => {
    await database.cleanupStatus() // an obstacle is reported here, instead of waiting
    const channel = cleanupEvents(database, { connectionString: databaseUrl(flags) }, flags.schema)
    const events = channel.subscribe()
    onSignal(() => void events.return?.())
    for await (const event of events) print(flags.json ? JSON.stringify(jsonEvent(event)) : line(event))
    await channel.close()
  })
}

export async function purgeNow(flags: Flags): Promise<void> {
  await withDatabase(flags, async (database) => {
    const total = await database.countExpired()
    const progress = flags.json ? undefined : new Progress('Purging', total)
    const started = performance.now()
    const goOn = (purged: number) => {
      progress?.update(purged)
      return true
    }
    const purged = await purge(database, { batchSize: 1000, pauseMs: 20, goOn })
    progress?.end()
    const ms = Math.round(performance.now() - started)
    print(flags.json ? JSON.stringify({ purged, ms }) : `Purged ${count(purged)} sessions in ${seconds(ms)}.`)
  })
}

export async function worker(flags: Flags): Promise<void> {
  const connectionString = databaseUrl(flags)
  const say = (level: string, message: string) => {
    print(flags.json ? JSON.stringify({ level, message }) : message)
  }
  const starting = runWorker({ connectionString, schema: flags.schema, workerSchema: flags.workerSchema, log: say })
  onSignal(() => void starting.then((worker) => worker.stop()).catch(() => {}))
  const worker = await starting
  say('info', 'The worker is waiting for runs of the purge.')
  await worker.done
  say('info', 'The worker has ended.')
}

function printJson(state: CleanupStatus): void {
  print(JSON.stringify(publicStatus(state)))
}

/** Names as in SQL: other programs read this. */
export function publicStatus(state: CleanupStatus): object {
  return {
    enabled: state.enabled,
    every: state.every,
    worker_seen_at: state.workerSeenAt ?? null,
    next_run_at: state.nextRunAt ?? null,
    last_run_at: state.lastRunAt ?? null,
    last_purged: state.lastPurged ?? null,
    last_ms: state.lastMs ?? null,
    total_purged: state.totalPurged,
    last_error: state.lastError ?? null,
  }
}

function jsonEvent(event: CleanupEvent): object {
  if (event.type === 'status') return { type: 'status', ...publicStatus(event.status) }
  if (event.type !== 'started') return event
  return { type: 'started', every_ms: event.everyMs }
}

function line(event: CleanupEvent): string {
  const now = new Date().toISOString()
  switch (event.type) {
    case 'status':
      return `${now} status: ${describeCleanup(event.status).replaceAll('\n', ' ')}`
    case 'started':
      return `${now} started: every ${seconds(event.everyMs)}`
    case 'stopped':
      return `${now} stopped`
    case 'purged':
      return `${now} purged: ${count(event.purged)} sessions in ${seconds(event.ms)}, ${count(event.remaining)} left`
    case 'failed':
      return `${now} failed: ${event.code}, after ${count(event.purged)} sessions in ${seconds(event.ms)}`
  }
}

export function describeCleanup(state: CleanupStatus): string {
  const lines = [
    state.enabled
      ? `On, every ${state.every}.${workerNote(state)}`
      : 'Off: expired sessions are not deleted until it is started.',
  ]
  if (state.nextRunAt) lines.push(`Next run: ${state.nextRunAt.toISOString()}.`)
  if (state.lastRunAt) {
    const outcome = state.lastError ? `failed with ${state.lastError}` : `${count(state.lastPurged ?? 0)} purged`
    lines.push(`Last run: ${state.lastRunAt.toISOString()}, ${outcome} in ${seconds(state.lastMs ?? 0)}.`)
  }
  lines.push(`All runs: ${count(state.totalPurged)} purged.`)
  return lines.join('\n')
}

function workerNote({ workerSeenAt }: CleanupStatus): string {
  return workerSeenAt
    ? ` A worker was last seen at ${workerSeenAt.toISOString()}.`
    : ' No worker has been seen yet: run "npx pgstore worker".'
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toLocaleString('en-US', { maximumFractionDigits: 1 })} s`
}
