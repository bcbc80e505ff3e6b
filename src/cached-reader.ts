// From a request's cookies to its session, by way of the cache.
import type { BoundCheck } from './bound/bound-check.ts'
import type { Filled, SessionCache } from './cache/session-cache.ts'
import { type Codec, SecureCookie } from './cookie/codec.ts'
import { type RequestLike, readCookies } from './cookie/cookie-header.ts'
import type { SessionOptions } from './cookie/cookie-options.ts'
import { hintName, readHint } from './cookie/hint.ts'
import type { Refusals } from './cookie/refusals.ts'
import { readTokens } from './cookie/token-cookie.ts'
import type { SessionDatabase } from './database/row.ts'
import type { TracedSessions } from './database/traced-sessions.ts'
import { Reader } from './reader.ts'
import { CachedKnown, type CachedSessions } from './session/cached-sessions.ts'
import type { SealedDatabase } from './session/seal.ts'
import { internals, Session } from './session/session.ts'
import type { CarriedCookie } from './session/stored.ts'
import { noteBound } from './session/stored-session.ts'
import { sessionKey } from './session/token.ts'

type Owner<Values extends object> = ConstructorParameters<typeof Session<Values>>[0]

/** `read` goes past the cache, as it does without one. */
export class CachedReader extends Reader {
  readonly #cached: CachedSessions
  readonly #cache: SessionCache
  readonly #codecs: readonly Codec[]
  readonly #refusals: Refusals
  readonly #hintNames = new Map<string, string>()

  constructor(
    database: TracedSessions,
    sessions: SessionDatabase,
    sealed: SealedDatabase | undefined,
    codecs: readonly Codec[],
    refusals: Refusals,
    cached: CachedSessions,
    bound: BoundCheck | undefined,
  ) {
    super(database, sessions, sealed, codecs, refusals, true, bound)
    this.#cached = cached
    this.#cache = cached.cache
    this.#codecs = codecs
    this.#refusals = refusals
  }

  /** @param owner whose session it is to be: its `save()` goes there */
  async readCached<Values extends object>(
    owner: Owner<Values>,
    req: RequestLike,
    name: string,
    options: SessionOptions,
  ): Promise<Session<Values>> {
    this.checkName(name, options)
    const cookies = readCookies(req, name)
    const [cookie] = cookies
    if (cookie === undefined) return new Session<Values>(owner, name, options)
    const hint = readHint(req, this.#hintName(name))
    // Of several, the first whose session lives counts: what happens to be cached must not decide.
    if (cookies.length > 1 || hint === null) {
      this.#cache.counts.bypass('several')
      return await this.read(owner, req, name, options)
    }
    const isOpen = this.#cache.isOpen()
    if (isOpen !== true && !(await isOpen)) return await this.read(owner, req, name, options)
    const digest = this.#cache.digest(name, '=', cookie)
    const found = this.#cache.find(digest, hint)
    const carried = found && this.#carried(found)
    if (carried) {
      this.#cache.counts.hit()
      return (
        this.#session(req, owner, options, found, carried, false, name, cookie) ??
        (await this.read(owner, req, name, options))
      )
    }
    return await this.#readShared(owner, req, name, options, { cookie, digest, hint })
  }

  async #readShared<Values extends object>(
    owner: Owner<Values>,
    req: RequestLike,
    name: string,
    options: SessionOptions,
    asked: { readonly cookie: string; readonly digest: string; readonly hint: string | undefined },
  ): Promise<Session<Values>> {
    const { cookie, hint } = asked
    let { digest } = asked
    const joining = this.#cache.join(digest, hint)
    const joined = joining && (await joining) // where there is none, in this very tick: the next request is to find ours
    const carried = joined && this.#carried(joined)
    if (carried) {
      this.#cache.counts.join()
      return (
        this.#session(req, owner, options, joined, carried, false, name, cookie) ??
        (await this.read(owner, req, name, options))
      )
    }
    const [read] = readTokens(req, name, this.#codecs, this.#refusals)
    if (!read) return new Session<Values>(owner, name, options)
    const { token, signedAt } = read
    const codec = this.#trusted(read.codec)
    if (!codec) {
      // A codec of the caller's may look at more than the cookie: it has just been asked, and is each time.
      digest = this.#cache.digest(name, ':', token)
      const found = this.#cache.find(digest, hint)
      const joining = found ? undefined : this.#cache.join(digest, hint)
      const shared = found ?? (joining && (await joining))
      if (shared) {
        this.#cache.counts[found ? 'hit' : 'join']()
        return (
          this.#session(req, owner, options, shared, read, false, name, cookie, token) ??
          (await this.read(owner, req, name, options))
        )
      }
    }
    this.#cache.counts.miss()
    const key = sessionKey(token)
    const entry = await this.#cache.read({ digest, key, hint, codec, signedAt: (signedAt ?? 0) / 1000 })
    if (entry)
      return (
        this.#session(req, owner, options, entry, read, true, name, cookie, token) ??
        (await this.read(owner, req, name, options))
      )
    this.#refusals.add(name, 'not_live')
    return new Session<Values>(owner, name, options)
  }

  /** undefined for a bound session where what is kept may be older than the cookie that came, or than the device's return: to be read anew. */
  #session<Values extends object>(
    req: RequestLike,
    owner: Owner<Values>,
    options: SessionOptions,
    entry: Filled,
    carried: CarriedCookie,
    isOwn: boolean,
    name: string,
    cookie: string,
    token?: string,
  ): Session<Values> | undefined {
    const row = this.#cached.rowOf(entry, isOwn)
    const isBound = this.bound !== undefined && !!row.bound
    if (isBound && this.bound?.glance(req, name, row) !== 'bound') return undefined
    const known = new CachedKnown(entry, row, isOwn, token, name, cookie)
    const session = new Session<Values>(owner, name, options)
    internals.load(session, { known, cookie: carried })
    if (isBound) noteBound(session)
    return session
  }

  /** What the codec that verified an entry's cookie would say of it now; undefined where it has to be asked. */
  #carried({ codec, signedAt }: Filled): CarriedCookie | undefined {
    if (codec === undefined || this.#trusted(codec) === undefined || codec.isTooOld(signedAt)) return undefined
    return { isOutdated: codec !== this.#codecs[0], signedAt: signedAt * 1000 }
  }

  /** This codec, where it is in the ring and neither it nor one before it is the caller's own. */
  #trusted(codec: Codec): SecureCookie | undefined {
    for (const known of this.#codecs) {
      if (!isPlain(known)) return undefined
      if (known === codec) return known
    }
    return undefined
  }

  #hintName(name: string): string {
    let found = this.#hintNames.get(name)
    if (found === undefined) {
      found = hintName(name)
      this.#hintNames.set(name, found)
    }
    return found
  }
}

/** A class derived from ours, or an object with its own decode, may look at more than the cookie. */
function isPlain(codec: Codec): codec is SecureCookie {
  return Object.getPrototypeOf(codec) === SecureCookie.prototype && !Object.hasOwn(codec, 'decode')
}
