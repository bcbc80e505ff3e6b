// Whether a request may use a bound session: whether it came with the cookie that only the session's device can renew.
import { type RequestLike, readCookies } from '../cookie/cookie-header.ts'
import type { BoundDatabase } from '../database/bound-functions.ts'
import { digestDigits, parseTime, type SessionRow } from '../database/row.ts'
import { type DeviceBoundSettings, firstSeconds } from './bound-options.ts'
import { cookieDigest, cookieHash } from './bound-secrets.ts'

/**
 * `bound`: the device is there. `tolerated`: it is not, within the grace. `refused`: it is not. `awaited`: it is not, but about to come,
 * as it has just proved itself: the answer was lost.
 */
export type BoundVerdict = 'bound' | 'tolerated' | 'refused' | 'awaited'

export class BoundCheck {
  readonly #settings: DeviceBoundSettings
  readonly #database: BoundDatabase

  constructor(settings: DeviceBoundSettings, database: BoundDatabase) {
    this.#settings = settings
    this.#database = database
  }

  /** By what the row says alone; undefined where it may be older than the request, or something is wrong: `judge` then. */
  glance(req: RequestLike, name: string, row: SessionRow): BoundVerdict | undefined {
    const { bound } = row
    if (!bound || name !== this.#settings.name) return 'tolerated'
    const cookies = readCookies(req, this.#settings.cookie)
    const late = parseTime(row.now) - parseTime(bound.slice(digestDigits))
    const isGrace = late >= 0 && late <= this.#settings.grace * 1000
    const digest = bound.slice(0, digestDigits)
    const current = cookies.find((cookie) => cookieDigest(cookie) === digest)
    if (current !== undefined) {
      if (late < 0) return 'bound'
      // A registration is proof for its cookie's life; whatever else ran out proves nothing, though a copy of it still comes.
      if (late <= firstSeconds * 1000 && this.#settings.secrets.isFirst(current, row.id)) return 'bound'
      return isGrace ? 'tolerated' : undefined
    }
    return isGrace && !cookies.some((cookie) => this.#isOurs(cookie, row)) ? 'tolerated' : undefined
  }

  /** With a query only where the row does not suffice: a request that is refused, or that left before its cookie was replaced. */
  async judge(req: RequestLike, name: string, key: Buffer, row: SessionRow): Promise<BoundVerdict> {
    const verdict = this.glance(req, name, row)
    if (verdict) return verdict
    const cookies = readCookies(req, this.#settings.cookie)
    const ours = cookies.find((cookie) => this.#isOurs(cookie, row))
    const hash = ours === undefined ? null : cookieHash(ours)
    const isExpired = hash?.toString('hex') === row.bound?.slice(0, digestDigits)
    const status = await this.#database.unbound(key, isExpired ? null : hash, !isExpired && hash !== null)
    if (status === 'current' || status === 'previous') return 'bound'
    if (status === 'awaited') return 'awaited'
    return status === 'unbound' ? 'tolerated' : 'refused'
  }

  #isOurs(cookie: string, row: SessionRow): boolean {
    return this.#settings.secrets.isOurs(cookie, row.id)
  }
}
