// `pgstore/hono`: a middleware that gives every request its session. It uses nothing from Node: it runs where pg does.
import type { MiddlewareHandler } from 'hono'
import { PGStoreError } from '../errors.ts'
import type { PGStore } from '../store.ts'
import { EarlyHeaders } from './copied-response.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/**
 * What the middleware adds to a context. `new Hono().use(sessions(store))` infers it; an app in several files names it:
 * `new Hono<{ Variables: SessionVariables<Visit> }>()`.
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
    const answered = store.deviceBound(c.req.raw)
    if (answered) return await answered
    const early = new EarlyHeaders()
    const { session, isRead, finish } = openSession(store, c.req.raw, early, options, answerable)
    c.set('session', session)
    try {
      await next()
    } finally {
      early.headersSent = true
    }
    if (!isRead() || c.res.status < 200) return // a websocket's 101 takes no cookie
    const answer = early.addTo(c.res)
    c.res = undefined // or Hono would overwrite the new headers with the old
    c.res = answer
    await finish(answer, answer.status)
    return
  }
}

/** Hono asks an error for its response, as with HTTPException; an error without one is logged and becomes a 500. */
function answerable(error: unknown): unknown {
  if (!(error instanceof PGStoreError) || error.statusCode !== 409) return error
  return Object.assign(error, { getResponse: () => new Response(error.message, { status: 409 }) })
}
