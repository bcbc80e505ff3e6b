// `pgstore/sveltekit`: a handle that gives every request its session, for src/hooks.server.ts.
import type { CookieAttributes } from '../cookie/cookie-options.ts'
import type { CookieSink } from '../cookie/response.ts'
import type { PGStore } from '../store.ts'
import { copyResponse, earlyHeaders } from './copied-response.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/** What is added to `event.locals`: in src/app.d.ts, `namespace App { interface Locals extends SessionLocals<Visit> {} }`. */
export interface SessionLocals<Values extends object = Record<string, unknown>> {
  /** `const session = await locals.session()`. */
  session: RequestSession<Values>
}

/** What we use of SvelteKit's event. */
export interface SessionEvent<Values extends object> {
  readonly request: Request
  readonly cookies: {
    set(name: string, value: string, options: CookieAttributes & { encode: (value: string) => string }): void
  }
  readonly locals: SessionLocals<Values>
}

/** `export const handle = sessions(store)`, or with others in SvelteKit's `sequence`. */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): <Event extends SessionEvent<Values>>(input: {
  readonly event: Event
  readonly resolve: (event: Event) => Response | Promise<Response>
}) => Promise<Response> {
  return async ({ event, resolve }) => {
    const answered = store.deviceBound(event.request)
    if (answered) return await answered
    // What handlers save themselves, which SvelteKit's own fetch is to send too.
    const early = {
      headers: new Headers(),
      headersSent: false,
      setCookie: (name, value, attributes) =>
        event.cookies.set(name, value, { ...attributes, encode: (plain) => plain }),
    } as CookieSink & { headers: Headers; headersSent: boolean }
    const { session, isRead, finish } = openSession(store, event.request, early, options)
    event.locals.session = session
    const response = await resolve(event)
    early.headersSent = true
    if (!isRead()) return response
    const answer = copyResponse(response)
    for (const name of earlyHeaders) {
      const value = early.headers.get(name)
      if (value) answer.headers.set(name, value)
    }
    await finish(answer, answer.status)
    return answer
  }
}
