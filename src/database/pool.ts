// Connections: what we use of node-postgres, and a pool in which every wait has a limit.
import pg from 'pg'
import { PGStoreError } from '../errors.ts'

/** A parameter as it goes to Postgres: bytes as they are, everything else as text. */
export type Parameter = Buffer | string | number | null

export interface ArrayQuery {
  readonly text: string
  readonly values: Parameter[]
  readonly rowMode: 'array'
  readonly types: { getTypeParser(): (text: string) => string }
  /** Called when the query is handed to a connection, by a client that can tell. */
  readonly sent?: () => void
  /** When its caller began to wait, by `performance.now()`. Default: now. */
  readonly since?: number
}

/** What we use of a `pg.Pool` or `pg.Client`. */
export interface Queryable {
  query(query: ArrayQuery): Promise<{ readonly rows: unknown[] }>
}

/** What we use of a `pg.Pool`. */
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

/** How long connecting may take, and also the check whether the server is a standby. */
const connectTimeoutMs = 2000

/**
 * A pool in which every wait has a limit and every connection is replaced after five minutes, so that a failover is noticed.
 *
 * @internal its types are @types/pg's, which a program need not have installed
 * @throws {PGStoreError} `invalid_option` for a connection string that cannot be parsed
 */
export function openPool(connection: pg.PoolConfig): pg.Pool {
  const problems = connectionStringProblems(connection.connectionString)
  if (problems.length > 0) throw new PGStoreError('invalid_option', `The connection string ${problems.join('; ')}.`)
  const pool = new pg.Pool({
    application_name: 'pgstore',
    max: 10,
    connectionTimeoutMillis: connectTimeoutMs,
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

/** node-postgres has no target_session_attrs: without this a demoted primary would keep serving old sessions. */
async function refuseStandby(client: pg.ClientBase): Promise<void> {
  const query = { text: 'select pg_is_in_recovery() as standby', query_timeout: connectTimeoutMs }
  const { rows } = await client.query<{ standby: boolean }>(query)
  if (rows[0]?.standby) throw standbyError()
}

export function standbyError(): PGStoreError {
  return new PGStoreError('unavailable', 'The server is a standby: connect to the primary.')
}

/** What is wrong with this connection string. It is never shown: it may hold a password. */
export function connectionStringProblems(connectionString: unknown): string[] {
  if (connectionString === undefined) return []
  if (typeof connectionString !== 'string' || !/^(postgres(ql)?:\/\/|socket:|\/)/.test(connectionString)) {
    return ['must begin with postgres://']
  }
  return unreadable(connectionString)
}

function unreadable(connectionString: string): string[] {
  const several = 'names several hosts: name only the primary'
  const [, authority = ''] = /^postgres(?:ql)?:\/\/([^/?#]*)/.exec(connectionString) ?? []
  if (authority.slice(authority.lastIndexOf('@') + 1).includes(',')) return [several]
  const [, ports] = /[?&]port=([^&#]*)/.exec(connectionString) ?? []
  if (ports !== undefined && !isPort(ports)) return ['has no valid port: a number from 1 to 65535']
  try {
    // Parses it as node-postgres will, without connecting.
    return new pg.Client({ connectionString }).host.includes(',') ? [several] : []
  } catch {
    return ['cannot be parsed: percent-encode special characters in the user name and the password, and check the port']
  }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65536
}

/** Why a pool, or a client given instead, cannot carry our calls; empty if it can. */
export function poolProblems(pool: unknown, kind: 'pool' | 'client' = 'pool'): string[] {
  const { query, options, binary, native, Client } = (pool ?? {}) as {
    query?: unknown
    options?: { binary?: unknown; connectionString?: unknown; host?: unknown }
    binary?: unknown
    native?: unknown
    Client?: { prototype?: object }
  }
  if (typeof query !== 'function') return ['pool must be a pg.Pool']
  if (kind === 'pool' && 'processID' in (pool as object)) return ['pool must be a pg.Pool, not a client']
  const isNative = native !== undefined || (Client !== undefined && isNativeClient(Client))
  // Its client truncates bytes at the first zero: a session would not be found.
  if (isNative) return ['pool must not come from pg.native: pass a pg.Pool of the JavaScript client']
  if (options?.binary || binary) return ['pool must not have the option binary set']
  const { connectionString, host } = options ?? {}
  if (typeof host === 'string' && host.includes(','))
    return ["the pool's host names several hosts: name only the primary"]
  if (typeof connectionString !== 'string') return []
  return unreadable(connectionString).map((problem) => `the pool's connectionString ${problem}`)
}

/** How many connections a pool that was given may open; undefined for another kind of pool. */
export function poolSize(pool: Pool): number | undefined {
  const { max } = (pool as { options?: { max?: unknown } }).options ?? {}
  return typeof max === 'number' ? max : undefined
}

/** Not by `pg.native`, whose getter loads it. */
function isNativeClient({ prototype }: { prototype?: object }): boolean {
  return prototype !== undefined && 'isConnected' in prototype && !('_attachListeners' in prototype)
}
