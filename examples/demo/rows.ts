// The rows of the table, read as its owner. A real site does not need this: its role may run pgstore's functions and read no table.
import type pg from 'pg'

/** A row of pgstore.sessions, as node-postgres reads it. */
export interface SessionRow {
  readonly id: string
  readonly user_id: string | null
  readonly data: object
  readonly version: number
  readonly created_at: Date
  readonly updated_at: Date
  readonly expires_at: Date
  /** The first 16 hex digits. */
  readonly key: string
}

export class Rows {
  readonly #owner: pg.Pool

  constructor(owner: pg.Pool) {
    this.#owner = owner
  }

  /** The live ones of these, by their id. */
  async find(ids: readonly string[]): Promise<Map<string, SessionRow>> {
    const { rows } = await this.#owner.query<SessionRow>(
      `select id, user_id, data, version, created_at, updated_at, expires_at, left(encode(key, 'hex'), 16) as key
       from pgstore.sessions
       where id = any ($1::bigint[]) and expires_at > clock_timestamp()`,
      [ids],
    )
    return new Map(rows.map((row) => [row.id, row]))
  }

  async countExpired(): Promise<number> {
    const { rows } = await this.#owner.query<{ count: string }>('select pgstore.count_expired() as count')
    return Number(rows[0]?.count)
  }

  /** Sessions that expired a day ago. Their keys are digests of nothing that a cookie holds. */
  async addExpired(count: number): Promise<void> {
    await this.#owner.query(
      `insert into pgstore.sessions (id, key, data, version, created_at, updated_at, seen_at, expires_at, purge_at)
       select nextval('pgstore.session_number') * 256, sha256(gen_random_uuid()::text::bytea), '{"demo": "expired"}', 1,
         at, at, at, at, at
       from generate_series(1, $1) as n, cast(now() - interval '1 day' as timestamptz) as at`,
      [count],
    )
  }
}
