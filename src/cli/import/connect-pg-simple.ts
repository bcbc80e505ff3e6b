// connect-pg-simple: table session (sid varchar primary key, sess json, expire timestamp).
import { foundExpressSession, type Item, mostBytes, readExpressSession, type Source, unreadable } from './source.ts'
import { secondsUntil, Table } from './table.ts'

/** @throws {PGStoreError} `invalid_option` for what is not a table name */
export function connectPgSimple(connectionString: string, tableName = 'session'): Source {
  const table = new Table(connectionString, tableName)
  return {
    total: () => table.estimate(),
    async *batches() {
      // The column `expire` has no time zone: like connect-pg-simple itself, this reads it in the connection's.
      const text = `case when octet_length(sess::text) <= ${mostBytes} then sess::text end`
      for await (const rows of table.batches(['sid', text, secondsUntil('expire')], '')) {
        yield (rows as [string, string | null, number | null][]).map(item)
      }
    },
    close: () => table.close(),
  }
}

function item([sid, text, seconds]: [string, string | null, number | null]): Item {
  if (seconds === null || seconds < 0.001) return { as: 'expired' }
  if (text === null) return { as: 'tooLarge' }
  const session = readExpressSession(sid, text)
  return session ? foundExpressSession(sid, session, seconds) : unreadable('not a JSON object')
}
