// A table in which a store for express-session keeps its sessions as JSON, whatever it calls its columns.
import { PGStoreError } from '../../errors.ts'
import type { SessionTable } from './presets.ts'
import {
  cookieSeconds,
  foundExpressSession,
  type Item,
  mostBytes,
  readExpressSession,
  type Source,
  unreadable,
} from './source.ts'
import { secondsUntil, Table } from './table.ts'

/** @param seconds left by the column with the expiry; null where there is none */
export type FindSession = (sid: string, session: { readonly [key: string]: unknown }, seconds: number | null) => Item

/** @throws {PGStoreError} `invalid_option` for what is not a table name */
export function sessionTable(
  connectionString: string,
  names: SessionTable,
  find: FindSession = findExpressSession,
): Source {
  const table = new Table(connectionString, names.table)
  return {
    total: () => table.estimate(),
    async *batches() {
      const types = await table.types()
      for (const option of ['id', 'data', 'expires'] as const) {
        const name = names[option]
        if (name === undefined || types.has(name)) continue
        const problem = `Table ${names.table} has no column "${name}": name it with --${option}.`
        throw new PGStoreError('database', problem)
      }
      const text = `${quoted(names.data)}::text`
      const data = `case when octet_length(${text}) <= ${mostBytes} then ${text} end`
      for await (const rows of table.batches([quoted(names.id), data, seconds(names, types)])) {
        yield (rows as [unknown, string | null, number | null][]).map((row) => item(row, find))
      }
    },
    close: () => table.close(),
  }
}

/** Seconds left, 0 for a session that has ended; null where its cookie decides. */
function seconds({ expires, ended, zone }: SessionTable, types: ReadonlyMap<string, string>): string {
  const left = expires === undefined ? 'null::double precision' : secondsLeft(expires, types.get(expires) ?? '', zone)
  return ended !== undefined && types.has(ended) ? `case when ${quoted(ended)} is null then ${left} else 0 end` : left
}

function secondsLeft(name: string, type: string, zone: 'UTC' | undefined): string {
  const column = quoted(name)
  if (/^(smallint|integer|bigint|numeric|real|double)/.test(type)) {
    // Milliseconds since 1973 are more than this, seconds until the year 5000 are less.
    const epoch = `case when ${column} > 1e11 then ${column} / 1000.0 else ${column} end`
    return `(${epoch} - extract(epoch from now()))::double precision`
  }
  const isLocal = zone !== undefined && /^timestamp.*without time zone$/.test(type)
  return secondsUntil(isLocal ? `(${column} at time zone '${zone}')` : column)
}

const findExpressSession: FindSession = (sid, session, left) =>
  foundExpressSession(sid, session, left ?? cookieSeconds(session))

function item([id, text, left]: [unknown, string | null, number | null], find: FindSession): Item {
  if (left !== null && left < 0.001) return { as: 'expired' }
  if (text === null) return { as: 'tooLarge' }
  const sid = String(id)
  const session = readExpressSession(sid, text)
  return session ? find(sid, session, left) : unreadable('not a JSON object')
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
