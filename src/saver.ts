// From a session's changes to its row and its cookie: one call of the database, whose status decides.

import type { Codec } from './cookie/codec.ts'
import { type RequestLike, readCookies } from './cookie/cookie-header.ts'
import { cookieNameProblems, cookieOptionProblems } from './cookie/cookie-options.ts'
import {
  type ClearSiteDataDirective,
  checkHeadersOpen,
  clearSiteData,
  forbidCaching,
  type ResponseLike,
} from './cookie/response.ts'
import { deleteToken, signToken, writeToken } from './cookie/token-cookie.ts'
import type { SaveArguments, SaveResult, SessionDatabase, SessionRow } from './database/row.ts'
import { parseTime } from './database/row.ts'
import { PGStoreError } from './errors.ts'
import { type Attachment, attachment } from './session/attachment.ts'
import { type Changes, internals, type Session } from './session/session.ts'
import { newToken, sessionKey } from './session/token.ts'

/** A cookie without Max-Age ends with the browser, which nobody tells us: its row lives one day. */
const browserSessionSeconds = 86400

export interface SaverSettings {
  readonly codecs: readonly Codec[]
  readonly lifetime: number | null
  readonly maxLength: number
  readonly anonymousMaxAge: number | null
  readonly sessionsPerUser: number | null
  readonly cacheHeaders: boolean
  readonly clearSiteData: readonly ClearSiteDataDirective[]
}

export interface SaveOptions {
  /**
   * Save only if nobody else has saved since this session was read; otherwise the session takes what is there now and the save
   * fails with `conflict`: change it again and save again. For counters, carts and whatever must not be merged. Default: false.
   */
  readonly ifUnchanged?: boolean
  /**
   * Leave the cookie as it is where the session is found `gone`. If another request regenerated it meanwhile, the browser may
   * hold the new cookie by now, which this response would delete; the middlewares of this package save so. Default: false.
   */
  readonly keepCookieIfGone?: boolean
}

/** Saves sessions; those of one session take turns, since two at once would create it twice. */
export class Saver {
  readonly #database: SessionDatabase
  readonly #settings: SaverSettings
  readonly #turns: Attachment<Promise<void>>
  maxLength: number

  /** @param turns shared by the savers that may save the same session */
  constructor(database: SessionDatabase, settings: SaverSettings, turns: Saver | undefined) {
    this.#database = database
    this.#settings = settings
    this.maxLength = settings.maxLength
    this.#turns = turns ? turns.#turns : attachment()
  }

  async save(req: RequestLike, res: ResponseLike, session: Session<object>, options: SaveOptions = {}): Promise<void> {
    await this.#inTurn(session, () => this.#save(req, res, session, options))
  }

  async regenerate(req: RequestLike, res: ResponseLike, session: Session<object>): Promise<void> {
    await this.#inTurn(session, () => this.#regenerate(req, res, session))
  }

  async #inTurn(session: Session<object>, work: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(session) ?? Promise.resolve()).then(work)
    this.#turns.set(
      session,
      turn.catch(() => {}), // the caller hears of it; the next in turn does not
    )
    await turn
  }

  async #save(req: RequestLike, res: ResponseLike, session: Session<object>, options: SaveOptions): Promise<void> {
    const { ifUnchanged = false, keepCookieIfGone = false } = options
    this.#begin(session, res)
    if (session.options.maxAge < 0) return await this.#destroy(req, res, session)
    const stored = internals.stored(session)
    if (!stored) return await this.#create(res, session, internals.changes(session))
    // Outdated values are old news where somebody else saves in between: theirs counts then.
    const renews = stored.row.outdated !== undefined && stored.row.outdated.size > 0
    let changes = internals.changes(session, renews)
    if (changes.isEmpty && !this.#isTouchDue(session)) {
      if (stored.isOutdated) this.#writeCookie(res, session, this.#sign(session, stored.token))
      return
    }
    const cookie = this.#sign(session, stored.token)
    const key = sessionKey(stored.token)
    const version = ifUnchanged || renews ? stored.seenVersion : null
    let result = await this.#database.save(this.#arguments(key, session, changes, version))
    if (result.status === 'conflict' && !ifUnchanged) {
      changes = internals.changes(session)
      result = await this.#database.save(this.#arguments(key, session, changes, null))
    }
    switch (result.status) {
      case 'saved':
        internals.saved(session, stored.token, changes, result)
        await this.#limitUser(changes)
        return this.#writeCookie(res, session, cookie)
      case 'gone':
        throw this.#gone(keepCookieIfGone ? undefined : res, session)
      case 'conflict': {
        // Not from the result: it lacks the user id, which may have changed too.
        const row = await this.#database.get(key)
        if (!row) throw this.#gone(keepCookieIfGone ? undefined : res, session)
        internals.load(session, { ...stored, row, seenVersion: row.version })
        throw new PGStoreError('conflict', 'Somebody else saved this session first; it now holds what they saved.')
      }
      default:
        throw unexpected('session_save', result)
    }
  }

  async #create(res: ResponseLike, session: Session<object>, changes: Changes): Promise<void> {
    if (changes.isEmpty) return
    const token = newToken()
    const cookie = this.#sign(session, token)
    const result = await this.#database.save(this.#arguments(sessionKey(token), session, changes, 0))
    if (result.status !== 'saved') throw unexpected('session_save', result)
    internals.saved(session, token, changes, result)
    await this.#limitUser(changes)
    this.#writeCookie(res, session, cookie)
  }

  async #destroy(req: RequestLike, res: ResponseLike, session: Session<object>): Promise<void> {
    const stored = internals.stored(session)
    if (stored) await this.#database.destroy(sessionKey(stored.token))
    const options = { ...session.options }
    internals.ended(session)
    // A visitor who never had a session has no cookie to delete.
    if (!stored && readCookies(req, session.name).length === 0) return
    deleteToken(res, session.name, options)
    clearSiteData(res, this.#settings.clearSiteData)
  }

  async #regenerate(req: RequestLike, res: ResponseLike, session: Session<object>): Promise<void> {
    const stored = internals.stored(session)
    if (!stored || session.options.maxAge < 0) return await this.#save(req, res, session, {})
    this.#begin(session, res)
    const changes = internals.changes(session)
    const oldKey = sessionKey(stored.token)
    const token = newToken(oldKey)
    const cookie = this.#sign(session, token)
    const save = this.#arguments(oldKey, session, changes, null)
    const result = await this.#database.regenerate(save, sessionKey(token))
    if (result.status === 'gone') throw this.#gone(res, session)
    if (result.status !== 'saved') throw unexpected('session_regenerate', result)
    internals.saved(session, token, changes, result)
    await this.#limitUser(changes)
    this.#writeCookie(res, session, cookie)
  }

  #begin(session: Session<object>, res: ResponseLike): void {
    checkHeadersOpen(res)
    checkCookie(session)
    if (this.#settings.cacheHeaders) forbidCaching(res)
  }

  /** After a sign-in: the session that has just been saved is the newest. */
  async #limitUser({ userId }: Changes): Promise<void> {
    const { sessionsPerUser } = this.#settings
    if (sessionsPerUser !== null && userId) await this.#database.limit(userId, sessionsPerUser)
  }

  #arguments(key: Buffer, session: Session<object>, changes: Changes, version: number | null): SaveArguments {
    return {
      key,
      set: changes.set,
      unset: changes.unset,
      ttlSeconds: this.#ttlSeconds(session),
      version,
      userId: changes.userId,
      maxLength: this.maxLength,
      lifetimeSeconds: this.#settings.lifetime,
    }
  }

  #isTouchDue(session: Session<object>): boolean {
    const row = internals.stored(session)?.row
    return row !== undefined && isTouchDue(row, this.#ttlSeconds(session), this.#settings.lifetime)
  }

  #sign(session: Session<object>, token: string): string {
    return signToken(session.name, token, this.#settings.codecs)
  }

  #writeCookie(res: ResponseLike, session: Session<object>, cookie: string): void {
    const stored = internals.stored(session)
    if (!stored) return
    const remainingSeconds = (parseTime(stored.row.expiresAt) - parseTime(stored.row.now)) / 1000
    writeToken(res, session.name, cookie, session.options, remainingSeconds)
  }

  #ttlSeconds({ options, userId }: Session<object>): number {
    const ttl = options.maxAge === 0 ? browserSessionSeconds : options.maxAge
    return userId === undefined ? Math.min(ttl, this.#settings.anonymousMaxAge ?? ttl) : ttl
  }

  /** @param res is told to delete the cookie; undefined to leave it alone */
  #gone(res: ResponseLike | undefined, session: Session<object>): PGStoreError {
    const options = { ...session.options }
    internals.ended(session)
    if (res) deleteToken(res, session.name, options)
    return unexpected('session_save', { status: 'gone' })
  }
}

/** Whether a tenth of the ttl has passed since the expiry was last set: then, and not at every visit, it is worth a write. */
export function isTouchDue(row: SessionRow, ttlSeconds: number, lifetimeSeconds: number | null): boolean {
  const ttl = ttlSeconds * 1000
  const lifetime = (lifetimeSeconds ?? Number.POSITIVE_INFINITY) * 1000
  const latest = Math.min(parseTime(row.now) + ttl, parseTime(row.createdAt) + lifetime)
  return latest - parseTime(row.expiresAt) >= ttl / 10
}

/** @throws {PGStoreError} `invalid_option` for a name that is no cookie name, or options that browsers would refuse for it */
export function checkCookie({ name, options }: Pick<Session<object>, 'name' | 'options'>): void {
  const problems = [...cookieNameProblems(name, options), ...cookieOptionProblems(options)]
  if (problems.length > 0) throw new PGStoreError('invalid_option', `${problems.join('; ')}.`)
}

/** The error for a status that is neither saved nor a conflict that the caller asked about. */
export function unexpected(operation: string, { status }: Pick<SaveResult, 'status'>): PGStoreError {
  if (status === 'gone') {
    return new PGStoreError('gone', 'The session was ended elsewhere or has expired: nothing was saved.')
  }
  if (status === 'too_large') {
    return new PGStoreError('too_large', 'The session would exceed maxLength: nothing was saved.')
  }
  if (status === 'conflict' && operation === 'session_regenerate') {
    return new PGStoreError('conflict', 'Others save this session all the time: it was not regenerated.')
  }
  if (status === 'invalid') return new PGStoreError('invalid_value', `${operation} refused its arguments.`)
  return new PGStoreError('database', `${operation}: ${status}`) // a key drawn twice
}
