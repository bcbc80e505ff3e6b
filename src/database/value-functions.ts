// The functions that take and count single values, as typed calls.

import { PGStoreError } from '../errors.ts'
import { BoundDatabase } from './bound-functions.ts'
import type { IncrementArguments, IncrementResult } from './row.ts'
import { seconds } from './sql-functions.ts'

export class ValueDatabase extends BoundDatabase {
  /** JSON text of the value that was there and is no longer, or of all data with a null name; undefined for none. */
  async take(key: Buffer, name: string | null): Promise<string | undefined> {
    const [row] = await this.call('session_take', 'status, value', '$1::bytea, $2::text', [key, name])
    const [status, value] = row ?? []
    if (status === 'taken' && typeof value === 'string') return value
    if (status === 'none' || status === 'gone') return undefined
    throw new PGStoreError('database', `session_take: ${status}`)
  }

  async increment({ key, name, by, ttlSeconds, maxLength }: IncrementArguments): Promise<IncrementResult> {
    const parameters = '$1::bytea, $2::text, $3::numeric, $4::interval, $5::integer'
    const values = [key, name, String(by), seconds(ttlSeconds), maxLength]
    const [row] = await this.call('session_increment', 'status, value', parameters, values)
    const [status, value] = row ?? []
    return { status: status as IncrementResult['status'], value: Number(value ?? Number.NaN) }
  }
}
