// Connections: what we use of node-postgres, and a pool that waits for nothing without an end.
import pg from 'pg'
import { PGStoreError } from '../errors.ts'

/** A parameter as it goes to Postgres: bytes as they are, everything else as text. */
export type Parameter = Buffer | string | number | null

export interface ArrayQuery {
  readonly text: string
  readonly values: Parameter[]
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

/** How long a call may take. */
export const queryTimeoutMs = 5000

/** A pool with every wait bounded, which a primary's fail-over reaches within minutes. */
export function openPool(connection: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool({
    application_name: 'pgstore',
    max: 10,
    connectionTimeoutMillis: 2000,
    query_timeout: queryTimeoutMs,
    idleTimeoutMillis: 30_000,
    maxLifetimeSeconds: 300,
    keepAlive: true,
    // oxlint-disable-next-line typescript/no-misused-promises -- pg-pool awaits it; its types do not say so
    onConnect: refuseStandby,
    ...connection,
  })
  pool.on('error', () => {}) // an idle connection died: the pool has dropped it, and the next call opens another
  return pool
}

/** node-postgres has no target_session_attrs: without this a demoted primary would go on serving old sessions. */
async function refuseStandby(client: pg.ClientBase): Promise<void> {
  const query = { text: 'select pg_is_in_recovery() as standby', query_timeout: queryTimeoutMs }
  const { rows } = await client.query<{ standby: boolean }>(query)
  if (rows[0]?.standby)
    throw new PGStoreError('unavailable', 'This server is a standby: sessions are kept on the primary.')
}
