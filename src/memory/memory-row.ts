// One session in memory, with the rules that SQL has: sql/expiry.sql, signed_in_when.sql, is_renamed.sql, next_ends.sql.
import { readJson } from '../database/read-json.ts'
import { type SaveArguments, type SaveResult, type SessionRow, timeText } from '../database/row.ts'
import { type Json, printedBytes } from '../session/json.ts'

/** What a save brings, beside its data. */
export type Named = Pick<SaveArguments, 'userId' | 'label' | 'tags'>

/** Times are in milliseconds since 1970. */
export class MemoryRow {
  readonly id: number
  readonly createdAt: number
  userId: string | null = null
  label: string | null = null
  tags: readonly string[] | null = null
  version = 0
  updatedAt: number
  seenAt: number
  expiresAt = 0
  signedInAt: number | null = null
  formerKeys: readonly string[] = []
  #data = new Map<string, Json>()
  #ends = new Map<string, number>()

  constructor(id: number, now: number) {
    this.id = id
    this.createdAt = now
    this.updatedAt = now
    this.seenAt = now
  }

  isLive(now: number, lifetimeSeconds: number | null = null): boolean {
    return this.expiresAt > now && this.#latest(lifetimeSeconds) > now
  }

  /** Without the values whose own life is over. */
  data(now: number): Map<string, Json> {
    return new Map([...this.#data].filter(([name]) => (this.#ends.get(name) ?? Number.POSITIVE_INFINITY) > now))
  }

  /**
   * A change of data, user, label or tags is a version.
   *
   * @param data all of it; undefined leaves it
   * @param isSignIn whether the same user again is a sign-in
   */
  change(data: ReadonlyMap<string, Json> | undefined, named: Named, now: number, isSignIn = false): void {
    const isRenamed = this.#rename(named, now, isSignIn)
    if (data) {
      this.#ends = new Map([...this.#ends].filter(([name, end]) => end > now && data.has(name)))
      this.#data = new Map(data)
    }
    if (!data && !isRenamed) return
    this.version++
    this.updatedAt = now
  }

  /** What is put in place of all data has no lives. */
  forgetLives(): void {
    this.#ends.clear()
  }

  live(lives: string | null, now: number): void {
    for (const [name, life] of Object.entries(readJson(lives ?? '{}') as Record<string, number | null>)) {
      if (life === null || !this.#data.has(name)) this.#ends.delete(name)
      else this.#ends.set(name, now + life * 1000)
    }
  }

  visit(now: number, ttlSeconds: number, lifetimeSeconds: number | null, atLeast = 0): void {
    this.seenAt = now
    this.expiresAt = Math.max(atLeast, Math.min(now + ttlSeconds * 1000, this.#latest(lifetimeSeconds)))
  }

  row(now: number): SessionRow {
    return {
      id: String(this.id),
      userId: this.userId,
      data: printJson(Object.fromEntries(this.data(now))),
      version: this.version,
      createdAt: timeText(this.createdAt),
      updatedAt: timeText(this.updatedAt),
      expiresAt: timeText(this.expiresAt),
      seenAt: timeText(this.seenAt),
      signedInAt: this.signedInAt === null ? null : timeText(this.signedInAt),
      label: this.label,
      tags: this.tags && JSON.stringify(this.tags),
      now: timeText(now),
    }
  }

  result(status: SaveResult['status'], now: number): SaveResult {
    const { id, version, expiresAt, data } = this.row(now)
    return { status, id, version, expiresAt, data: status === 'conflict' ? data : null, now: timeText(now) }
  }

  /** Returns whether anything is other than it was. */
  #rename({ userId, label, tags }: Named, now: number, isSignIn: boolean): boolean {
    const before = JSON.stringify([this.userId, this.label, this.tags])
    if (userId !== null && (isSignIn || userId !== this.userId)) this.signedInAt = userId === '' ? null : now
    if (userId !== null) this.userId = userId || null
    if (label !== null) this.label = label === 'null' ? null : printJson(readJson(label) as Json)
    if (tags !== null) this.tags = tags.length === 0 ? null : [...tags]
    return JSON.stringify([this.userId, this.label, this.tags]) !== before
  }

  /** Or signed in, if that was later. */
  get began(): number {
    return Math.max(this.createdAt, this.signedInAt ?? 0)
  }

  #latest(lifetimeSeconds: number | null): number {
    return this.began + (lifetimeSeconds ?? Number.POSITIVE_INFINITY) * 1000
  }
}

export function fits(data: ReadonlyMap<string, Json>, maxLength: number): boolean {
  return maxLength === 0 || printedBytes(printJson(Object.fromEntries(data))) <= maxLength
}

/** As jsonb has it: an object's keys by length, then by their bytes. */
export function printJson(value: Json): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(printJson).join()}]`
  const keys = Object.keys(value).map((key) => Buffer.from(key))
  keys.sort((one, other) => one.length - other.length || one.compare(other))
  const members = keys
    .map(String)
    .map((key) => `${JSON.stringify(key)}:${printJson((value as { [key: string]: Json })[key] as Json)}`)
  return `{${members.join()}}`
}
