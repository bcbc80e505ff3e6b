// Imports sessions from an old store. Each is created under its key. One that is there already is left alone, but that it gets its
// user if it has none: an import can be interrupted and run again.

import { readJson } from '../../database/read-json.ts'
import type { SaveArguments, SaveResult } from '../../database/row.ts'
import type { Database } from '../../database/session-functions.ts'
import { PGStoreError } from '../../errors.ts'
import { sessionKey } from '../../session/token.ts'
import { type Found, type Item, type Source, unreadable } from './source.ts'
import { addUsers, lacksUser, userId } from './users.ts'

export interface ImportOptions {
  /** Path to the user's id in the session's values, such as ['passport', 'user']. */
  readonly userPath: readonly string[]
  /** Largest session in bytes; 0 for no limit. */
  readonly maxLength: number
  /** Seconds from now at which a session ends at the latest; null for never. */
  readonly lifetimeSeconds: number | null
  readonly dryRun: boolean
  /** Called after each batch: false ends the import. */
  readonly goOn: (report: ImportReport) => boolean
}

/** Counts of sessions. */
export interface ImportReport {
  read: number
  taken: number
  alreadyThere: number
  expired: number
  tooLarge: number
  unreadable: number
  /** Those among the taken and already there that have a user in the old store. */
  users: number
  /** Those among the already there that had no user and now have one. */
  usersAdded: number
  /** Reasons why sessions are unreadable, each a phrase with a count. */
  readonly problems: Record<string, number>
  interrupted: boolean
}

export function emptyReport(): ImportReport {
  const counts = { read: 0, taken: 0, alreadyThere: 0, expired: 0, tooLarge: 0, unreadable: 0, users: 0, usersAdded: 0 }
  return { ...counts, problems: {}, interrupted: false }
}

/** Sessions and bytes in one call. */
const mostItems = 256
const mostBytesAtOnce = 1024 * 1024

/** Fills the report as it goes, so that it shows how far it got before an error. */
export async function runImport(
  source: Source,
  database: Database,
  options: ImportOptions,
  report: ImportReport,
): Promise<void> {
  for await (const items of source.batches()) {
    report.read += items.length
    const taken: Found[] = []
    for (const item of items) {
      if ('as' in item) count(report, item)
      else taken.push(item)
    }
    for (const chunk of chunks(taken)) {
      const saves = chunk.map((session) => saveOf(session, options))
      const outcomes = options.dryRun
        ? await rehearse(database, chunk, saves, options.userPath)
        : await saveAll(database, saves)
      for (const [i, outcome] of outcomes.entries()) {
        count(report, outcome)
        const isHere = outcome.as === 'taken' || outcome.as === 'alreadyThere'
        if (isHere && saves[i]?.userId) report.users++
        if (outcome.as === 'alreadyThere' && outcome.lacksUser) report.usersAdded++
      }
      if (options.dryRun) continue
      const here = saves.filter((_, i) => outcomes[i]?.as === 'alreadyThere')
      report.usersAdded += await addUsers(database, here, options.userPath)
    }
    if (!options.goOn(report)) {
      report.interrupted = true
      return
    }
  }
}

type Outcome =
  | { readonly as: 'taken' }
  /** `lacksUser`, found by a rehearsal: the import would give it its user. */
  | { readonly as: 'alreadyThere'; readonly lacksUser?: boolean }
  | Exclude<Item, Found>

function count(report: ImportReport, outcome: Outcome): void {
  report[outcome.as]++
  if (outcome.as !== 'unreadable') return
  report.problems[outcome.problem] = (report.problems[outcome.problem] ?? 0) + 1
}

function* chunks(sessions: readonly Found[]): Generator<readonly Found[]> {
  let chunk: Found[] = []
  let bytes = 0
  for (const session of sessions) {
    if (chunk.length === mostItems || (chunk.length > 0 && bytes + session.json.length > mostBytesAtOnce)) {
      yield chunk
      chunk = []
      bytes = 0
    }
    chunk.push(session)
    bytes += session.json.length
  }
  if (chunk.length > 0) yield chunk
}

function saveOf({ token, values, json, ttlSeconds }: Found, options: ImportOptions): SaveArguments {
  return {
    key: sessionKey(token),
    set: json,
    unset: [],
    ttlSeconds,
    version: 0,
    userId: userId(values, options.userPath),
    maxLength: options.maxLength,
    label: null,
    tags: null,
    lives: null,
    announce: false,
    relaxed: false,
    knownVersion: 0,
    lifetimeSeconds: options.lifetimeSeconds,
  }
}

async function saveAll(database: Database, saves: readonly SaveArguments[]): Promise<Outcome[]> {
  try {
    const results = await database.saveMany(saves)
    return await Promise.all(
      results.map(async (result, i) => outcome(result ?? (await database.save(saves[i] as SaveArguments)))),
    )
  } catch (error) {
    // One of them contains something that Postgres rejects: the others must not fail with it.
    const isRefused = error instanceof PGStoreError && /^(22|54)/.test(error.sqlState ?? '')
    if (!isRefused) throw error
    if (saves.length === 1) return [unreadable('a value that a session cannot store')]
    const outcomes: Outcome[] = []
    for (const save of saves) outcomes.push(...(await saveAll(database, [save])))
    return outcomes
  }
}

function outcome({ status }: SaveResult): Outcome {
  switch (status) {
    case 'saved':
      return { as: 'taken' }
    case 'conflict':
      return { as: 'alreadyThere' }
    case 'too_large':
      return { as: 'tooLarge' }
    default:
      return unreadable('a session that session_save rejects')
  }
}

/** What the import would do, without writing. */
async function rehearse(
  database: Database,
  sessions: readonly Found[],
  saves: readonly SaveArguments[],
  userPath: readonly string[],
): Promise<Outcome[]> {
  const rows = await database.getMany(saves.map(({ key }) => key))
  return saves.map(({ maxLength, userId: user }, i): Outcome => {
    const row = rows[i]
    if (row) return { as: 'alreadyThere', lacksUser: lacksUser(row, user, userPath) }
    const { json } = sessions[i] as Found
    const isTooLarge = maxLength > 0 && Buffer.byteLength(json) + spaces(readJson(json)) > maxLength
    return { as: isTooLarge ? 'tooLarge' : 'taken' }
  })
}

/** What Postgres' JSON text has in addition to ours: a space after each comma and colon. */
function spaces(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const inner = Object.values(value)
  const own = Array.isArray(value) ? inner.length - 1 : 2 * inner.length - 1
  return inner.reduce<number>((sum, item) => sum + spaces(item), Math.max(own, 0))
}
