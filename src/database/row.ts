// A session's row as read from the database, and what is sent there. Times are text: see `parseTime`.

/** Hex digits of `SessionRow.bound`: of a digest, and of a time behind it. */
export const digestDigits = 64
const boundDigits = digestDigits + 16

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
  /** The database's clock when it responded. */
  readonly now: string
  /** Digest and end of the cookie that its device has to send, in hex; null where there is none, or it was not asked for. */
  readonly bound?: string | null | undefined
  /** Names of the values that the next save re-seals: see `SealedDatabase`. Default: none. */
  readonly unsealed?: ReadonlySet<string> | undefined
}

/** A row as received: a field is looked up on access. With 128 readers an object of thirteen fields per row is noticeable. */
export class ReadRow implements SessionRow {
  readonly #fields: readonly (string | null)[]

  /** @param fields in the order of `sessionColumns` */
  constructor(fields: readonly (string | null)[]) {
    this.#fields = fields
  }

  protected get fields(): readonly (string | null)[] {
    return this.#fields
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

  get label(): string | null {
    return this.#fields[4] as string | null
  }

  get tags(): string | null {
    return this.#fields[5] as string | null
  }

  get createdAt(): string {
    return instantAt(this.#fields[6], 0) as string
  }

  get updatedAt(): string {
    return instantAt(this.#fields[6], 1) as string
  }

  get expiresAt(): string {
    return instantAt(this.#fields[6], 2) as string
  }

  get seenAt(): string {
    return instantAt(this.#fields[6], 3) as string
  }

  get now(): string {
    return instantAt(this.#fields[6], 4) as string
  }

  get signedInAt(): string | null {
    return instantAt(this.#fields[6], 5)
  }

  get bound(): string | null {
    const bound = this.#fields[7] // or a key, which is shorter
    return bound?.length === boundDigits ? bound : null
  }

  /** The same row for keeping: its times take half the room, and longer to read. */
  packed(): PackedRow {
    const [id, userId, data, version, label, tags, times] = this.#fields
    const packed = times ? Buffer.from(times, 'hex').toString('latin1', arrayHead) : null
    const { bound } = this
    const kept = [id, userId, data, version, label, tags, packed, ...(bound === null ? [] : [bound])] // and no key
    return new PackedRow(kept as (string | null)[], 0)
  }
}

export class PackedRow extends ReadRow {
  readonly #ms: number

  constructor(fields: readonly (string | null)[], ms: number) {
    super(fields)
    this.#ms = ms
  }

  /** The same row when so many milliseconds have passed since it was read. */
  later(ms: number): SessionRow {
    return new PackedRow(this.fields, ms)
  }

  override get createdAt(): string {
    return this.#instant(0) as string
  }

  override get updatedAt(): string {
    return this.#instant(1) as string
  }

  override get expiresAt(): string {
    return this.#instant(2) as string
  }

  override get seenAt(): string {
    return this.#instant(3) as string
  }

  override get now(): string {
    return timeText(parseTime(this.#instant(4) as string) + this.#ms)
  }

  override get signedInAt(): string | null {
    return this.#instant(5)
  }

  #instant(place: number): string | null {
    const times = Buffer.from(this.fields[6] ?? '', 'latin1').toString('hex')
    return instantAt('0'.repeat(2 * arrayHead) + times, place)
  }
}

/** The same row with other data. */
export function withData(row: SessionRow, data: string, unsealed?: ReadonlySet<string>): SessionRow {
  const { id, userId, version, createdAt, updatedAt, expiresAt, seenAt, signedInAt, label, tags, now, bound } = row
  const times = { createdAt, updatedAt, expiresAt, seenAt, signedInAt, now }
  return { id, userId, data, version, ...times, label, tags, bound, ...(unsealed && { unsealed }) }
}

/** The result of a save or regenerate. Everything but `status` and `now` is null if there is no live session. */
export interface SaveResult {
  readonly status: 'saved' | 'gone' | 'conflict' | 'too_large' | 'invalid'
  readonly id: string | null
  readonly version: number
  readonly expiresAt: string | null
  /** JSON text of the current data; only with `conflict`. */
  readonly data: string | null
  readonly now: string
  /** The version that the save found, if the save itself does not say. */
  readonly previousVersion?: number
}

export interface SaveArguments {
  readonly key: Buffer
  /** JSON text of an object. */
  readonly set: string
  readonly unset: readonly string[]
  readonly ttlSeconds: number
  /** null merges into the live session, 0 creates one, n merges only at this version. */
  readonly version: number | null
  /** null leaves the user, '' clears it. */
  readonly userId: string | null
  /** JSON text; null leaves the label, 'null' clears it. */
  readonly label: string | null
  /** null leaves the tags. */
  readonly tags: readonly string[] | null
  /** JSON text: seconds by name, for values with a life of their own; null leaves the lives. */
  readonly lives: string | null
  readonly announce: boolean
  /** Whether it is answered before its commit is on disk. */
  readonly relaxed: boolean
  readonly maxLength: number
  readonly lifetimeSeconds: number | null
  /** The version that the caller last knew: used by a retry if it is unknown whether the first save ran. */
  readonly knownVersion: number
}

/** What replaces all of a session's data. */
export type PutArguments = Pick<
  SaveArguments,
  'key' | 'set' | 'ttlSeconds' | 'userId' | 'maxLength' | 'lifetimeSeconds'
>

export interface IncrementArguments {
  readonly key: Buffer
  readonly name: string
  readonly by: number
  /** Of a session that is created here. */
  readonly ttlSeconds: number
  readonly maxLength: number
}

export interface IncrementResult {
  readonly status: 'saved' | 'too_large' | 'invalid'
  /** NaN unless it was saved. */
  readonly value: number
}

/** What saving a session needs from the database. */
export interface SessionDatabase {
  get(key: Buffer): Promise<SessionRow | undefined>
  save(save: SaveArguments): Promise<SaveResult>
  regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult>
  /** @param id the session's number, where it is known */
  destroy(key: Buffer, id?: string): Promise<number>
  limit(userId: string, max: number, except: Buffer): Promise<number>
  put(put: PutArguments): Promise<SaveResult>
  /** JSON text of the value that was there and is no longer, or of all data with a null name; undefined for none. */
  take(key: Buffer, name: string | null): Promise<string | undefined>
  increment(increment: IncrementArguments): Promise<IncrementResult>
}

// Times are compared and kept as received, and parsed only on access.

/** Bytes before the first element of an array in its binary form. */
const arrayHead = 20

/** The time at this place among `instants`, none before it null; null for null. */
export function instantAt(times: string | null | undefined, place: number): string | null {
  const at = 2 * arrayHead + place * 24 // each has its length, 4 bytes, before it
  const time = times?.slice(at + 8, at + 24)
  return time ? time : null
}

const year2000 = Date.UTC(2000, 0, 1)

/** Milliseconds since the epoch of a row's time: the 16 hex digits of its microseconds since 2000. */
export function parseTime(hex: string): number {
  const high = Number.parseInt(hex.slice(0, 8), 16) | 0
  return year2000 + (high * 2 ** 32 + Number.parseInt(hex.slice(8), 16)) / 1000
}

/** The reverse, to the microsecond; for times since 2000. */
export function timeText(ms: number): string {
  const microseconds = Math.round((ms - year2000) * 1000)
  const high = Math.floor(microseconds / 2 ** 32)
  const hex = (word: number) => word.toString(16).padStart(8, '0')
  return hex(high) + hex(microseconds - high * 2 ** 32)
}
