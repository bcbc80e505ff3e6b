// Which of a session's data belongs to the application, and which to the store.

import { readJson } from '../database/read-json.ts'
import type { Json } from './json.ts'
import type { SessionChanges } from './stored.ts'

/** Where a session's own maxAge is stored if it differs from the store's, so that later requests use it. */
export const maxAgeKey = '_maxAge'

/** A session's values, from what is stored. */
export function parseValues(data: string): object {
  const values = readJson(data) as Record<string, unknown>
  delete values[maxAgeKey]
  return values
}

/** Whether there is anything to store. */
export function hasContent(values: Readonly<Record<string, unknown>>): boolean {
  const isValue = (name: string) => name !== maxAgeKey && values[name] !== undefined
  return Object.keys(values ?? {}).some(isValue)
}

/** The values of a session whose data has not been accessed. */
const notRead: ReadonlyMap<string, Json> = new Map()

export function parseJson(text: string | null | undefined): unknown {
  return text === null || text === undefined ? undefined : readJson(text)
}

/** The changes of a session whose data has not been accessed, each by its name: a spread is dear here. */
export function unread(
  userId: SessionChanges['userId'],
  label: SessionChanges['label'],
  tags: SessionChanges['tags'],
  lives: SessionChanges['lives'],
  isEmpty: boolean,
): SessionChanges {
  return { set: '{}', unset: [], isData: false, base: notRead, userId, label, tags, lives, isEmpty, isMaxAge: false }
}
