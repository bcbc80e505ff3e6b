// What is known of a stored session between reading and writing it.
import { type SaveResult, type SessionRow, withData } from '../database/row.ts'
import type { Changes } from './changes.ts'

/** What is known of a stored session. */
export interface Known {
  readonly token: string
  readonly row: SessionRow
  /** The version that the caller's values started from: behind `row.version` once another's save was merged with ours. */
  readonly seenVersion: number
  /** Whether this request, of all that a cache showed the same row, is the one to touch it and renew its cookie. Default: it is. */
  mayRenew?(): boolean
  /** Whether a cache showed it, so that the row may be older than this request. Default: false. */
  readonly isShown?: boolean
}

/** What is known of a session that has just been read. */
export function knownFrom(token: string, row: SessionRow): Known {
  return { token, row, seenVersion: row.version }
}

/** What is known of a session after a successful write. Its data is unchanged: the caller keeps what it saved. */
export function knownAfter(token: string, before: Known | undefined, changes: Changes, result: SaveResult): Known {
  const row = before?.row
  const { now, version } = result
  const { userId, label, tags } = changes
  const previous = result.previousVersion ?? version - (changes.isEmpty ? 0 : 1)
  return {
    token,
    row: {
      id: result.id as string,
      userId: userId === null ? (row?.userId ?? null) : userId || null,
      data: row?.data ?? '{}',
      version,
      createdAt: row?.createdAt ?? now,
      updatedAt: row && changes.isEmpty ? row.updatedAt : now,
      expiresAt: result.expiresAt as string,
      seenAt: now,
      signedInAt: userId === null ? (row?.signedInAt ?? null) : userId === '' ? null : now,
      label: label === null ? (row?.label ?? null) : label === 'null' ? null : label,
      tags: tags === null ? (row?.tags ?? null) : JSON.stringify(tags),
      now,
    },
    // Another request's save came in between and was merged with ours: the values are of an older version than the row.
    seenVersion: !before || previous === before.seenVersion ? version : before.seenVersion,
  }
}

/** What is known after a take, which counts one version: more than one means that another request has saved too. */
export function knownAfterTake(known: Known): Known {
  const { token, row, seenVersion, isShown } = known
  const next = (version: number) => (version === 2147483647 ? 1 : version + 1)
  return {
    token,
    row: { ...withData(row, row.data, row.unsealed), version: next(row.version) },
    seenVersion: next(seenVersion),
    mayRenew: () => known.mayRenew?.() ?? true,
    ...(isShown !== undefined && { isShown }),
  }
}
