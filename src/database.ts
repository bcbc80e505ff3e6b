// The functions of sessions as typed calls, one call each.
import { byteaArray, integerArray, intervalArray, jsonbArray, textArray } from './array.ts'
import { epoch, now } from './calls.ts'
import { PGStoreError } from './errors.ts'
import { MaintenanceDatabase } from './maintenance.ts'
import type { Parameter } from './pool.ts'

/** A session's row as Postgres writes it; times are to be read by `parseTime`. */
export interface SessionRow {
  readonly id: string
  readonly userId: string | null
  /** JSON text. */
  readonly data: string
  readonly version: number
  readonly createdAt: string
  readonly updatedAt: string
  readonly expiresAt: string
  /** The database's clock when it answered. */
  readonly now: string
  /** Names of the values that are to be stored anew at the next save: see `SealedDatabase`. Default: none. */
  readonly outdated?: ReadonlySet<string>
}

/** What a save or regenerate came to. All but `status` and `now` is null where there is no live session. */
export interface SaveResult {
  readonly status: 'saved' | 'gone' | 'conflict' | 'too_large' | 'invalid'
  readonly id: string | null
  readonly version: number
  readonly expiresAt: string | null
  /** JSON text of what is there now; with `conflict` alone. */
  readonly data: string | null
  readonly now: string
  /** The version that the save came upon, where the save itself does not say. */
  readonly previousVersion?: number
}

const sessionColumns = `id, user_id, data, version, ${epoch('created_at')}, ${epoch('updated_at')}, ${epoch('expires_at')}, ${now}`

const resultColumns = `status, id, version, ${epoch('expires_at')}, data, ${now}`

export interface SaveArguments {
  readonly key: Buffer
  /** JSON text of an object. */
  readonly set: string
  readonly unset: readonly string[]
  readonly ttlSeconds: number
  readonly version: number | null
  readonly userId: string | null
  readonly maxLength: number
  readonly lifetimeSeconds: number | null
}

/** What saving a session takes of the database. */
export interface SessionDatabase {
  get(key: Buffer): Promise<SessionRow | undefined>
  save(save: SaveArguments): Promise<SaveResult>
  regenerate(save: Omit<SaveArguments, 'version'>, newKey: Buffer, version?: number | null): Promise<SaveResult>
  destroy(key: Buffer): Promise<number>
  limit(userId: string, max: number): Promise<number>
}

/** The sessions, and what keeps their table in order. */
export class Database extends MaintenanceDatabase implements SessionDatabase {
  async get(key: Buffer): Promise<SessionRow | undefined> {
    const [row] = await this.call('session_get', sessionColumns, '$1::bytea', [key])
    return row && sessionRow(row)
  }

  /** In the order of the keys; undefined for one without a live session. */
  async getMany(keys: readonly Buffer[]): Promise<(SessionRow | undefined)[]> {
    const rows = await this.call('session_get', `${sessionColumns}, key`, '$1::bytea[]', [byteaArray(keys)])
    const byKey = new Map<string | null | undefined, (string | null)[]>()
    for (const row of rows) byKey.set(row[8], row)
    return keys.map((key) => {
      const row = byKey.get(`\\x${key.toString('hex')}`)
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
      `${resultColumns}, key`,
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
      const row = byKey.get(`\\x${key.toString('hex')}`)?.shift()
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
    const rows = await this.call('session_try_destroy', 'key, status', '$1::bytea[]', [byteaArray(keys)])
    const counts: Record<string, number> = { destroyed: 1, gone: 0 }
    const byKey = new Map(rows.map(([key, status]) => [key, counts[String(status)]]))
    return keys.map((key) => byKey.get(`\\x${key.toString('hex')}`))
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
    const rows = await this.call('session_all', `${sessionColumns}, place`, '$1::bytea, $2::integer', [after, limit])
    const place = rows.length < limit ? undefined : rows.at(-1)?.[8]
    return { rows: rows.map(sessionRow), place: place ? Buffer.from(place.slice(2), 'hex') : undefined }
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
