// `pgstore/elysia`: a plugin that gives every request its session.
import { Elysia } from 'elysia'
import type { CookieAttributes } from '../cookie/cookie-options.ts'
import type { CookieSink, HeadersLike } from '../cookie/response.ts'
import { PGStoreError } from '../errors.ts'
import { attachment } from '../session/attachment.ts'
import type { PGStore } from '../store.ts'
import { copyResponse } from './copied-response.ts'
import { type OpenedSession, openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/** What the plugin adds to a context: `const session = await context.session()`. */
export type SessionPlugin<Values extends object> = Elysia<
  '',
  { decorator: Nothing; store: Nothing; derive: { readonly session: RequestSession<Values> }; resolve: Nothing }
>

// biome-ignore lint/complexity/noBannedTypes: as Elysia writes it
type Nothing = {}

interface Outcome {
  readonly headers: Record<string, string | number | readonly string[]>
  status?: number | string | undefined
  cookie?: Record<string, object> | undefined
}

/** `new Elysia().use(sessions(store))`, before the routes that use `session`. */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): SessionPlugin<Values> {
  const requests = attachment<{ readonly own: OpenedSession<Values>; readonly sink: Sink }>()
  return new Elysia({ name: 'pgstore', seed: options.name })
    .onRequest(({ request }) => store.deviceBound(request))
    .derive({ as: 'global' }, ({ request, set }) => {
      const sink = sinkOf(set as Outcome)
      const own = openSession(store, request, sink, options, answerable)
      requests.set(request, { own, sink })
      return { session: own.session }
    })
    .onAfterHandle({ as: 'global' }, async ({ request, responseValue, set }) => {
      const { own, sink } = requests.get(request) ?? {}
      if (!own || !sink) return undefined
      try {
        if (!own.isRead()) return undefined
        if (!(responseValue instanceof Response)) {
          await own.finish(sink, statusOf(responseValue) ?? statusOf(set) ?? 200)
          return undefined
        }
        const answer = copyResponse(responseValue)
        // Beside a cookie of the answer's own, Elysia would drop ours where there is a third.
        const hasOwn = answer.headers.has('set-cookie')
        await own.finish(hasOwn ? answer : { ...sink, headers: answer.headers }, answer.status)
        return answer
      } finally {
        sink.headersSent = true // what a stream saves from here on is too late for a cookie
      }
    })
    .onError({ as: 'global' }, async ({ request, error }) => {
      const { own, sink } = requests.get(request) ?? {}
      if (own && sink) await own.finish({ ...sink, headersSent: false }, statusOf(error) ?? 500)
    }) as unknown as SessionPlugin<Values>
}

type Sink = CookieSink & { headers: HeadersLike; headersSent: boolean }

/** Elysia's own cookies, which it writes last, and its headers. */
function sinkOf(set: Outcome): Sink {
  const nameOf = (name: string) => Object.keys(set.headers).find((key) => key.toLowerCase() === name) ?? name
  return {
    headersSent: false,
    setCookie(name: string, value: string, attributes: CookieAttributes) {
      set.cookie ??= {}
      set.cookie[name] = { value, ...attributes, encode: (plain: string) => plain }
    },
    headers: {
      get: (name) => (set.headers[nameOf(name.toLowerCase())] as string | undefined) ?? null,
      set(name, value) {
        set.headers[nameOf(name.toLowerCase())] = value
      },
      append: () => {},
      delete: () => {},
      getSetCookie: () => [],
    },
  }
}

/** The status of an answer, an error or a response that Elysia has made of `status(…)`. */
function statusOf(answer: unknown): number | undefined {
  const { status, code } = Object(answer) as { status?: unknown; code?: unknown }
  return [status, code].find((found) => typeof found === 'number')
}

/** Elysia answers an error with its `status`. */
function answerable(error: unknown): unknown {
  return error instanceof PGStoreError ? Object.assign(error, { status: error.statusCode }) : error
}
