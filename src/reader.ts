// From a request's cookies to its session.

import type { BoundCheck } from './bound/bound-check.ts'
import { checkCookie } from './cookie/check-cookie.ts'
import type { Codec } from './cookie/codec.ts'
import type { RequestLike } from './cookie/cookie-header.ts'
import type { SessionOptions } from './cookie/cookie-options.ts'
import type { Refusals } from './cookie/refusals.ts'
import { type ReadToken, readTokens } from './cookie/token-cookie.ts'
import type { SessionDatabase, SessionRow } from './database/row.ts'
import type { TracedSessions } from './database/traced-sessions.ts'
import { knownFrom } from './session/known.ts'
import type { SealedDatabase } from './session/seal.ts'
import { internals, Session } from './session/session.ts'
import { noteAwaited, noteBound } from './session/stored-session.ts'
import { sessionKey } from './session/token.ts'

type Owner<Values extends object> = ConstructorParameters<typeof Session<Values>>[0]

export class Reader {
  readonly #database: TracedSessions
  readonly #sessions: SessionDatabase
  readonly #sealed: SealedDatabase | undefined
  readonly #codecs: readonly Codec[]
  readonly #refusals: Refusals
  readonly #hasHints: boolean
  /** undefined where sessions are not bound to devices. */
  protected readonly bound: BoundCheck | undefined
  /** Options, and the cookie names that are valid with them. */
  #checked: { readonly options: SessionOptions; readonly names: Set<string> } | undefined

  /**
   * @param sessions the database, through the seal if there is one
   * @param sealed that seal
   * @param hasHints whether hints stand beside the sessions' cookies, under names of their own
   * @param bound where sessions may be bound to devices
   */
  constructor(
    database: TracedSessions,
    sessions: SessionDatabase,
    sealed: SealedDatabase | undefined,
    codecs: readonly Codec[],
    refusals: Refusals,
    hasHints: boolean,
    bound: BoundCheck | undefined,
  ) {
    this.#database = database
    this.#sessions = sessions
    this.#sealed = sealed
    this.#codecs = codecs
    this.#refusals = refusals
    this.#hasHints = hasHints
    this.bound = bound
  }

  /** @param owner the store that the session's `save()` calls */
  async read<Values extends object>(
    owner: Owner<Values>,
    req: RequestLike,
    name: string,
    options: SessionOptions,
  ): Promise<Session<Values>> {
    this.checkName(name, options)
    const tokens = readTokens(req, name, this.#codecs, this.#refusals)
    let read = tokens[0]
    let row: SessionRow | undefined
    if (tokens.length > 1) {
      const live = await this.#firstLive(tokens, name)
      read = live?.read
      row = live?.row
    } else if (read) {
      row = await this.#sessions.get(sessionKey(read.token))
      if (!row) this.#refusals.add(name, 'not_live')
    }
    const verdict =
      this.bound && row?.bound && read ? await this.bound.judge(req, name, sessionKey(read.token), row) : undefined
    if (verdict === 'refused' || verdict === 'awaited') {
      this.#refusals.add(name, 'unbound')
      row = undefined
    }
    // Created only once there is something to hold: garbage collection copies whatever waits with a request.
    const session = new Session<Values>(owner, name, options)
    if (read && row) {
      internals.load(session, { known: knownFrom(read.token, row), cookie: read })
      if (verdict === 'bound') noteBound(session)
    }
    if (verdict === 'awaited') noteAwaited(session)
    return session
  }

  protected checkName(name: string, options: SessionOptions): void {
    if (this.#checked?.options !== options) this.#checked = { options, names: new Set() }
    const { names } = this.#checked
    if (names.has(name)) return
    checkCookie({ name, options }, this.#hasHints)
    names.add(name)
  }

  /**
   * The first of these tokens with a live session, found by one call for all of them. Taking simply the first would fail: a
   * browser keeps sending a cookie whose session has ended, before the one from the next sign-in.
   */
  async #firstLive(
    tokens: readonly ReadToken[],
    name: string,
  ): Promise<{ readonly read: ReadToken; readonly row: SessionRow } | undefined> {
    const keys = tokens.map(({ token }) => sessionKey(token))
    const rows = await this.#database.getMany(keys)
    for (const [index, key] of keys.entries()) {
      const row = rows[index]
      if (row) return { read: tokens[index] as ReadToken, row: this.#sealed?.open(key, row) ?? row }
      this.#refusals.add(name, 'not_live')
    }
    return undefined
  }
}
