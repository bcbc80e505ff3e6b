// Servers with a cache: stores in one process, which know of each other only what the database tells them.
import type { CacheStats, PGStore, PGStoreOptions, Session } from '../../src/index.ts'
import { testStore, until, type Visitor } from '../support/harness.ts'

export type Values = { n?: number; other?: number; theme?: string }

/** Longer than any test waits: what is refused within `until` is not refused for its age. */
export const longStale = 60

export function server(
  cache: PGStoreOptions['cache'] = { maxStale: longStale },
  options: Partial<PGStoreOptions> = {},
): PGStore<Values> {
  return testStore<Values>({ cache, ...options })
}

export function cacheOf(store: PGStore<Values>): CacheStats {
  const { cache } = store.stats()
  if (!cache) throw new Error('It has no cache.')
  return cache
}

/** Reads until the cache has answered, and returns what it showed. On a busy machine that may take several reads. */
export async function hit(store: PGStore<Values>, visitor: Visitor, name = 'sid'): Promise<Session<Values>> {
  return (await shown(store, visitor, name)).session
}

interface Shown {
  readonly req: ReturnType<Visitor['request']>
  readonly session: Session<Values>
}

/** The same, with the request that was shown it. */
export async function shown(store: PGStore<Values>, visitor: Visitor, name = 'sid'): Promise<Shown> {
  let found: Shown | undefined
  await until(async () => {
    const { hits } = cacheOf(store)
    const req = visitor.request()
    found = { req, session: await store.get(req, name) }
    return cacheOf(store).hits > hits
  })
  return found as Shown
}

/** Waits until this server shows the visitor no session, or another user. */
export async function refused(store: PGStore<Values>, visitor: Visitor, userId?: string): Promise<void> {
  await until(async () => {
    const session = await store.get(visitor.request(), 'sid')
    return session.isNew || (userId !== undefined && session.userId !== userId)
  })
}
