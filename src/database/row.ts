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
  readonly unsealed?: ReadonlySet<string> | undefined
}

/** A row as it came: a field is looked up when it is asked for. With 128 readers an object of thirteen fields each is felt. */
export class ReadRow implements SessionRow {
  readonly #fields: readonly (string | null)[]

  /** @param fields in the order of `sessionColumns` */
  constructor(fields: readonly (string | null)[]) {
    this.#fields = fields
  }

  get id(): string {
    return this.#fields[0] as string
  }

  get userId(): string | null {
    return this.#fields[1] as string | null
  }

  get data(): string {
    return this.#fields[2] ?? '{}'
  }

  get version(): number {
    return Number(this.#fields[3])
  }

  get createdAt(): string {
    return this.#fields[4] as string
  }

  get updatedAt(): string {
    return this.#fields[5] as string
  }

  get expiresAt(): string {
    return this.#fields[6] as string
  }

  get seenAt(): string {
    return this.#fields[7] as string
  }

  get signedInAt(): string | null {
    return this.#fields[8] as string | null
  }

  get label(): string | null {
    return this.#fields[9] as string | null
  }

  get tags(): string | null {
    return this.#fields[10] as string | null
  }

  get now(): string {
    return this.#fields[11] as string
  }
}

/** The same row with other data. */
export function withData(row: SessionRow, data: string, unsealed?: ReadonlySet<string>): SessionRow {
  const { id, userId, version, createdAt, updatedAt, expiresAt, seenAt, signedInAt, label, tags, now } = row
  const times = { createdAt, updatedAt, expiresAt, seenAt, signedInAt, now }
  return { id, userId, data, version, ...times, label, tags, ...(unsealed && { unsealed }) }
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
