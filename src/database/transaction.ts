// A transaction of ours on a client from a pool, which somebody else works in.
import { databaseError, PGStoreError } from '../errors.ts'
import { type ArrayQuery, type Pool, queryTimeoutMs } from './pool.ts'

/** A `pg` client inside a transaction, for queries and for `store.withClient`. */
export interface TransactionClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: Record<string, unknown>[] }>
  query(query: ArrayQuery): Promise<{ readonly rows: unknown[] }>
}

export type LentClient = Awaited<ReturnType<Pool['connect']>>

export class Transaction {
  /** For the one who works in it, until the transaction ends. */
  readonly client: TransactionClient
  readonly #client: LentClient
  readonly #revoke: () => void

  /** @param client it was lent by `lend`, and a transaction has begun on it */
  constructor(client: LentClient) {
    this.#client = client
    const { proxy, revoke } = shown(client)
    this.client = proxy
    this.#revoke = revoke
  }

  /**
   * @param operation what to call it in an error
   * @throws {PGStoreError} also if the transaction had failed and nothing was committed
   */
  async commit(operation: string): Promise<void> {
    this.#revoke()
    let failure: unknown
    try {
      const { command } = (await run(this.#client, 'commit')) as { readonly command?: string }
      if (command !== 'ROLLBACK') return
    } catch (error) {
      failure = error
      throw databaseError(operation, error)
    } finally {
      giveBack(this.#client, failure)
    }
    throw new PGStoreError('database', `${operation}: the transaction had failed, and nothing in it happened.`)
  }

  /** @param cause the error after which it is rolled back */
  async rollback(cause?: unknown): Promise<void> {
    this.#revoke()
    await rollback(this.#client, cause)
  }
}

/** A client of the pool, whose loss while it is lent is told to what runs on it, and to nobody else. */
export async function lend(pool: Pool): Promise<LentClient> {
  const connecting = pool.connect()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    // As node-postgres does where its own limit is set.
    timer = setTimeout(() => reject(new Error('timeout exceeded when trying to connect')), queryTimeoutMs)
  })
  try {
    const client = await Promise.race([connecting, late])
    listener(client, 'on')
    return client
  } catch (error) {
    connecting.then(
      (client) => client.release(),
      () => {},
    )
    throw error
  } finally {
    clearTimeout(timer)
  }
}

export async function run(client: LentClient, text: string): Promise<unknown> {
  return await client.query({ text, values: [], query_timeout: queryTimeoutMs })
}

/**
 * Rolls back, and gives the client to its pool.
 *
 * @param cause why: after a query that was given up, which still runs, no other would be answered
 */
export async function rollback(client: LentClient, cause?: unknown): Promise<void> {
  let failure = isGivenUp(cause) ? cause : undefined
  try {
    if (failure === undefined) await run(client, 'rollback')
  } catch (error) {
    failure = error // the connection ends, and the transaction with it
  }
  giveBack(client, failure)
}

function isGivenUp(cause: unknown): boolean {
  if (cause instanceof PGStoreError) return cause.code === 'timeout' && cause.sqlState === undefined
  return cause instanceof Error && cause.message === 'Query read timeout' // node-postgres's own
}

/** @param failure after which the connection is not used again; undefined if there is none */
export function giveBack(client: LentClient, failure: unknown): void {
  listener(client, 'off')
  client.release(failure === undefined ? undefined : failure instanceof Error ? failure : true)
}

function listener(client: LentClient, change: 'on' | 'off'): void {
  const emitter = client as unknown as Partial<Record<'on' | 'off', (event: 'error', listener: () => void) => void>>
  emitter[change]?.('error', lost)
}

function lost(): void {}

/** Given back by its work, it would be somebody else's when the transaction is committed. */
function keptBack(): never {
  throw new PGStoreError('invalid_option', 'The store gives the client back itself, when your work is done.')
}

/** A client that cannot be used any more after its transaction, by one who kept it. */
function shown(client: LentClient): { readonly proxy: TransactionClient; readonly revoke: () => void } {
  return Proxy.revocable(client as unknown as TransactionClient, {
    get(target, name) {
      if (name === 'release' || name === 'end') return keptBack
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}
