// `pgstore/hono`: a middleware that gives every request its session. It touches nothing of node's: it runs where pg does.
import type { MiddlewareHandler } from 'hono'
import type { NodeResponseLike } from '../cookie/response.ts'
import { PGStoreError } from '../errors.ts'
import type { PGStore } from '../store.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/**
 * What the middleware adds to a context. `new Hono().use(sessions(store))` knows it from there on; an app in several files
 * says it once: `new Hono<{ Variables: SessionVariables<Visit> }>()`.
 */
export interface SessionVariables<Values extends object = Record<string, unknown>> {
  /** `const session = await c.var.session()`. */
  session: RequestSession<Values>
}

/** `app.use(sessions(store))`, before the routes that use `c.var.session`. */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): MiddlewareHandler<{ Variables: SessionVariables<Values> }> {
  return async (c, next) => {
    const early = new EarlyHeaders()
    const { session, isRead, finish } = openSession(store, c.req.raw, early, options, answerable)
    c.set('session', session)
    try {
      await next()
    } finally {
      early.headersSent = true
    }
    if (!isRead() || c.res.status < 200) return // a websocket's 101 takes no cookie
    // A new one: those of fetch() are immutable, and nothing keeps a handler from giving one to two visitors.
    const answer = new Response(c.res.body, c.res)
    for (const line of early.cookies) answer.headers.append('set-cookie', line)
    c.res = undefined // or Hono would put the old headers over the new
    c.res = answer
    await finish(answer, answer.status)
  }
}

/** Takes the cookies of what a handler saves by itself, ahead of its answer; what a stream saves later is too late for one. */
class EarlyHeaders implements NodeResponseLike {
  headersSent = false
  cookies: readonly string[] = []

  getHeader(name: string): readonly string[] | undefined {
    return name.toLowerCase() === 'set-cookie' ? this.cookies : undefined
  }

  setHeader(name: string, value: string | readonly string[]): void {
    if (name.toLowerCase() === 'set-cookie') this.cookies = [value].flat()
  }
}

/** Hono asks an error for its answer, as HTTPException has one; what has none is logged, and is a 500. */
function answerable(error: unknown): unknown {
  if (!(error instanceof PGStoreError) || error.statusCode !== 409) return error
  return Object.assign(error, { getResponse: () => new Response(error.message, { status: 409 }) })
}
