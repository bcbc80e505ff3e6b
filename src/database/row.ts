// A session's row as it comes from the database and goes there.

/** A session's row as Postgres writes it; times are to be read by `parseTime`. */
export interface SessionRow {
  readonly id: string
  readonly userId: string | null
  /** JSON text. */
  readonly data: string
  readonly version: number
  readonly createdAt: string
  readonly updatedAt: string
  readonly expiresAt: string
  /** The database's clock when it answered. */
  readonly now: string
  /** Names of the values that are to be stored anew at the next save: see `SealedDatabase`. Default: none. */
  readonly outdated?: ReadonlySet<string>
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
  readonly version: number | null
  readonly userId: string | null
  readonly maxLength: number
  readonly lifetimeSeconds: number | null
}

/** What saving a session takes of the database. */
export interface SessionDatabase {
  get(key: Buffer): Promise<SessionRow | undefined>
  save(save: SaveArguments): Promise<SaveResult>
  regenerate(save: Omit<SaveArguments, 'version'>, newKey: Buffer, version?: number | null): Promise<SaveResult>
  destroy(key: Buffer): Promise<number>
  limit(userId: string, max: number): Promise<number>
}

/** Milliseconds since the epoch of a row's time. */
export function parseTime(microseconds: string): number {
  return Number(microseconds) / 1000
}
