// A session by token as it was last read or saved.
import { readJson } from '../database/read-json.ts'
import { parseTime } from '../database/row.ts'
import { parseBase } from './changes.ts'
import type { Json } from './json.ts'
import type { Known } from './known.ts'

/** What the sessions by token see of it, and nobody else. */
export let partsOf: (session: KnownSession) => {
  readonly known: Known
  readonly saved: ReadonlyMap<string, Json> | undefined
}

/** What is stored, by key. */
export function baseOf(session: KnownSession): ReadonlyMap<string, Json> {
  const { known, saved } = partsOf(session)
  return saved ?? parseBase(known.row.data)
}

/** A session as it was last read or saved: the next save sends what differs from this. */
export class KnownSession {
  readonly #known: Known
  readonly #saved: ReadonlyMap<string, Json> | undefined

  constructor(known: Known, saved?: ReadonlyMap<string, Json>) {
    this.#known = known
    this.#saved = saved
  }

  /** The session's number: not secret, safe to log. */
  get id(): string {
    return this.#known.row.id
  }

  get userId(): string | undefined {
    return this.#known.row.userId ?? undefined
  }

  /** Milliseconds until it expires, counted from when it was read or saved. */
  get remainingMs(): number {
    const { expiresAt, now } = this.#known.row
    return parseTime(expiresAt) - parseTime(now)
  }

  /** Its values, in a new object. */
  values(): Record<string, unknown> {
    return this.#saved
      ? structuredClone(Object.fromEntries(this.#saved))
      : (readJson(this.#known.row.data) as Record<string, unknown>)
  }

  static {
    partsOf = (session) => ({ known: session.#known, saved: session.#saved })
  }
}
