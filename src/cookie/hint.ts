// The hint beside a session's cookie: a nonce, new with each change that a browser is told of. A server that cached the session under
// another hint reads it anew, so that a browser finds what it saved, on whichever server.
import { randomBytes } from 'node:crypto'
import { type RequestLike, readCookies } from './cookie-header.ts'
import type { SessionOptions } from './cookie-options.ts'
import { type ResponseLike, writeCookie } from './response.ts'

const suffix = '-v'

/** Seconds: no server keeps a session for longer than 60. */
const maxAge = 61

/** One of ours has 16 characters; what is much longer is not remembered. */
const longest = 64

export function hintName(name: string): string {
  return name + suffix
}

/** What is wrong with the name of a session beside which hints are set. */
export function hintNameProblems(name: string): string[] {
  return name.endsWith(suffix) ? [`a session name that ends in "${suffix}" is taken by the hints of the cache`] : []
}

/** The request's hint, undefined where there is none; null for what is none of ours: several, or a long one. */
export function readHint(req: RequestLike, name: string): string | undefined | null {
  const hints = readCookies(req, name)
  const [hint] = hints
  return hints.length > 1 || (hint !== undefined && hint.length > longest) ? null : hint
}

/** With the session's own attributes, so that it goes wherever that goes. */
export function writeHint(res: ResponseLike, name: string, options: SessionOptions): void {
  if ('headersSent' in res && res.headersSent) return // left during the save: its browser was told of no change
  writeCookie(res, { name: hintName(name), value: randomBytes(12).toString('base64url'), options, maxAge })
}
