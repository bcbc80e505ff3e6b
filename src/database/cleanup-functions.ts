// The maintenance functions as typed calls: counting, purging, the schedule of the purge, statistics.

import { PGStoreError } from '../errors.ts'
import type { Parameter } from './pool.ts'
import { parseTime } from './row.ts'
import { Calls, instant, now } from './sql-functions.ts'

/** The recurring purge: its schedule and its last run. All times are the database's. */
export interface CleanupStatus {
  /** Whether the purge runs. */
  readonly enabled: boolean
  /** The interval between two runs, as Postgres writes it by default: '00:05:00', '1 day'. */
  readonly every: string
  /** When a worker last reported in; if that is longer ago than `every`, sessions are not being purged. */
  readonly workerSeenAt: Date | undefined
  readonly nextRunAt: Date | undefined
  readonly lastRunAt: Date | undefined
  /** How many sessions the last run deleted. */
  readonly lastPurged: number | undefined
  /** How many milliseconds it took. */
  readonly lastMs: number | undefined
  readonly totalPurged: number
  /** The code that the last run failed with: an SQLSTATE, or a `PGStoreError`'s code. */
  readonly lastError: string | undefined
}

export interface CleanupState extends CleanupStatus {
  readonly status: 'started' | 'stopped' | 'due' | 'invalid'
  /** The database's clock when it answered. */
  readonly now: Date
}

/** The state of the table. */
export interface SessionStats {
  readonly live: number
  readonly expired: number
  readonly anonymous: number
  /** Whether the counts were estimated from a sample. */
  readonly isEstimate: boolean
  readonly oldestExpiredAt: Date | undefined
  readonly tableBytes: number
  /** The part of the table that its rows take up. */
  readonly usedBytes: number
  readonly indexBytes: number
  readonly totalBytes: number
  /** Since the statistics were last reset. */
  readonly updates: number
  readonly heapOnlyUpdates: number
  readonly deadRows: number
  readonly vacuumedAt: Date | undefined
  /** Name of the newest migration; undefined if the application keeps its own history. */
  readonly migration: string | undefined
  /** The database's clock when it answered. */
  readonly now: Date
}

const cleanupColumns = [
  'enabled',
  interval('every'),
  ...['worker_seen_at', 'next_run_at', 'last_run_at'].map(instant),
  'last_purged, last_ms, total_purged, last_error, status',
  instant(now),
].join(', ')

const statsColumns = [
  'live, expired, anonymous, is_estimate',
  instant('oldest_expired_at'),
  'table_bytes, used_bytes, index_bytes, total_bytes, updates, heap_only_updates, dead_rows',
  instant('vacuumed_at'),
  'migration',
  instant(now),
].join(', ')

export class MaintenanceDatabase extends Calls {
  async countLive(): Promise<number> {
    return await this.count('count_live', '', [])
  }

  async countExpired(): Promise<number> {
    return await this.count('count_expired', '', [])
  }

  async purgeExpired(limit: number): Promise<number> {
    return await this.count('purge_expired', '$1::integer', [limit])
  }

  async cleanupStart(every: string): Promise<CleanupState> {
    return await this.#cleanup('cleanup_start', '$1::interval', [every])
  }

  async cleanupStop(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_stop', '', [])
  }

  async cleanupStatus(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_status', '', [])
  }

  /** Claims a run that is due: only one caller gets the status `due`. */
  async cleanupBeginRun(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_begin_run', '', [])
  }

  async cleanupBeat(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_beat', '', [])
  }

  async cleanupEndRun(purged: number, ms: number, errorCode: string | null): Promise<CleanupState> {
    return await this.#cleanup('cleanup_end_run', '$1::bigint, $2::integer, $3::text', [
      purged,
      Math.round(ms),
      errorCode,
    ])
  }

  async sessionStats(): Promise<SessionStats> {
    const [row] = await this.call('session_stats', statsColumns, '', [])
    if (!row) throw new PGStoreError('database', 'session_stats returned no row.')
    return {
      live: Number(row[0]),
      expired: Number(row[1]),
      anonymous: Number(row[2]),
      isEstimate: row[3] === 't',
      oldestExpiredAt: time(row[4]),
      tableBytes: Number(row[5]),
      usedBytes: Number(row[6]),
      indexBytes: Number(row[7]),
      totalBytes: Number(row[8]),
      updates: Number(row[9]),
      heapOnlyUpdates: Number(row[10]),
      deadRows: Number(row[11]),
      vacuumedAt: time(row[12]),
      migration: row[13] ?? undefined,
      now: time(row[14]) ?? new Date(Number.NaN),
    }
  }

  async #cleanup(name: string, parameters: string, values: Parameter[]): Promise<CleanupState> {
    const [row] = await this.call(name, cleanupColumns, parameters, values)
    if (!row) throw new PGStoreError('database', `${name} returned no row.`)
    const number = (text: string | null | undefined) => (text ? Number(text) : undefined)
    return {
      enabled: row[0] === 't',
      every: intervalText(row[1] ?? ''),
      workerSeenAt: time(row[2]),
      nextRunAt: time(row[3]),
      lastRunAt: time(row[4]),
      lastPurged: number(row[5]),
      lastMs: number(row[6]),
      totalPurged: Number(row[7]),
      lastError: row[8] ?? undefined,
      status: row[9] as CleanupState['status'],
      now: time(row[10]) ?? new Date(Number.NaN),
    }
  }
}

/** An interval's months, days and microseconds: its own text depends on the role's IntervalStyle. */
export function interval(column: string): string {
  const months = `extract(year from ${column}) * 12 + extract(month from ${column})`
  const clock = `(extract(hour from ${column}) * 60 + extract(minute from ${column})) * 60e6 + extract(microseconds from ${column})`
  const whole = [months, `extract(day from ${column})`, clock].map((part) => `(${part})::bigint`)
  return `concat_ws(' ', ${whole.join(', ')})`
}

/** As IntervalStyle `postgres` writes it, which is the default. */
export function intervalText(parts: string): string {
  const [months = 0, days = 0, microseconds = 0] = parts.split(' ').map(Number)
  const counted = [
    [Math.trunc(months / 12), 'year'],
    [months % 12, 'mon'],
    [days, 'day'],
  ] as const
  const words = counted.filter(([n]) => n !== 0).map(([n, unit]) => `${n} ${unit}${n === 1 ? '' : 's'}`)
  if (microseconds === 0 && words.length > 0) return words.join(' ')
  const seconds = Math.trunc(microseconds / 1e6)
  const clock = [Math.trunc(seconds / 3600), Math.trunc(seconds / 60) % 60, seconds % 60]
  const fraction = (microseconds % 1e6).toString().padStart(6, '0').replace(/0+$/, '')
  const text = clock.map((n) => String(n).padStart(2, '0')).join(':')
  return [...words, fraction ? `${text}.${fraction}` : text].join(' ')
}

function time(text: string | null | undefined): Date | undefined {
  return text ? new Date(Math.round(parseTime(text))) : undefined
}
