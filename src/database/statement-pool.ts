// A call of a function over node-postgres at the least cost: the rows as arrays of text, no description of them, and the
// statement prepared once a connection. A lone read takes a third less of the client's time than through `pool.query`.
import { createHash } from 'node:crypto'
import pg from 'pg'
import type { ArrayQuery, Parameter, Pool, Queryable } from './pool.ts'

/** What a query class of its own finds in node-postgres' connection; pg-cursor stands on the same. */
interface Connection {
  readonly stream: { cork(): void; uncork(): void }
  readonly parsedStatements: Record<string, string | undefined>
  readonly submittedNamedStatements: Record<string, string | undefined>
  parse(statement: { text: string; name: string }): void
  bind(portal: { statement: string; values: unknown[] }): void
  execute(portal: object): void
  sync(): void
}

interface Client {
  readonly processID?: number | null
  query(query: object): unknown
  on(event: 'error', listener: () => void): unknown
  release(error?: Error | boolean): void
}

class Statement {
  readonly text: string
  /** '' leaves it unprepared. node-postgres keeps account of the names that a connection knows. */
  readonly name: string
  readonly values: unknown[]
  callback: (error: Error | null, rows?: unknown[]) => void
  readonly since: number = performance.now()
  readonly #rows: unknown[] = []

  constructor(text: string, name: string, values: unknown[], callback: Statement['callback']) {
    this.text = text
    this.name = name
    this.values = values
    this.callback = callback
  }

  submit(connection: Connection): null {
    const { text, name } = this
    connection.stream.cork()
    try {
      const known = connection.parsedStatements[name] ?? connection.submittedNamedStatements[name]
      if (name === '' || known !== text) {
        connection.parse({ text, name })
        if (name !== '') connection.submittedNamedStatements[name] = text
      }
      connection.bind({ statement: name, values: this.values })
      connection.execute({})
      connection.sync()
    } finally {
      connection.stream.uncork()
    }
    return null
  }

  handleDataRow(message: { readonly fields: unknown }): void {
    this.#rows.push(message.fields)
  }

  handleError(error: Error): void {
    this.callback(error)
  }

  handleReadyForQuery(): void {
    this.callback(null, this.#rows)
  }

  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
}

/** The statement is not what this connection was thought to have prepared: nothing has run yet. */
const notPrepared = new Set(['26000', '42P05', '0A000'])

const heard = new WeakSet<Client>()

/** A pool of node-postgres' own clients, as a `Queryable` that spends less. */
export class StatementPool implements Queryable {
  readonly #pool: Pool
  readonly #prepare: boolean | undefined
  readonly #isPreparing = new WeakMap<Client, boolean>()
  readonly #running = new Set<Statement>()
  readonly #timeoutMs: number | undefined
  #clock: NodeJS.Timeout | undefined

  /**
   * @param prepare undefined: on connections that lead to Postgres itself, and not to a pooler which may lend each to many
   * @param timeoutMs how long a call may take, within a tenth; undefined leaves that to the pool's `query_timeout`. That is a
   *   timer for each call: with 128 readers, 13 % of what they allocate outlives a young collection, without it 2 %
   */
  constructor(pool: Pool, prepare: boolean | undefined, timeoutMs?: number) {
    this.#pool = pool
    this.#prepare = prepare
    this.#timeoutMs = timeoutMs
  }

  async query({ text, values }: ArrayQuery): Promise<{ readonly rows: unknown[] }> {
    const client = (await this.#pool.connect()) as unknown as Client
    let failure: Error | undefined
    try {
      const isPreparing = this.#isPreparing.get(client) ?? (await this.#meet(client))
      return { rows: await this.#run(client, text, values, isPreparing) }
    } catch (error) {
      failure = error as Error
      throw error
    } finally {
      // Postgres goes on after an error of one statement; after all else the connection is done for.
      client.release((failure as { severity?: string } | undefined)?.severity === 'ERROR' ? undefined : failure)
    }
  }

  async #run(client: Client, text: string, values: Parameter[], isPreparing: boolean): Promise<unknown[]> {
    if (!isPreparing) return await this.#send(client, text, '', values)
    try {
      return await this.#send(client, text, nameOf(text), values)
    } catch (error) {
      if (!notPrepared.has((error as { code: string }).code)) throw error
      this.#isPreparing.set(client, false)
      return await this.#send(client, text, '', values)
    }
  }

  /** Whether to prepare on this connection: a pooler tells its clients a process number of its own. */
  async #meet(client: Client): Promise<boolean> {
    if (!heard.has(client)) {
      heard.add(client) // once, by however many stores it is met
      client.on('error', () => {}) // lost while lent: the call that runs on it rejects, and the pool drops it
    }
    let isPreparing = this.#prepare
    if (isPreparing === undefined) {
      const [row] = (await this.#send(client, 'select pg_backend_pid()', '', [])) as [[string]]
      isPreparing = Number(row[0]) === client.processID
    }
    this.#isPreparing.set(client, isPreparing)
    return isPreparing
  }

  #send(client: Client, text: string, name: string, values: readonly Parameter[]): Promise<unknown[]> {
    return new Promise((resolve, reject) => {
      const statement = new Statement(text, name, values.map(parameter), (error, rows = []) => {
        this.#running.delete(statement)
        if (error) reject(error)
        else resolve(rows)
      })
      if (this.#timeoutMs !== undefined) this.#watch(statement, this.#timeoutMs)
      client.query(statement)
    })
  }

  #watch(statement: Statement, timeoutMs: number): void {
    this.#running.add(statement)
    this.#clock ??= setInterval(() => this.#expire(timeoutMs), timeoutMs / 10).unref()
  }

  #expire(timeoutMs: number): void {
    const oldest = performance.now() - timeoutMs
    for (const statement of this.#running) {
      if (statement.since < oldest) statement.handleError(new Error('Query read timeout')) // as node-postgres has it
    }
    if (this.#running.size > 0) return
    clearInterval(this.#clock)
    this.#clock = undefined
  }
}

/** The pool as it is, or at less cost where its clients are those of the node-postgres that we know. */
export function economical(pool: Pool, prepare: boolean | undefined): Queryable {
  const { Client, options } = pool as { Client?: unknown; options?: { pipeline?: boolean } }
  const isKnown = pool instanceof pg.Pool && Client === pg.Client && !options?.pipeline
  return isKnown ? new StatementPool(pool as Pool, prepare) : pool
}

function parameter(value: Parameter): Exclude<Parameter, number> {
  return typeof value === 'number' ? String(value) : value
}

const names = new Map<string, string>()

/** The same text has the same name in every process, another text another. */
function nameOf(text: string): string {
  let name = names.get(text)
  if (name === undefined) {
    name = `pgstore_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
    names.set(text, name)
  }
  return name
}
