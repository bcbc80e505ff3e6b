// `pgstore/koa`: a middleware that gives every request its session.
import type { ServerResponse } from 'node:http'
import type { DefaultState, Middleware } from 'koa'
import { hintName } from '../cookie/hint.ts'
import type { PGStore } from '../store.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

/**
 * What the middleware adds to a context. `new Koa().use(sessions(store))` infers it; an app in several files names it:
 * `new Koa<Koa.DefaultState, SessionContext<Visit>>()`.
 */
export interface SessionContext<Values extends object = Record<string, unknown>> {
  /** `const session = await ctx.session()`. */
  session: RequestSession<Values>
}

/** `app.use(sessions(store))`, before the middlewares that use `ctx.session`. */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): Middleware<DefaultState, SessionContext<Values>> {
  return async (ctx, next) => {
    const { name, session, finish } = openSession(store, ctx.req, ctx.res, options)
    ctx.session = session
    try {
      try {
        await next()
      } catch (error) {
        await finish(ctx.res, statusOf(error))
        throw error
      }
      if (ctx.respond !== false) await finish(ctx.res, ctx.status)
    } catch (error) {
      keepHeaders(ctx.res, name, error)
      throw error
    }
  }
}

interface KoaError {
  status?: unknown
  statusCode?: unknown
  headers?: object
}

/** The status with which Koa answers this error. */
function statusOf(error: unknown): number {
  const { status, statusCode } = Object(error) as KoaError
  const found = status || statusCode
  return typeof found === 'number' ? found : 500
}

/** Koa removes all headers from a response that becomes an error, except those in the error: ours must stay. */
function keepHeaders(res: ServerResponse, name: string, error: unknown): void {
  if (!(error instanceof Error)) return
  const headers: Record<string, unknown> = {}
  const isOurs = (line: unknown) => [name, hintName(name)].some((ours) => String(line).startsWith(`${ours}=`))
  const cookies = [res.getHeader('set-cookie') ?? []].flat().filter(isOurs)
  if (cookies.length > 0) headers['set-cookie'] = cookies
  const kept = statusOf(error) < 500 ? ['vary', 'cache-control', 'clear-site-data'] : ['clear-site-data']
  for (const header of kept) if (res.hasHeader(header)) headers[header] = res.getHeader(header)
  Object.assign(error, { headers: { ...headers, ...(error as KoaError).headers } })
}
