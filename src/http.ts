// Cookie in, Set-Cookie out, for node's and fetch's requests and responses.
import { PGStoreError } from './errors.ts'

/** A request: node's `IncomingMessage` (and what extends it) or a fetch `Request`. */
export interface RequestLike {
  readonly headers: { readonly cookie?: string | undefined } | { get(name: string): string | null }
}

/** What a fetch `Headers` offers and we use. */
export interface HeadersLike {
  append(name: string, value: string): void
  delete(name: string): void
  get(name: string): string | null
  getSetCookie(): string[]
  set(name: string, value: string): void
}

/** What node's `ServerResponse` (and what extends it) offers and we use. */
export interface NodeResponseLike {
  readonly headersSent: boolean
  getHeader(name: string): number | string | readonly string[] | undefined
  setHeader(name: string, value: string | readonly string[]): unknown
}

/** A response: node's `ServerResponse`, a fetch `Response`, or the `Headers` for one. */
export type ResponseLike = NodeResponseLike | { readonly headers: HeadersLike } | HeadersLike

/** The attributes of a session's cookie: RFC 6265bis §4.1.2. */
export interface CookieOptions {
  /** Path that the cookie is sent for. Default: '/'. */
  readonly path?: string
  /** Domain whose subdomains get the cookie too; undefined keeps it to the host that set it. Default: undefined. */
  readonly domain?: string | undefined
  /**
   * Seconds a session lives without a visit, and the cookie's Max-Age. 0 is a cookie that the browser drops at its end, over
   * a row that lives one day; -1 ends the session at the next save. A session
   * with a longer one than its store's is lost when its cookie becomes older than that: give the store the longest.
   * Default: 2,592,000 (30 days).
   */
  readonly maxAge?: number
  /** Keep the cookie from scripts. Default: true. */
  readonly httpOnly?: boolean
  /**
   * Send the cookie over HTTPS alone. Over plain http most browsers then drop it without a word, but for http://localhost.
   * Default: true.
   */
  readonly secure?: boolean
  /** Which requests from other sites carry the cookie; 'none' needs `secure`. Default: 'lax'. */
  readonly sameSite?: 'lax' | 'strict' | 'none'
  /** Keep one cookie per embedding site (CHIPS); needs `secure`. Default: false. */
  readonly partitioned?: boolean
}

/** The options of one session: the store's, copied, and the session's own to change before it is saved. */
export type SessionOptions = { -readonly [Name in keyof CookieOptions]-?: CookieOptions[Name] }

export const defaultCookieOptions: SessionOptions = {
  path: '/',
  domain: undefined,
  maxAge: 30 * 86400,
  httpOnly: true,
  secure: true,
  sameSite: 'lax',
  partitioned: false,
}

/** Seconds in a hundred years, as session_save counts them: to Postgres' comparisons a year has 360 days. */
export const longestLife: number = 100 * 360 * 86400

/** RFC 6265bis §5.5: browsers cut a longer Max-Age to 400 days. */
const longestMaxAge = 400 * 86400

/** RFC 6265bis §5.7: browsers ignore a cookie whose name and value are longer together. */
const longestPair = 4096

/** What a cookie's value consists of: RFC 6265bis §4.1.1, without its quotes. */
const cookieOctets = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/

/** RFC 9110 §5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** What is wrong with these options, a sentence each; empty when they are right. */
export function cookieOptionProblems(options: SessionOptions): string[] {
  const problems: string[] = []
  const { path, domain, maxAge, httpOnly, secure, sameSite, partitioned } = options
  if (typeof path !== 'string' || !/^\/[\x20-\x3a\x3c-\x7e]*$/.test(path) || path.length > 1024) {
    problems.push('path must begin with "/" and hold printable ASCII without ";"')
  }
  if (
    domain !== undefined &&
    !(typeof domain === 'string' && /^\.?[0-9a-z]([0-9a-z.-]{0,251}[0-9a-z])?$/i.test(domain))
  ) {
    problems.push('domain must be a host name')
  }
  if (typeof maxAge !== 'number' || !Number.isFinite(maxAge)) problems.push('maxAge must be a number of seconds')
  else if (maxAge > longestLife) problems.push('maxAge must be at most a hundred years')
  for (const [name, value] of Object.entries({ httpOnly, secure, partitioned })) {
    if (typeof value !== 'boolean') problems.push(`${name} must be true or false`)
  }
  if (!['lax', 'strict', 'none'].includes(sameSite)) problems.push('sameSite must be "lax", "strict" or "none"')
  if (sameSite === 'none' && !secure) problems.push('sameSite "none" needs secure')
  if (partitioned && !secure) problems.push('partitioned needs secure')
  return problems
}

/**
 * What forbids a cookie of this name under these options: RFC 6265bis §4.1.3 for `__Secure-` and `__Host-`, and the layered
 * cookies draft for `__Http-` and `__Host-Http-`.
 */
export function cookieNameProblems(name: string, options: SessionOptions): string[] {
  if (typeof name !== 'string' || !token.test(name)) return ['a cookie name is an RFC 9110 token']
  if (name.length > longestPair) return [`a cookie name of ${name.length} characters leaves none for its value`]
  const problems: string[] = []
  const prefix = /^__(host-http|host|http|secure)-/i.exec(name)?.[1]?.toLowerCase()
  if (prefix === undefined) return problems
  if (!options.secure) problems.push(`a cookie named ${name} needs secure`)
  if (prefix.startsWith('host') && options.path !== '/') problems.push(`a cookie named ${name} needs path "/"`)
  if (prefix.startsWith('host') && options.domain) problems.push(`a cookie named ${name} must have no domain`)
  if (prefix.endsWith('http') && !options.httpOnly) problems.push(`a cookie named ${name} needs httpOnly`)
  return problems
}

/**
 * The values of the request's cookies of this name, in order, four at the most: a bound on the work that a request can ask
 * for. Names are compared as they are: decoding or trimming beyond space and tab would let a script plant `__Host-` names.
 */
export function readCookies(req: RequestLike, name: string): string[] {
  const { headers } = req
  const header = 'get' in headers && typeof headers.get === 'function' ? headers.get('cookie') : cookieField(headers)
  const values: string[] = []
  if (typeof header !== 'string' || !header.includes(name)) return values
  let equals = -1
  for (let at = 0; at < header.length && values.length < 4; ) {
    let end = header.indexOf(';', at)
    if (end < 0) end = header.length
    // Looked for again only when it is passed: a header of semicolons would otherwise be searched to its end at each.
    if (equals < at) equals = header.indexOf('=', at)
    if (equals < 0) break
    if (equals < end && trim(header, at, equals) === name) values.push(trim(header, equals + 1, end))
    at = end + 1
  }
  return values
}

/** Its own: one that a polluted Object.prototype lends to every request would sign all visitors in as one. */
function cookieField(headers: object): unknown {
  return Object.hasOwn(headers, 'cookie') ? (headers as { cookie?: unknown }).cookie : undefined
}

function trim(text: string, start: number, end: number): string {
  while (start < end && (text[start] === ' ' || text[start] === '\t')) start++
  while (end > start && (text[end - 1] === ' ' || text[end - 1] === '\t')) end--
  return text.slice(start, end)
}

/** What keeps a browser from holding this name and value as they are; empty when nothing does. */
export function cookiePairProblems(name: string, value: string): string[] {
  if (typeof value !== 'string' || !cookieOctets.test(value)) {
    return ['a codec made a cookie value that is not in the grammar of RFC 6265']
  }
  const length = name.length + value.length
  if (length <= longestPair) return []
  return [`the cookie would have ${length} bytes: browsers ignore one of more than ${longestPair}`]
}

/** A Set-Cookie line; `maxAge` in whole seconds, undefined for none. Attributes in the order of Go's net/http. */
export function setCookieLine(
  name: string,
  value: string,
  options: SessionOptions,
  maxAge: number | undefined,
): string {
  let line = `${name}=${value}; Path=${options.path}`
  if (options.domain) line += `; Domain=${options.domain}`
  if (maxAge !== undefined) {
    line +=
      maxAge > 0 ? `; Max-Age=${Math.min(maxAge, longestMaxAge)}` : '; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0'
  }
  if (options.httpOnly) line += '; HttpOnly'
  if (options.secure) line += '; Secure'
  line += { lax: '; SameSite=Lax', strict: '; SameSite=Strict', none: '; SameSite=None' }[options.sameSite]
  return options.partitioned ? `${line}; Partitioned` : line
}

/** @throws {PGStoreError} `headers_sent` when this response can take no cookie any more */
export function checkHeadersOpen(res: ResponseLike): void {
  if ('setHeader' in res) {
    if (!res.headersSent) return
    throw new PGStoreError(
      'headers_sent',
      'Save the session before the response is sent: its headers have left already.',
    )
  }
  try {
    headersOf(res).delete('x-pgstore-probe') // throws on immutable headers, does nothing on others
  } catch {
    throw new PGStoreError(
      'headers_sent',
      'These headers are immutable: save the session to a new Response or Headers.',
    )
  }
}

/**
 * Sets this cookie line, in place of an earlier one for the same name: RFC 6265bis §4.1.1 allows one a response.
 *
 * @throws {PGStoreError} `headers_sent` when the response has left since `checkHeadersOpen`
 */
export function writeCookie(res: ResponseLike, name: string, line: string): void {
  const isOther = (other: string) => !other.startsWith(`${name}=`)
  if ('setHeader' in res) {
    if (res.headersSent) {
      throw new PGStoreError('headers_sent', 'The response was sent during the save: saved, but its cookie is not set.')
    }
    const present = res.getHeader('set-cookie') ?? []
    const others = (typeof present === 'object' ? present : [String(present)]).filter(isOther)
    res.setHeader('Set-Cookie', [...others, line])
    return
  }
  const headers = headersOf(res)
  const present = headers.getSetCookie()
  if (!present.every(isOther)) {
    headers.delete('set-cookie')
    for (const other of present.filter(isOther)) headers.append('set-cookie', other)
  }
  headers.append('set-cookie', line)
}

/** Values of Cache-Control after which no shared cache hands the response to somebody else. */
const unshared = /\b(no-store|(private|no-cache)(?!=))\b/i

/**
 * Keeps a response that depends on a session out of caches that others share (CVE-2023-30861): `Vary: Cookie`, and `no-store`
 * unless the response says as much already.
 */
export function forbidCaching(res: ResponseLike): void {
  const headers = 'setHeader' in res ? undefined : headersOf(res)
  const read = (name: string) => String(('setHeader' in res ? res.getHeader(name) : headers?.get(name)) ?? '')
  const write = (name: string, value: string) =>
    'setHeader' in res ? void res.setHeader(name, value) : headers?.set(name, value)
  const vary = read('vary')
  if (!/(^|,)\s*(cookie|\*)\s*(,|$)/i.test(vary)) write('Vary', vary ? `${vary}, Cookie` : 'Cookie')
  if (!unshared.test(read('cache-control'))) write('Cache-Control', 'no-store')
}

function headersOf(res: Exclude<ResponseLike, NodeResponseLike>): HeadersLike {
  return 'headers' in res ? res.headers : res
}
