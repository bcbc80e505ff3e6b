// From several cookies of one name to the one session that counts.

import type { Refusals } from './cookie/refusals.ts'
import type { ReadToken } from './cookie/token-cookie.ts'
import type { SessionDatabase, SessionRow } from './database/row.ts'
import type { Database } from './database/session-functions.ts'
import { sessionKey } from './session/token.ts'

/**
 * The first of these tokens whose session lives, found by one call for all of them. The first of all would do no good: a browser
 * goes on sending a cookie whose session has ended, in front of the one that it got at the next sign-in.
 *
 * @param sessions the database, seen through the seal where there is one: what lives is then asked for once more
 */
export async function firstLive(
  tokens: readonly ReadToken[],
  name: string,
  database: Database,
  sessions: SessionDatabase,
  refusals: Refusals,
): Promise<{ readonly read: ReadToken; readonly row: SessionRow } | undefined> {
  const keys = tokens.map(({ token }) => sessionKey(token))
  const rows = await database.getMany(keys)
  for (const [index, key] of keys.entries()) {
    const found = rows[index]
    const row = found && sessions !== database ? await sessions.get(key) : found
    if (row) return { read: tokens[index] as ReadToken, row }
    refusals.add(name, 'not_live')
  }
  return undefined
}
