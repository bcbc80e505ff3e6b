// The tables of stores that keep express-session's JSON in Postgres.

/** Names as Postgres keeps them. */
export interface SessionTable {
  readonly table: string
  /** The column with what the cookie carries. */
  readonly id: string
  /** The column with the session as JSON, or as its text. */
  readonly data: string
  /** The column with the time, or the milliseconds or seconds since 1970. Default: the cookie in the data decides. */
  readonly expires?: string | undefined
  /** Where this column exists and is not null, the session has ended. */
  readonly ended?: string | undefined
  /** The time zone of times without one. Default: the connection's. */
  readonly zone?: 'UTC' | undefined
}

export const presets: Readonly<Record<string, SessionTable>> = {
  'connect-pg-simple': { table: 'session', id: 'sid', data: 'sess', expires: 'expire' },
  'connect-session-knex': { table: 'sessions', id: 'sid', data: 'sess', expires: 'expired' },
  'connect-session-sequelize': { table: 'Sessions', id: 'sid', data: 'data', expires: 'expires' },
  // Prisma writes UTC into its timestamp(3) without time zone.
  'prisma-session-store': { table: 'Session', id: 'sid', data: 'data', expires: 'expiresAt', zone: 'UTC' },
  // A destroyed session stays in the table, marked.
  'connect-typeorm': { table: 'session', id: 'id', data: 'json', expires: 'expiredAt', ended: 'destroyedAt' },
}
