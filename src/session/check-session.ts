// What callers forget: an argument, or to await get().
import { PGStoreError } from '../errors.ts'
import { Session } from './session.ts'

/**
 * The session that was given.
 *
 * @throws {PGStoreError} `invalid_option` for anything else: a promise of a session, an argument that is missing or in the wrong place
 */
export function checkSession<Given extends object>(session: Given): Given {
  if (session instanceof Session) return session
  const isPromise = typeof (session as { then?: unknown } | undefined | null)?.then === 'function'
  throw new PGStoreError(
    'invalid_option',
    isPromise
      ? 'The session is a promise: await store.get(req, name).'
      : 'The session must be what store.get(req, name) resolves to, after the request and the response: (req, res, session).',
  )
}
