// The session's cookie, as far as the page explains it.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { PGStore } from 'pgstore'
import { cookieName } from './exchange.ts'

export interface CookieFacts {
  /** Its beginning and its end: the whole would open the session. */
  readonly value: string
  readonly signedAt: Date
  /** The first characters of the secret inside. */
  readonly token: string
}

/** The cookie that this response sets, or else the one that the request brought. */
export function cookieFacts(
  store: PGStore<object>,
  req: IncomingMessage,
  res: ServerResponse,
): CookieFacts | undefined {
  const lines = [res.getHeader('set-cookie') ?? [], req.headers.cookie?.split(/; */) ?? []].flat().map(String)
  const line = lines.find((one) => one.startsWith(`${cookieName}=`))
  const value = line?.slice(cookieName.length + 1).split(';', 1)[0]
  const [codec] = store.codecs
  const token = value && codec?.decode(cookieName, value)
  if (!codec || !token) return undefined
  return {
    value: `${value.slice(0, 14)}…${value.slice(-8)}`,
    signedAt: new Date((codec.signedAt?.() ?? 0) * 1000),
    token: `${token.slice(0, 4)}…`,
  }
}
