// One run of the recurring purge, which a worker has claimed.

import type { MaintenanceDatabase } from '../database/cleanup-functions.ts'
import { databaseError } from '../errors.ts'
import { type Mutable, type TracedCleanup, tracedCleanups } from '../tracing.ts'
import { purge } from './purge.ts'
import type { WorkerSettings } from './worker-options.ts'

/**
 * Until nothing is due, the cleanup is switched off, or the worker stops. The run was claimed a while ago, and the cleanup may have
 * been switched off since: then nothing is deleted, and there is nothing to record.
 */
export async function runPurge(
  database: MaintenanceDatabase,
  settings: WorkerSettings,
  isStopping: () => boolean,
): Promise<void> {
  const { schema } = database
  const run: Mutable<TracedCleanup> = { schema, status: undefined, purged: 0, duration: undefined, code: undefined }
  await tracedCleanups.tracePromise(async () => {
    await purgeAll(run, database, settings, isStopping)
    await record(run, database, settings)
  }, run)
}

async function purgeAll(
  run: Mutable<TracedCleanup>,
  database: MaintenanceDatabase,
  settings: WorkerSettings,
  isStopping: () => boolean,
): Promise<void> {
  const started = performance.now()
  let isOff = false
  const goOn = async (total: number) => {
    run.purged = total
    isOff = isStopping() || !(await database.cleanupBeat()).enabled
    return !isOff
  }
  try {
    run.purged = await purge(database, { ...settings, goOn })
    run.status = isOff ? 'off' : 'done'
  } catch (error) {
    const { sqlState, code } = databaseError('The purge', error)
    run.status = 'failed'
    run.code = sqlState ?? code
    settings.log('warning', `The purge failed: ${run.code}.`)
  }
  run.duration = performance.now() - started
}

async function record(
  { status, purged, duration = 0, code }: TracedCleanup,
  database: MaintenanceDatabase,
  settings: WorkerSettings,
): Promise<void> {
  if (status === 'off' && purged === 0) return
  const ms = Math.round(duration)
  try {
    await database.cleanupEndRun(purged, ms, code ?? null)
    settings.log('info', `Purged ${purged} sessions in ${ms} ms.`)
  } catch (error) {
    const reason = databaseError('cleanup_end_run', error).message
    settings.log('warning', `A run that purged ${purged} sessions could not be recorded: ${reason}.`)
  }
}
