// The SQL functions as typed calls, one call each. Nothing else in this package writes SQL for sessions.
import pg from 'pg'
import { databaseError, PGStoreError } from './errors.ts'

interface ArrayQuery {
  readonly text: string
  readonly values: unknown[]
  readonly rowMode: 'array'
  readonly types: { getTypeParser(): (text: string) => string }
}

/** What a `pg.Pool` or `pg.Client` offers and we use. */
export interface Queryable {
  query(query: ArrayQuery): Promise<{ readonly rows: unknown[] }>
}

/** What a `pg.Pool` offers and we use. */
export interface Pool extends Queryable {
  connect(): Promise<PoolClient>
}

/** A client that a pool lent. */
export interface PoolClient {
  query(query: { readonly text: string; readonly values: unknown[]; readonly query_timeout: number }): Promise<{
    readonly rows: unknown[]
  }>
  release(error?: Error | boolean): void
}

/** A pool with every wait bounded, which a primary's fail-over reaches within minutes. */
export function openPool(connectionString: string): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    application_name: 'pgstore',
    max: 10,
    connectionTimeoutMillis: 2000,
    query_timeout: 5000,
    idleTimeoutMillis: 30_000,
    maxLifetimeSeconds: 300,
    keepAlive: true,
    // oxlint-disable-next-line typescript/no-misused-promises -- pg-pool awaits it; its types do not say so
    onConnect: refuseStandby,
  })
  pool.on('error', () => {}) // an idle connection died: the pool has dropped it, and the next call opens another
  return pool
}

/** node-postgres has no target_session_attrs: without this a demoted primary would go on serving old sessions. */
async function refuseStandby(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ standby: boolean }>('select pg_is_in_recovery() as standby')
  if (rows[0]?.standby)
    throw new PGStoreError('unavailable', 'This server is a standby: sessions are kept on the primary.')
}

/** A session's row as Postgres writes it; times as text, to be read by `parseTime`. */
export interface SessionRow {
  readonly id: string
  readonly userId: string | null
  /** JSON text. */
  readonly data: string
  readonly version: number
  readonly createdAt: string
  readonly updatedAt: string
  readonly expiresAt: string
  /** The database's clock when it answered. */
  readonly now: string
}

/** What a save or regenerate came to. All but `status` and `now` is null where there is no live session. */
export interface SaveResult {
  readonly status: 'saved' | 'gone' | 'conflict' | 'too_large' | 'invalid'
  readonly id: string | null
  readonly version: number
  readonly expiresAt: string | null
  /** JSON text of what is there now; with `conflict` alone. */
  readonly data: string | null
  readonly now: string
}

export interface SaveArguments {
  readonly key: Buffer
  /** JSON text of an object. */
  readonly set: string
  readonly unset: readonly string[]
  readonly ttlSeconds: number
  readonly version: number | null
  readonly userId: string | null
  readonly maxLength: number
  readonly lifetimeSeconds: number | null
}

/** Rows come as arrays of text: a session's data and times are parsed only when somebody looks at them. */
const types = { getTypeParser: () => (text: string) => text }

export class Database {
  readonly #client: Queryable
  readonly #schema: string

  constructor(client: Queryable, schema: string) {
    this.#client = client
    this.#schema = schema
  }

  async get(key: Buffer): Promise<SessionRow | undefined> {
    const [row] = await this.#call(
      'session_get',
      'id, user_id, data, version, created_at, updated_at, expires_at, now()',
      '$1::bytea',
      [key],
    )
    return row && sessionRow(row)
  }

  async save(save: SaveArguments): Promise<SaveResult> {
    return await this.#result(
      'session_save',
      '$1::bytea, $2::jsonb, $3::text[], $4::interval, $5::integer, $6::text, $7::integer, $8::interval',
      [
        save.key,
        save.set,
        save.unset,
        seconds(save.ttlSeconds),
        save.version,
        save.userId,
        save.maxLength,
        seconds(save.lifetimeSeconds),
      ],
    )
  }

  /** `key` is the old key; `version` plays no part. */
  async regenerate(save: Omit<SaveArguments, 'version'>, newKey: Buffer): Promise<SaveResult> {
    return await this.#result(
      'session_regenerate',
      '$1::bytea, $2::bytea, $3::interval, $4::text, $5::interval, $6::jsonb, $7::text[], $8::integer',
      [
        save.key,
        newKey,
        seconds(save.ttlSeconds),
        save.userId,
        seconds(save.lifetimeSeconds),
        save.set,
        save.unset,
        save.maxLength,
      ],
    )
  }

  async destroy(key: Buffer): Promise<number> {
    return await this.#count('session_destroy', '$1::bytea', [key])
  }

  async list(userId: string): Promise<SessionRow[]> {
    const rows = await this.#call(
      'session_list',
      'id, user_id, data, version, created_at, updated_at, expires_at, now()',
      '$1::text',
      [userId],
    )
    return rows.map(sessionRow)
  }

  async revoke(userId: string, id: string | null, except: Buffer | null): Promise<number> {
    return await this.#count('session_revoke', '$1::text, $2::bigint, $3::bytea', [userId, id, except])
  }

  async countExpired(): Promise<number> {
    return await this.#count('count_expired', '', [])
  }

  async purgeExpired(limit: number): Promise<number> {
    return await this.#count('purge_expired', '$1::integer', [limit])
  }

  async #result(name: string, parameters: string, values: unknown[]): Promise<SaveResult> {
    const [row] = await this.#call(name, 'status, id, version, expires_at, data, now()', parameters, values)
    if (!row) throw new PGStoreError('database', `${name}: no row`)
    return {
      status: row[0] as SaveResult['status'],
      id: row[1] ?? null,
      version: Number(row[2]),
      expiresAt: row[3] ?? null,
      data: row[4] ?? null,
      now: row[5] as string,
    }
  }

  async #count(name: string, parameters: string, values: unknown[]): Promise<number> {
    const [row] = await this.#call(name, name, parameters, values)
    return Number(row?.[0])
  }

  /** The schema's name is checked by the store; all else in the text is written on this page. */
  async #call(name: string, columns: string, parameters: string, values: unknown[]): Promise<(string | null)[][]> {
    const text = `select ${columns} from ${this.#schema}.${name}(${parameters})`
    try {
      return (await this.#client.query({ text, values, rowMode: 'array', types })).rows as (string | null)[][]
    } catch (error) {
      throw databaseError(name, error)
    }
  }
}

function seconds(value: number | null): string | null {
  return value === null ? null : `${value} seconds`
}

function sessionRow(row: readonly (string | null)[]): SessionRow {
  const [id, userId, data, version, createdAt, updatedAt, expiresAt, now] = row
  return { id, userId, data, version: Number(version), createdAt, updatedAt, expiresAt, now } as SessionRow
}

/** Milliseconds since the epoch of a timestamptz in Postgres's ISO style: `2026-11-23 20:15:00.123456+00`. */
export function parseTime(text: string): number {
  const offset = /[+-]\d\d$/.test(text) ? `${text}:00` : text
  return Date.parse(offset.replace(' ', 'T'))
}
