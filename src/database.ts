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

/** How the table stands. */
export interface SessionStats {
  readonly live: number
  readonly expired: number
  readonly anonymous: number
  /** Whether the counts were estimated from a sample. */
  readonly isEstimate: boolean
  readonly oldestExpiredAt: Date | undefined
  readonly tableBytes: number
  /** Of the table, what its rows take up. */
  readonly usedBytes: number
  readonly indexBytes: number
  readonly totalBytes: number
  /** Since the statistics were last reset. */
  readonly updates: number
  readonly heapOnlyUpdates: number
  readonly deadRows: number
  readonly vacuumedAt: Date | undefined
  /** Name of the newest migration; undefined where the host keeps a history of its own. */
  readonly migration: string | undefined
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

const statsColumns = [
  'live, expired, anonymous, is_estimate',
  epoch('oldest_expired_at'),
  'table_bytes, used_bytes, index_bytes, total_bytes, updates, heap_only_updates, dead_rows',
  epoch('vacuumed_at'),
  'migration',
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

/** What saving a session takes of the database. */
export interface SessionDatabase {
  get(key: Buffer): Promise<SessionRow | undefined>
  save(save: SaveArguments): Promise<SaveResult>
  regenerate(save: Omit<SaveArguments, 'version'>, newKey: Buffer, version?: number | null): Promise<SaveResult>
  destroy(key: Buffer): Promise<number>
  limit(userId: string, max: number): Promise<number>
}

/** Rows come as arrays of text: a session's data and times are parsed only when somebody looks at them. */
const types = { getTypeParser: () => (text: string) => text }

export class Database implements SessionDatabase {
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
    return await this.#count('session_destroy', '$1::bytea', [key])
  }

  /** How many ended, for each key; undefined for one that somebody else has locked: send it alone. */
  async destroyMany(keys: readonly Buffer[]): Promise<(number | undefined)[]> {
    const rows = await this.#call('session_try_destroy', 'key, status', '$1::bytea[]', [byteaArray(keys)])
    const counts: Record<string, number> = { destroyed: 1, gone: 0 }
    const byKey = new Map(rows.map(([key, status]) => [key, counts[String(status)]]))
    return keys.map((key) => byKey.get(`\\x${key.toString('hex')}`))
  }

  async list(userId: string): Promise<SessionRow[]> {
    const rows = await this.#call('session_list', sessionColumns, '$1::text', [userId])
    return rows.map(sessionRow)
  }

  async revoke(userId: string, id: string | null, except: Buffer | null): Promise<number> {
    return await this.#count('session_revoke', '$1::text, $2::bigint, $3::bytea', [userId, id, except])
  }

  /** Ends all but this many of a user's sessions, those signed in last. */
  async limit(userId: string, max: number): Promise<number> {
    return await this.#count('session_limit', '$1::text, $2::integer', [userId, max])
  }

  /**
   * Live sessions of everybody, a page: `place` is where the next one begins, undefined after the last. Granted to admin alone.
   *
   * @param after the last page's `place`
   */
  async all(after: Buffer | null, limit: number): Promise<{ rows: SessionRow[]; place: Buffer | undefined }> {
    const rows = await this.#call('session_all', `${sessionColumns}, place`, '$1::bytea, $2::integer', [after, limit])
    const place = rows.length < limit ? undefined : rows.at(-1)?.[8]
    return { rows: rows.map(sessionRow), place: place ? Buffer.from(place.slice(2), 'hex') : undefined }
  }

  /** Ends a batch of everybody's sessions; below the limit, they were the last. Granted to admin alone. */
  async clear(limit: number): Promise<number> {
    return await this.#count('session_clear', '$1::integer', [limit])
  }

  async countLive(): Promise<number> {
    return await this.#count('count_live', '', [])
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

  async sessionStats(): Promise<SessionStats> {
    const [row] = await this.#call('session_stats', statsColumns, '', [])
    if (!row) throw new PGStoreError('database', 'session_stats: no row')
    return {
      live: Number(row[0]),
      expired: Number(row[1]),
      anonymous: Number(row[2]),
      isEstimate: row[3] === 't',
      oldestExpiredAt: time(row[4]),
      tableBytes: Number(row[5]),
      usedBytes: Number(row[6]),
      indexBytes: Number(row[7]),
      totalBytes: Number(row[8]),
      updates: Number(row[9]),
      heapOnlyUpdates: Number(row[10]),
      deadRows: Number(row[11]),
      vacuumedAt: time(row[12]),
      migration: row[13] ?? undefined,
      now: time(row[14]) ?? new Date(Number.NaN),
    }
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

function time(text: string | null | undefined): Date | undefined {
  return text ? new Date(Math.round(parseTime(text))) : undefined
}

function epoch(time: string): string {
  return `date_part('epoch', ${time})`
}

/** Milliseconds since the epoch of a row's time. */
export function parseTime(seconds: string): number {
  return Number(seconds) * 1000
}
