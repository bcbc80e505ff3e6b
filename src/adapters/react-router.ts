// `pgstore/react-router`: a SessionStorage for React Router and Remix. Not createSessionStorage's four callbacks: they get
// only an id and the whole data, so a late commit would overwrite what others saved, or revive an ended session.

import type {
  CookieSerializeOptions,
  RouterContext,
  Session as RouterSession,
  SessionData,
  SessionStorage,
} from 'react-router'
import type { SessionOptions } from '../cookie/cookie-options.ts'
import { PGStoreError } from '../errors.ts'
import { attachment } from '../session/attachment.ts'
import type { Session } from '../session/session.ts'
import type { PGStore } from '../store.ts'
import { EarlyHeaders } from './copied-response.ts'
import { type OpenedSession, openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/** React Router's session, with its user, for `store.list()` and `store.revoke()`. */
export interface PGSession<Data, FlashData = Data> extends RouterSession<Data, FlashData> {
  /** Set it at sign-in, before `regenerateSession`. A string of 1 to 1024 bytes. */
  userId: string | undefined
}

export interface PGSessionStorage<Data = SessionData, FlashData = Data> extends SessionStorage<Data, FlashData> {
  getSession: (cookieHeader?: string | null) => Promise<PGSession<Data, FlashData>>
  /**
   * Saves the keys that changed, and resolves to the Set-Cookie header: '' if there is none to set, which browsers ignore. Of the
   * options `maxAge`, or the time until `expires`, is stored with the session; the cookie's other attributes are set on the store,
   * and are accepted here where they are the same. A session that was ended elsewhere in the meantime is not saved, and is a new
   * one from here on.
   */
  commitSession: (session: RouterSession<Data, FlashData>, options?: CookieSerializeOptions) => Promise<string>
  /**
   * Ends the session, and resolves to the Set-Cookie header that deletes the cookie. It carries no `Clear-Site-Data`: where you
   * want one, add it to the same response yourself.
   */
  destroySession: (session: RouterSession<Data, FlashData>) => Promise<string>
  /**
   * Commits with a new token and invalidates the old one at once: use it instead of `commitSession` at sign-in and at every
   * change of privilege.
   *
   * @throws {PGStoreError} `gone` when another request regenerated or ended the session first
   */
  regenerateSession: (session: RouterSession<Data, FlashData>, options?: CookieSerializeOptions) => Promise<string>
}

/** To use instead of `createCookieSessionStorage()` and the like; the store signs the cookies. */
export function createPGSessionStorage<Data = SessionData, FlashData = Data>(
  store: PGStore<object>,
  options: RequestSessionOptions = {},
): PGSessionStorage<Data, FlashData> {
  const opened = attachment<{ own: OpenedSession<object>; session: Session<object>; headers: Headers }>()

  /** Does this with a pgstore session, and returns the cookie that was set on the way. */
  async function cookieOf(
    given: object,
    wanted: CookieSerializeOptions,
    work: (own: OpenedSession<object>, headers: Headers) => Promise<void>,
  ): Promise<string> {
    const found = opened.get(given)
    if (!found) throw new PGStoreError('invalid_option', 'This session does not come from getSession().')
    const { options: own } = found.session
    own.maxAge = maxAgeOf(wanted, own)
    await work(found.own, found.headers)
    return found.headers.getSetCookie()[0] ?? ''
  }

  return {
    async getSession(cookieHeader) {
      const headers = new Headers()
      const own = openSession(store, { headers: { cookie: cookieHeader ?? undefined } }, headers, options)
      const session = await own.session()
      const given = new KeyedSession(session)
      opened.set(given, { own, session, headers })
      return given as PGSession<Data, FlashData>
    },
    commitSession: (given, settings = {}) => cookieOf(given, settings, (own, headers) => own.finish(headers, 200)),
    destroySession: (given) => cookieOf(given, {}, (own) => own.session.destroy()),
    regenerateSession: (given, settings = {}) => cookieOf(given, settings, (own) => own.session.regenerate()),
  }
}

/**
 * The maxAge that these options ask for, or the session's own.
 *
 * @throws {PGStoreError} `invalid_option` for an attribute that the session's cookie does not have
 */
function maxAgeOf({ maxAge, expires, ...others }: CookieSerializeOptions, own: SessionOptions): number {
  for (const [name, value] of Object.entries(others)) {
    const wanted = name === 'sameSite' ? (value === true ? 'strict' : String(value).toLowerCase()) : value
    if (value === undefined || wanted === own[name as keyof SessionOptions]) continue
    throw new PGStoreError('invalid_option', `${name} cannot be set for one session: set it in the store's options.`)
  }
  if (maxAge !== undefined || expires === undefined) return maxAge ?? own.maxAge
  const seconds = Math.ceil((expires.getTime() - Date.now()) / 1000)
  return seconds <= 0 ? -1 : seconds
}

/** A middleware, and the key under which the session is in the router's context. */
export interface SessionMiddleware<Values extends object> {
  (
    args: {
      readonly request: Request
      readonly context: { set(key: RouterContext<RequestSession<Values>>, value: RequestSession<Values>): void }
    },
    next: () => Promise<unknown>,
  ): Promise<Response>
  readonly context: RouterContext<RequestSession<Values>>
}

/**
 * For React Router's middlewares: `export const middleware = [visitor]` with `visitor = sessions(store)`, then in loaders and
 * actions `const session = await context.get(visitor.context)()`. The session is saved with the response.
 */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): SessionMiddleware<Values> {
  const key: RouterContext<RequestSession<Values>> = {}
  const middleware = async (
    { request, context }: Parameters<SessionMiddleware<Values>>[0],
    next: () => Promise<unknown>,
  ) => {
    const answered = store.deviceBound(request)
    if (answered) return await answered
    const early = new EarlyHeaders()
    const { session, isRead, finish } = openSession(store, request, early, options)
    context.set(key, session)
    const response = (await next()) as Response
    early.headersSent = true
    if (!isRead()) return response
    const answer = early.addTo(response)
    await finish(answer, answer.status)
    return answer
  }
  return Object.assign(middleware, { context: key })
}

/** A session's values through React Router's methods. */
class KeyedSession {
  readonly #session: Session<Record<string, unknown>>

  constructor(session: Session<object>) {
    this.#session = session as Session<Record<string, unknown>>
  }

  get id(): string {
    return this.#session.id ?? ''
  }

  get userId(): string | undefined {
    return this.#session.userId
  }

  set userId(userId: string | undefined) {
    this.#session.userId = userId
  }

  get data(): object {
    return { ...this.#session.values }
  }

  has(name: string): boolean {
    return [name, flashName(name)].some((key) => Object.hasOwn(this.#session.values, key))
  }

  get(name: string): unknown {
    const { values } = this.#session
    if (Object.hasOwn(values, name)) return values[name]
    const flash = flashName(name)
    if (!Object.hasOwn(values, flash)) return undefined
    const value = values[flash]
    delete values[flash]
    return value
  }

  set(name: string, value: unknown): void {
    this.#session.values[name] = value
  }

  flash(name: string, value: unknown): void {
    this.#session.values[flashName(name)] = value
  }

  unset(name: string): void {
    delete this.#session.values[name]
  }
}

/** React Router's own key for a value that lasts until it is read, as `FlashSessionData` spells it. */
const flashName = (name: string): string => `__flash_${name}__`
