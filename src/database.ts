// The SQL functions as typed calls, one call each. Nothing else in this package writes SQL for sessions.
import { byteaArray, integerArray, intervalArray, jsonbArray, textArray } from './array.ts'
import { databaseError, PGStoreError } from './errors.ts'
import type { Parameter, Queryable } from './pool.ts'

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
}

/** The recurring purge: its schedule and its last run. All times are the database's. */
export interface CleanupStatus {
  /** Whether the purge runs. */
  readonly enabled: boolean
  /** The interval between two runs, as Postgres writes it: '00:05:00'. */
  readonly every: string
  /** When a worker last showed itself; with nobody at work for longer than `every`, sessions are not purged. */
  readonly workerSeenAt: Date | undefined
  readonly nextRunAt: Date | undefined
  readonly lastRunAt: Date | undefined
  /** How many sessions the last run deleted. */
  readonly lastPurged: number | undefined
  /** How many milliseconds it took. */
  readonly lastMs: number | undefined
  readonly totalPurged: number
  /** The code that the last run failed with: an SQLSTATE, or a `PGStoreError`'s code. */
  readonly lastError: string | undefined
}

export interface CleanupState extends CleanupStatus {
  readonly status: 'started' | 'stopped' | 'due' | 'invalid'
  /** The database's clock when it answered. */
  readonly now: Date
}

// Times as seconds since the epoch: a timestamptz's text depends on the role's DateStyle and TimeZone.
const now = epoch('now()')

const sessionColumns = `id, user_id, data, version, ${epoch('created_at')}, ${epoch('updated_at')}, ${epoch('expires_at')}, ${now}`

const resultColumns = `status, id, version, ${epoch('expires_at')}, data, ${now}`

const cleanupColumns = [
  'enabled, every',
  ...['worker_seen_at', 'next_run_at', 'last_run_at'].map(epoch),
  'last_purged, last_ms, total_purged, last_error, status',
  now,
].join(', ')

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

/** Rows come as arrays of text: a session's data and times are parsed only when somebody looks at them. */
const types = { getTypeParser: () => (text: string) => text }

export class Database {
  readonly #client: Queryable
  readonly #schema: string

  constructor(client: Queryable, schema: string) {
    this.#client = client
    this.#schema = schema
  }

  async get(key: Buffer): Promise<SessionRow | undefined> {
    const [row] = await this.#call('session_get', sessionColumns, '$1::bytea', [key])
    return row && sessionRow(row)
  }

  /** In the order of the keys; undefined for one without a live session. */
  async getMany(keys: readonly Buffer[]): Promise<(SessionRow | undefined)[]> {
    const rows = await this.#call('session_get', `${sessionColumns}, key`, '$1::bytea[]', [byteaArray(keys)])
    const byKey = new Map(rows.map((row) => [row[8], row]))
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
    const rows = await this.#call(
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

  /** `key` is the old key; `version` plays no part. */
  async regenerate(save: Omit<SaveArguments, 'version'>, newKey: Buffer): Promise<SaveResult> {
    return await this.#result(
      'session_regenerate',
      '$1::bytea, $2::bytea, $3::interval, $4::text, $5::interval, $6::jsonb, $7::text[], $8::integer',
      [
        save.key,
        newKey,
        seconds(save.ttlSeconds),
        save.userId,
        seconds(save.lifetimeSeconds),
        save.set,
        textArray(save.unset),
        save.maxLength,
      ],
    )
  }

  async destroy(key: Buffer): Promise<number> {
    return await this.#count('session_destroy', '$1::bytea', [key])
  }

  async list(userId: string): Promise<SessionRow[]> {
    const rows = await this.#call('session_list', sessionColumns, '$1::text', [userId])
    return rows.map(sessionRow)
  }

  async revoke(userId: string, id: string | null, except: Buffer | null): Promise<number> {
    return await this.#count('session_revoke', '$1::text, $2::bigint, $3::bytea', [userId, id, except])
  }

  async countExpired(): Promise<number> {
    return await this.#count('count_expired', '', [])
  }

  async purgeExpired(limit: number): Promise<number> {
    return await this.#count('purge_expired', '$1::integer', [limit])
  }

  async cleanupStart(every: string): Promise<CleanupState> {
    return await this.#cleanup('cleanup_start', '$1::interval', [every])
  }

  async cleanupStop(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_stop', '', [])
  }

  async cleanupStatus(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_status', '', [])
  }

  /** Claims a run that is due: status `due` for one of those who ask. */
  async cleanupBeginRun(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_begin_run', '', [])
  }

  async cleanupBeat(): Promise<CleanupState> {
    return await this.#cleanup('cleanup_beat', '', [])
  }

  async cleanupEndRun(purged: number, ms: number, errorCode: string | null): Promise<CleanupState> {
    return await this.#cleanup('cleanup_end_run', '$1::bigint, $2::integer, $3::text', [
      purged,
      Math.round(ms),
      errorCode,
    ])
  }

  /** Rings a bell of this schema's; get, save and touch never do. */
  async notify(channel: string, payload: object): Promise<void> {
    const values = [channel, JSON.stringify(payload)]
    try {
      await this.#client.query({ text: 'select pg_notify($1, $2)', values, rowMode: 'array', types })
    } catch (error) {
      throw databaseError('pg_notify', error)
    }
  }

  async #cleanup(name: string, parameters: string, values: Parameter[]): Promise<CleanupState> {
    const [row] = await this.#call(name, cleanupColumns, parameters, values)
    if (!row) throw new PGStoreError('database', `${name}: no row`)
    const time = (text: string | null | undefined) => (text ? new Date(Math.round(parseTime(text))) : undefined)
    const number = (text: string | null | undefined) => (text ? Number(text) : undefined)
    return {
      enabled: row[0] === 't',
      every: row[1] ?? '',
      workerSeenAt: time(row[2]),
      nextRunAt: time(row[3]),
      lastRunAt: time(row[4]),
      lastPurged: number(row[5]),
      lastMs: number(row[6]),
      totalPurged: Number(row[7]),
      lastError: row[8] ?? undefined,
      status: row[9] as CleanupState['status'],
      now: time(row[10]) ?? new Date(Number.NaN),
    }
  }

  async #result(name: string, parameters: string, values: Parameter[]): Promise<SaveResult> {
    const [row] = await this.#call(name, resultColumns, parameters, values)
    if (!row) throw new PGStoreError('database', `${name}: no row`)
    return saveResult(row)
  }

  async #count(name: string, parameters: string, values: Parameter[]): Promise<number> {
    const [row] = await this.#call(name, name, parameters, values)
    return Number(row?.[0])
  }

  /** The schema's name is checked by the store; all else in the text is written on this page. */
  async #call(name: string, columns: string, parameters: string, values: Parameter[]): Promise<(string | null)[][]> {
    const text = `select ${columns} from ${this.#schema}.${name}(${parameters})`
    try {
      return (await this.#client.query({ text, values, rowMode: 'array', types })).rows as (string | null)[][]
    } catch (error) {
      throw databaseError(name, error)
    }
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

function epoch(time: string): string {
  return `date_part('epoch', ${time})`
}

/** Milliseconds since the epoch of a row's time. */
export function parseTime(seconds: string): number {
  return Number(seconds) * 1000
}
