// JSON lines, as mongoexport writes them: one session a line.
import type { Readable } from 'node:stream'
import {
  batchSize,
  cookieSeconds,
  foundExpressSession,
  type Item,
  mostBytes,
  readExpressSession,
  type Source,
  unreadable,
} from './source.ts'

/** The names in each line's object. */
export interface LineNames {
  /** What the cookie carries. */
  readonly id: string
  /** The session, or its JSON as text. */
  readonly data: string
  /** ISO 8601 text, milliseconds or seconds since 1970, or MongoDB's `{"$date": …}`. Missing or null: the cookie decides. */
  readonly expires: string
}

/** The data may be text, in which half of the characters have a backslash. */
const mostLineBytes = 2 * mostBytes + 4096

export function jsonLines(input: Readable, names: LineNames): Source {
  return {
    total: () => Promise.resolve(0),
    async *batches() {
      let batch: Item[] = []
      for await (const line of linesOf(input)) {
        if (line === '') continue
        batch.push(line === undefined ? { as: 'tooLarge' } : lineItem(line, names))
        if (batch.length < batchSize) continue
        yield batch
        batch = []
      }
      if (batch.length > 0) yield batch
    },
    close: () => {
      input.destroy()
      return Promise.resolve()
    },
  }
}

function lineItem(line: string, names: LineNames): Item {
  const record = readExpressSession('line', line)
  return record
    ? recordItem(record[names.id], record[names.data], record[names.expires])
    : unreadable('not a JSON object')
}

/** A session of a store that keeps its id, its data as text or as an object, and its expiry apart. */
export function recordItem(id: unknown, data: unknown, expires: unknown): Item {
  if (typeof id !== 'string' && typeof id !== 'number') return unreadable('no session id')
  const text = typeof data === 'string' ? data : JSON.stringify(data ?? null)
  if (Buffer.byteLength(text) > mostBytes) return { as: 'tooLarge' }
  const session = readExpressSession(String(id), text)
  if (!session) return unreadable('not a JSON object')
  if (expires === undefined || expires === null) return foundExpressSession(String(id), session, cookieSeconds(session))
  const time = milliseconds(expires)
  if (Number.isNaN(time)) return unreadable('an expiry that is not a time')
  return foundExpressSession(String(id), session, (time - Date.now()) / 1000)
}

/** Since 1970; NaN for what is not a time. */
function milliseconds(expires: unknown): number {
  if (expires instanceof Date) return expires.getTime()
  if (typeof expires === 'number') return expires > 1e11 ? expires : expires * 1000
  if (typeof expires === 'string') return Date.parse(expires)
  const { $date: date } = expires as { $date?: unknown }
  const { $numberLong: long } = (date ?? {}) as { $numberLong?: unknown }
  return typeof long === 'string'
    ? Number(long)
    : typeof date === 'object'
      ? Number.NaN
      : milliseconds(date ?? Number.NaN)
}

/** Lines without their ends; undefined for one that is too long to be kept. */
async function* linesOf(input: Readable): AsyncGenerator<string | undefined> {
  let parts: Buffer[] = []
  let bytes = 0
  const line = () => {
    const text = bytes > mostLineBytes ? undefined : Buffer.concat(parts).toString().trim()
    parts = []
    bytes = 0
    return text
  }
  const add = (part: Buffer) => {
    bytes += part.length
    if (bytes > mostLineBytes) parts = []
    else parts.push(part)
  }
  for await (const chunk of input as AsyncIterable<Buffer>) {
    let from = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      add(chunk.subarray(from, end))
      yield line()
      from = end + 1
    }
    add(chunk.subarray(from))
  }
  yield line()
}
