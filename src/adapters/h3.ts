// `pgstore/h3`: sessions for h3 2 and Nitro 3, as a middleware, and for h3 1, Nitro 2 and Nuxt, on the application. It imports
// nothing from h3, whose two versions differ in all that is used here.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HeadersLike } from '../cookie/response.ts'
import type { PGStore } from '../store.ts'
import { holdBack } from './held-response.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/**
 * What is added to `event.context`; tell h3 so:
 * `declare module 'h3' { interface H3EventContext extends SessionContext<Visit> {} }`.
 */
export interface SessionContext<Values extends object = Record<string, unknown>> {
  /** `const session = await event.context.session()`. */
  session: RequestSession<Values>
}

/** What we use of an event of h3 2. */
export interface EventLike {
  readonly req: Request
  readonly res: { readonly status?: number; readonly headers: Headers; readonly errHeaders: Headers }
  readonly context: object
}

/** What we use of an application of h3 1. */
export interface AppLike {
  handler: (event: never) => Promise<unknown>
}

interface NodeEvent {
  readonly node: { readonly req: IncomingMessage; readonly res: ServerResponse }
  readonly context: object
}

/** h3 2 and Nitro 3: `app.use(sessions(store))`, before the routes that use `event.context.session`. */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): (event: EventLike, next: () => unknown) => Promise<unknown> {
  return async (event, next) => {
    const answered = store.deviceBound(event.req)
    if (answered) return await answered
    const headers = new BothHeaders(event.res)
    const { session, finish } = openSession(store, event.req, headers, options)
    Object.assign(event.context, { session } satisfies SessionContext<Values>)
    try {
      const answer = await next()
      await finish(headers, typeof answer === 'symbol' ? 404 : statusOf(answer, event.res.status ?? 200))
      return answer
    } catch (error) {
      await finish(headers, statusOf(error, 500))
      throw error
    } finally {
      headers.isSent = true
    }
  }
}

/** h3 1, Nitro 2 and Nuxt: `defineNitroPlugin(({ h3App }) => addSessions(h3App, store))`, or with the result of `createApp()`. */
export function addSessions<Values extends object>(
  app: AppLike,
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): void {
  const handle = app.handler as unknown as (event: NodeEvent) => Promise<unknown>
  app.handler = async (event: NodeEvent) => {
    const { req, res } = event.node
    const answered = store.deviceBound(req, res)
    if (answered) return await answered
    const { session, isRead, finish } = openSession(store, req, res, options)
    Object.assign(event.context, { session } satisfies SessionContext<Values>)
    let saving: Promise<void> | undefined
    const failure = new Promise<never>((_resolve, reject) => {
      const save: typeof finish = (held, status) => {
        saving = finish(held, status)
        return saving
      }
      const failed = (error: unknown) => {
        Object.assign(event, { _handled: false }) // or h3 would leave the error to what it takes for an answer of the page
        reject(error)
      }
      holdBack(res, { isNeeded: isRead, save, failed })
    })
    try {
      await Promise.race([handle(event), failure])
    } catch (error) {
      await finish(res, statusOf(error, 500))
      throw error
    }
    await saving // a call without a server takes the answer from here
  }
}

/** The status of what a handler has thrown or returned. */
function statusOf(answer: unknown, otherwise: number): number {
  const { headers, status, statusCode } = Object(answer) as {
    headers?: unknown
    status?: unknown
    statusCode?: unknown
  }
  const found = answer instanceof Error || headers instanceof Headers ? (status ?? statusCode) : undefined
  return typeof found === 'number' ? found : answer instanceof Error ? 500 : otherwise
}

/** The headers of the response and of an error in its place, of which h3 sends one or the other. */
class BothHeaders implements HeadersLike {
  readonly #both: readonly [Headers, Headers]
  isSent = false

  constructor({ headers, errHeaders }: EventLike['res']) {
    this.#both = [headers, errHeaders]
  }

  get(name: string): string | null {
    return this.#both[0].get(name)
  }

  getSetCookie(): string[] {
    return this.#both[0].getSetCookie()
  }

  set(name: string, value: string): void {
    for (const headers of this.#both) headers.set(name, value)
  }

  append(name: string, value: string): void {
    for (const headers of this.#both) headers.append(name, value)
  }

  delete(name: string): void {
    if (this.isSent) throw new TypeError('The headers have been sent.')
    for (const headers of this.#both) headers.delete(name)
  }
}
