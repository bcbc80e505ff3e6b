// What happened to sessions, where the history is switched on: a user's, and all endings for consumers.
import { SessionCleanup } from '../cleanup/cleanup.ts'
import type { SessionHistoryEntry } from '../database/history-functions.ts'
import { closedError, refuse } from '../errors.ts'
import type { ListenConnection } from '../events/listen.ts'
import { checkText } from '../session/json.ts'
import type { SessionEndingInTransaction } from './ending-transaction.ts'
import { type EndingSource, type EndingStream, Endings, type EndingsOptions } from './endings.ts'

export interface HistoryOptions {
  /** Only entries before the one with this number: the last one of the page before. Default: from the newest. */
  readonly before?: string | undefined
  /** How many at most, up to 10,000. Default: 100. */
  readonly limit?: number | undefined
}

/** The history of sessions, on top of their cleanup. */
export abstract class SessionHistory extends SessionCleanup {
  readonly #source: EndingSource
  readonly #endings = new Set<Endings>()
  #isClosed = false

  protected constructor(source: EndingSource, cleanup: ListenConnection | undefined) {
    super(source.database, cleanup, source.schema, source.sleep)
    this.#source = source
  }

  /**
   * What happened to a user's sessions, newest first: sign-ins, regenerations and ends, as far as the history was on and is kept
   * (docs/history.md).
   *
   * @throws {PGStoreError} `invalid_option`
   */
  async history(userId: string, { before, limit = 100 }: HistoryOptions = {}): Promise<SessionHistoryEntry[]> {
    checkText(userId, 'userId')
    refuse([
      ...(before === undefined || /^\d{1,18}$/.test(before) ? [] : ['before must be the id of an entry']),
      ...(Number.isInteger(limit) && limit >= 1 && limit <= 10_000
        ? []
        : ['limit must be a whole number from 1 to 10000']),
    ])
    this.checkOpen()
    return await this.#source.database.history(userId, before ?? null, limit)
  }

  /**
   * Every session that ends, for each named consumer, where the history is on (docs/history.md): at least once, also if the consumer
   * or the database was down when it ended, in the order of their numbers unless a transaction commits late or several processes
   * share the name. An ending is done when the loop asks for the next one; the one in hand when the loop is left, or the process
   * dies, is given again. With `transaction: true`, what is written with its client happens exactly once. Outages are waited out.
   *
   * Ends with the loop or with `close()`. It listens to announcements on the connection of `events()`; without one it polls.
   *
   * @throws {PGStoreError} `invalid_option`; from the loop also if the history is off at the start; `forbidden`, `not_installed`,
   * `database`
   */
  endings(options: EndingsOptions & { readonly transaction: true }): EndingStream<SessionEndingInTransaction>
  endings(options: EndingsOptions): EndingStream
  endings(options: EndingsOptions): EndingStream {
    this.checkOpen()
    const endings = new Endings(this.#source, options)
    this.#endings.add(endings)
    return endings.stream(options.transaction === true, () => this.#endings.delete(endings))
  }

  protected override async closeCleanup(): Promise<void> {
    this.#isClosed = true
    for (const endings of this.#endings) endings.stop()
    await super.closeCleanup()
  }

  /** @internal */
  protected checkOpen(): void {
    if (this.#isClosed) throw closedError()
  }
}
