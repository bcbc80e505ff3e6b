// A session's row as it comes from the database, and what goes there. Times are text: see `parseTime`.

/** A live session. */
export interface SessionRow {
  readonly id: string
  readonly userId: string | null
  /** JSON text. */
  readonly data: string
  readonly version: number
  readonly createdAt: string
  readonly updatedAt: string
  readonly expiresAt: string
  readonly seenAt: string
  readonly signedInAt: string | null
  /** JSON text. */
  readonly label: string | null
  /** JSON text of a list of strings. */
  readonly tags: string | null
  /** The database's clock when it answered. */
  readonly now: string
  /** Names of the values that the next save seals anew: see `SealedDatabase`. Default: none. */
  readonly unsealed?: ReadonlySet<string>
}

/** What a save or regenerate came to. All but `status` and `now` is null where there is no live session. */
export interface SaveResult {
  readonly status: 'saved' | 'gone' | 'conflict' | 'too_large' | 'invalid'
  readonly id: string | null
  readonly version: number
  readonly expiresAt: string | null
  /** JSON text of what is there now; with `conflict` alone. */
  readonly data: string | null
  readonly now: string
  /** The version that the save came upon, where the save itself does not say. */
  readonly previousVersion?: number
}

export interface SaveArguments {
  readonly key: Buffer
  /** JSON text of an object. */
  readonly set: string
  readonly unset: readonly string[]
  readonly ttlSeconds: number
  /** null merges into what is live, 0 creates, n merges only at this version. */
  readonly version: number | null
  /** null leaves the user, '' clears it. */
  readonly userId: string | null
  /** JSON text; null leaves the label, 'null' clears it. */
  readonly label: string | null
  /** null leaves the tags. */
  readonly tags: readonly string[] | null
  readonly announce: boolean
  readonly maxLength: number
  readonly lifetimeSeconds: number | null
  /** The version that the caller last knew of: what a repeated save goes by when nobody knows whether the first one ran. */
  readonly knownVersion: number
}

/** What saving a session takes of the database. */
export interface SessionDatabase {
  get(key: Buffer): Promise<SessionRow | undefined>
  save(save: SaveArguments): Promise<SaveResult>
  regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult>
  destroy(key: Buffer): Promise<number>
  limit(userId: string, max: number, except: Buffer): Promise<number>
}

/** Milliseconds since the epoch of a row's time. */
export function parseTime(microseconds: string): number {
  return Number(microseconds) / 1000
}
