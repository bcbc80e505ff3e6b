// Sessions as they come out of the cache: a copy for each request, with what its save has to know.
import type { Filled, SessionCache } from '../cache/session-cache.ts'
import { PackedRow, type SessionRow } from '../database/row.ts'
import type { Known } from './known.ts'
import type { SealedDatabase } from './seal.ts'
import { sessionKey } from './token.ts'

/** What is known of a session that a cache showed. */
export class CachedKnown implements Known {
  readonly row: SessionRow
  readonly isShown: boolean
  readonly #entry: Filled
  readonly #name: string
  readonly #cookie: string
  #token: string | undefined

  /**
   * @param isOwn whether this request asked the database for it, and did not find it
   * @param token undefined to open the cookie when somebody needs it, which most requests do not
   */
  constructor(
    entry: Filled,
    row: SessionRow,
    isOwn: boolean,
    token: string | undefined,
    name: string = '',
    cookie: string = '',
  ) {
    this.row = row
    this.isShown = !isOwn
    this.#entry = entry
    this.#token = token
    this.#name = name
    this.#cookie = cookie
  }

  get token(): string {
    this.#token ??= this.#entry.codec?.decodeAgain(this.#name, this.#cookie)
    // Its digest is that of a cookie which was verified.
    if (this.#token === undefined) throw new Error('A cookie that was verified does not open.')
    return this.#token
  }

  get seenVersion(): number {
    return this.row.version
  }

  mayRenew(): boolean {
    this.#entry.renewer ??= this
    return this.#entry.renewer === this
  }
}

export class CachedSessions {
  readonly cache: SessionCache
  readonly #sealed: SealedDatabase | undefined
  readonly #isByToken: boolean

  /** @param sealed rows are kept as they are stored, and opened for each request */
  constructor(cache: SessionCache, sealed: SealedDatabase | undefined, isByToken: boolean) {
    this.cache = cache
    this.#sealed = sealed
    this.#isByToken = isByToken
  }

  /** The row of an entry for one request. */
  rowOf(entry: Filled, isOwn: boolean): SessionRow {
    const { row } = entry
    const now = isOwn || !(row instanceof PackedRow) ? row : row.later(this.cache.ageOf(entry))
    return this.#sealed ? this.#sealed.open(Buffer.from(entry.key, 'latin1'), now) : now
  }

  /**
   * The live session of this token, where sessions are cached by token; else what `read` reads.
   *
   * @param isFresh it is not to come from the cache
   */
  async byToken(token: string, isFresh: boolean, read: () => Promise<Known | undefined>): Promise<Known | undefined> {
    const { cache } = this
    if (!this.#isByToken) return await read()
    if (isFresh) cache.counts.bypass('fresh')
    const isOpen = !isFresh && cache.isOpen()
    if (isOpen !== true && !(await isOpen)) return await read()
    const digest = cache.digest('', ':', token)
    const found = cache.find(digest, undefined)
    if (found) {
      cache.counts.hit()
      return new CachedKnown(found, this.rowOf(found, false), false, token)
    }
    const joining = cache.join(digest, undefined)
    const joined = joining && (await joining) // where there is none, in this very tick: the next request is to find ours
    if (joined) {
      cache.counts.join()
      return new CachedKnown(joined, this.rowOf(joined, false), false, token)
    }
    cache.counts.miss()
    const key = sessionKey(token)
    const entry = await cache.read({ digest, key, hint: undefined, codec: undefined, signedAt: 0 })
    return entry && new CachedKnown(entry, this.rowOf(entry, true), true, token)
  }
}
