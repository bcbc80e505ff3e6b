// The functions of the history as typed calls.

import { PGStoreError } from '../errors.ts'
import { interval, intervalText, MaintenanceDatabase } from './cleanup-functions.ts'
import { readJson } from './read-json.ts'
import { parseTime } from './row.ts'
import { instant } from './sql-functions.ts'

/** What happened to a session. */
export interface SessionHistoryEntry {
  /** Later entries have greater numbers, apart from expiries, which are written when they are purged. */
  readonly id: string
  /** When it happened, by the database's clock; of an expiry, when the session expired. */
  readonly happenedAt: Date
  readonly type: 'signed_in' | 'regenerated' | 'ended'
  readonly sessionId: string
  /** Why it ended: `signed_out`, `taken`, `revoked`, `limited`, `cleared`, `expired`, or the caller's own word. */
  readonly reason: string | undefined
  /** Who did it, if the caller said so. */
  readonly actor: string | undefined
  /** The session's label and tags at that time. */
  readonly label: unknown
  readonly tags: readonly string[]
}

/** The end of a session, as `store.endings()` gives it. */
export interface SessionEnding {
  /** The number of the ending, the same at every delivery. */
  readonly id: string
  readonly endedAt: Date
  readonly sessionId: string
  /** undefined for an anonymous visitor's session. */
  readonly userId: string | undefined
  /** `signed_out`, `taken`, `revoked`, `limited`, `cleared`, `expired`, or the caller's own word. */
  readonly reason: string
  /** Who ended it, if the caller said so. */
  readonly actor: string | undefined
  /** The session's label and tags when it ended. */
  readonly label: unknown
  readonly tags: readonly string[]
}

export interface EndingsTaken {
  readonly status: 'ended' | 'off' | 'invalid'
  readonly endings: readonly SessionEnding[]
}

/** Which endings a consumer asks for. */
export interface EndingsRequest {
  readonly consumer: string
  /** Numbers of those that it is done with. */
  readonly done: readonly string[]
  /** Who takes them; the same one is given its own again. */
  readonly holder: string | null
  readonly limit: number
  /** How long they are left to the holder; null: they are done when the transaction commits. */
  readonly leaseMs: number | null
}

export interface AuditState {
  readonly status: 'on' | 'off' | 'invalid'
  /** How long the history is kept, as Postgres writes it by default: '90 days'. */
  readonly keep: string
}

export interface AuditConsumer {
  readonly consumer: string
  /** How many endings it has not done yet. */
  readonly waiting: number
  readonly oldestAt: Date | undefined
}

const stateColumns = `status, ${interval('keep')}`

export class HistoryDatabase extends MaintenanceDatabase {
  /** Newest first. */
  async history(userId: string, before: string | null, limit: number): Promise<SessionHistoryEntry[]> {
    const columns = `id, ${instant('happened_at')}, type, session_id, reason, actor, label, to_json(tags)`
    const values = [userId, before, limit]
    const rows = await this.call('session_history', columns, '$1::text, $2::bigint, $3::integer', values)
    return rows.map(([id, at, type, sessionId, reason, actor, label, tags]) => ({
      id: String(id),
      happenedAt: time(at),
      type: type as SessionHistoryEntry['type'],
      sessionId: String(sessionId),
      reason: reason ?? undefined,
      actor: actor ?? undefined,
      ...shown(label, tags),
    }))
  }

  async takeEndings({ consumer, done, holder, limit, leaseMs }: EndingsRequest): Promise<EndingsTaken> {
    const columns = `status, id, ${instant('ended_at')}, session_id, user_id, reason, actor, label, to_json(tags)`
    const parameters = '$1::text, $2::bigint[], $3::text, $4::integer, $5::interval'
    const lease = leaseMs === null ? null : `${leaseMs} milliseconds`
    const values = [consumer, `{${done.join()}}`, holder, limit, lease]
    const rows = await this.call('endings_take', columns, parameters, values)
    const endings: SessionEnding[] = []
    for (const [status, id, at, sessionId, userId, reason, actor, label, tags] of rows) {
      if (status !== 'ended') return { status: status as EndingsTaken['status'], endings: [] }
      endings.push({
        id: String(id),
        endedAt: time(at),
        sessionId: String(sessionId),
        userId: userId ?? undefined,
        reason: String(reason),
        actor: actor ?? undefined,
        ...shown(label, tags),
      })
    }
    return { status: 'ended', endings }
  }

  /** @param keep an interval; null leaves it as it is */
  async auditSet(isOn: boolean, keep: string | null): Promise<AuditState> {
    const [row] = await this.call('audit_set', stateColumns, '$1::boolean, $2::interval', [String(isOn), keep])
    if (!row) throw new PGStoreError('database', 'audit_set returned no row.')
    return { status: row[0] as AuditState['status'], keep: intervalText(row[1] ?? '') }
  }

  async auditStatus(): Promise<AuditState & { readonly consumers: readonly AuditConsumer[] }> {
    const columns = `${stateColumns}, consumer, waiting, ${instant('oldest_at')}`
    const rows = await this.call('audit_status', columns, '', [])
    const consumers = rows.flatMap(([, , consumer, waiting, oldest]) =>
      consumer ? [{ consumer, waiting: Number(waiting), oldestAt: oldest ? time(oldest) : undefined }] : [],
    )
    return { status: rows[0]?.[0] as AuditState['status'], keep: intervalText(rows[0]?.[1] ?? ''), consumers }
  }
}

function shown(
  label: string | null | undefined,
  tags: string | null | undefined,
): { readonly label: unknown; readonly tags: readonly string[] } {
  return { label: label ? readJson(label) : undefined, tags: tags ? (readJson(tags) as string[]) : [] }
}

function time(text: string | null | undefined): Date {
  return new Date(Math.round(parseTime(text ?? '')))
}
