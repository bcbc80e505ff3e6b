// The functions of sessions as typed calls, one call each.

import { PGStoreError } from '../errors.ts'
import { byteaArray, integerArray, intervalArray, jsonbArray, textArray } from './array-parameters.ts'
import { MaintenanceDatabase } from './cleanup-functions.ts'
import type { Parameter } from './pool.ts'
import type { SaveArguments, SaveResult, SessionDatabase, SessionRow } from './row.ts'
import { epoch, hex, now } from './sql-functions.ts'

const sessionColumns = `id, user_id, data, version, ${epoch('created_at')}, ${epoch('updated_at')}, ${epoch('expires_at')}, ${now}`

const resultColumns = `status, id, version, ${epoch('expires_at')}, data, ${now}`

/** The sessions, and what keeps their table in order. */
export class Database extends MaintenanceDatabase implements SessionDatabase {
  async get(key: Buffer): Promise<SessionRow | undefined> {
    const [row] = await this.call('session_get', sessionColumns, '$1::bytea', [key])
    return row && sessionRow(row)
  }

  /** In the order of the keys; undefined for one without a live session. */
  async getMany(keys: readonly Buffer[]): Promise<(SessionRow | undefined)[]> {
    const rows = await this.call('session_get', `${sessionColumns}, ${hex('key')}`, '$1::bytea[]', [byteaArray(keys)])
    const byKey = new Map<string | null | undefined, (string | null)[]>()
    for (const row of rows) byKey.set(row[8], row)
    return keys.map((key) => {
      const row = byKey.get(key.toString('hex'))
      return row && sessionRow(row)
    })
  }

  async save(save: SaveArguments): Promise<SaveResult> {
    return await this.#result(
      'session_save',
      '$1::bytea, $2::jsonb, $3::text[], $4::interval, $5::integer, $6::text, $7::integer, $8::interval',
      [
        save.key,
        save.set,
        textArray(save.unset),
        seconds(save.ttlSeconds),
        save.version,
        save.userId,
        save.maxLength,
        seconds(save.lifetimeSeconds),
      ],
    )
  }

  /**
   * Saves that agree in maxLength and lifetime, in their order; undefined for one whose session somebody else has locked: send
   * it alone.
   */
  async saveMany(saves: readonly SaveArguments[]): Promise<(SaveResult | undefined)[]> {
    const [first] = saves
    if (!first) return []
    const rows = await this.call(
      'session_save',
      `${resultColumns}, ${hex('key')}`,
      '$1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], $7::integer, $8::interval',
      [
        byteaArray(saves.map(({ key }) => key)),
        jsonbArray(saves.map(({ set }) => set)),
        jsonbArray(saves.map(({ unset }) => (unset.length === 0 ? null : JSON.stringify(unset)))),
        intervalArray(saves.map(({ ttlSeconds }) => ttlSeconds)),
        integerArray(saves.map(({ version }) => version)),
        textArray(saves.map(({ userId }) => userId)),
        first.maxLength,
        seconds(first.lifetimeSeconds),
      ],
    )
    const byKey = new Map<string | null | undefined, (string | null)[][]>()
    for (const row of rows) {
      const same = byKey.get(row[6])
      if (same) same.push(row)
      else byKey.set(row[6], [row])
    }
    return saves.map(({ key }) => {
      const row = byKey.get(key.toString('hex'))?.shift()
      if (!row) throw new PGStoreError('database', 'session_save: a row is missing')
      return row[0] === 'locked' ? undefined : saveResult(row)
    })
  }

  /** `key` is the old key; with a version, only while that is the session's. */
  async regenerate(
    save: Omit<SaveArguments, 'version'>,
    newKey: Buffer,
    version: number | null = null,
  ): Promise<SaveResult> {
    return await this.#result(
      'session_regenerate',
      '$1::bytea, $2::bytea, $3::interval, $4::text, $5::interval, $6::jsonb, $7::text[], $8::integer, $9::integer',
      [
        save.key,
        newKey,
        seconds(save.ttlSeconds),
        save.userId,
        seconds(save.lifetimeSeconds),
        save.set,
        textArray(save.unset),
        save.maxLength,
        version,
      ],
    )
  }

  async destroy(key: Buffer): Promise<number> {
    return await this.count('session_destroy', '$1::bytea', [key])
  }

  /** How many ended, for each key; undefined for one that somebody else has locked: send it alone. */
  async destroyMany(keys: readonly Buffer[]): Promise<(number | undefined)[]> {
    const rows = await this.call('session_try_destroy', `${hex('key')}, status`, '$1::bytea[]', [byteaArray(keys)])
    const counts: Record<string, number> = { destroyed: 1, gone: 0 }
    const byKey = new Map(rows.map(([key, status]) => [key, counts[String(status)]]))
    return keys.map((key) => byKey.get(key.toString('hex')))
  }

  async list(userId: string): Promise<SessionRow[]> {
    const rows = await this.call('session_list', sessionColumns, '$1::text', [userId])
    return rows.map(sessionRow)
  }

  async revoke(userId: string, id: string | null, except: Buffer | null): Promise<number> {
    return await this.count('session_revoke', '$1::text, $2::bigint, $3::bytea', [userId, id, except])
  }

  /** Ends all but this many of a user's sessions, those signed in last. */
  async limit(userId: string, max: number): Promise<number> {
    return await this.count('session_limit', '$1::text, $2::integer', [userId, max])
  }

  /**
   * Live sessions of everybody, a page: `place` is where the next one begins, undefined after the last. Granted to admin alone.
   *
   * @param after the last page's `place`
   */
  async all(after: Buffer | null, limit: number): Promise<{ rows: SessionRow[]; place: Buffer | undefined }> {
    const rows = await this.call('session_all', `${sessionColumns}, ${hex('place')}`, '$1::bytea, $2::integer', [
      after,
      limit,
    ])
    const place = rows.length < limit ? undefined : rows.at(-1)?.[8]
    return { rows: rows.map(sessionRow), place: place ? Buffer.from(place, 'hex') : undefined }
  }

  /** Ends a batch of everybody's sessions; below the limit, they were the last. Granted to admin alone. */
  async clear(limit: number): Promise<number> {
    return await this.count('session_clear', '$1::integer', [limit])
  }

  async #result(name: string, parameters: string, values: Parameter[]): Promise<SaveResult> {
    const [row] = await this.call(name, resultColumns, parameters, values)
    if (!row) throw new PGStoreError('database', `${name}: no row`)
    return saveResult(row)
  }
}

function seconds(value: number | null): string | null {
  return value === null ? null : `${value} seconds`
}

function sessionRow(row: readonly (string | null)[]): SessionRow {
  const [id, userId, data, version, createdAt, updatedAt, expiresAt, now] = row
  return { id, userId, data, version: Number(version), createdAt, updatedAt, expiresAt, now } as SessionRow
}

function saveResult(row: readonly (string | null)[]): SaveResult {
  const [status, id, version, expiresAt, data, now] = row
  return { status, id, version: Number(version), expiresAt, data, now } as SaveResult
}
