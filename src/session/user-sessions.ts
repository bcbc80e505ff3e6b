// A user's sessions, for a page of devices.

import type { Held } from '../cache/doubts.ts'
import type { SessionCache } from '../cache/session-cache.ts'
import { readJson } from '../database/read-json.ts'
import { parseTime } from '../database/row.ts'
import type { Database } from '../database/session-functions.ts'
import { PGStoreError, refuse, unknownNames } from '../errors.ts'
import { checkSession } from './check-session.ts'
import { checkText } from './json.ts'
import { internals, type Session } from './session.ts'
import { sessionKey } from './token.ts'
import { parseValues } from './values.ts'

/** One of a user's sessions, as `store.list()` shows it. */
export interface ListedSession<Values extends object = Record<string, unknown>> {
  /** For `store.revoke()`; not secret. */
  readonly id: string
  readonly userId: string
  /**
   * Empty unless `data` asks for them, and always with the option `seal`: values open only with the key of their session, which
   * is not listed.
   */
  readonly values: Values
  readonly version: number
  readonly createdAt: Date
  /** When its data, user, label or tags last changed. */
  readonly updatedAt: Date
  readonly expiresAt: Date
  /** When it was last saved or touched. */
  readonly seenAt: Date
  readonly signedInAt: Date | undefined
  readonly label: unknown
  readonly tags: readonly string[]
}

export interface ListOptions {
  /** Read the sessions' values too. Default: false: a page of devices shows the label. */
  readonly data?: boolean
}

export interface RevokeTagOptions {
  /**
   * The session to spare, even if another request has regenerated it since; or its token if a framework keeps the cookie itself.
   * Default: spare none.
   */
  readonly except?: Session<object> | string
  /** The reason, at most 50 characters, for listeners to the events. Default: 'revoked'. */
  readonly reason?: string
  /** Who ends them, such as an administrator's id, at most 255 characters, for the history. Default: nobody is named. */
  readonly actor?: string
}

export interface RevokeOptions extends RevokeTagOptions {
  /** Only the session with this number. Default: all. */
  readonly id?: string | number | bigint
  /**
   * All but this one: "sign out everywhere else", even if another request has regenerated it since; its token if a framework keeps
   * the cookie itself. A session that is not saved yet spares none. Default: spare none.
   */
  readonly except?: Session<object> | string
}

export interface EndAllOptions {
  /** Sessions that began, or last signed in, before this. A time to come is now. Default: now. */
  readonly before?: Date
  /** Only those that carry this tag: also who is given it later, without a new sign-in, as long as the mark is kept. Default: all. */
  readonly tag?: string
  /** Only this user's. Default: everybody's. */
  readonly userId?: string
}

const revokeTagNames = { except: true, reason: true, actor: true } satisfies Record<keyof RevokeTagOptions, true>
const endAllNames = { before: true, tag: true, userId: true } satisfies Record<keyof EndAllOptions, true>
const revokeNames = { id: true, ...revokeTagNames } satisfies Record<keyof RevokeOptions, true>

/** Lists and ends the sessions of a user, and ends those of a tag. */
export class UserSessions {
  readonly #database: Database
  readonly #isSealed: boolean
  readonly #cache: SessionCache | undefined
  readonly #isUncommitted: boolean

  /** @param isUncommitted the database is one client, whose transaction the caller commits, later or never */
  constructor(database: Database, isSealed: boolean, cache: SessionCache | undefined, isUncommitted: boolean) {
    this.#database = database
    this.#isSealed = isSealed
    this.#cache = cache
    this.#isUncommitted = isUncommitted
  }

  async list<Values extends object>(userId: string, { data = false }: ListOptions): Promise<ListedSession<Values>[]> {
    checkText(userId, 'userId')
    const withData = data && !this.#isSealed
    const rows = await this.#database.list(userId, withData)
    const date = (time: string) => new Date(parseTime(time))
    return rows.map((row) => ({
      id: row.id,
      userId,
      values: parseValues(row.data) as Values,
      version: row.version,
      createdAt: date(row.createdAt),
      updatedAt: date(row.updatedAt),
      expiresAt: date(row.expiresAt),
      seenAt: date(row.seenAt),
      signedInAt: row.signedInAt === null ? undefined : date(row.signedInAt),
      label: row.label === null ? undefined : readJson(row.label),
      tags: row.tags === null ? [] : (readJson(row.tags) as string[]),
    }))
  }

  async revoke(userId: string, options: RevokeOptions): Promise<number> {
    checkText(userId, 'userId')
    checkGiven('revoke', options, revokeNames)
    const { id, except, reason, actor } = options
    if (id !== undefined && !/^\d{1,18}$/.test(String(id))) return 0 // no session has such a number
    try {
      const number = id === undefined ? null : String(id)
      return await this.#database.revoke(userId, number, keyOf(except), reason ?? null, actor ?? null)
    } finally {
      if (id === undefined) this.#ended(`user ${userId}`)
      else this.#ended(`id ${BigInt(id)}`)
    }
  }

  async revokeTag(tag: string, options: RevokeTagOptions): Promise<number> {
    checkText(tag, 'tag')
    checkGiven('revokeTag', options, revokeTagNames)
    try {
      return await this.#database.revokeTag(tag, keyOf(options.except), options.reason ?? null, options.actor ?? null)
    } finally {
      this.#ended('tags')
    }
  }

  async endAll(options: EndAllOptions): Promise<Date> {
    checkGiven('endAll', options, endAllNames)
    const { before, tag, userId } = options
    if (tag !== undefined && userId !== undefined) {
      throw new PGStoreError('invalid_option', 'endAll: give tag or userId, not both.')
    }
    if (before !== undefined && !(before instanceof Date && Number.isFinite(before.getTime()))) {
      throw new PGStoreError('invalid_option', 'endAll: before must be a valid Date.')
    }
    for (const [name, value] of Object.entries({ tag, userId })) {
      if (value === undefined) continue
      checkText(value, name)
      if (value === '') throw new PGStoreError('invalid_option', `endAll: ${name} is empty; leave it out to end all.`)
    }
    const scope = tag !== undefined ? `tag:${tag}` : userId !== undefined ? `user:${userId}` : 'all'
    // Years that Postgres would not read as ISO 8601 are before all sessions, or to come.
    const time = before && new Date(Math.min(Math.max(before.getTime(), 0), 4e12))
    try {
      const mark = await this.#database.endBefore(scope, time ?? null)
      if (mark) return mark
    } finally {
      this.#ended(tag !== undefined ? 'tags' : userId !== undefined ? `user ${userId}` : 'all')
    }
    throw new PGStoreError('invalid_option', 'endAll: the tag or the user id is longer than 1024 bytes.')
  }

  /** What the cache has may be older than the user, or the tags, by which they were ended. */
  #ended(whose: Held): void {
    if (!this.#cache) return
    if (whose.startsWith('id ')) this.#cache.session(whose.slice(3))
    else this.#cache.sessions()
    if (this.#isUncommitted) this.#cache.hold(whose)
  }
}

/** What is not understood must not end more than was meant: an id in place of the options, or a misspelt name, would end all. */
function checkGiven(method: string, options: object, names: object): void {
  if (!isPlain(options)) {
    throw new PGStoreError(
      'invalid_option',
      `${method}: it takes a plain object of options: { ${Object.keys(names)[0]} }.`,
    )
  }
  refuse(unknownNames(options, names).map((problem) => `${method}: ${problem}`))
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null) {
      throw new PGStoreError('invalid_option', `${method}: ${name} is ${value}; leave it out to end all.`)
    }
  }
  const { reason, actor } = options as { readonly reason?: unknown; readonly actor?: unknown }
  checkWord(method, 'reason', reason, 50)
  checkWord(method, 'actor', actor, 255)
}

/** A Date or a Map has no names of its own that could be misspelt. */
function isPlain(options: unknown): boolean {
  if (typeof options !== 'object' || options === null) return false
  const prototype: unknown = Object.getPrototypeOf(options)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function checkWord(method: string, name: string, word: unknown, most: number): void {
  if (word === undefined) return
  if (typeof word !== 'string' || word === '' || word.length > most) {
    throw new PGStoreError('invalid_option', `${method}: ${name} must be a string of 1 to ${most} characters.`)
  }
  checkText(word, name)
}

function keyOf(except: Session<object> | string | undefined): Buffer | null {
  const token = typeof except === 'string' ? except : except && internals.stored(checkSession(except))?.known.token
  return token === undefined ? null : sessionKey(token)
}
