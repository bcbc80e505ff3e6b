// What a server makes for a bound session and knows again without keeping it: challenges, and the second cookie. All of it is derived
// from the store's keys, so that every server makes the same: whoever asks twice, as a browser does that lost an answer, gets it twice.
import { createHmac, hash, timingSafeEqual } from 'node:crypto'

/** Bytes of a cookie's name, and of the tag behind it. */
const part = 16

/** Of a registration's cookie, or of one that followed. */
type Tag = 'first' | 'tag'

export class BoundSecrets {
  /** One for each key of the ring; the first makes, all verify. */
  readonly #keys: readonly Buffer[]

  constructor(secrets: readonly Uint8Array[]) {
    this.#keys = secrets.map((secret) => mac(secret, 'pgstore device-bound 1'))
  }

  /**
   * What a device is to sign next.
   *
   * @param boundHash hex digest of the cookie that holds; '' at a registration
   */
  challenge(id: string, boundHash: string): string {
    const time = Date.now().toString(36)
    return `${id}.${time}.${this.#challengeMac(this.#keys[0] as Buffer, id, boundHash, time)}`
  }

  /** The session that this challenge was made for, at that state and no longer ago than so many seconds; else undefined. */
  challengedId(challenge: string, boundHash: string, seconds: number): string | undefined {
    const [, id, time, given] = /^(\d{1,19})\.([\da-z]{1,10})\.([\w-]{43})$/.exec(challenge) ?? []
    if (id === undefined || time === undefined || given === undefined) return undefined
    const age = Date.now() - Number.parseInt(time, 36)
    if (!(Math.abs(age) <= seconds * 1000)) return undefined // servers' clocks differ
    return this.#keys.some((key) => isSame(this.#challengeMac(key, id, boundHash, time), given)) ? id : undefined
  }

  #challengeMac(key: Buffer, id: string, boundHash: string, time: string): string {
    return mac(key, `challenge|${id}|${boundHash}|${time}`).toString('base64url')
  }

  /** The cookie that a registration gives, which said this. */
  firstCookie(id: string, said: string): string {
    return cookieOf(this.#keys[0] as Buffer, 'first', id, said)
  }

  /** The cookie that follows on this one, given by its hex digest. */
  cookieAfter(id: string, before: string): string {
    return cookieOf(this.#keys[0] as Buffer, 'tag', id, before)
  }

  /** The cookie that followed on `before`, if its digest is this one: one that a key no longer in the ring made is not found. */
  cookieWith(digest: string, id: string, before: string): string | undefined {
    return this.#keys.map((key) => cookieOf(key, 'tag', id, before)).find((cookie) => cookieDigest(cookie) === digest)
  }

  /** Whether this cookie was ever given to this session. */
  isOurs(cookie: string, id: string): boolean {
    return this.#isTagged('tag', cookie, id) || this.#isTagged('first', cookie, id)
  }

  /** Whether it is one that a registration gave. */
  isFirst(cookie: string, id: string): boolean {
    return this.#isTagged('first', cookie, id)
  }

  #isTagged(tag: Tag, cookie: string, id: string): boolean {
    if (!/^[\w-]{43}$/.test(cookie)) return false
    const given = Buffer.from(cookie, 'base64url')
    if (given.length !== 2 * part) return false
    return this.#keys.some((key) => timingSafeEqual(tagOf(key, tag, id, given.subarray(0, part)), given.subarray(part)))
  }
}

/** What the database knows of a cookie. */
export function cookieHash(cookie: string): Buffer {
  return hash('sha256', cookie, 'buffer')
}

/** The same in hex, in one step: each request with both cookies needs it. */
export function cookieDigest(cookie: string): string {
  return hash('sha256', cookie, 'hex')
}

function cookieOf(key: Buffer, tag: Tag, id: string, before: string): string {
  const name = mac(key, `cookie|${id}|${before}`).subarray(0, part)
  return Buffer.concat([name, tagOf(key, tag, id, name)]).toString('base64url')
}

function tagOf(key: Buffer, tag: Tag, id: string, name: Buffer): Buffer {
  return mac(key, `${tag}|${id}|${name.toString('hex')}`).subarray(0, part)
}

function mac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function isSame(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one), Buffer.from(other)) // both of 43 characters
}
