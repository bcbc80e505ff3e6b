// Reading cookies: the values of a name in a request's Cookie header, or those that a framework has parsed.
import { PGStoreError } from '../errors.ts'

/** What a framework knows of a request: its cookies by name. */
export interface CookieSource {
  /** The value of the cookie with this name, or the values if there are several; undefined for none. */
  getCookie(name: string): string | readonly string[] | null | undefined
}

/** A request: Node's `IncomingMessage` (and what extends it), a fetch `Request`, or its cookies as a framework has them. */
export type RequestLike =
  | { readonly headers: { readonly cookie?: string | undefined } | { get(name: string): string | null } }
  | CookieSource

/** How many cookies with one name are read, which limits the work that a request can cause. */
const mostValues = 4

/**
 * The values of the request's cookies of this name, in order, each once and at most four. Names are compared as they are:
 * decoding, or trimming more than space and tab, would let a script plant `__Host-` names. A value may be in quotes (RFC 6265
 * §4.1.1), as Python's http.cookies and Go's net/http write some.
 */
export function readCookies(req: RequestLike, name: string): string[] {
  checkRequest(req)
  if (!('headers' in req)) {
    if (typeof req.getCookie !== 'function') throw notRequest()
    return readParsed(req.getCookie(name))
  }
  const { headers } = req
  if (typeof headers !== 'object' || headers === null) throw notRequest()
  const header = 'get' in headers && typeof headers.get === 'function' ? headers.get('cookie') : cookieField(headers)
  const values: string[] = []
  if (typeof header !== 'string' || !header.includes(name)) return values
  let equals = -1
  for (let at = 0; at < header.length && values.length < mostValues; ) {
    let end = header.indexOf(';', at)
    if (end < 0) end = header.length
    // Searched again only once passed: otherwise a header of semicolons would be searched to its end at each.
    if (equals < at) equals = header.indexOf('=', at)
    if (equals < 0) break
    if (equals < end && trim(header, at, equals) === name) {
      const value = unquote(trim(header, equals + 1, end))
      if (!values.includes(value)) values.push(value)
    }
    at = end + 1
  }
  return values
}

/** @throws {PGStoreError} `invalid_option` if it is missing, or another argument is in its place */
export function checkRequest(req: unknown): void {
  if (typeof req !== 'object' || req === null) throw notRequest()
}

function notRequest(): PGStoreError {
  return new PGStoreError(
    'invalid_option',
    "The first argument must be the request: Node's, a fetch Request, or an object with getCookie.",
  )
}

function readParsed(given: ReturnType<CookieSource['getCookie']>): string[] {
  const values: string[] = []
  for (const value of typeof given === 'string' ? [given] : (given ?? [])) {
    if (values.length === mostValues) break
    if (typeof value === 'string' && !values.includes(unquote(value))) values.push(unquote(value))
  }
  return values
}

/** An own property: one from a polluted Object.prototype would sign all visitors in as one. */
function cookieField(headers: object): unknown {
  return Object.hasOwn(headers, 'cookie') ? (headers as { cookie?: unknown }).cookie : undefined
}

function unquote(value: string): string {
  const isQuoted = value.length > 1 && value.startsWith('"') && value.endsWith('"')
  return isQuoted ? value.slice(1, -1) : value
}

function trim(text: string, start: number, end: number): string {
  while (start < end && (text[start] === ' ' || text[start] === '\t')) start++
  while (end > start && (text[end - 1] === ' ' || text[end - 1] === '\t')) end--
  return text.slice(start, end)
}
