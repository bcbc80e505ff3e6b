// The endings of sessions for a named consumer: each at least once, through crashes of either side.
import { randomBytes } from 'node:crypto'
import type { EndingsTaken, HistoryDatabase, SessionEnding } from '../database/history-functions.ts'
import { LentClients } from '../database/lent-client.ts'
import type { Pool } from '../database/pool.ts'
import { PGStoreError, refuse } from '../errors.ts'
import type { ChannelEvents } from '../events/channel-events.ts'
import type { SessionEvent } from '../events/session-events.ts'
import type { Sleep } from '../events/sleep.ts'
import { Bell } from './bell.ts'
import { EndingTransaction, type SessionEndingInTransaction } from './ending-transaction.ts'

export interface EndingsOptions {
  /**
   * The consumer's name, 1 to 255 bytes. Each name is given every ending that is committed after it was first used; processes that
   * use the same name share them.
   */
  readonly consumer: string
  /**
   * Hand over each ending with a client inside a transaction, which commits when the next one is asked for: what the consumer
   * writes with that client happens exactly once. Default: false.
   */
  readonly transaction?: boolean
  /** The longest time in seconds until an ending of which no announcement came is noticed, such as an expiry. Default: 5. */
  readonly poll?: number
  /**
   * Seconds after which endings that a process has taken and not finished go to another one: longer than the consumer works on
   * any one of them. In a transaction the end of the connection decides. Default: 60.
   */
  readonly lease?: number
}

/** Endings without end: leaving the loop, `return()` or closing the store ends it. */
export type EndingStream<Ending extends SessionEnding = SessionEnding> = AsyncIterableIterator<Ending>

/** What a stream needs of the store. */
export interface EndingSource {
  readonly database: HistoryDatabase
  /** Where transactions begin; undefined if the store works over one client. */
  readonly pool: Pool | undefined
  readonly events: ChannelEvents<SessionEvent>
  readonly schema: string
  readonly sleep: Sleep | undefined
}

/** How many are taken at once. */
const batch = 100

/** After this long, what is done is reported, though more is in hand. */
const reportMs = 1000

const giveBackMs = 1

export class Endings {
  readonly #source: EndingSource
  readonly #consumer: string
  readonly #leaseMs: number
  readonly #bell: Bell
  readonly #holder = randomBytes(12).toString('base64url')
  #isFirst = true

  /** @throws {PGStoreError} `invalid_option`, naming every problem */
  constructor(source: EndingSource, { consumer, poll = 5, lease = 60, transaction = false }: EndingsOptions) {
    refuse(problemsOf(source, consumer, poll, lease, transaction))
    this.#source = source
    this.#consumer = consumer
    this.#leaseMs = Math.ceil(lease * 1000)
    this.#bell = new Bell(source.events, poll * 1000)
  }

  /** Ends the stream where the consumer asks for the next one; what it has in hand it may finish. */
  stop(): void {
    this.#bell.stop()
  }

  /** @param ended called once, at the end */
  stream<Ending extends SessionEnding>(isInTransaction: boolean, ended: () => void): EndingStream<Ending> {
    const endings = (isInTransaction ? this.#inTransactions() : this.#leased()) as AsyncGenerator<Ending>
    const stop = async () => {
      this.#bell.stop()
      await endings.return(undefined)
      ended()
    }
    return {
      next: async () => {
        const result = await endings.next().catch(async (error) => {
          await stop()
          throw error
        })
        if (result.done) await stop()
        return result
      },
      return: async () => {
        await stop()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  async *#leased(): AsyncGenerator<SessionEnding> {
    let done: string[] = []
    try {
      while (!this.#bell.isStopped) {
        this.#bell.hush()
        const reported = done
        const taken = await this.#patiently(() => this.#take(this.#source.database, reported, batch, this.#leaseMs))
        if (!taken) continue
        done = []
        const since = performance.now()
        for (const ending of taken.endings) {
          yield ending
          done.push(ending.id) // asking for the next one says that this one is done
          if (this.#bell.isStopped || performance.now() - since > reportMs) break
        }
        if (taken.endings.length === 0) await this.#bell.wait()
      }
    } finally {
      await this.#take(this.#source.database, done, batch, giveBackMs).catch(() => {}) // else they are given again later
    }
  }

  async *#inTransactions(): AsyncGenerator<SessionEndingInTransaction> {
    const { database, pool, schema } = this.#source
    const clients = new LentClients(schema, 'endings with transaction: true')
    // Adds the consumer, and gives it its own of what has ended: outside, as a transaction may last.
    const spread = async () => {
      this.#bell.hush()
      return (await this.#patiently(() => this.#take(database, [], 0, this.#leaseMs))) !== undefined
    }
    let isSpread = await spread()
    while (!this.#bell.isStopped) {
      const begun = await this.#patiently(() =>
        EndingTransaction.begin(pool as Pool, schema, clients, (over) => this.#take(over, [], 1, null)),
      )
      if (begun) {
        isSpread = false
        try {
          yield { ...begun.ending, client: begun.client }
          begun.isDone = true // asking for the next one says that this one is done
        } finally {
          if (!begun.isDone) await begun.rollback()
        }
        // Where the answer is lost it is unknown whether it is done: the database knows, and gives it again or does not.
        await this.#patiently(() => begun.commit())
      } else if (isSpread) {
        await this.#bell.wait()
        isSpread = false
      } else {
        isSpread = await spread()
      }
    }
  }

  async #take(
    database: HistoryDatabase,
    done: readonly string[],
    limit: number,
    leaseMs: number | null,
  ): Promise<EndingsTaken> {
    const request = { consumer: this.#consumer, done, holder: this.#holder, limit, leaseMs }
    const taken = await database.takeEndings(request)
    if (taken.status === 'off' && this.#isFirst) {
      throw new PGStoreError('invalid_option', 'endings: the history is off: run "npx pgstore audit on".')
    }
    this.#isFirst = false
    return taken
  }

  /** undefined after a failure that passes, and a pause. */
  async #patiently<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    try {
      const result = await work()
      this.#bell.succeeded()
      return result
    } catch (error) {
      if (!(error instanceof PGStoreError && error.isRetryable)) {
        if ((error as { code?: unknown }).code !== 'closed') throw error
        this.#bell.stop()
        return undefined
      }
      await this.#bell.pause()
      return undefined
    }
  }
}

function problemsOf(
  { pool }: EndingSource,
  consumer: unknown,
  poll: unknown,
  lease: unknown,
  transaction: unknown,
): string[] {
  const isName = typeof consumer === 'string' && consumer.isWellFormed() && !consumer.includes('\0')
  const isTime = (value: unknown) => typeof value === 'number' && value >= 0.05 && value <= 86_400
  const isShort = isName && consumer !== '' && Buffer.byteLength(consumer) <= 255
  return [
    ...(pool ? [] : ['endings: call it on the store itself, not over one client']),
    ...(pool && transaction && typeof pool.connect !== 'function' ? ['transaction needs a pg.Pool'] : []),
    ...(isShort ? [] : ['consumer must be a name of 1 to 255 bytes']),
    ...(isTime(poll) ? [] : ['poll must be a number of seconds from 0.05 to 86400']),
    ...(isTime(lease) ? [] : ['lease must be a number of seconds from 0.05 to 86400']),
  ]
}
