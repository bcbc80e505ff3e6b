// The handler's two faces, for the requests of Node and of fetch, and the header that begins it all.

import { setCookieLine } from '../cookie/cookie-options.ts'
import { fields, type ResponseLike, writeCookie } from '../cookie/response.ts'
import { PGStoreError } from '../errors.ts'
import type { Session } from '../session/session.ts'
import type { DeviceBound } from './device-bound.ts'

/** What we use of Node's `IncomingMessage`, and of Express', which keeps the whole path apart. */
export interface BoundNodeRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly originalUrl?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** What we use of Node's `ServerResponse`. */
export interface BoundNodeResponse {
  readonly headersSent: boolean
  statusCode: number
  getHeader(name: string): number | string | readonly string[] | undefined
  setHeader(name: string, value: string | readonly string[]): unknown
  end(body: string): unknown
  destroy(): unknown
}

export type AnyBoundRequest = BoundNodeRequest | Request

/** undefined for a request that is not for us, and then at once. */
export function handle(
  bound: DeviceBound | undefined,
  req: AnyBoundRequest,
  res: BoundNodeResponse | undefined,
): Promise<Response | undefined> | undefined {
  if (!bound || req.method !== 'POST' || !isFor(bound.settings.path, req)) return undefined
  return isFetch(req) ? answerFetch(bound, req) : answerNode(bound, req, res)
}

function isFetch(req: AnyBoundRequest): req is Request {
  return typeof req.headers['get'] === 'function'
}

function isFor(path: string, req: AnyBoundRequest): boolean {
  if (isFetch(req)) return req.url.includes(path) && new URL(req.url).pathname === path
  const url = req.originalUrl ?? req.url ?? ''
  return url.startsWith(path) && (url.length === path.length || url[path.length] === '?')
}

async function answerFetch(bound: DeviceBound, req: Request): Promise<Response> {
  try {
    const answer = await bound.answer({ cookies: req, header: (name) => req.headers.get(name) ?? '' })
    if (!answer) return new Response(null, { status: 503 })
    const headers = new Headers(answer.headers)
    if (answer.cookie) headers.append('set-cookie', setCookieLine(answer.cookie))
    return new Response(answer.body, { status: answer.status, headers })
  } catch (error) {
    if (isPassing(error)) return new Response(null, { status: 503 })
    throw error
  }
}

/**
 * Where the database fails the connection is broken off: after an answer of 503 Chromium does not come again for a while that grows, and
 * outlasts the failure; after none it does at the next request.
 */
async function answerNode(
  bound: DeviceBound,
  req: BoundNodeRequest,
  res: BoundNodeResponse | undefined,
): Promise<undefined> {
  if (!res) throw new PGStoreError('invalid_option', 'deviceBound: the second argument must be the response.')
  const header = (name: string) => {
    const value = req.headers[name]
    return typeof value === 'string' ? value : ''
  }
  try {
    const answer = await bound.answer({ cookies: req as { headers: { cookie?: string } }, header })
    if (!answer) {
      res.destroy()
      return undefined
    }
    res.statusCode = answer.status
    for (const name of Object.keys(answer.headers)) res.setHeader(name, answer.headers[name] as string)
    if (answer.cookie) writeCookie(res, answer.cookie)
    res.end(answer.body)
  } catch (error) {
    if (!isPassing(error)) throw error
    res.destroy()
  }
  return undefined
}

function isPassing(error: unknown): boolean {
  return error instanceof PGStoreError && (error.statusCode === 503 || error.code === 'closed')
}

/**
 * Asks the browser to bind the session that it has just signed in with; or, at a later page, one that is not bound. Not within half a
 * minute of the sign-in: that registration may still be under way.
 */
export function offer(
  bound: DeviceBound,
  req: object,
  res: ResponseLike,
  session: Session<object>,
  isSignIn: boolean,
): void {
  const { id, name, userId } = session
  if (id === undefined || userId === undefined || name !== bound.settings.name || session.isBound) return
  if (!isSignIn && (session.isFresh(30) || !isPage(req))) return
  if ('setHeader' in res && res.headersSent) return
  fields(res).write('Secure-Session-Registration', bound.registration(id))
}

/** Whether a browser loads a page with it, and has not said that it could not refresh what it has. */
function isPage(req: object): boolean {
  const { headers } = req as { headers?: unknown }
  const of = (name: string): unknown => {
    if (typeof headers !== 'object' || headers === null) return undefined
    const { get } = headers as { get?: unknown }
    return typeof get === 'function' ? (headers as Headers).get(name) : (headers as Record<string, unknown>)[name]
  }
  return of('sec-fetch-dest') === 'document' && !of('secure-session-skipped')
}
