// Whether expired sessions are deleted: the schedule, its worker, and its last run.
import type { CleanupStatus, SessionStats } from '../../database/cleanup-functions.ts'
import { count, type Finding, pgstoreCommand, warning, wrong } from './finding.ts'

const minute = 60_000
const day = 24 * 60 * minute

export function cleanupFindings(
  { expired, oldestExpiredAt, now }: Pick<SessionStats, 'expired' | 'oldestExpiredAt' | 'now'>,
  cleanup: CleanupStatus,
  schema: string,
): Finding[] {
  const since = (date: Date | undefined) => (date ? now.getTime() - date.getTime() : Number.POSITIVE_INFINITY)
  const waiting = oldestExpiredAt ? since(oldestExpiredAt) : 0
  if (!cleanup.enabled) {
    // A purge on the application's own schedule is fine if it leaves no row for longer than a day.
    if (waiting < day && expired < 10_000) return []
    const says = `The recurring purge is off, and ${count(expired)} expired sessions have piled up. Switch it on, and run a worker.`
    return [wrong('cleanup_off', says, pgstoreCommand('cleanup start', schema))]
  }
  const worker = pgstoreCommand('worker', schema)
  const found: Finding[] = []
  if (!cleanup.workerSeenAt)
    found.push(wrong('worker_unseen', 'No worker has been seen yet, so nothing is purged.', worker))
  else if (since(cleanup.workerSeenAt) > 5 * minute) {
    found.push(wrong('worker_lost', `No worker has been seen since ${cleanup.workerSeenAt.toISOString()}.`, worker))
  } else if (cleanup.nextRunAt && since(cleanup.nextRunAt) > 10 * minute) {
    const says = `The purge has been overdue since ${cleanup.nextRunAt.toISOString()}. Check the worker's log.`
    found.push(wrong('purge_late', says))
  } else if (waiting > day && expired > 0) {
    const says = `The purge runs, but the oldest expired session has been waiting since ${oldestExpiredAt?.toISOString()}. Check the worker's log, or purge now.`
    found.push(warning('purge_behind', says, pgstoreCommand('purge', schema)))
  }
  if (cleanup.lastError)
    found.push(
      wrong('purge_failed', `The last run of the purge failed with ${cleanup.lastError}. Check the worker's log.`),
    )
  return found
}
