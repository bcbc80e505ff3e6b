// One request's session, for the adapters that save it themselves. All of them do the same: docs/frameworks.md.

import type { RequestLike } from '../cookie/cookie-header.ts'
import type { ResponseLike } from '../cookie/response.ts'
import { PGStoreError } from '../errors.ts'
import type { GetOptions, RegenerateOptions, SaveOptions } from '../options.ts'
import type { Session } from '../session/session.ts'
import type { PGStore } from '../store.ts'

/** A request's session: calling it reads it. */
export interface RequestSession<Values extends object = Record<string, unknown>> {
  /**
   * The visitor's session: one query at the first call, the same object from then on. Your changes are saved before the
   * response headers are sent, unless the status is 500 or above. A request that never calls this costs nothing. The options are
   * those of `store.get`: `fresh`, `bound`.
   */
  (options?: GetOptions): Promise<Session<Values>>
  /**
   * `store.regenerate()` at once: a new token for the visitor, at sign-in and at every change of privilege.
   *
   * @throws {PGStoreError} `gone` when another request regenerated or ended the session first
   */
  regenerate(options?: RegenerateOptions): Promise<void>
  /** `store.destroy()` at once: sign-out. The session object is a new, empty one from here on. */
  destroy(): Promise<void>
  /**
   * Saves at once instead of at the end.
   *
   * @throws {PGStoreError} `gone`; `conflict` with `ifUnchanged`; else as `store.save()`
   */
  save(options?: SaveOptions): Promise<void>
}

export interface RequestSessionOptions {
  /** Name of the cookie: use `__Host-sid` if the store's cookies are secure, have path '/' and no domain. Default: 'sid'. */
  readonly name?: string
}

/** What an adapter needs: the session for its handlers, and the save at the end. */
export interface OpenedSession<Values extends object> {
  readonly session: RequestSession<Values>
  /** Name of its cookie. */
  readonly name: string
  /** Whether a handler read it: only then is there anything to save, and a response that depends on the visitor. */
  readonly isRead: () => boolean
  /** Saves what the handlers changed, for a response with this status. */
  readonly finish: (res: ResponseLike, status: number) => Promise<void>
}

/**
 * @param res takes the cookies of what handlers save themselves
 * @param inFramework what an error becomes before a handler sees it
 */
export function openSession<Values extends object>(
  store: PGStore<Values>,
  req: RequestLike,
  res: ResponseLike,
  { name = 'sid' }: RequestSessionOptions,
  inFramework: (error: unknown) => unknown = (error) => error,
): OpenedSession<Values> {
  let session: Session<Values> | undefined
  const use = async <Result>(work: (session: Session<Values>) => Result | Promise<Result>) => {
    try {
      session = await store.get(req, name)
      return await work(session)
    } catch (error) {
      throw inFramework(error)
    }
  }
  const calls: RequestSession<Values> = Object.assign(
    (given?: GetOptions) => use((read) => (given ? store.get(req, name, given) : read)),
    {
      regenerate: (options?: RegenerateOptions) => use((read) => store.regenerate(req, res, read, options)),
      destroy: () => use((read) => store.destroy(req, res, read)),
      save: (options?: SaveOptions) => use((read) => store.save(req, res, read, options)),
    },
  )
  return {
    session: new Proxy(calls, unassignable as ProxyHandler<typeof calls>),
    name,
    isRead: () => session !== undefined,
    async finish(answer, status) {
      if (!session || status >= 500) return
      try {
        await store.save(req, answer, session)
      } catch (error) {
        // Ended elsewhere while the handler ran. It is as if it had ended a moment later: the response stands.
        if (!(error instanceof PGStoreError && error.code === 'gone')) throw error
      }
    },
  }
}

/** A value that is assigned to the function would be gone at the next request. */
const unassignable: ProxyHandler<object> = {
  defineProperty: (_target, name) => refuse(name),
  deleteProperty: (_target, name) => refuse(name),
  set: (_target, name) => refuse(name),
}

function refuse(name: string | symbol): never {
  throw new PGStoreError(
    'invalid_option',
    `This session is a function: "const { values } = await session()", then values.${String(name)}. For plugins that expect an object, pgstore/fastify and pgstore/koa have the option "compatible".`,
  )
}
