// Begins a transaction and notes whose session it works for, in one round trip.
import pg from 'pg'
import { databaseError, PGStoreError } from '../errors.ts'
import { type ArrayQuery, type Pool, type Queryable, queryTimeoutMs } from './pool.ts'
import { parameter, Statement } from './statement.ts'
import { clientsOf } from './statement-pool.ts'
import { type LentClient, lend, rollback, run, Transaction } from './transaction.ts'

/** Whose session a transaction works for, as the database knows it: both undefined where the request has no live one. */
export interface Entered {
  /** The session's number, as `session.id`. */
  readonly sessionId: string | undefined
  readonly userId: string | undefined
}

const operation = 'store.transaction'

/** Two statements and one Sync: the second is not sent when the first has been answered, but with it. */
class EnteringStatement extends Statement {
  readonly #begin: string
  readonly query_timeout = queryTimeoutMs

  constructor(begin: string, text: string, values: unknown[], callback: Statement['callback']) {
    super(text, '', values, callback)
    this.#begin = begin
  }

  override submit(connection: Parameters<Statement['submit']>[0]): null {
    connection.stream.cork?.()
    try {
      connection.parse({ text: this.#begin, name: '' })
      connection.bind({ statement: '', values: [] })
      connection.execute({})
      return super.submit(connection)
    } finally {
      connection.stream.uncork?.()
    }
  }
}

/**
 * @param begin the text that begins it
 * @param key of the session; null for nobody
 * @throws {PGStoreError} also for a standby, which may not know yet that a session has ended
 */
export async function enter(
  pool: Pool,
  schema: string,
  begin: string,
  key: Buffer | null,
): Promise<{ readonly transaction: Transaction; readonly entered: Entered }> {
  const client = await lend(pool).catch((error) => {
    throw databaseError(operation, error)
  })
  try {
    const [row] = (await send(pool, client, begin, {
      // Every name in full, and no name for the statement: an injection may have left a path, or a statement, on this connection.
      text: `select id, user_id from ${schema}.session_enter($1::pg_catalog.bytea)`,
      values: [key],
      rowMode: 'array',
      types: { getTypeParser: () => (text) => text },
    })) as (string | null)[][]
    if (!row) throw new PGStoreError('database', 'session_enter returned no row.')
    const entered = { sessionId: row[0] ?? undefined, userId: row[1] ?? undefined }
    return { transaction: new Transaction(client), entered }
  } catch (error) {
    await rollback(client, error)
    throw databaseError(operation, error)
  }
}

async function send(pool: Pool, client: LentClient, begin: string, query: ArrayQuery): Promise<unknown[]> {
  const clients = clientsOf(pool)
  const asked = client as unknown as Parameters<typeof clients.meet>[0]
  const plain = async (question: ArrayQuery) =>
    (await (client as unknown as Queryable).query({ ...question, query_timeout: queryTimeoutMs } as ArrayQuery)).rows
  const known = clients.get(asked, performance.now()) ?? (await clients.meet(asked, plain))
  if (clients.isRetired(known))
    throw new PGStoreError('unavailable', 'The connection leads to a server that is read-only now.')
  const { Client, options } = pool as { Client?: unknown; options?: { pipeline?: boolean } }
  if (!(pool instanceof pg.Pool && Client === pg.Client) || options?.pipeline) {
    const [, rows] = await Promise.all([run(client, begin), plain(query)])
    return rows
  }
  return await new Promise((resolve, reject) => {
    const { text, values } = query
    const done: Statement['callback'] = (error, rows = []) => (error ? reject(error) : resolve(rows))
    asked.query(new EnteringStatement(begin, text, values.map(parameter), done))
  })
}
