// Why cookies were refused: a count for each reason, and an event for subscribers. Never a value, a token, an id or a user.
import { channel } from 'node:diagnostics_channel'
import type { Codec, CodecRefusal } from './codec.ts'

/**
 * Why a cookie led to no session: its codecs' reason, `not_live` for a token without a live session, or `unbound` for one that came
 * without the cookie of its device.
 */
export type CookieRefusal = CodecRefusal | 'not_live' | 'unbound'

/**
 * What a subscriber to the channel `pgstore:cookie-refused` of `node:diagnostics_channel` receives for each refused cookie.
 */
export interface RefusedCookie {
  /** The cookie's name. */
  readonly name: string
  readonly reason: CookieRefusal
  /** The store's schema. */
  readonly schema: string
}

/** How many cookies a store has refused since it was created. */
export interface RefusedCookies {
  /** Not in the store's format; or signed with a key of the store but encrypted with another block key. */
  readonly malformed: number
  /** Signed with no key of the store, for another name, or altered. */
  readonly badSignature: number
  /** Signed by the store, longer ago than `maxAge`. */
  readonly tooOld: number
  /** Valid, but its session has expired, was ended or has a new token. */
  readonly notLive: number
  /** Valid, but its session is bound to a device that the request did not come from: 0 without the option `deviceBound`. */
  readonly unbound: number
}

const refused = channel('pgstore:cookie-refused')

/** In order of how much they say: of several codecs' reasons the last in this list counts. */
const reasons: readonly CodecRefusal[] = ['malformed', 'bad_signature', 'too_old']

export class Refusals {
  readonly #schema: string
  readonly #counts = { malformed: 0, bad_signature: 0, too_old: 0, not_live: 0, unbound: 0 }

  constructor(schema: string) {
    this.#schema = schema
  }

  /** Counts a cookie that all these codecs have just refused. */
  addUnread(name: string, codecs: readonly Codec[]): void {
    const ranks = codecs.map((codec) => reasons.indexOf(codec.refusal?.() ?? 'bad_signature'))
    this.add(name, reasons[Math.max(...ranks)] ?? 'bad_signature')
  }

  add(name: string, reason: CookieRefusal): void {
    this.#counts[reason]++
    if (refused.hasSubscribers) refused.publish({ name, reason, schema: this.#schema } satisfies RefusedCookie)
  }

  get counts(): RefusedCookies {
    const { malformed, bad_signature: badSignature, too_old: tooOld, not_live: notLive, unbound } = this.#counts
    return { malformed, badSignature, tooOld, notLive, unbound }
  }
}
