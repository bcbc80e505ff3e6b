import { Database } from '../database/session-functions.ts'
import { PGStoreError } from '../errors.ts'
import { type Flags, print, UsageError, withPool } from './command.ts'

export async function endAll(flags: Flags): Promise<void> {
  const { before, tag, user, json, schema } = flags
  if (tag !== undefined && user !== undefined) throw new UsageError('Give --tag or --user, not both.')
  if (tag === '' || user === '') throw new UsageError('--tag and --user must not be empty.')
  const time = before === undefined ? null : timeOf(before)
  const scope = tag !== undefined ? `tag:${tag}` : user !== undefined ? `user:${user}` : 'all'
  const mark = await withPool(flags, (pool) => new Database(pool, schema).endBefore(scope, time))
  if (!mark) throw new PGStoreError('invalid_option', 'The tag or the user is longer than 1024 bytes.')
  if (json) print(JSON.stringify({ scope, not_before: mark }))
  else print(`${whose(tag, user)} that began, or last signed in, before ${mark.toISOString()} have ended.`)
}

/** With its zone: a time without one would be another on another machine. */
function timeOf(text: string): Date {
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text)
  const time = new Date(text)
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split('-').map(Number)
  const isDay = new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day // 31 February would be 3 March
  if (!isTime || !isDay || Number.isNaN(time.getTime())) {
    throw new UsageError('--before must be a time with its zone, such as 2030-01-31T12:00:00Z.')
  }
  return time
}

function whose(tag: string | undefined, user: string | undefined): string {
  if (tag !== undefined) return `The sessions with the tag ${tag}`
  return user !== undefined ? `The sessions of user ${user}` : 'All sessions'
}
