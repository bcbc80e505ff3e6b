// A session of this request that the cache has shown, read anew for a handler that needs certainty.
import { readJson } from '../database/read-json.ts'
import type { SessionDatabase } from '../database/row.ts'
import { knownFrom } from './known.ts'
import { internals, type Session } from './session.ts'
import type { Stored } from './stored.ts'
import { sessionKey } from './token.ts'
import { maxAgeKey, parseJson } from './values.ts'
import type { ValuesSchema } from './values-schema.ts'

interface Parts {
  readonly sessions: SessionDatabase
  readonly settings: { readonly values: ValuesSchema | undefined }
}

/** The session takes what is there now; what was changed in it and is not saved yet stays changed. One that has ended is a new one. */
export async function refresh<Read extends Session<object>>(session: Read, parts: Parts): Promise<Read> {
  const stored = internals.stored(session)
  if (stored && wasShown(stored)) await readAnew(session, stored, parts)
  return session
}

/** Of one that was saved since, only the version tells whether there is more than what was shown. */
function wasShown({ known }: Stored): boolean {
  return known.isShown ?? known.seenVersion !== known.row.version
}

async function readAnew(session: Session<object>, stored: Stored, { sessions, settings }: Parts): Promise<void> {
  const { known, cookie } = stored
  const { token } = known
  const row = await sessions.get(sessionKey(token))
  if (!row) {
    internals.ended(session)
    return
  }
  const changes = internals.changes(session)
  const { label, tags } = session
  const { maxAge } = session.options
  internals.load(session, { known: knownFrom(token, row), cookie })
  await settings.values?.read(session)
  if (changes.isMaxAge) session.options.maxAge = maxAge
  if (changes.userId !== null) session.userId = changes.userId || undefined
  if (changes.label !== null) session.label = label
  if (changes.tags !== null) session.tags = tags
  for (const [name, life] of Object.entries((parseJson(changes.lives) ?? {}) as Record<string, number | null>))
    session.expire(name as never, life)
  if (!changes.isData) return
  const values = session.values as Record<string, unknown>
  for (const [name, value] of Object.entries(readJson(changes.set) as object)) {
    if (name === maxAgeKey) continue
    // Not assigned: a key may be called __proto__.
    Object.defineProperty(values, name, { value, enumerable: true, configurable: true, writable: true })
  }
  for (const name of changes.unset) delete values[name]
}
