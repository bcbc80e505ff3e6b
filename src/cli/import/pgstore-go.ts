// Go's pgstore: table http_sessions (id bigserial, key bytea, data bytea, expires_on timestamptz, …). The key is the session's
// id, which is what its cookie carries; the data are its values as gob, in the format of the cookies, signed under the
// session's name.
import { codecsFromPairs, SecureCookie } from '../../cookie/codec.ts'
import type { Key } from '../../cookie/keys.ts'
import { readGobMap } from './gob.ts'
import { found, type Item, mostBytes, type Source, unreadable } from './source.ts'
import { secondsUntil, Table } from './table.ts'

export interface PgstoreGoOptions {
  readonly connectionString: string
  readonly table?: string | undefined
  /** The name that the Go program uses for its sessions and their cookie. */
  readonly name: string
  readonly keyPairs: readonly (Key | null)[]
}

/** Its own default, for a row without an expiry. */
const defaultSeconds = 30 * 86400

/** @throws {PGStoreError} `invalid_option` for keys of a wrong length, or what is not a table name */
export function pgstoreGo({ connectionString, table: tableName, name, keyPairs }: PgstoreGoOptions): Source {
  const codecs = codecsFromPairs(...keyPairs).filter((codec) => codec instanceof SecureCookie)
  for (const codec of codecs) codec.maxAge(0) // the row's expiry decides
  const table = new Table(connectionString, tableName ?? 'http_sessions')
  return {
    total: () => table.estimate(),
    async *batches() {
      const data = `case when octet_length(data) <= ${mostBytes} then data end`
      for await (const rows of table.batches(['id', 'key', data, secondsUntil('expires_on')])) {
        yield rows.map(([, key, value, seconds]) => item(key, value, seconds as number | null))
      }
    },
    close: () => table.close(),
  }

  function item(key: unknown, data: unknown, seconds: number | null): Item {
    if (seconds !== null && seconds < 0.001) return { as: 'expired' }
    const token = asText(key)
    if (!/^[A-Z2-7]{52}$/.test(token)) return unreadable('no session id in the column key')
    if (data === null) return { as: 'tooLarge' }
    const text = asText(data)
    for (const codec of codecs) {
      const opened = codec.open(name, text)
      if (!opened) continue
      const read = readGobMap(opened.payload)
      if ('problem' in read) return unreadable(read.problem)
      return found(token, read.values, seconds ?? opened.signedAt + defaultSeconds - Date.now() / 1000)
    }
    return unreadable('not signed with these keys and this name')
  }
}

/** Some forks have text columns. */
function asText(column: unknown): string {
  return Buffer.isBuffer(column) ? column.toString('latin1') : String(column)
}
