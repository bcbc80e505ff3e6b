// The session functions over a Map: what sql/ does, for tests without a database. The same tests run on both.
import { readJson } from '../database/read-json.ts'
import {
  type IncrementArguments,
  type IncrementResult,
  type PutArguments,
  type SaveArguments,
  type SaveResult,
  type SessionRow,
  timeText,
} from '../database/row.ts'
import { Database } from '../database/session-functions.ts'
import { PGStoreError } from '../errors.ts'
import type { Json } from '../session/json.ts'
import { fits, MemoryRow, type Named, printJson } from './memory-row.ts'

const mostFormerKeys = 8

const unnamed: Named = { userId: null, label: null, tags: null }

/** For the functions that there is no twin of. */
export const noDatabase: { query(query?: unknown): Promise<never> } = {
  query: async () => {
    throw new PGStoreError(
      'invalid_option',
      'A memory store has no database: no transactions, no events, no history, no schedule.',
    )
  },
}

export class MemoryDatabase extends Database {
  readonly #rows = new Map<string, MemoryRow>()
  readonly #now: () => number
  #lastId = 0
  /** By scope, the time before which its sessions have ended. */
  readonly #marks = new Map<string, number>()

  constructor(now: () => number) {
    super(noDatabase, 'pgstore')
    this.#now = now
  }

  override async get(key: Buffer): Promise<SessionRow | undefined> {
    const now = this.#now()
    return this.#live(key, now)?.row(now)
  }

  override async getMany(keys: readonly Buffer[]): Promise<(SessionRow | undefined)[]> {
    return await Promise.all(keys.map((key) => this.get(key)))
  }

  override async save(save: SaveArguments): Promise<SaveResult> {
    const now = this.#now()
    const { key, version, maxLength, ttlSeconds, lifetimeSeconds, lives } = save
    const row = this.#live(key, now, lifetimeSeconds)
    if (version === 0) {
      const data = valuesOf(save.set)
      if (!fits(data, maxLength)) return none('too_large', now)
      if (row) return row.result('conflict', now)
      const created = this.#create(key, data, save, now, ttlSeconds, lifetimeSeconds)
      created.live(lives, now)
      return created.result('saved', now)
    }
    if (!row) return none('gone', now)
    if (version !== null && row.version !== version) return row.result('conflict', now)
    const changed = changedData(row, save, now)
    if (changed && !fits(changed, maxLength)) return none('too_large', now)
    row.change(changed, save, now)
    row.live(lives, now)
    row.visit(now, ttlSeconds, lifetimeSeconds, changed ? 0 : row.expiresAt)
    return row.result('saved', now)
  }

  override async regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult> {
    const now = this.#now()
    const { key, version, maxLength, ttlSeconds, lifetimeSeconds, lives } = save
    const row = this.#live(key, now, lifetimeSeconds)
    if (!row) return none('gone', now)
    if ((version !== null && row.version !== version) || this.#live(newKey, now)) return none('conflict', now)
    const changed = changedData(row, save, now)
    if (changed && !fits(changed, maxLength)) return none('too_large', now)
    row.change(changed, save, now, true)
    row.live(lives, now)
    row.visit(now, ttlSeconds, lifetimeSeconds)
    row.formerKeys = [textOf(key), ...row.formerKeys].slice(0, mostFormerKeys)
    this.#rows.delete(textOf(key))
    this.#rows.set(textOf(newKey), row)
    return row.result('saved', now)
  }

  override async destroy(key: Buffer): Promise<number> {
    const text = textOf(key)
    return this.#end((row, found) => found === text || row.formerKeys.includes(text))
  }

  override async put({ key, set, userId, maxLength, ttlSeconds, lifetimeSeconds }: PutArguments): Promise<SaveResult> {
    const now = this.#now()
    const data = valuesOf(set)
    if (!fits(data, maxLength)) return none('too_large', now)
    const named = { ...unnamed, userId }
    const row = this.#live(key, now, lifetimeSeconds)
    if (!row) return this.#create(key, data, named, now, ttlSeconds, lifetimeSeconds).result('saved', now)
    row.forgetLives()
    row.change(data, named, now)
    row.visit(now, ttlSeconds, lifetimeSeconds)
    return row.result('saved', now)
  }

  override async take(key: Buffer, name: string | null): Promise<string | undefined> {
    const now = this.#now()
    const row = this.#live(key, now)
    if (!row) return undefined
    const data = row.data(now)
    if (name === null) {
      this.#rows.delete(textOf(key))
      return printJson(Object.fromEntries(data))
    }
    const value = data.get(name)
    if (value === undefined) return undefined
    data.delete(name)
    row.change(data, unnamed, now)
    return printJson(value)
  }

  override async increment({ key, name, by, ttlSeconds, maxLength }: IncrementArguments): Promise<IncrementResult> {
    const now = this.#now()
    const row = this.#live(key, now)
    const data = row?.data(now) ?? new Map<string, Json>()
    const before = data.get(name) ?? 0
    if (typeof before !== 'number') return { status: 'invalid', value: Number.NaN }
    data.set(name, before + by)
    if (!fits(data, maxLength)) return { status: 'too_large', value: Number.NaN }
    if (row) row.change(data, unnamed, now)
    else this.#create(key, data, unnamed, now, ttlSeconds, null)
    return { status: 'saved', value: before + by }
  }

  override async list(userId: string, withData: boolean): Promise<SessionRow[]> {
    const now = this.#now()
    const rows = this.#all(now).filter((row) => row.userId === userId)
    rows.sort((one, other) => other.createdAt - one.createdAt || other.id - one.id)
    return rows.map((row) => ({ ...row.row(now), ...(!withData && { data: '{}' }) }))
  }

  override async revoke(userId: string, id: string | null, except: Buffer | null): Promise<number> {
    const isMeant = (row: MemoryRow) => row.userId === userId && (id === null || String(row.id) === id)
    return this.#end((row, key) => isMeant(row) && !isOf(row, key, except))
  }

  override async revokeTag(tag: string, except: Buffer | null): Promise<number> {
    return this.#end((row, key) => row.tags?.includes(tag) === true && !isOf(row, key, except))
  }

  override async limit(userId: string, max: number, except: Buffer): Promise<number> {
    const own = [...this.#rows].filter(([, row]) => row.userId === userId && this.#lives(row, this.#now()))
    const others = own.filter(([key, row]) => !isOf(row, key, except))
    others.sort(([, one], [, other]) => Number(other.signedInAt) - Number(one.signedInAt) || other.id - one.id)
    const ended = new Set(others.slice(max - (own.length - others.length)).map(([key]) => key))
    return this.#end((_row, key) => ended.has(key))
  }

  override async endBefore(scope: string, before: Date | null): Promise<Date> {
    const now = this.#now()
    const mark = Math.max(this.#marks.get(scope) ?? 0, Math.min(before?.getTime() ?? now, now))
    this.#marks.set(scope, mark)
    return new Date(mark)
  }

  override async all(): Promise<{ rows: SessionRow[]; place: undefined }> {
    const now = this.#now()
    return { rows: this.#all(now).map((row) => row.row(now)), place: undefined }
  }

  override async clear(): Promise<number> {
    const { size } = this.#rows
    this.#rows.clear()
    return size
  }

  override async countLive(): Promise<number> {
    return this.#all(this.#now()).length
  }

  override async countExpired(): Promise<number> {
    return this.#rows.size - (await this.countLive())
  }

  override async purgeExpired(limit: number): Promise<number> {
    const now = this.#now()
    const expired = [...this.#rows].filter(([, row]) => !this.#lives(row, now)).slice(0, limit)
    for (const [key] of expired) this.#rows.delete(key)
    return expired.length
  }

  #create(
    key: Buffer,
    data: ReadonlyMap<string, Json>,
    named: Named,
    now: number,
    ttlSeconds: number,
    lifetimeSeconds: number | null,
  ): MemoryRow {
    const row = new MemoryRow(++this.#lastId, now)
    row.change(data, named, now)
    row.visit(now, ttlSeconds, lifetimeSeconds)
    this.#rows.set(textOf(key), row)
    return row
  }

  #live(key: Buffer, now: number, lifetimeSeconds: number | null = null): MemoryRow | undefined {
    const row = this.#rows.get(textOf(key))
    return row && this.#lives(row, now, lifetimeSeconds) ? row : undefined
  }

  #lives(row: MemoryRow, now: number, lifetimeSeconds: number | null = null): boolean {
    if (!row.isLive(now, lifetimeSeconds)) return false
    if (this.#marks.size === 0) return true
    const scopes = ['all', `user:${row.userId}`, ...(row.tags ?? []).map((tag) => `tag:${tag}`)]
    return scopes.every((scope) => row.began >= (this.#marks.get(scope) ?? 0))
  }

  #all(now: number): MemoryRow[] {
    return [...this.#rows.values()].filter((row) => this.#lives(row, now))
  }

  #end(isMeant: (row: MemoryRow, key: string) => boolean): number {
    const now = this.#now()
    const ended = [...this.#rows].filter(([key, row]) => this.#lives(row, now) && isMeant(row, key))
    for (const [key] of ended) this.#rows.delete(key)
    return ended.length
  }
}

function textOf(key: Buffer): string {
  return key.toString('latin1')
}

function isOf(row: MemoryRow, key: string, except: Buffer | null): boolean {
  return except !== null && (key === textOf(except) || row.formerKeys.includes(textOf(except)))
}

function valuesOf(set: string): Map<string, Json> {
  return new Map(Object.entries(readJson(set) as Record<string, Json>))
}

/** undefined for a touch. */
function changedData(row: MemoryRow, { set, unset }: SaveArguments, now: number): Map<string, Json> | undefined {
  if (set === '{}' && unset.length === 0) return undefined
  const data = row.data(now)
  for (const name of unset) data.delete(name)
  for (const [name, value] of valuesOf(set)) data.set(name, value)
  return data
}

function none(status: SaveResult['status'], now: number): SaveResult {
  return { status, id: null, version: 0, expiresAt: null, data: null, now: timeText(now) }
}
