// What happens to sessions, announced on the channel <schema>_sessions.

import { ChannelEvents } from './channel-events.ts'
import type { ListenConnection } from './listen.ts'
import type { Sleep } from './sleep.ts'

/**
 * Sessions that ended before they expired, or changed their key or user, by number; or `changed` because a save or
 * `session_changed` said so. `n` counts the announcements: numbers are drawn before the commit, so a missing one may still come.
 * `reason` is why a session ended: `signed_out`, `taken`, `revoked`, `limited`, `cleared`, `stolen`, or the caller's own word. `unbound`:
 * a request came without the cookie of the session's device, and was refused; at most one a minute is announced. `ended_before`:
 * all sessions that began before a time have ended, everybody's or those of one tag or user, which is not said: look at each that you
 * hold. So for `missed`: the connection was lost for a while, or the consumer fell far behind, and what was announced in the meantime
 * is unknown.
 */
export type SessionEvent =
  | {
      readonly type: 'destroyed' | 'regenerated' | 'revoked' | 'changed' | 'unbound'
      readonly ids: readonly string[]
      readonly n: number
      readonly reason?: string
    }
  | {
      readonly type: 'ended_before'
      readonly ids: readonly []
      readonly n: number
      readonly scope: 'all' | 'tag' | 'user'
    }
  | { readonly type: 'missed'; readonly ids: readonly [] }

export function sessionEvents(
  connections: readonly ListenConnection[],
  schema: string,
  sleep: Sleep | undefined,
): ChannelEvents<SessionEvent> {
  const missed: SessionEvent = { type: 'missed', ids: [] }
  const connected = async (isFirst: boolean) => (isFirst ? undefined : missed)
  return new ChannelEvents(connections, `${schema}_sessions`, { parse: parseSessionEvent, connected }, sleep)
}

const types = ['destroyed', 'regenerated', 'revoked', 'changed', 'unbound'] as const
const scopes = ['all', 'tag', 'user'] as const

function parseSessionEvent(payload: unknown): SessionEvent | undefined {
  const given = (payload ?? {}) as { readonly [name in 'type' | 'ids' | 'n' | 'reason' | 'scope']?: unknown }
  const { ids, n, reason } = given
  if (!Number.isSafeInteger(n)) return undefined
  if (given.type === 'ended_before') {
    const scope = scopes.find((known) => known === given.scope)
    return scope && { type: 'ended_before', ids: [], n: n as number, scope }
  }
  const type = types.find((known) => known === given.type)
  if (type === undefined || !Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id))) return undefined
  const event = { type, ids: ids.map(String), n: n as number }
  return typeof reason === 'string' ? { ...event, reason: reason.slice(0, 50) } : event
}
