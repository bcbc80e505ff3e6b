// A client that the store works over inside a transaction: not one of a proxy, whose calls commit by themselves, each on the partition of
// its session, whatever becomes of the transaction.
import { PGStoreError } from '../errors.ts'
import type { ArrayQuery, Queryable } from './pool.ts'

const isProxied = `select from pg_catalog.pg_proc as p
join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
join pg_catalog.pg_language as l on l.oid = p.prolang
where n.nspname = $1 and p.proname = 'session_get' and l.lanname = 'plproxy'
limit 1`

export class LentClients {
  readonly #schema: string
  readonly #operation: string
  /** Asked once: all clients lead to one database, or to databases that are alike. */
  #isDirect = false

  /** @param operation what to call it in an error */
  constructor(schema: string, operation: string) {
    this.#schema = schema
    this.#operation = operation
  }

  /** The client, whose first call rejects with `invalid_option` if it leads to a proxy. */
  lent(client: Queryable): Queryable {
    return { query: (query) => (this.#isDirect ? client.query(query) : this.#first(client, query)) }
  }

  async #first(client: Queryable, query: ArrayQuery): Promise<{ readonly rows: unknown[] }> {
    const { rowMode, types } = query
    const { rows } = await client.query({ text: isProxied, values: [this.#schema], rowMode, types })
    if (rows.length > 0) {
      throw new PGStoreError(
        'invalid_option',
        `${this.#operation}: the database is a PL/Proxy proxy, where each call commits by itself and no transaction has a say in it.`,
      )
    }
    this.#isDirect = true
    return await client.query(query)
  }
}
