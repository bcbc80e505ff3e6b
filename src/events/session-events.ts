// What happens to sessions, told by the channel <schema>_sessions.
import { ChannelEvents } from './channel-events.ts'
import type { ListenConnection } from './listen.ts'

/**
 * Sessions that ended before their time or changed their key, by number. `missed`: the connection was lost for a while, or the
 * consumer fell far behind, and what was announced meanwhile is unknown.
 */
export type SessionEvent =
  | { readonly type: 'destroyed' | 'regenerated' | 'revoked'; readonly ids: readonly string[] }
  | { readonly type: 'missed'; readonly ids: readonly [] }

export function sessionEvents(connection: ListenConnection | undefined, schema: string): ChannelEvents<SessionEvent> {
  const missed: SessionEvent = { type: 'missed', ids: [] }
  return new ChannelEvents<SessionEvent>(connection, `${schema}_sessions`, {
    parse: parseSessionEvent,
    connected: async (isFirst) => (isFirst ? undefined : missed),
  })
}

function parseSessionEvent(payload: unknown): SessionEvent | undefined {
  const { type, ids } = (payload ?? {}) as { type?: unknown; ids?: unknown }
  if (type !== 'destroyed' && type !== 'regenerated' && type !== 'revoked') return undefined
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id))) return undefined
  return { type, ids: ids.map(String) }
}
