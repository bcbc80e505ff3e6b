// A transaction in which a consumer works on one ending.
import { type EndingsTaken, HistoryDatabase, type SessionEnding } from '../database/history-functions.ts'
import type { LentClients } from '../database/lent-client.ts'
import type { Pool } from '../database/pool.ts'
import { economical } from '../database/statement-pool.ts'
import { lend, rollback, run, Transaction, type TransactionClient } from '../database/transaction.ts'
import { databaseError } from '../errors.ts'

export interface SessionEndingInTransaction extends SessionEnding {
  /** Commits when the next ending is asked for, and rolls back when the loop is left before that. */
  readonly client: TransactionClient
}

export class EndingTransaction {
  readonly ending: SessionEnding
  /** Whether the consumer has done its work. */
  isDone = false
  readonly #transaction: Transaction

  private constructor(ending: SessionEnding, transaction: Transaction) {
    this.ending = ending
    this.#transaction = transaction
  }

  /** For the consumer, until the transaction ends. */
  get client(): TransactionClient {
    return this.#transaction.client
  }

  /**
   * A transaction that has taken an ending; undefined where there is none.
   *
   * @param clients refuse what leads to a proxy
   * @param take takes one over this database, and is done with it when the transaction commits
   */
  static async begin(
    pool: Pool,
    schema: string,
    clients: LentClients,
    take: (database: HistoryDatabase) => Promise<EndingsTaken>,
  ): Promise<EndingTransaction | undefined> {
    const operation = 'Taking an ending'
    const client = await lend(pool).catch((error) => {
      throw databaseError(operation, error)
    })
    try {
      await run(client, 'begin')
      const lent = clients.lent(economical(client as unknown as Pool, false))
      const { endings } = await take(new HistoryDatabase(lent, schema))
      const [ending] = endings
      if (ending) return new EndingTransaction(ending, new Transaction(client))
    } catch (error) {
      await rollback(client)
      throw databaseError(operation, error)
    }
    await rollback(client)
    return undefined
  }

  /** @throws {PGStoreError} also if the transaction had failed and nothing was committed */
  async commit(): Promise<void> {
    await this.#transaction.commit('Committing an ending')
  }

  async rollback(): Promise<void> {
    await this.#transaction.rollback()
  }
}
