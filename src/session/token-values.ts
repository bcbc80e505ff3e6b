// A key-value face: values by token, each in one round trip.
import { longestLife } from '../cookie/cookie-options.ts'
import type { SessionDatabase } from '../database/row.ts'
import { PGStoreError } from '../errors.ts'
import { changedUserId, difference } from './changes.ts'
import { failure } from './failure.ts'
import { checkText } from './json.ts'
import { sessionKey } from './token.ts'
import { parseJson } from './values.ts'
import type { Writer } from './writer.ts'

export interface PutOptions {
  /** Seconds until it ends: exactly, or at the store's `lifetime` if that is sooner. */
  readonly ttl: number
  /** Whose it is; null clears it, undefined leaves that of a live session. Default: undefined. */
  readonly userId?: string | null | undefined
}

export interface IncrementOptions {
  /** Seconds until it ends if it is created here; one that lives keeps its expiry. */
  readonly ttl: number
}

/** Values by token, for one-time tokens, counters, locks and whatever a framework keeps under a key. */
export class TokenValues {
  readonly #sessions: SessionDatabase
  readonly #values: Writer

  constructor(sessions: SessionDatabase, writer: Writer) {
    this.#sessions = sessions
    this.#values = writer
  }

  /**
   * Puts these values under a token, whatever was there: creates a session, or replaces all values of the live one, which keeps its
   * number, label and tags.
   *
   * @throws {PGStoreError} `too_large`, `invalid_value`, `invalid_option`
   */
  async put(token: string, values: object, { ttl, userId }: PutOptions): Promise<void> {
    const { set } = difference(new Map(), values)
    // As if the user were another now: '' clears it, whosever it is.
    const changed = userId === undefined ? null : userId === null ? '' : changedUserId(null, userId)
    await this.#values.put(token, set, checkTtl('put', ttl), changed)
  }

  /** Ends the session of this token and returns its values. Of several callers one gets them, the others undefined. */
  async take(token: string): Promise<Record<string, unknown> | undefined>
  /** Reads one value and removes it. Of several callers one gets it, the others undefined. */
  async take(token: string, name: string): Promise<unknown>
  async take(token: string, name?: string): Promise<unknown> {
    if (name !== undefined) checkText(name, 'name')
    return parseJson(await this.#sessions.take(sessionKey(token), name ?? null))
  }

  /**
   * Adds to a number, which counts from 0, and returns the sum; several callers at once all count. Creates the session if there is
   * none.
   *
   * @throws {PGStoreError} `invalid_value` if the value is not a number, `too_large`, `invalid_option`
   */
  async increment(token: string, name: string, by: number, { ttl }: IncrementOptions): Promise<number> {
    checkText(name, 'name')
    if (typeof by !== 'number' || !(Math.abs(by) <= 1e100)) {
      throw new PGStoreError('invalid_option', 'increment: by must be a number of at most 1e100.')
    }
    const { maxLength } = this.#values
    const increment = { key: sessionKey(token), name, by, ttlSeconds: checkTtl('increment', ttl), maxLength }
    const { status, value } = await this.#sessions.increment(increment)
    if (status === 'saved') return value
    if (status === 'invalid') throw new PGStoreError('invalid_value', 'increment: the value there is not a number.')
    throw failure('session_increment', { status })
  }
}

function checkTtl(method: string, ttl: number): number {
  if (typeof ttl === 'number' && ttl >= 0.001 && ttl <= longestLife) return ttl
  throw new PGStoreError(
    'invalid_option',
    `${method}: ttl must be a number of seconds, from 0.001 to a hundred years of 360 days.`,
  )
}
