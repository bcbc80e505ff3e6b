// What a cookie's attributes may be, and the resulting Set-Cookie line.

/** The attributes of a session's cookie: RFC 6265bis §4.1.2. */
export interface CookieOptions {
  /** Path that the cookie is sent for. Default: '/'. */
  readonly path?: string
  /** Domain whose subdomains get the cookie too; undefined restricts it to the host that set it. Default: undefined. */
  readonly domain?: string | undefined
  /**
   * Seconds a session lives without a visit, and the cookie's Max-Age. 0 is a cookie that ends with the browser, with a row
   * that lives one day; -1 ends the session at the next save. A session with a longer maxAge than its store's is lost when
   * its cookie becomes older than the store's: give the store the longest. Default: 2,592,000 (30 days).
   */
  readonly maxAge?: number
  /** Hide the cookie from scripts. Default: true. */
  readonly httpOnly?: boolean
  /**
   * Send the cookie only over HTTPS. Over plain http most browsers then drop it silently, except on http://localhost.
   * Default: true.
   */
  readonly secure?: boolean
  /** Which requests from other sites carry the cookie; 'none' needs `secure`. Default: 'lax'. */
  readonly sameSite?: 'lax' | 'strict' | 'none'
  /** Keep one cookie per embedding site (CHIPS); needs `secure`. Default: false. */
  readonly partitioned?: boolean
}

/** The options of one session: a copy of the store's, which may be changed before the session is saved. */
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

/** Whether cookies with these options differ at most in their maxAge. */
export function haveSameAttributes(one: SessionOptions, other: SessionOptions): boolean {
  return (
    one.path === other.path &&
    one.domain === other.domain &&
    one.httpOnly === other.httpOnly &&
    one.secure === other.secure &&
    one.sameSite === other.sameSite &&
    one.partitioned === other.partitioned
  )
}

/** Seconds in a hundred years, as session_save counts them: in Postgres' comparisons a year has 360 days. */
export const longestLife: number = 100 * 360 * 86400

/** RFC 6265bis §5.5: browsers cut a longer Max-Age to 400 days. */
const longestMaxAge = 400 * 86400

/** RFC 6265bis §5.7: browsers ignore a cookie whose name and value together are longer. */
const longestPair = 4096

/** What a cookie's value consists of: RFC 6265bis §4.1.1, without its quotes. */
const cookieOctets = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/

/** RFC 9110 §5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** What is wrong with these options, one sentence each; empty if they are valid. */
export function cookieOptionProblems(options: SessionOptions): string[] {
  const problems: string[] = []
  const { path, domain, maxAge, httpOnly, secure, sameSite, partitioned } = options
  if (typeof path !== 'string' || !/^\/[\x20-\x3a\x3c-\x7e]*$/.test(path) || path.length > 1024) {
    problems.push('path must begin with "/" and contain only printable ASCII without ";"')
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
  if (typeof name !== 'string' || !token.test(name)) return ['a cookie name must be an RFC 9110 token']
  if (name.length > longestPair) return [`a cookie name of ${name.length} characters leaves no room for its value`]
  const problems: string[] = []
  const prefix = /^__(host-http|host|http|secure)-/i.exec(name)?.[1]?.toLowerCase()
  if (prefix === undefined) return problems
  if (!options.secure) problems.push(`a cookie named ${name} needs secure`)
  if (prefix.startsWith('host') && options.path !== '/') problems.push(`a cookie named ${name} needs path "/"`)
  if (prefix.startsWith('host') && options.domain) problems.push(`a cookie named ${name} must have no domain`)
  if (prefix.endsWith('http') && !options.httpOnly) problems.push(`a cookie named ${name} needs httpOnly`)
  return problems
}

/** Why a browser would not store this name and value as they are; empty if it would. */
export function cookiePairProblems(name: string, value: string): string[] {
  if (typeof value !== 'string' || !cookieOctets.test(value)) {
    return ['a codec returned a cookie value that RFC 6265 does not allow']
  }
  const length = name.length + value.length
  if (length <= longestPair) return []
  return [`the cookie would have ${length} bytes: browsers ignore cookies of more than ${longestPair}`]
}

/** A cookie to set; `maxAge` in whole seconds, undefined for one that ends with the browser, 0 for one to delete. */
export interface Cookie {
  readonly name: string
  readonly value: string
  readonly options: SessionOptions
  readonly maxAge: number | undefined
}

/** The attributes of a cookie under the names that frameworks and the package `cookie` give them. */
export interface CookieAttributes {
  path: string
  domain?: string
  /** Whole seconds; absent for a cookie that ends with the browser, 0 for one to delete. */
  maxAge?: number
  /** Only beside a maxAge of 0: a time in the past, for what does not know maxAge. */
  expires?: Date
  httpOnly: boolean
  secure: boolean
  sameSite: 'lax' | 'strict' | 'none'
  /** Only where it is true. */
  partitioned?: boolean
}

/** As data, for a framework that writes the cookie itself. */
export function cookieAttributes({ options, maxAge }: Cookie): CookieAttributes {
  const { path, domain, httpOnly, secure, sameSite, partitioned } = options
  const attributes: CookieAttributes = { path, httpOnly, secure, sameSite }
  if (domain) attributes.domain = domain
  if (maxAge !== undefined) attributes.maxAge = Math.min(maxAge, longestMaxAge)
  if (maxAge === 0) attributes.expires = new Date(1000)
  if (partitioned) attributes.partitioned = true
  return attributes
}

/** As a Set-Cookie line. Attributes in the order of Go's net/http. */
export function setCookieLine({ name, value, options, maxAge }: Cookie): string {
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
