// A transaction in which a consumer works on one ending.
import { type EndingsTaken, HistoryDatabase, type SessionEnding } from '../database/history-functions.ts'
import { type ArrayQuery, type Pool, queryTimeoutMs } from '../database/pool.ts'
import { economical } from '../database/statement-pool.ts'
import { databaseError, PGStoreError } from '../errors.ts'

/** A `pg` client inside a transaction, for queries and for `store.withClient`. */
export interface TransactionClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: Record<string, unknown>[] }>
  query(query: ArrayQuery): Promise<{ readonly rows: unknown[] }>
}

export interface SessionEndingInTransaction extends SessionEnding {
  /** Commits when the next ending is asked for, and rolls back when the loop is left before that. */
  readonly client: TransactionClient
}

type Client = Awaited<ReturnType<Pool['connect']>>

export class EndingTransaction {
  readonly ending: SessionEnding
  /** For the consumer, until the transaction ends. */
  readonly client: TransactionClient
  /** Whether the consumer has done its work. */
  isDone = false
  readonly #client: Client
  readonly #revoke: () => void

  private constructor(ending: SessionEnding, client: Client) {
    this.ending = ending
    this.#client = client
    const { proxy, revoke } = lent(client)
    this.client = proxy
    this.#revoke = revoke
  }

  /**
   * A transaction that has taken an ending; undefined where there is none.
   *
   * @param take takes one over this database, and is done with it when the transaction commits
   */
  static async begin(
    pool: Pool,
    schema: string,
    take: (database: HistoryDatabase) => Promise<EndingsTaken>,
  ): Promise<EndingTransaction | undefined> {
    const operation = 'Taking an ending'
    const client = await pool.connect().catch((error) => {
      throw databaseError(operation, error)
    })
    listener(client, 'on')
    try {
      await run(client, 'begin')
      const { endings } = await take(new HistoryDatabase(economical(client as unknown as Pool, false), schema))
      const [ending] = endings
      if (ending) return new EndingTransaction(ending, client)
    } catch (error) {
      await rollback(client)
      throw databaseError(operation, error)
    }
    await rollback(client)
    return undefined
  }

  /** @throws {PGStoreError} also if the transaction had failed and nothing was committed */
  async commit(): Promise<void> {
    this.#revoke()
    let failure: unknown
    try {
      const { command } = (await run(this.#client, 'commit')) as { readonly command?: string }
      if (command !== 'ROLLBACK') return
    } catch (error) {
      failure = error
      throw databaseError('Committing an ending', error)
    } finally {
      giveBack(this.#client, failure)
    }
    throw new PGStoreError('database', 'The transaction of an ending had failed: nothing in it happened.')
  }

  async rollback(): Promise<void> {
    this.#revoke()
    await rollback(this.#client)
  }
}

async function rollback(client: Client): Promise<void> {
  let failure: unknown
  try {
    await run(client, 'rollback')
  } catch (error) {
    failure = error // the connection ends, and the transaction with it
  }
  giveBack(client, failure)
}

function giveBack(client: Client, failure: unknown): void {
  listener(client, 'off')
  client.release(failure === undefined ? undefined : failure instanceof Error ? failure : true)
}

/** While a client is lent nobody else hears that its connection is lost, which what runs on it is told anyway. */
function listener(client: Client, change: 'on' | 'off'): void {
  const emitter = client as unknown as Partial<Record<'on' | 'off', (event: 'error', listener: () => void) => void>>
  emitter[change]?.('error', lost)
}

function lost(): void {}

/** A client that cannot be used any more after its transaction, by a consumer that was stopped from outside meanwhile. */
function lent(client: Client): { readonly proxy: TransactionClient; readonly revoke: () => void } {
  return Proxy.revocable(client as unknown as TransactionClient, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

async function run(client: Client, text: string): Promise<unknown> {
  return await client.query({ text, values: [], query_timeout: queryTimeoutMs })
}
