// AdonisJS' sessions: a store for config/session.ts, with tagging.
import { PGStoreError } from '../errors.ts'
import type { KnownSession } from '../session/known-session.ts'
import type { PGStore } from '../store.ts'

type Data = Record<string, unknown>

/** What AdonisJS asks of a store with tagging. */
export interface AdonisSessionStore {
  read(sessionId: string): Promise<Data | null>
  write(sessionId: string, data: object): Promise<void>
  destroy(sessionId: string): Promise<void>
  touch(sessionId: string): Promise<void>
  tag(sessionId: string, userId: string): Promise<void>
  tagged(userId: string): Promise<{ id: string; data: Data }[]>
}

/**
 * The factory of a store, for `stores` in config/session.ts. A session that was ended elsewhere is not brought back by a request
 * that had read it, and two requests that change different values both keep them. `tag` sets the session's user: `store.list` and
 * `store.revoke` see it. The ids that `tagged` gives can be destroyed and nothing else: the session's own id is not stored.
 */
export function pgstoreSessions(
  store: PGStore,
): (ctx: unknown, config: { readonly age: string | number }) => AdonisSessionStore {
  return (_ctx, { age }) => sessionStore(store, secondsOf(age))
}

/** One for each request. */
function sessionStore(store: PGStore, ttl: number): AdonisSessionStore {
  const { byToken } = store
  let last: { readonly id: string; readonly known: KnownSession } | undefined
  const knownOf = async (id: string) => (last?.id === id ? last.known : await byToken.get(id))
  const save = async (id: string, data: object, known: KnownSession | undefined, userId: string | undefined) => {
    const saved = await byToken.save(id, data, { ttl, known, userId })
    last = saved && { id, known: saved }
  }
  return {
    async read(id) {
      const known = await byToken.get(id)
      last = known && { id, known }
      return known?.values() ?? null
    },
    async write(id, data) {
      const known = await knownOf(id)
      await save(id, data, known, known ? undefined : last?.known.userId) // under a new id it is still its user's
    },
    async destroy(id) {
      const [, row, userId] = /^#(\d+):(.*)$/s.exec(id) ?? []
      if (row !== undefined && userId !== undefined) await store.revoke(userId, { id: row })
      else await byToken.destroy(id)
    },
    async touch(id) {
      const known = await knownOf(id)
      if (known) await save(id, known.values(), known, undefined)
    },
    async tag(id, userId) {
      const known = await knownOf(id)
      await save(id, known?.values() ?? {}, known, userId)
    },
    tagged: async (userId) =>
      (await store.list(userId, { data: true })).map(({ id, values }) => ({ id: `#${id}:${userId}`, data: values })),
  }
}

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86400, w: 604_800, y: 31_557_600 }

/** Adonis' time expressions: '2h', '30 days'; a number is in seconds. */
function secondsOf(age: string | number): number {
  const [, count, unit = 's'] = /^(\d+(?:\.\d+)?)(?: ?(s|m(?!s|o)|h|d|w|y)[a-z]*)?$/i.exec(String(age)) ?? []
  const seconds = Number(count) * (units[unit.toLowerCase()] ?? Number.NaN)
  if (seconds > 0) return seconds
  throw new PGStoreError('invalid_option', `age must be a time such as '2h' or a number of seconds, not ${age}.`)
}
