// One user's sessions: the only part of the dashboard that shows a person's rows, and the only one that changes anything.
import { readJson } from '../../database/read-json.ts'
import { parseTime, type SessionRow } from '../../database/row.ts'
import type { Database } from '../../database/session-functions.ts'
import { PGStoreError } from '../../errors.ts'
import { checkText } from '../../session/json.ts'
import type { Revoked, UserSession, UserSessionList } from './overview.ts'
import { told } from './reason.ts'

/** A page is for people: of a user with more sessions it shows the newest, and says so. */
const mostListed = 200

/** What listeners to the events are told. */
const reason = 'operator'

/** @throws {PGStoreError} `invalid_value`, `forbidden` without the right "account" or "admin", or as the database fails */
export async function listSessions(database: Database, user: string, withData: boolean): Promise<UserSessionList> {
  checkUser(user)
  const rows = await allowed(database.list(user, withData))
  const sessions = rows.slice(0, mostListed).map((row) => session(row, withData))
  return { user, count: rows.length, sessions }
}

/**
 * @param id the session's number; null for all of the user's
 * @throws {PGStoreError} as `listSessions`
 */
export async function revokeSessions(database: Database, user: string, id: string | null): Promise<Revoked> {
  checkUser(user)
  if (id !== null && !/^\d{1,18}$/.test(id))
    throw new PGStoreError('invalid_value', 'id must be the number of a session.')
  return { ended: await allowed(database.revoke(user, id, null, reason, null)) }
}

function checkUser(user: string): void {
  if (user === '') throw new PGStoreError('invalid_value', 'Give the id of a user.')
  checkText(user, 'user')
}

async function allowed<Result>(asking: Promise<Result>): Promise<Result> {
  try {
    return await asking
  } catch (error) {
    throw told(error, { to: 'see or end the sessions of a user', right: 'account' })
  }
}

function session(row: SessionRow, withData: boolean): UserSession {
  const { now } = row
  const here = (time: string) => Math.round(Date.now() - (parseTime(now) - parseTime(time)))
  return {
    id: row.id,
    createdAt: here(row.createdAt),
    seenAt: here(row.seenAt),
    signedInAt: row.signedInAt === null ? null : here(row.signedInAt),
    expiresAt: here(row.expiresAt),
    label: row.label === null ? null : readJson(row.label),
    tags: row.tags === null ? [] : (readJson(row.tags) as string[]),
    data: withData ? row.data : null,
  }
}
