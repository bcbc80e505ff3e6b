// A Secure cookie that goes out over plain http is dropped by the browser, and nobody is told: the visitor has a new session at each
// page.
import type { RequestLike } from './cookie-header.ts'
import type { SessionOptions } from './cookie-options.ts'

/** Once: the first request from elsewhere than this machine tells how the application is reached. */
let isKnown = false

/** What of a request tells how it came: Node's, also of HTTP/2, and fetch's. */
interface Arrival {
  readonly url?: unknown
  readonly headers?: unknown
  readonly socket?: { readonly encrypted?: unknown } | null
}

/**
 * Emits a process warning with the code `PGSTORE_SECURE_COOKIE`, at most once, when a Secure cookie is set in response to a request
 * that came over plain http. What a proxy says in X-Forwarded-Proto or Forwarded counts as https whether or not the application
 * trusts it: it only keeps the warning away. Requests for this machine's own names are passed over, as browsers (but Safari)
 * accept Secure cookies from http://localhost.
 */
export function noteSecureCookie(req: RequestLike, { secure }: Pick<SessionOptions, 'secure'>): void {
  if (isKnown || !secure) return
  const isPlain = cameInClear(req)
  if (isPlain === undefined) return
  isKnown = true
  if (!isPlain) return
  process.emitWarning(
    'A session cookie with the attribute Secure was set over plain http: browsers drop it, and every page begins a new session. Serve the site over https; for http only, set options: { secure: false }. If a proxy in front of this server speaks https, let it send X-Forwarded-Proto.',
    { type: 'PGStoreWarning', code: 'PGSTORE_SECURE_COOKIE' },
  )
}

/** Whether the browser sent this over plain http; undefined if that cannot be told, or the request was for this machine's own names. */
export function cameInClear(req: object): boolean | undefined {
  const { socket, url } = req as Arrival
  const isFetch = typeof url === 'string' && /^https?:/.test(url)
  if (!('headers' in req) || !(socket || isFetch)) return undefined // a framework's own object, which does not tell
  const host = isFetch ? new URL(url).hostname : hostName(field(req, 'host') || field(req, ':authority'))
  if (host === '' || isOwnName(host)) return undefined
  const isEncrypted = isFetch ? url.startsWith('https:') : socket?.encrypted === true
  const isBehind =
    /^\s*https\b/i.test(field(req, 'x-forwarded-proto')) || /\bproto="?https\b/i.test(field(req, 'forwarded'))
  return !isEncrypted && !isBehind
}

function field({ headers }: Arrival, name: string): string {
  const read = headers as { get?: (name: string) => unknown } | Record<string, unknown>
  if (typeof read?.get === 'function' && name.startsWith(':')) return '' // no name of a fetch header
  const value = typeof read?.get === 'function' ? read.get(name) : (read as Record<string, unknown>)?.[name]
  return typeof value === 'string' ? value : ''
}

function hostName(host: string): string {
  return host.replace(/:\d*$/, '').toLowerCase()
}

function isOwnName(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(host)
}
