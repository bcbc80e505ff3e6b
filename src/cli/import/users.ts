// Whose session it is: the user's id at a path in its values, when it is imported and, if that was missed, in a later run.

import { readJson } from '../../database/read-json.ts'
import type { SaveArguments, SessionRow } from '../../database/row.ts'
import type { Database } from '../../database/session-functions.ts'

/** Text or a number at the end of the path; anything else counts as no user. */
export function userId(values: object, path: readonly string[]): string | null {
  let value: unknown = path.length === 0 ? null : values
  for (const name of path) {
    const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    value = isThere ? (value as { readonly [key: string]: unknown })[name] : null
  }
  if (typeof value !== 'string' && typeof value !== 'number') return null
  const id = String(value)
  return id !== '' && Buffer.byteLength(id) <= 1024 ? id : null
}

/**
 * Whether a session that is here without a user is this user's: its own values must say so too. If the visitor has signed out
 * since the import, they do not.
 */
export function lacksUser(row: SessionRow, user: string | null, path: readonly string[]): boolean {
  return user !== null && row.userId === null && userId(readJson(row.data) as object, path) === user
}

/** Gives sessions that are here without their user that user; returns how many. Values and expiry stay as they are. */
export async function addUsers(
  database: Database,
  saves: readonly SaveArguments[],
  path: readonly string[],
): Promise<number> {
  const lacking = saves.filter(({ userId }) => userId !== null)
  if (lacking.length === 0) return 0
  const rows = await database.getMany(lacking.map(({ key }) => key))
  let added = 0
  for (const [i, save] of lacking.entries()) {
    const row = rows[i]
    if (!row || !lacksUser(row, save.userId, path)) continue
    // At its version, so that a sign-out in between is not undone; the shortest life extends none.
    const link = { ...save, set: '{}', version: row.version, ttlSeconds: 0.001, maxLength: 0, lifetimeSeconds: null }
    const { status } = await database.save(link)
    if (status === 'saved') added++
  }
  return added
}
