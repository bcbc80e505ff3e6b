// A browser's cookie jar, as strict as RFC 6265bis asks (§5.6 to §5.8) and the drafts of CHIPS and of the layered cookies.

interface Stored {
  readonly name: string
  readonly value: string
  readonly domain: string
  readonly hostOnly: boolean
  readonly path: string
  readonly secure: boolean
  readonly httpOnly: boolean
  readonly sameSite: string
  readonly partitioned: boolean
  readonly expires: number
}

export class Jar {
  readonly #cookies = new Map<string, Stored>()
  /** Set-Cookie lines that were refused, with the reason. */
  readonly refused: { readonly line: string; readonly reason: string }[] = []

  get size(): number {
    return this.all().length
  }

  /** The jar's contents at a time in milliseconds. */
  all(now: number = Date.now()): Stored[] {
    return [...this.#cookies.values()].filter(({ expires }) => expires > now)
  }

  /** Takes the Set-Cookie lines of one response to `url`. */
  receive(url: string, lines: readonly string[]): void {
    for (const line of lines) {
      const reason = this.#take(new URL(url), line)
      if (reason) this.refused.push({ line, reason })
    }
  }

  /** The Cookie header for a top-level navigation to `url`, from our own site or another; '' for none. */
  header(url: string, from: 'same-site' | 'cross-site' = 'same-site'): string {
    const { hostname, pathname, protocol } = new URL(url)
    return this.all()
      .filter(({ domain, hostOnly }) => hostname === domain || (!hostOnly && hostname.endsWith(`.${domain}`)))
      .filter(({ path }) => pathMatches(pathname, path))
      .filter(({ secure }) => !secure || protocol === 'https:')
      .filter(({ sameSite }) => from === 'same-site' || sameSite !== 'strict')
      .sort((a, b) => b.path.length - a.path.length)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')
  }

  /** Why the line is refused, if it is. */
  #take(url: URL, line: string): string | undefined {
    if (Array.from(line).some((char) => (char < ' ' && char !== '\t') || char === '\x7f')) return 'a control character'
    const [pair = '', ...attributes] = line.split(';')
    const equals = pair.indexOf('=')
    const name = equals < 0 ? '' : pair.slice(0, equals).trim()
    const value = pair.slice(equals + 1).trim()
    if (name === '' && value === '') return 'empty'
    if (name.length + value.length > 4096) return 'more than 4096 bytes'
    const given = new Map<string, string>()
    for (const attribute of attributes) {
      const [key = '', ...rest] = attribute.split('=')
      const text = rest.join('=').trim()
      if (text.length <= 1024) given.set(key.trim().toLowerCase(), text)
    }
    const secure = given.has('secure')
    const httpOnly = given.has('httponly')
    const domain = (given.get('domain') ?? '').replace(/^\./, '').toLowerCase()
    const pathGiven = given.get('path') ?? ''
    const path = pathGiven.startsWith('/') ? pathGiven : '/'
    const partitioned = given.has('partitioned')
    const sameSite = (given.get('samesite') ?? 'default').toLowerCase()
    if (domain && url.hostname !== domain && !url.hostname.endsWith(`.${domain}`)) return 'the domain of another'
    if (domain && !domain.includes('.')) return 'a public suffix'
    if (secure && url.protocol !== 'https:') return 'Secure over http'
    if (sameSite === 'none' && !secure) return 'SameSite=None without Secure'
    if (partitioned && !secure) return 'Partitioned without Secure'
    const prefix = /^__(host-http|host|http|secure)-/i.exec(name)?.[1]?.toLowerCase()
    if (prefix && !secure) return 'a prefix without Secure'
    if (prefix?.startsWith('host') && (domain || pathGiven !== '/')) return '__Host- with a domain or another path'
    if (prefix?.endsWith('http') && !httpOnly) return '__Http- without HttpOnly'
    const key = [name, domain || url.hostname, domain === '', path, partitioned].join('\n')
    const expires = expiry(given)
    this.#cookies.delete(key)
    if (expires > Date.now()) {
      this.#cookies.set(key, {
        name,
        value,
        domain: domain || url.hostname,
        hostOnly: domain === '',
        path,
        secure,
        httpOnly,
        sameSite,
        partitioned,
        expires,
      })
    }
    return undefined
  }
}

/** Max-Age goes before Expires, and neither reaches beyond 400 days; without both the cookie lives as long as the browser. */
function expiry(given: ReadonlyMap<string, string>): number {
  const latest = Date.now() + 400 * 86400_000
  const maxAge = given.get('max-age')
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) return Math.min(Date.now() + Number(maxAge) * 1000, latest)
  const expires = given.get('expires')
  return expires === undefined ? Number.POSITIVE_INFINITY : Math.min(Date.parse(expires), latest)
}

function pathMatches(requested: string, path: string): boolean {
  if (requested === path) return true
  return requested.startsWith(path) && (path.endsWith('/') || requested[path.length] === '/')
}
