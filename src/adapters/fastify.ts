// `pgstore/fastify`: a plugin that gives every request its session.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { NodeResponseLike } from '../cookie/response.ts'
import { attachment } from '../session/attachment.ts'
import type { PGStore } from '../store.ts'
import { type OpenedSession, openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'
import { holdObject, type ObjectHolder, type SessionObject } from './session-object.ts'

export type { RequestSession } from './request-session.ts'
export type { SessionMethods, SessionObject } from './session-object.ts'

export interface SessionsOptions extends RequestSessionOptions {
  readonly store: PGStore<object>
  /** Name of the property of the request, for two of these plugins, or one beside another session plugin. Default: 'session'. */
  readonly decorator?: string
  /**
   * Make it an object with the values as own properties and the methods of @fastify/session and @fastify/secure-session, for
   * plugins that expect one, such as @fastify/passport, @fastify/flash and @fastify/csrf-protection. The session of each request
   * that has a cookie is then read before its handler: one query. Default: false.
   */
  readonly compatible?: boolean
}

/**
 * What your sessions hold: `declare module 'pgstore/fastify' { interface SessionValues { visits?: number } }`. Fastify has
 * one type for what a plugin adds to all requests, so this cannot come from the store's type. Until you declare it,
 * anything.
 */
// biome-ignore lint/suspicious/noEmptyInterface: for the user to fill
export interface SessionValues {}

/** With the option `compatible`: `declare module 'pgstore/fastify' { interface SessionsConfig { compatible: true } }`. */
// biome-ignore lint/suspicious/noEmptyInterface: for the user to fill
export interface SessionsConfig {}

type Values = keyof SessionValues extends never ? Record<string, unknown> : SessionValues

declare module 'fastify' {
  interface FastifyRequest {
    /** `const session = await request.session()`; with the option `compatible`, the session as an object. */
    session: keyof SessionsConfig extends never ? RequestSession<Values> : SessionObject<Values>
  }
}

/** `app.register(sessions, { store })`, before the routes that use `request.session`. */
export function sessions(
  app: FastifyInstance,
  { store, decorator = 'session', compatible = false, ...options }: SessionsOptions,
  done: () => void,
): void {
  const opened = attachment<OpenedSession<object>>()
  const objects = attachment<{ readonly holder: ObjectHolder<object>; isUsed: boolean }>()
  if (!compatible) app.decorateRequest(decorator)
  else {
    app.decorateRequest(decorator, {
      getter(this: FastifyRequest) {
        const object = objects.get(this)
        if (object) object.isUsed = true
        return object?.holder.current
      },
    })
  }
  app.addHook('onRequest', async (request, reply) => {
    const answered = store.deviceBound(request.raw, reply.raw)
    if (answered) {
      reply.hijack()
      await answered
      return
    }
    const headers = headersOf(reply, () => opened.get(request) === undefined)
    const own = openSession(store, request.raw, headers, options)
    opened.set(request, own)
    if (compatible) objects.set(request, { holder: holdObject(own.session, await own.session()), isUsed: false })
    else Reflect.set(request, decorator, own.session)
  })
  app.addHook('onSend', async (request, reply, payload) => {
    const own = opened.get(request)
    opened.set(request, undefined) // a save that fails here becomes an error response, which is sent too
    if (objects.get(request)?.isUsed === false) return
    const { status } = payload instanceof Response ? payload : { status: reply.statusCode }
    await own?.finish(headersOf(reply), status)
  })
  done()
}

Object.assign(sessions, {
  [Symbol.for('skip-override')]: true, // for the instance that registers it, not a new one
  [Symbol.for('fastify.display-name')]: 'pgstore',
  [Symbol.for('plugin-meta')]: { name: 'pgstore', fastify: '>=5' },
})

/**
 * Fastify's own headers, which would override those of the raw response.
 *
 * @param isCopied whether the raw response may have them already: those of a stream wait there for its first chunk
 */
function headersOf(reply: FastifyReply, isCopied = () => false): NodeResponseLike {
  return {
    get headersSent() {
      return reply.raw.headersSent
    },
    getHeader: (name) => reply.getHeader(name),
    setHeader(name, value) {
      reply.removeHeader(name).header(name, value) // it adds to a Set-Cookie that is there
      if (isCopied()) reply.raw.setHeader(name, value)
    },
  }
}
