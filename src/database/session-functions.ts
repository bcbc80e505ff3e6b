// The session functions as typed calls, one call each.

import { PGStoreError } from '../errors.ts'
import { byteaArray, integerArray, intervalArray, jsonbArray, textArray } from './array-parameters.ts'
import { boundColumn } from './bound-functions.ts'
import type { Parameter } from './pool.ts'
import {
  instantAt,
  type PutArguments,
  parseTime,
  ReadRow,
  type SaveArguments,
  type SaveResult,
  type SessionDatabase,
  type SessionRow,
} from './row.ts'
import { hex, instant, instants, now, seconds } from './sql-functions.ts'
import { ValueDatabase } from './value-functions.ts'

/** In the order of `ReadRow`. */
const sessionColumns = `id, user_id, data, version, label, to_json(tags), ${instants('created_at', 'updated_at', 'expires_at', 'seen_at', now, 'signed_in_at')}`
/** What follows them in a row. */
const afterSession = 7

const boundColumns = `${sessionColumns}, ${boundColumn}`

const resultColumns = `status, id, version, data, ${instants(now, 'expires_at')}`
/** What follows them in a row. */
const afterResult = 5

/** The sessions, and the maintenance of their table. */
export class Database extends ValueDatabase implements SessionDatabase {
  /** Whether a session that is read says what its device has to send. */
  readsBound = false

  /** @param sent called when the query is handed to a connection, where that can be told */
  async get(key: Buffer, sent?: () => void): Promise<SessionRow | undefined> {
    const columns = this.readsBound ? boundColumns : sessionColumns
    const [row] = await this.call('session_get', columns, '$1::bytea', [key], sent)
    return row && sessionRow(row)
  }

  /** In the order of the keys; undefined for one without a live session. */
  async getMany(keys: readonly Buffer[], sent?: () => void): Promise<(SessionRow | undefined)[]> {
    const columns = `${this.readsBound ? boundColumns : sessionColumns}, ${hex('key')}`
    const keyAt = afterSession + Number(this.readsBound)
    const rows = await this.call('session_get', columns, '$1::bytea[]', [byteaArray(keys)], sent)
    const byKey = new Map(rows.map((row) => [row[keyAt] ?? '', row]))
    let matched = 0
    const found = keys.map((key) => {
      const row = byKey.get(key.toString('hex'))
      if (!row) return undefined
      matched++
      return sessionRow(row)
    })
    if (matched < byKey.size) throw unasked('session_get')
    return found
  }

  async save(save: SaveArguments): Promise<SaveResult> {
    return await this.#result(
      'session_save',
      `$1::bytea, $2::jsonb, $3::text[], $4::interval, $5::integer, $6::text, $7::integer, $8::interval, $9::jsonb, $10::text[], $11::boolean, $12::boolean${save.lives === null ? '' : ', $13::jsonb'}`,
      [
        save.key,
        save.set,
        textArray(save.unset),
        seconds(save.ttlSeconds),
        save.version,
        save.userId,
        save.maxLength,
        seconds(save.lifetimeSeconds),
        save.label,
        save.tags && textArray(save.tags),
        save.announce ? 'true' : 'false',
        save.relaxed ? 'true' : 'false',
        ...(save.lives === null ? [] : [save.lives]),
      ],
    )
  }

  /**
   * Saves without label, tags or announcement that agree in all but what they save, in their order; undefined for one whose
   * session another transaction has locked: send it alone.
   */
  async saveMany(saves: readonly SaveArguments[]): Promise<(SaveResult | undefined)[]> {
    const [first] = saves
    if (!first) return []
    const rows = await this.call(
      'session_save',
      `${resultColumns}, ${hex('key')}`,
      '$1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], $7::integer, $8::interval, $9::boolean',
      [
        byteaArray(saves.map(({ key }) => key)),
        jsonbArray(saves.map(({ set }) => set)),
        jsonbArray(saves.map(({ unset }) => (unset.length === 0 ? null : JSON.stringify(unset)))),
        intervalArray(saves.map(({ ttlSeconds }) => ttlSeconds)),
        integerArray(saves.map(({ version }) => version)),
        textArray(saves.map(({ userId }) => userId)),
        first.maxLength,
        seconds(first.lifetimeSeconds),
        first.relaxed ? 'true' : 'false',
      ],
    )
    const byKey = new Map<string | null | undefined, (string | null)[][]>()
    for (const row of rows) {
      const same = byKey.get(row[afterResult])
      if (same) same.push(row)
      else byKey.set(row[afterResult], [row])
    }
    if (rows.length !== saves.length) throw unasked('session_save')
    return saves.map(({ key }) => {
      const row = byKey.get(key.toString('hex'))?.shift()
      if (!row) throw unasked('session_save')
      return row[0] === 'locked' ? undefined : saveResult(row)
    })
  }

  /** `key` is the old key; with a version, only while that is the session's. */
  async regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult> {
    return await this.#result(
      'session_regenerate',
      `$1::bytea, $2::bytea, $3::interval, $4::text, $5::interval, $6::jsonb, $7::text[], $8::integer, $9::integer, $10::jsonb, $11::text[]${save.lives === null ? '' : ', false, false, $12::jsonb'}`,
      [
        save.key,
        newKey,
        seconds(save.ttlSeconds),
        save.userId,
        seconds(save.lifetimeSeconds),
        save.set,
        textArray(save.unset),
        save.maxLength,
        save.version,
        save.label,
        save.tags && textArray(save.tags),
        ...(save.lives === null ? [] : [save.lives]),
      ],
    )
  }

  async put(put: PutArguments): Promise<SaveResult> {
    const { key, set, ttlSeconds, userId, maxLength, lifetimeSeconds } = put
    return await this.#result(
      'session_put',
      '$1::bytea, $2::jsonb, $3::interval, $4::text, $5::integer, $6::interval',
      [key, set, seconds(ttlSeconds), userId, maxLength, seconds(lifetimeSeconds)],
    )
  }

  async destroy(key: Buffer): Promise<number> {
    return await this.count('session_destroy', '$1::bytea', [key])
  }

  /** How many ended, for each key; undefined for one that another transaction has locked: send that one alone. */
  async destroyMany(keys: readonly Buffer[]): Promise<(number | undefined)[]> {
    const rows = await this.call('session_try_destroy', `${hex('key')}, status`, '$1::bytea[]', [byteaArray(keys)])
    const statuses = new Map(rows.map(([key, status]) => [key, status]))
    return keys.map((key) => {
      const status = statuses.get(key.toString('hex'))
      if (status === 'locked') return undefined
      if (status !== 'destroyed' && status !== 'gone') throw unasked('session_try_destroy')
      return status === 'destroyed' ? 1 : 0
    })
  }

  /** @param withData whether `data` is read too; else it is '{}' */
  async list(userId: string, withData: boolean): Promise<SessionRow[]> {
    const rows = await this.call('session_list', sessionColumns, '$1::text, $2::boolean', [userId, String(withData)])
    return rows.map(sessionRow)
  }

  /** @param actor who ends them, for the history; in a transaction, all that follows in it is theirs too */
  async revoke(
    userId: string,
    id: string | null,
    except: Buffer | null,
    reason: string | null,
    actor: string | null,
  ): Promise<number> {
    const values = [userId, id, except, reason, ...(actor === null ? [] : [actor])]
    return await this.count('session_revoke', `${text(1, actor, 5)}, $2::bigint, $3::bytea, $4::text`, values)
  }

  async revokeTag(tag: string, except: Buffer | null, reason: string | null, actor: string | null): Promise<number> {
    const values = [tag, except, reason, ...(actor === null ? [] : [actor])]
    return await this.count('session_revoke_tag', `${text(1, actor, 4)}, $2::bytea, $3::text`, values)
  }

  /**
   * Ends all sessions of a scope that began before a time, null for now. Granted only to admin.
   *
   * @param scope 'all', 'user:' and an id, or 'tag:' and a tag
   * @returns the mark that holds now; undefined for a scope that is not one
   */
  async endBefore(scope: string, before: Date | null): Promise<Date | undefined> {
    const columns = `status, ${instant('not_before')}`
    const values = [scope, before?.toISOString() ?? null]
    const [row] = await this.call('session_end_before', columns, '$1::text, $2::timestamptz', values)
    return row?.[0] === 'marked' ? new Date(Math.ceil(parseTime(row[1] as string))) : undefined
  }

  /** Ends all but this many of a user's sessions, those signed in last; the one with the key `except` is the newest. */
  async limit(userId: string, max: number, except: Buffer): Promise<number> {
    return await this.count('session_limit', '$1::text, $2::integer, $3::bytea', [userId, max, except])
  }

  /**
   * A page of all live sessions: `place` is where the next page begins, undefined after the last. Granted only to admin.
   *
   * @param after the last page's `place`
   */
  async all(after: Buffer | null, limit: number): Promise<{ rows: SessionRow[]; place: Buffer | undefined }> {
    const rows = await this.call('session_all', `${sessionColumns}, ${hex('place')}`, '$1::bytea, $2::integer', [
      after,
      limit,
    ])
    const place = rows.length < limit ? undefined : rows.at(-1)?.[afterSession]
    return { rows: rows.map(sessionRow), place: place ? Buffer.from(place, 'hex') : undefined }
  }

  /** Ends a batch of all sessions; fewer than the limit means that they were the last. Granted only to admin. */
  async clear(limit: number): Promise<number> {
    return await this.count('session_clear', '$1::integer', [limit])
  }

  /** Sends this to all who listen to the sessions channel; returns how many databases did. */
  async echo(echo: string): Promise<number> {
    return await this.count('announcement_echo', '$1::text', [echo])
  }

  async #result(name: string, parameters: string, values: Parameter[]): Promise<SaveResult> {
    const [row] = await this.call(name, resultColumns, parameters, values)
    if (!row) throw new PGStoreError('database', `${name} returned no row.`)
    return saveResult(row)
  }
}

/**
 * A parameter as text, and the actor, if there is one, named to the history: arguments are computed before the call, and the setting
 * lasts until the transaction ends, which is the call itself if there is no other.
 */
function text(parameter: number, actor: string | null, actorParameter: number): string {
  if (actor === null) return `$${parameter}::text`
  return `case when set_config('pgstore.actor', $${actorParameter}::text, true) is not null then $${parameter}::text end`
}

function sessionRow(fields: readonly (string | null)[]): SessionRow {
  return new ReadRow(fields)
}

function saveResult(row: readonly (string | null)[]): SaveResult {
  const [status, id, version, data, times] = row
  const [now, expiresAt] = [instantAt(times, 0), instantAt(times, 1)]
  return { status, id, version: Number(version), expiresAt, data, now } as SaveResult
}

/** The response does not match the request: better an error than a stranger's session, or missing a live one. */
function unasked(name: string): PGStoreError {
  return new PGStoreError('database', `${name} returned other rows than those requested.`)
}
