// One call of one pgstore function. All SQL for sessions in this package goes through this.
import { closedError, databaseError } from '../errors.ts'
import type { Parameter, Queryable } from './pool.ts'

/** Rows come as arrays of text: a session's data and times are parsed only on access. */
const types = { getTypeParser: () => (text: string) => text }

export abstract class Calls {
  readonly #client: Queryable
  readonly #schema: string
  #running = 0
  #isEnded = false

  constructor(client: Queryable, schema: string) {
    this.#client = client
    this.#schema = schema
  }

  get schema(): string {
    return this.#schema
  }

  protected get isIdle(): boolean {
    return this.#running === 0
  }

  /** Waits this long for calls in progress, and those that follow from them; then all are refused as `closed`. */
  async end(ms: number): Promise<void> {
    const end = performance.now() + ms
    const pause = (wait: number) => new Promise((resolve) => setTimeout(resolve, wait))
    for (let quiet = 0; quiet < 2 && performance.now() < end; quiet = this.isIdle ? quiet + 1 : 0)
      await pause(quiet === 0 ? 5 : 1)
    this.#isEnded = true
  }

  protected async count(name: string, parameters: string, values: Parameter[]): Promise<number> {
    const [row] = await this.call(name, name, parameters, values)
    return Number(row?.[0])
  }

  /**
   * The store checks the schema's name; the rest of the text is a literal at the call.
   *
   * @param sent called when the query is handed to a connection, if that can be told
   */
  protected async call(
    name: string,
    columns: string,
    parameters: string,
    values: Parameter[],
    sent?: () => void,
  ): Promise<(string | null)[][]> {
    const text = `select ${columns} from ${this.#schema}.${name}(${parameters})`
    if (this.#isEnded) throw closedError()
    this.#running++
    try {
      const query = { text, values, rowMode: 'array', types } as const
      const { rows } = await this.#client.query(sent === undefined ? query : { ...query, sent })
      this.#running--
      return rows as (string | null)[][]
    } catch (error) {
      this.#running--
      throw this.#isEnded ? closedError() : databaseError(name, error)
    }
  }

  /** Rings a doorbell of this schema; get, save and touch never do. */
  async notify(channel: string, payload: object): Promise<void> {
    const values = [channel, JSON.stringify(payload)]
    try {
      await this.#client.query({ text: 'select pg_notify($1, $2)', values, rowMode: 'array', types })
    } catch (error) {
      throw databaseError('pg_notify', error)
    }
  }
}

/**
 * A time as the 16 hex digits of its binary form, for `parseTime`: a timestamptz's text depends on the role's DateStyle and TimeZone, a
 * float's on its extra_float_digits, and date_part('epoch', …) takes half a microsecond.
 */
export function instant(column: string): string {
  return `encode(timestamptz_send(${column}), 'hex')`
}

/** Several times as the hex digits of an array's binary form, for `instantAt`: in one column they cost a third. */
export function instants(...columns: string[]): string {
  return `encode(array_send(array[${columns.join(', ')}]), 'hex')`
}

/** The database's clock. */
export const now = 'statement_timestamp()'

/** A key as text: a bytea's own depends on the role's bytea_output. */
export function hex(key: string): string {
  return `encode(${key}, 'hex')`
}

/** An interval. */
export function seconds(value: number): string
export function seconds(value: number | null): string | null
export function seconds(value: number | null): string | null {
  return value === null ? null : `${value} seconds`
}
