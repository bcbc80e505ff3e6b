// What of a session's data is the application's, and what is ours.

import { readJson } from '../database/read-json.ts'
import type { Json } from './json.ts'

/** Where a session's own maxAge is kept when it differs from the store's, so that a later request keeps to it. */
export const maxAgeKey = '_maxAge'

/** A session's values, out of what is stored. */
export function parseValues(data: string): object {
  const values = readJson(data) as Record<string, unknown>
  delete values[maxAgeKey]
  return values
}

/** What a session holds whose data nobody has looked at. */
export const notRead: ReadonlyMap<string, Json> = new Map()

export function parseJson(text: string | null | undefined): unknown {
  return text === null || text === undefined ? undefined : readJson(text)
}
