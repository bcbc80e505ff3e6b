// `pgstore/express`: a middleware that gives every request its session. Nothing of the response is sent before it is saved.
import type { RequestHandler } from 'express'
import type { PGStore } from '../store.ts'
import { holdBack } from './held-response.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/** What is added to a request; tell Express so: `namespace Express { interface Request extends SessionRequest<Visit> {} }`. */
export interface SessionRequest<Values extends object = Record<string, unknown>> {
  /** `const session = await req.session()`. */
  session: RequestSession<Values>
}

/** `app.use(sessions(store))`, before the routes that use `req.session`. */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): RequestHandler {
  return (req, res, next) => {
    const answered = store.deviceBound(req, res)
    if (answered) return void passing(answered, next)
    const { session, isRead, finish } = openSession(store, req, res, options)
    Object.assign(req, { session } satisfies SessionRequest<Values>)
    holdBack(res, { isNeeded: isRead, save: finish, failed: next })
    next()
  }
}

/** The framework's answer to a failure. */
async function passing(answered: Promise<void>, next: (error: unknown) => void): Promise<void> {
  try {
    await answered
  } catch (error) {
    next(error)
  }
}
