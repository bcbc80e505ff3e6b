// koa-session with an external store: under the key that the cookie carries, the values with their expiry among them.
import { found, type Item } from './source.ts'

/** In seconds: what koa-session itself gives a session that ends with the browser. */
const browserSessionSeconds = 86400

/** @param seconds left by the store; null where only the session's own expiry counts */
export function foundKoaSession(
  key: string,
  session: { readonly [key: string]: unknown },
  seconds: number | null,
): Item {
  const { _expire: expires, _maxAge: _, _session: __, ...values } = session
  const own = typeof expires === 'number' ? (expires - Date.now()) / 1000 : null
  return found(key, values, own ?? seconds ?? browserSessionSeconds)
}
