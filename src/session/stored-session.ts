import { parseTime } from '../database/row.ts'
import type { Stored } from './stored.ts'

/** What is known of a session's row, undefined if nothing is stored. */
export let storedIn: (session: StoredSession) => Stored | undefined
export let keepIn: (session: StoredSession, stored: Stored | undefined) => void

const boundSessions = new WeakSet<StoredSession>()

/** The request brought the cookie of its device. */
export function noteBound(session: StoredSession): void {
  boundSessions.add(session)
}

const awaitedSessions = new WeakSet<StoredSession>()

/** New, in the place of one whose device has yet to come with its cookie: no other may take the place of the visitor's. */
export function noteAwaited(session: StoredSession): void {
  awaitedSessions.add(session)
}

export function isAwaited(session: StoredSession): boolean {
  return awaitedSessions.has(session)
}

/** What a session shows of its row, and what only the store changes. */
export class StoredSession {
  #stored: Stored | undefined

  /** The session's number: not secret, safe to log. undefined until it is saved. */
  get id(): string | undefined {
    return this.#stored?.known.row.id
  }

  /** Whether nothing is stored in the database yet. */
  get isNew(): boolean {
    return this.#stored === undefined
  }

  /** Counts the changes of the session's data, user, label and tags; 0 until it is saved. */
  get version(): number {
    return this.#stored?.known.row.version ?? 0
  }

  get createdAt(): Date | undefined {
    return this.#time('createdAt')
  }

  /** When its data, user, label or tags last changed. */
  get updatedAt(): Date | undefined {
    return this.#time('updatedAt')
  }

  get expiresAt(): Date | undefined {
    return this.#time('expiresAt')
  }

  /** When it was last saved or touched: visits within `touchAfter` of the last recorded one are not recorded. */
  get seenAt(): Date | undefined {
    return this.#time('seenAt')
  }

  /** When its user last signed in; undefined for an anonymous visitor. */
  get signedInAt(): Date | undefined {
    return this.#time('signedInAt')
  }

  /**
   * Whether the user signed in at most this many seconds ago, by the database's clock when the session was read: if not,
   * ask for the password again. NIST SP 800-63B-4 §5.2 calls it reauthentication.
   */
  isFresh(seconds: number): boolean {
    const row = this.#stored?.known.row
    return !!row && row.signedInAt !== null && parseTime(row.now) - parseTime(row.signedInAt) <= seconds * 1000
  }

  /**
   * Whether it is bound to a device, which this request has proved to come from: with the option `deviceBound`, for what a stolen cookie
   * must never do. False for browsers that cannot, and where the proof is late (docs/device-bound-sessions.md).
   */
  get isBound(): boolean {
    return this.#stored !== undefined && boundSessions.has(this)
  }

  #time(column: 'createdAt' | 'updatedAt' | 'expiresAt' | 'seenAt' | 'signedInAt'): Date | undefined {
    const time = this.#stored?.known.row[column] ?? undefined
    return time === undefined ? undefined : new Date(parseTime(time))
  }

  static {
    storedIn = (session) => session.#stored
    keepIn = (session, stored) => {
      session.#stored = stored
    }
  }
}
