// One cached session: its row as it came, and what decides how long it is believed.
import type { SecureCookie } from '../cookie/codec.ts'
import type { SessionRow } from '../database/row.ts'

/** What an answer may become is fixed when its query is sent: by then the database holds all that was heard of or written. */
export class Entry {
  /** A keyed digest of the cookie. */
  readonly digest: string
  /** The session's key in the database, a character for each byte. */
  readonly key: string
  /** The hint that came with the request that asked; undefined for none. */
  readonly hint: string | undefined
  /** What verified the cookie; undefined where it is asked at each request. */
  readonly codec: SecureCookie | undefined
  /** When the cookie was signed, in seconds since the epoch. */
  readonly signedAt: number
  row: SessionRow | undefined
  /** What it takes of memory, an estimate. */
  bytes = 0
  // Whole numbers, which take no room besides the field's own.
  /** Milliseconds for which it is believed, from when it was sent. */
  lifeMs = 0
  sentAt = 0
  /** Since the cache was made. */
  sentWall = 0
  /** How much had been heard and written when the query was sent. */
  count = 0
  /** The span of proven listening that it was sent in; 0 for none. */
  epoch = 0
  /** Who is to touch the session and to renew its cookie: one of all whom this entry is served to. */
  renewer: object | undefined

  constructor(
    digest: string,
    key: string,
    hint: string | undefined,
    codec: SecureCookie | undefined,
    signedAt: number,
  ) {
    this.digest = digest
    this.key = key
    this.hint = hint
    this.codec = codec
    this.signedAt = signedAt
  }
}
