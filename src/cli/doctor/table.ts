// How the table of sessions stands: dead rows, bloat, updates that write every index.
import type { SessionStats } from '../../database/cleanup-functions.ts'
import { count, type Finding, percent, size, warning } from './finding.ts'

const minute = 60_000
const megabyte = 1024 * 1024

export function tableFindings(stats: SessionStats, schema: string): Finding[] {
  const found: Finding[] = []
  const { live, expired, deadRows, tableBytes, usedBytes, indexBytes, updates, now, vacuumedAt } = stats
  const share = heapOnlyShare(stats)
  if (updates >= 1000 && share < 0.7) {
    const says = `Only ${percent(share)} of the updates are heap-only: the others write every index too. Does the table have an extra index, or no free space in its pages (fillfactor)?`
    found.push(warning('heap_only', says))
  }
  const rows = live + expired
  if (deadRows > 10_000 && deadRows > rows / 5 && !(vacuumedAt && now.getTime() - vacuumedAt.getTime() < 60 * minute)) {
    const says = `${count(deadRows)} dead rows are waiting for VACUUM. Check that autovacuum is on and that no old transaction holds it back (pg_stat_activity.backend_xmin).`
    found.push(warning('dead_rows', says, `vacuum ${schema}.sessions;`))
  }
  // Full pages are filled to 85 %: a table at half of that or less will not fill up again soon.
  if (tableBytes > 50 * megabyte && usedBytes < 0.4 * tableBytes) {
    const says = `The table takes ${size(tableBytes)} for rows of about ${size(usedBytes)}. New sessions will reuse the space; to shrink it now, run VACUUM FULL (which locks the table) or pg_repack.`
    found.push(warning('table_bloat', says))
  }
  if (indexBytes > 50 * megabyte && indexBytes > 500 * rows) {
    const says = `The indexes take ${size(indexBytes)} for about ${count(rows)} rows.`
    found.push(warning('index_bloat', says, `reindex table concurrently ${schema}.sessions;`))
  }
  return found
}

export function heapOnlyShare({ updates, heapOnlyUpdates }: SessionStats): number {
  return updates === 0 ? 1 : heapOnlyUpdates / updates
}
