// `pgstore/koa`: a middleware that gives every request its session.
import type { ServerResponse } from 'node:http'
import type { DefaultState, Middleware } from 'koa'
import { hintName } from '../cookie/hint.ts'
import type { PGStore } from '../store.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'
import { holdObject, type SessionObject } from './session-object.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'
export type { SessionMethods, SessionObject } from './session-object.ts'

/**
 * What the middleware adds to a context. `new Koa().use(sessions(store))` infers it; an app in several files names it:
 * `new Koa<Koa.DefaultState, SessionContext<Visit>>()`.
 */
export interface SessionContext<Values extends object = Record<string, unknown>> {
  /** `const session = await ctx.session()`. */
  session: RequestSession<Values>
}

/** The same with the option `compatible`: as in koa-session, null ends the session and an object takes the place of its values. */
export interface CompatibleContext<Values extends object = Record<string, unknown>> {
  get session(): SessionObject<Values>
  set session(values: Values | null)
}

export interface SessionsOptions<Compatible extends boolean = boolean> extends RequestSessionOptions {
  /** Name of the property of the context, for two of these middlewares, or one beside another. Default: 'session'. */
  readonly decorator?: string
  /**
   * Make it an object with the values as own properties and the methods of koa-session, for what expects one, such as koa-passport.
   * The session of each request that has a cookie is then read first: one query. Default: false.
   */
  readonly compatible?: Compatible
}

/** `app.use(sessions(store))`, before the middlewares that use `ctx.session`. */
export function sessions<Values extends object, Compatible extends boolean = false>(
  store: PGStore<Values>,
  options?: SessionsOptions<Compatible>,
): Middleware<DefaultState, Compatible extends true ? CompatibleContext<Values> : SessionContext<Values>>
export function sessions<Values extends object>(
  store: PGStore<Values>,
  { decorator = 'session', compatible = false, ...options }: SessionsOptions<boolean> = {},
): Middleware<DefaultState, object> {
  return async (ctx, next) => {
    const answered = store.deviceBound(ctx.req, ctx.res)
    if (answered) {
      ctx.respond = false
      await answered
      return
    }
    const { name, finish: save, ...own } = openSession(store, ctx.req, ctx.res, options)
    let isUsed = !compatible
    if (!compatible) Reflect.set(ctx, decorator, own.session)
    else {
      const holder = holdObject(own.session, await own.session())
      Object.defineProperty(ctx, decorator, {
        configurable: true,
        get() {
          isUsed = true
          return holder.current
        },
        set(values: Values | null) {
          isUsed = true
          holder.replace(values)
        },
      })
    }
    const finish: typeof save = async (res, status) => {
      if (isUsed) await save(res, status)
    }
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
