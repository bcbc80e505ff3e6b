// A table of an old store in Postgres, read from beginning to end in short read-only transactions: no snapshot is held open,
// and nothing is written or locked.
import type pg from 'pg'
import { openPool } from '../../database/pool.ts'
import { databaseError, PGStoreError } from '../../errors.ts'
import { batchSize } from './source.ts'

export class Table {
  readonly #pool: pg.Pool
  readonly #name: string
  readonly #quoted: string

  /**
   * @param name `table`, found by the search_path, or `schema.table`; written as Postgres keeps it, without quotes
   * @throws {PGStoreError} `invalid_option` for any other name
   */
  constructor(connectionString: string, name: string) {
    const parts = name.split('.')
    if (parts.length > 2 || parts.some((part) => part === '' || /["\0]/.test(part))) {
      throw new PGStoreError('invalid_option', '--table must be a name, or schema.name, without quotes.')
    }
    this.#name = name
    this.#quoted = parts.map((part) => `"${part}"`).join('.')
    this.#pool = openPool({
      connectionString,
      application_name: 'pgstore import',
      max: 1,
      query_timeout: 300_000,
      onConnect: () => {}, // a standby may be read
    })
  }

  /** How many rows Postgres estimates; 0 if it was never analyzed. */
  async estimate(): Promise<number> {
    const text = 'select greatest(reltuples, 0)::bigint from pg_catalog.pg_class where oid = $1::text::regclass'
    const [row] = await this.#read(text, [this.#quoted])
    return Number(row?.[0] ?? 0)
  }

  /**
   * All rows by key, `batchSize` at a time; rows added before the current position are missed.
   *
   * @param columns SQL expressions, the first of which is the key: an indexed column without nulls
   */
  async *batches(columns: readonly [string, ...string[]]): AsyncGenerator<unknown[][]> {
    const [key] = columns
    const text = (after: string) =>
      `select ${columns.join(', ')} from ${this.#quoted} ${after} order by ${key} limit ${batchSize}`
    let rows = await this.#read(text(''), [])
    while (rows.length > 0) {
      yield rows
      if (rows.length < batchSize) return
      rows = await this.#read(text(`where ${key} > $1`), [rows.at(-1)?.[0]])
    }
  }

  /** The types of its columns by their names, as Postgres writes them: `timestamp(6) without time zone`. */
  async types(): Promise<ReadonlyMap<string, string>> {
    const text = `
      select attname, pg_catalog.format_type(atttypid, atttypmod)
      from pg_catalog.pg_attribute
      where attrelid = $1::text::regclass and attnum > 0 and not attisdropped`
    return new Map((await this.#read(text, [this.#quoted])) as [string, string][])
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  async #read(text: string, values: unknown[]): Promise<unknown[][]> {
    let client: pg.PoolClient | undefined
    let failure: PGStoreError | undefined
    try {
      client = await this.#pool.connect()
      await client.query('begin transaction read only')
      const { rows } = await client.query<unknown[]>({ text, values, rowMode: 'array' })
      await client.query('commit')
      return rows
    } catch (error) {
      failure = this.#explain(error)
      throw failure
    } finally {
      client?.release(failure)
    }
  }

  #explain(error: unknown): PGStoreError {
    const failure = databaseError(`Reading the table ${this.#name}`, error)
    if (failure.code !== 'not_installed') return failure
    return new PGStoreError(
      'database',
      `Table ${this.#name} does not exist: name the table with --table.`,
      failure.sqlState,
    )
  }
}

/** Seconds until a time in this column; infinity stays infinity. */
export function secondsUntil(column: string): string {
  return `(extract(epoch from ${column}::timestamptz) - extract(epoch from now()))::double precision`
}
