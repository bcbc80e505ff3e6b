// Reading a session's token from its cookie, and writing it.

import { refuse } from '../errors.ts'
import type { Codec } from './codec.ts'
import { type RequestLike, readCookies } from './cookie-header.ts'
import { cookiePairProblems, type SessionOptions } from './cookie-options.ts'
import type { Refusals } from './refusals.ts'
import { type ResponseLike, writeCookie } from './response.ts'

export interface ReadToken {
  readonly token: string
  /** Not signed by the first codec: to be re-signed at the next save. */
  readonly isOutdated: boolean
  /** When it was signed, in milliseconds since the epoch by the signer's clock; undefined if the codec does not say. */
  readonly signedAt: number | undefined
  /** What verified it. */
  readonly codec: Codec
}

const none: readonly ReadToken[] = []

/**
 * The tokens of the request's cookies with this name that a codec verifies, in order, each once. More than one is rare: the
 * browser keeps a cookie that was set under another path, domain or partition beside the new one, and sends both.
 */
export function readTokens(
  req: RequestLike,
  name: string,
  codecs: readonly Codec[],
  refusals: Refusals,
): readonly ReadToken[] {
  const cookies = readCookies(req, name)
  if (cookies.length === 0) return none
  const tokens: ReadToken[] = []
  for (const cookie of cookies) {
    const read = readToken(name, cookie, codecs)
    if (!read) {
      refusals.addUnread(name, codecs)
      continue
    }
    const same = tokens.length === 0 ? -1 : tokens.findIndex(({ token }) => token === read.token)
    if (same < 0) tokens.push(read)
    else if (!read.isOutdated) tokens[same] = read // the browser has one that is signed with the first key
  }
  return tokens
}

function readToken(name: string, cookie: string, codecs: readonly Codec[]): ReadToken | undefined {
  for (let index = 0; index < codecs.length; index++) {
    const codec = codecs[index] as Codec
    const token = codec.decode(name, cookie)
    if (typeof token !== 'string') continue
    const seconds = codec.signedAt?.()
    return { token, isOutdated: index > 0, signedAt: seconds === undefined ? undefined : seconds * 1000, codec }
  }
  return undefined
}

/**
 * The cookie value that carries the token: created before the query, so that no session is stored whose cookie cannot be
 * sent.
 *
 * @throws {PGStoreError} `invalid_option` when no browser would store it: the name is too long, or a custom codec
 * returned an invalid value
 */
export function signToken(name: string, token: string, codecs: readonly Codec[]): string {
  const value = (codecs[0] as Codec).encode(name, token)
  const problems = cookiePairProblems(name, value)
  refuse(problems)
  return value
}

/**
 * Sets the cookie. Max-Age is the session's maxAge, or less if its row ends earlier: by the database's clock, so that a server
 * whose clock is wrong sets the same.
 *
 * @param remainingSeconds until the row expires
 */
export function writeToken(
  res: ResponseLike,
  name: string,
  value: string,
  options: SessionOptions,
  remainingSeconds: number,
): void {
  const whole = Math.min(Math.ceil(options.maxAge), Math.floor(remainingSeconds))
  const maxAge = options.maxAge === 0 ? undefined : Math.max(1, whole)
  writeCookie(res, { name, value, options, maxAge })
}

/** Makes the browser delete the cookie: with the path, domain and partition it was set with, or it would stay. */
export function deleteToken(res: ResponseLike, name: string, options: SessionOptions): void {
  writeCookie(res, { name, value: '', options, maxAge: 0 })
}
