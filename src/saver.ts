// Saving a session and its cookie: what is written where, and when a save sets the cookie.

import { checkCookie } from './cookie/check-cookie.ts'
import type { Codec } from './cookie/codec.ts'
import { type RequestLike, readCookies } from './cookie/cookie-header.ts'
import { writeHint } from './cookie/hint.ts'
import { noteSecureCookie } from './cookie/plain-http.ts'
import {
  type ClearSiteDataDirective,
  checkCookiesOpen,
  checkHeadersOpen,
  clearSiteData,
  forbidCaching,
  type ResponseLike,
} from './cookie/response.ts'
import { deleteToken, signToken, writeToken } from './cookie/token-cookie.ts'
import { parseTime, type SessionDatabase, type SessionRow } from './database/row.ts'
import { PGStoreError, refuse, unknownNames } from './errors.ts'
import type { RegenerateOptions, SaveOptions } from './options.ts'
import { type Attachment, attachment } from './session/attachment.ts'
import { checkSession } from './session/check-session.ts'
import { checkDurability } from './session/durability.ts'
import { failure } from './session/failure.ts'
import { checkText } from './session/json.ts'
import { knownAfterTake, knownFrom } from './session/known.ts'
import { internals, type Session } from './session/session.ts'
import type { SessionChanges, Stored } from './session/stored.ts'
import { isAwaited } from './session/stored-session.ts'
import { newToken, sessionKey } from './session/token.ts'
import { maxAgeKey, parseJson } from './session/values.ts'
import type { ValuesSchema } from './session/values-schema.ts'
import type { WriteOptions, Writer } from './session/writer.ts'

/** A cookie without Max-Age ends with the browser, and we never learn when: its row lives one day. */
const browserSessionSeconds = 86400

export interface SaverSettings {
  readonly codecs: readonly Codec[]
  readonly cacheHeaders: boolean
  readonly clearSiteData: readonly ClearSiteDataDirective[]
  /** Where sessions are cached, changes are hinted at. */
  readonly cache: object | undefined
  readonly values: ValuesSchema | undefined
}

/** A misspelt `ifUnchanged` would let a counter be overwritten. */
const saveNames = { ifUnchanged: true, announce: true, durability: true } satisfies Record<keyof SaveOptions, true>

/** Saves sessions; saves of one session take turns, since two at once would create it twice. */
export class Saver {
  readonly #sessions: SessionDatabase
  readonly #writer: Writer
  readonly #settings: SaverSettings
  readonly #turns: Attachment<Promise<void>>

  /** @param shared the saver whose sessions this one may save too: they share their turns */
  constructor(sessions: SessionDatabase, writer: Writer, settings: SaverSettings, shared: Saver | undefined) {
    this.#sessions = sessions
    this.#writer = writer
    this.#settings = settings
    this.#turns = shared ? shared.#turns : attachment()
  }

  async save(req: RequestLike, res: ResponseLike, session: Session<object>, options: SaveOptions = {}): Promise<void> {
    refuse(unknownNames(options, saveNames).map((problem) => `save: ${problem}`))
    await this.#inTurn(session, () => this.#save(req, res, session, options))
  }

  async destroy(req: RequestLike, res: ResponseLike, session: Session<object>): Promise<void> {
    checkSession(session).options.maxAge = -1
    await this.save(req, res, session)
  }

  async regenerate(
    req: RequestLike,
    res: ResponseLike,
    session: Session<object>,
    options: RegenerateOptions = {},
  ): Promise<void> {
    await this.#inTurn(session, () => this.#regenerate(req, res, session, options))
  }

  /** Reads a value and removes it, at once. Returns undefined if there is none, or another request was faster. */
  async take(session: Session<object>, name: string): Promise<unknown> {
    return await this.#inTurn(session, () => this.#take(session, name))
  }

  async #inTurn<Result>(session: Session<object>, work: () => Promise<Result>): Promise<Result> {
    const turn = (this.#turns.get(checkSession(session)) ?? Promise.resolve()).then(work)
    this.#turns.set(
      session,
      turn.then(
        () => {},
        () => {}, // its caller gets the error; the next in turn does not
      ),
    )
    return await turn
  }

  async #save(req: RequestLike, res: ResponseLike, session: Session<object>, options: SaveOptions): Promise<void> {
    this.#begin(session, res)
    if (session.options.maxAge < 0) return await this.#destroy(req, res, session)
    const stored = internals.stored(session)
    const write = writeOptions(session, options)
    if (!stored) return await this.#create(req, res, session, write)
    const { known } = stored
    const changes = internals.changes(session, known.row.unsealed)
    if (this.#settings.values) await this.#settings.values.checkSaved(changes)
    const isCookieDue = this.#isCookieDue(session, stored, write)
    // A write sets the cookie if it is a touch, or if the cookie changes: a user's lives longer than an anonymous visitor's.
    const isCookieNews = changes.isEmpty
      ? this.#writer.isTouchDue(known, write)
      : changes.isMaxAge ||
        changes.userId !== null ||
        stored.cookie?.signedAt === undefined ||
        internals.hasOwnAttributes(session)
    const isHintDue = stored.isHintDue || !changes.isEmpty
    if (isCookieDue || isCookieNews || (isHintDue && this.#settings.cache)) checkCookiesOpen(res)
    if (changes.isEmpty && !isCookieDue && !isCookieNews) return this.#hint(res, session, isHintDue)
    const cookie = isCookieDue || isCookieNews ? this.#sign(session, known.token) : undefined
    const plain = () => internals.changes(session)
    // The cookie that came may be dead by now: another request's regenerate has sent the browser its successor.
    const mustLive = isCookieDue && stored.cookie !== undefined
    const merge = { changes, plain, mustLive, ifUnchanged: options.ifUnchanged }
    const written = await this.#writer.merge(known, merge, write)
    if (written === undefined) throw this.#gone(session)
    if (written === 'conflict') throw await this.#conflict(session, stored)
    const { isWritten } = written
    if (isWritten) internals.saved(session, { known: written.known, cookie: stored.cookie }, written.changes)
    // Before anything else can fail: the visitor must get the cookie for what is stored.
    if (cookie !== undefined && (isWritten || !stored.cookie))
      this.#writeCookie(req, res, session, cookie, written.known.row)
    this.#hint(res, session, stored.isHintDue || (isWritten && !written.changes.isEmpty))
    if (isWritten) await this.#writer.limit(written.known, written.changes)
  }

  async #take(session: Session<object>, name: string): Promise<unknown> {
    checkText(name, 'name')
    const stored = internals.stored(session)
    if (!stored || name === maxAgeKey) return undefined
    const text = await this.#sessions.take(sessionKey(stored.known.token), name)
    // Taken by another request, it is not there any more either.
    const after = text === undefined ? stored : { ...stored, known: knownAfterTake(stored.known), isHintDue: true }
    internals.taken(session, after, name)
    return parseJson(text)
  }

  async #create(req: RequestLike, res: ResponseLike, session: Session<object>, write: WriteOptions): Promise<void> {
    const changes = internals.changes(session)
    if (changes.isEmpty || (isAwaited(session) && changes.userId === null)) return
    checkCookiesOpen(res)
    if (this.#settings.values) await this.#settings.values.checkSaved(changes)
    const token = newToken()
    const cookie = this.#sign(session, token)
    const known = await this.#writer.create(token, changes, write)
    if (!known) throw failure('session_save', { status: 'conflict' })
    internals.saved(session, { known, cookie: undefined }, changes)
    this.#writeCookie(req, res, session, cookie, known.row)
    await this.#writer.limit(known, changes)
  }

  async #destroy(req: RequestLike, res: ResponseLike, session: Session<object>): Promise<void> {
    const stored = internals.stored(session)
    // A visitor who never had a session has no cookie to delete.
    const hasCookie = stored !== undefined || readCookies(req, session.name).length > 0
    if (hasCookie) checkCookiesOpen(res)
    if (stored) await this.#writer.end(stored.known.token, stored.known.row.id)
    const options = { ...session.options }
    internals.ended(session)
    if (!hasCookie) return
    deleteToken(res, session.name, options)
    clearSiteData(res, this.#settings.clearSiteData)
  }

  async #regenerate(
    req: RequestLike,
    res: ResponseLike,
    session: Session<object>,
    { signIn = false }: RegenerateOptions,
  ): Promise<void> {
    const stored = internals.stored(session)
    if (!stored || session.options.maxAge < 0) return await this.#save(req, res, session, {})
    this.#begin(session, res)
    checkCookiesOpen(res)
    const changes = signingIn(session, internals.changes(session), signIn)
    if (this.#settings.values) await this.#settings.values.checkSaved(changes)
    const token = this.#writer.nextToken(stored.known)
    const cookie = this.#sign(session, token)
    const known = await this.#writer.move(stored.known, token, changes, writeOptions(session))
    if (!known) throw this.#gone(session)
    internals.saved(session, { known, cookie: undefined }, changes)
    this.#writeCookie(req, res, session, cookie, known.row)
    await this.#writer.limit(known, changes)
  }

  #begin(session: Session<object>, res: ResponseLike): void {
    checkHeadersOpen(res)
    checkCookie(session, this.#settings.cache !== undefined)
    if (this.#settings.cacheHeaders) forbidCaching(res)
  }

  /**
   * Whether the visitor needs a new cookie whatever is saved: the request did not bring this session's cookie, or brought one
   * that an older key signed, or one as old as a visit may go unrecorded.
   */
  #isCookieDue({ options }: Session<object>, { cookie, known }: Stored, write: WriteOptions): boolean {
    if (!cookie) return true
    const { isOutdated, signedAt } = cookie
    if (!isOutdated && (signedAt === undefined || options.maxAge === 0)) return false
    const isOld = isOutdated || Math.abs(Date.now() - Number(signedAt)) >= this.#writer.grain(write) * 1000
    return isOld && (known.mayRenew?.() ?? true)
  }

  #hint(res: ResponseLike, { name, options }: Session<object>, isDue: boolean | undefined): void {
    if (isDue && this.#settings.cache) writeHint(res, name, options)
  }

  #sign(session: Session<object>, token: string): string {
    return signToken(session.name, token, this.#settings.codecs)
  }

  #writeCookie(req: RequestLike, res: ResponseLike, session: Session<object>, cookie: string, row: SessionRow): void {
    noteSecureCookie(req, session.options)
    const { maxAge } = session.options
    const late = maxAge > 0 ? this.#writer.touchAfter(maxAge) : 0
    const remaining = (parseTime(row.expiresAt) - parseTime(row.now)) / 1000
    writeToken(res, session.name, cookie, { ...session.options, maxAge: maxAge + late }, remaining)
  }

  /** Loads the current state into the session. */
  async #conflict(session: Session<object>, { known, cookie }: Stored): Promise<PGStoreError> {
    // Not from the save's result: it lacks the user id, which may have changed too.
    const row = await this.#sessions.get(sessionKey(known.token))
    if (!row) return this.#gone(session)
    internals.load(session, { known: knownFrom(known.token, row), cookie })
    await this.#settings.values?.read(session)
    return new PGStoreError(
      'conflict',
      'Another request saved this session first; the session now holds the values it saved.',
    )
  }

  /** The cookie is left alone: the visitor may have signed in meanwhile, and this response would delete the new one. */
  #gone(session: Session<object>): PGStoreError {
    internals.ended(session)
    return failure('session_save', { status: 'gone' })
  }
}

function writeOptions({ options, userId }: Session<object>, { announce, durability }: SaveOptions = {}): WriteOptions {
  const maxAge = options.maxAge === 0 ? browserSessionSeconds : options.maxAge
  return { maxAge, userId, announce, durability: checkDurability(durability) }
}

/** The user is sent, so that it counts as a sign-in, if it changed or `signIn` asks for it. */
function signingIn(session: Session<object>, changes: SessionChanges, signIn: boolean): SessionChanges {
  return signIn && changes.userId === null && session.userId !== undefined
    ? { ...changes, userId: session.userId }
    : changes
}
