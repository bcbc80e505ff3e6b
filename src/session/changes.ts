// What a save sends: the top-level keys that differ from what is stored, so that two requests that change different keys
// both keep their changes.

import { readJson } from '../database/read-json.ts'
import { PGStoreError } from '../errors.ts'
import { checkPlain, checkText, encodeJson, type Json, memberPath, printedBytes, sameJson } from './json.ts'

export interface Difference {
  /** JSON text of an object. */
  readonly set: string
  readonly unset: readonly string[]
  /** Whether there is anything to set or to unset. */
  readonly isData: boolean
  /** What is stored once these are saved. */
  readonly base: ReadonlyMap<string, Json>
}

/** What a save changes. */
export interface Changes extends Difference {
  /** null leaves the user as it is, '' clears it. */
  readonly userId: string | null
  /** JSON text; null leaves the label as it is, 'null' clears it. */
  readonly label: string | null
  /** null leaves the tags as they are. */
  readonly tags: readonly string[] | null
  /** JSON text: seconds by name, or null for as long as the session; null leaves all lives as they are. */
  readonly lives: string | null
  /** Whether there is nothing to save. */
  readonly isEmpty: boolean
}

/** The stored values by key, parsed again: a caller may have changed its copies deep inside. */
export function parseBase(data: string): ReadonlyMap<string, Json> {
  return new Map(Object.entries(readJson(data) as object))
}

/**
 * How `values` differ from what is stored.
 *
 * @param own a key reserved for the store, with its value: `values` is ignored for it
 * @param unsealed keys that count as changed whatever their value
 * @throws {PGStoreError} `invalid_value`, naming the path
 */
export function difference(
  base: ReadonlyMap<string, Json>,
  values: object,
  own?: readonly [name: string, value: Json | undefined],
  unsealed?: ReadonlySet<string>,
): Difference {
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw new PGStoreError('invalid_value', 'values must be an object.')
  }
  checkPlain(values, 'values')
  const next = new Map<string, Json>()
  const members: string[] = []
  const compare = (name: string, value: unknown) => {
    if (value === undefined) return
    const stored = base.get(name)
    if (stored !== undefined && !unsealed?.has(name) && sameJson(stored, value, name)) {
      next.set(name, stored)
      return
    }
    checkText(name, memberPath('values', name))
    const text = encodeJson(value, memberPath('values', name)) as string | undefined
    if (text === undefined) return
    next.set(name, readJson(text) as Json)
    members.push(`${JSON.stringify(name)}:${text}`)
  }
  for (const name of Object.keys(values)) {
    if (name !== own?.[0]) compare(name, (values as Record<string, unknown>)[name])
  }
  if (own) compare(...own)
  const unset = [...base.keys()].filter((name) => !next.has(name))
  return { set: `{${members.join()}}`, unset, isData: members.length > 0 || unset.length > 0, base: next }
}

/**
 * What to send for this user id: null leaves the stored one as it is, '' clears it.
 *
 * @throws {PGStoreError} `invalid_value`
 */
export function changedUserId(stored: string | null, userId: string | null | undefined): string | null {
  if ((userId ?? null) === stored) return null
  if (userId === undefined || userId === null) return ''
  if (typeof userId !== 'string' || userId === '' || Buffer.byteLength(userId) > 1024) {
    throw new PGStoreError('invalid_value', 'userId must be a string of 1 to 1024 bytes, or undefined.')
  }
  checkText(userId, 'userId')
  return userId
}

/** As valid_label measures it. */
const longestLabel = 512
const mostTags = 16
const longestTag = 255

/**
 * What to send for this label: null leaves the stored one as it is, 'null' clears it.
 *
 * @throws {PGStoreError} `invalid_value`
 */
export function changedLabel(stored: string | null, label: unknown): string | null {
  if (label === undefined || label === null) return stored === null ? null : 'null'
  if (stored !== null && sameJson(readJson(stored) as Json, label, 'label')) return null
  const text = encodeJson(label, 'label')
  if (typeof text !== 'string' || Buffer.byteLength(text) > longestLabel || printedBytes(text) > longestLabel) {
    throw new PGStoreError(
      'invalid_value',
      `label must be at most ${longestLabel} bytes of JSON as Postgres prints it, with a space after each colon and comma and without exponents.`,
    )
  }
  return text
}

/**
 * What to send for these tags: null leaves the stored ones as they are.
 *
 * @throws {PGStoreError} `invalid_value`
 */
export function changedTags(stored: string | null, tags: unknown): readonly string[] | null {
  const isTag = (tag: unknown) => typeof tag === 'string' && tag !== '' && Buffer.byteLength(tag) <= longestTag
  if (!Array.isArray(tags) || tags.length > mostTags || !tags.every(isTag)) {
    throw new PGStoreError(
      'invalid_value',
      `tags must be a list of at most ${mostTags} strings of 1 to ${longestTag} bytes.`,
    )
  }
  for (const tag of tags as string[]) checkText(tag, 'tags')
  return sameJson(readJson(stored ?? '[]') as Json, tags, 'tags') ? null : [...tags]
}

/** As valid_lives measures it. */
const longestLife = 3_155_760_000

/**
 * @param seconds that a value lives; null for as long as its session
 * @throws {PGStoreError} `invalid_option`
 */
export function checkLife(seconds: number | null): void {
  if (seconds === null || (typeof seconds === 'number' && seconds > 0 && seconds <= longestLife)) return
  throw new PGStoreError(
    'invalid_option',
    `expire: seconds must be a number of more than 0 and at most ${longestLife}, or null.`,
  )
}
