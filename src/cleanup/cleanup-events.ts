// What the recurring purge does, announced on the channel <schema>_cleanup.
import type { CleanupState, CleanupStatus, MaintenanceDatabase } from '../database/cleanup-functions.ts'
import { ChannelEvents } from '../events/channel-events.ts'
import type { ListenConnection } from '../events/listen.ts'
import type { Sleep } from '../events/sleep.ts'

/**
 * What the recurring purge does. `status` comes first, and again after an outage or when announcements may have been lost: it
 * covers what they would have said.
 */
export type CleanupEvent =
  | { readonly type: 'status'; readonly status: CleanupStatus }
  | { readonly type: 'started'; readonly everyMs: number }
  | { readonly type: 'stopped' }
  /** A run ended: sessions purged, milliseconds taken, and how many expired sessions were left. */
  | { readonly type: 'purged'; readonly purged: number; readonly ms: number; readonly remaining: number }
  /** A run failed, with an SQLSTATE or a `PGStoreError`'s code; the next starts when it is due. */
  | {
      readonly type: 'failed'
      readonly code: string
      readonly purged: number
      readonly ms: number
      readonly remaining: number
    }

export function publicStatus({ status: _status, now: _now, ...rest }: CleanupState): CleanupStatus {
  return rest
}

export function cleanupEvents(
  database: MaintenanceDatabase,
  connection: ListenConnection | undefined,
  schema: string,
  sleep?: Sleep,
): ChannelEvents<CleanupEvent> {
  const present = async (): Promise<CleanupEvent> => ({
    type: 'status',
    status: publicStatus(await database.cleanupStatus()),
  })
  const handlers = { parse: parseEvent, connected: present }
  return new ChannelEvents<CleanupEvent>(connection ? [connection] : [], cleanupChannel(schema), handlers, sleep)
}

export function cleanupChannel(schema: string): string {
  return `${schema}_cleanup`
}

function parseEvent(payload: unknown): CleanupEvent | undefined {
  const { type, every_ms, purged, ms, remaining, code } = (payload ?? {}) as Record<string, unknown>
  if (type === 'stopped') return { type }
  if (type === 'started' && isCount(every_ms)) return { type, everyMs: every_ms }
  if (!isCount(purged) || !isCount(ms) || !isCount(remaining)) return undefined
  if (type === 'purged') return { type, purged, ms, remaining }
  if (type === 'failed' && typeof code === 'string') return { type, code: code.slice(0, 100), purged, ms, remaining }
  return undefined
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
