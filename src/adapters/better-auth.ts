// better-auth's secondaryStorage: sessions, one-time values and rate limits.
import type { KnownSession } from '../session/known-session.ts'
import type { PGStore } from '../store.ts'

/** What better-auth asks of a secondary storage. */
export interface SecondaryStorage {
  get(key: string): Promise<string | null>
  set(key: string, value: string, ttl?: number): Promise<void>
  delete(key: string): Promise<void>
  getAndDelete(key: string): Promise<string | null>
  increment(key: string, ttl: number): Promise<number>
}

const index = 'active-sessions-'
const year = 365 * 86400
/** How many sessions that were read, and may be changed by the same request, are remembered. */
const mostRead = 10_000

/**
 * A secondary storage in which a session that was ended is not brought back by a request that had read it, and one-time values and
 * counters are exact. better-auth's list of a user's sessions is made of the sessions themselves, which carry the user id
 * `better-auth:<id>`: no two sign-ins lose one, and `store.revoke` ends them too. Needs the rights *client* and *account*, and a store
 * without `seal` or `sessionsPerUser`.
 */
export function secondaryStorage(store: PGStore): SecondaryStorage {
  const { byToken } = store
  const read = new Map<string, KnownSession>()
  const token = (key: string) => `better-auth:${key}`
  const textOf = (values: Record<string, unknown> | undefined) => (values ? String(values['value']) : null)
  return {
    async get(key) {
      if (key.startsWith(index)) return await activeSessions(store, key.slice(index.length))
      const known = await byToken.get(token(key))
      read.delete(key)
      if (known?.userId !== undefined) read.set(key, known)
      if (read.size > mostRead) for (const oldest of [...read.keys()].slice(0, mostRead / 10)) read.delete(oldest)
      return textOf(known?.values())
    },
    async set(key, value, ttl = year) {
      if (key.startsWith(index)) return
      const userId = ownerOf(value)
      const known = userId === undefined ? undefined : read.get(key)
      if (!known) return await byToken.put(token(key), { value }, { ttl, userId })
      // A session that this process has read is changed only while it lives.
      const saved = await byToken.save(token(key), { value }, { ttl, isFixed: true, known, userId })
      if (saved) read.set(key, saved)
    },
    async delete(key) {
      if (!key.startsWith(index)) await byToken.destroy(token(key))
    },
    getAndDelete: async (key) => textOf(await byToken.take(token(key))),
    increment: async (key, ttl) => await byToken.increment(token(key), 'value', 1, { ttl }),
  }
}

async function activeSessions(store: PGStore, userId: string): Promise<string | null> {
  const listed = await store.list(`better-auth:${userId}`, { data: true })
  const sessions = listed.map(({ values }) => JSON.parse(String(values['value'])).session)
  const list = sessions.map(({ token, expiresAt }) => ({ token, expiresAt: new Date(expiresAt).getTime() }))
  return list.length > 0 ? JSON.stringify(list) : null
}

/** Whose session this is; undefined for a value that is none. */
function ownerOf(value: string): string | undefined {
  if (!value.startsWith('{"session":')) return undefined
  const { session, user } = JSON.parse(value) as { session?: { userId?: string | number }; user?: unknown }
  return session?.userId !== undefined && user ? `better-auth:${session.userId}` : undefined
}
