// Writing Set-Cookie, for the responses of Node and of fetch, and as data for a framework that writes it itself.
import { PGStoreError } from '../errors.ts'
import { type Cookie, type CookieAttributes, cookieAttributes, setCookieLine } from './cookie-options.ts'

/** What we use of a fetch `Headers`. */
export interface HeadersLike {
  append(name: string, value: string): void
  delete(name: string): void
  get(name: string): string | null
  getSetCookie(): string[]
  set(name: string, value: string): void
}

/** What we use of Node's `ServerResponse` (and what extends it). */
export interface NodeResponseLike {
  readonly headersSent: boolean
  getHeader(name: string): number | string | readonly string[] | undefined
  setHeader(name: string, value: string | readonly string[]): unknown
}

/** What a framework can do with a response: set a cookie. */
export interface CookieSink {
  /** A `maxAge` of 0 deletes the cookie. A second call with the same name and attributes replaces the first. */
  setCookie(name: string, value: string, options: CookieAttributes): unknown
  /** Whether it is too late to set a cookie: the session is then not saved where that would need one. Default: false. */
  readonly headersSent?: boolean | undefined
  /** Takes `Vary`, `Cache-Control` and `Clear-Site-Data`. Default: they are not set. */
  readonly headers?: HeadersLike | undefined
}

/** A response: Node's `ServerResponse`, a fetch `Response`, the `Headers` for one, or what sets a framework's cookies. */
export type ResponseLike = NodeResponseLike | CookieSink | { readonly headers: HeadersLike } | HeadersLike

/** What a browser can be told to drop: W3C Clear Site Data §3.1, and what browsers have added. */
export type ClearSiteDataDirective =
  | 'cache'
  | 'clientHints'
  | 'cookies'
  | 'executionContexts'
  | 'prefetchCache'
  | 'prerenderCache'
  | 'storage'
  | '*'

const directives: Readonly<Record<ClearSiteDataDirective, true>> = {
  cache: true,
  clientHints: true,
  cookies: true,
  executionContexts: true,
  prefetchCache: true,
  prerenderCache: true,
  storage: true,
  '*': true,
}

const clearSiteDataDirectives: readonly string[] = Object.keys(directives)

const tooLate = 'The response headers have already been sent: save the session before the response.'

/**
 * @throws {PGStoreError} `headers_sent` when it is too late to set a header on this response; `invalid_option` for what is not a
 * response
 */
export function checkHeadersOpen(res: ResponseLike): void {
  if (typeof res !== 'object' || res === null) throw notResponse()
  if ('setHeader' in res) {
    if (res.headersSent) throw new PGStoreError('headers_sent', tooLate)
    return
  }
  try {
    headersOf(res)?.delete('x-pgstore-probe') // throws on immutable headers, does nothing on others
    if (!(res instanceof Request)) return
  } catch {
    if (typeof headersOf(res)?.append !== 'function') throw notResponse()
    throw new PGStoreError(
      'headers_sent',
      'These headers are immutable: save the session to a new Response or Headers.',
    )
  }
  throw notResponse()
}

/** An argument is missing, or the request is in its place. */
function notResponse(): PGStoreError {
  return new PGStoreError(
    'invalid_option',
    "The second argument must be the response: Node's, a fetch Response or Headers, or an object with setCookie.",
  )
}

/**
 * Before a write that needs a cookie: a framework that sets cookies only in some phases of a request may be saved to in the
 * others, as long as none is needed.
 *
 * @throws {PGStoreError} `headers_sent` when it is too late to set a cookie
 */
export function checkCookiesOpen(res: ResponseLike): void {
  if (isSink(res) && res.headersSent) throw new PGStoreError('headers_sent', tooLate)
}

/**
 * Sets this cookie, replacing an earlier one with the same name: RFC 6265bis §4.1.1 allows one per response.
 *
 * @throws {PGStoreError} `headers_sent` when the response was sent after `checkHeadersOpen`
 */
export function writeCookie(res: ResponseLike, cookie: Cookie): void {
  if (isSink(res)) {
    res.setCookie(cookie.name, cookie.value, cookieAttributes(cookie))
    return
  }
  const line = setCookieLine(cookie)
  const isOther = (other: string) => !other.startsWith(`${cookie.name}=`)
  if ('setHeader' in res) {
    if (res.headersSent) {
      throw new PGStoreError(
        'headers_sent',
        'The response was sent during the save: the session is saved, but its cookie is not set.',
      )
    }
    const present = res.getHeader('set-cookie') ?? []
    const others = (typeof present === 'object' ? present : [String(present)]).filter(isOther)
    res.setHeader('Set-Cookie', [...others, line])
    return
  }
  const headers = 'headers' in res ? res.headers : res
  const present = headers.getSetCookie()
  if (!present.every(isOther)) {
    headers.delete('set-cookie')
    for (const other of present.filter(isOther)) headers.append('set-cookie', other)
  }
  headers.append('set-cookie', line)
}

/** Values of Cache-Control with which no shared cache gives the response to another visitor. */
const unshared = /\b(no-store|(private|no-cache)(?!=))\b/i

/**
 * Keeps a response that depends on a session out of shared caches (CVE-2023-30861): `Vary: Cookie`, and `no-store` unless the
 * response already says as much.
 */
export function forbidCaching(res: ResponseLike): void {
  const { read, write } = fields(res)
  const vary = read('vary')
  if (!/(^|,)\s*(cookie|\*)\s*(,|$)/i.test(vary)) write('Vary', vary ? `${vary}, Cookie` : 'Cookie')
  if (!unshared.test(read('cache-control'))) write('Cache-Control', 'no-store')
}

/** The option `clearSiteData`; what is wrong with it is added to `problems`. */
export function parseClearSiteData(given: unknown, problems: string[]): readonly ClearSiteDataDirective[] {
  if (typeof given === 'boolean') return given ? ['cache', 'storage'] : []
  const isDirective = (directive: unknown) => clearSiteDataDirectives.some((known) => known === directive)
  if (Array.isArray(given) && given.every(isDirective)) return [...given]
  problems.push(`clearSiteData must be true, false or a list of ${clearSiteDataDirectives.join(', ')}`)
  return []
}

/**
 * Adds these directives to the response's `Clear-Site-Data`: W3C Clear Site Data §3.1. Browsers obey it over HTTPS and from
 * localhost, and ignore directives that they do not know.
 */
export function clearSiteData(res: ResponseLike, wanted: readonly ClearSiteDataDirective[]): void {
  if (wanted.length === 0) return
  const { read, write } = fields(res)
  const present = read('clear-site-data')
  const added = wanted.map((directive) => `"${directive}"`).filter((directive) => !present.includes(directive))
  if (added.length > 0) write('Clear-Site-Data', [...(present ? [present] : []), ...added].join(', '))
}

interface Fields {
  /** As text; '' if there is none. */
  readonly read: (name: string) => string
  readonly write: (name: string, value: string) => void
}

/** The header fields of any response; those of a framework that takes cookies only are empty, and stay so. */
export function fields(res: ResponseLike): Fields {
  if ('setHeader' in res) {
    return {
      read: (name) => String(res.getHeader(name) ?? ''),
      write: (name, value) => void res.setHeader(name, value),
    }
  }
  const headers = headersOf(res)
  return { read: (name) => headers?.get(name) ?? '', write: (name, value) => headers?.set(name, value) }
}

/** undefined where a framework takes cookies only. */
function headersOf(res: Exclude<ResponseLike, NodeResponseLike>): HeadersLike | undefined {
  return isSink(res) || 'headers' in res ? res.headers : res
}

/** What has `setHeader` too, such as a Node response that a framework has extended, is Node's. */
function isSink(res: ResponseLike): res is CookieSink {
  return 'setCookie' in res && !('setHeader' in res)
}
