// Session data that the database's operator cannot read: each top-level value is sealed separately, so that saves still merge.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { readJson } from '../database/read-json.ts'
import {
  type IncrementArguments,
  type IncrementResult,
  type PutArguments,
  parseTime,
  type SaveArguments,
  type SaveResult,
  type SessionDatabase,
  type SessionRow,
  withData,
} from '../database/row.ts'
import { PGStoreError } from '../errors.ts'
import type { Json } from './json.ts'

/** What a sealed value begins with, as text in JSON; the number is that of the format. */
const mark = 'sealed:1:'
const idLength = 4
const nonceLength = 12
const tagLength = 16

/** How often to retry if another request saves in between. */
const tries = 10
/** As many requests can count at once. */
const countTries = 100

interface RingKey {
  /** Identifies the key that a value was sealed with; not secret. */
  readonly id: Buffer
  readonly key: Buffer
}

/** Values of one session under one key of the ring: AES-256-GCM, with the value's name as additional data. */
class SessionKey {
  readonly #id: Buffer
  readonly #key: Uint8Array

  /** A key for each session: a value cannot move to another session, and random nonces do not wear out a shared key. */
  constructor(ringKey: RingKey, sessionKey: Uint8Array) {
    this.#id = ringKey.id
    this.#key = derive(ringKey.key, 'pgstore session', sessionKey, 32)
  }

  seal(name: string, text: string): string {
    const nonce = randomBytes(nonceLength)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce)
    cipher.setAAD(Buffer.from(name, 'utf8'))
    const sealed = [this.#id, nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]
    return mark + Buffer.concat(sealed).toString('base64url')
  }

  open(name: string, sealed: Buffer): string | undefined {
    const nonce = sealed.subarray(idLength, idLength + nonceLength)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagLength })
    decipher.setAAD(Buffer.from(name, 'utf8'))
    decipher.setAuthTag(sealed.subarray(-tagLength))
    try {
      const text = decipher.update(sealed.subarray(idLength + nonceLength, -tagLength))
      return Buffer.concat([text, decipher.final()]).toString('utf8')
    } catch {
      return undefined // not what was sealed under this key and name
    }
  }
}

/** The database, for callers that see plain values while it stores sealed ones. */
export class SealedDatabase implements SessionDatabase {
  readonly #database: SessionDatabase
  readonly #ring: readonly RingKey[]
  readonly #acceptsPlain: boolean

  /**
   * @param secrets of at least 32 bytes each: the first seals, all open
   * @param acceptsPlain whether values that were stored before sealing was switched on are read; the next save seals them
   */
  constructor(database: SessionDatabase, secrets: readonly Uint8Array[], acceptsPlain: boolean) {
    this.#database = database
    this.#ring = secrets.map((secret) => ({
      id: derive(secret, 'pgstore seal id', undefined, idLength),
      key: derive(secret, 'pgstore seal', undefined, 32),
    }))
    this.#acceptsPlain = acceptsPlain
  }

  /** @throws {PGStoreError} `sealed` when a value was damaged, moved here from elsewhere, or its key is no longer in the list */
  async get(key: Buffer): Promise<SessionRow | undefined> {
    const row = await this.#database.get(key)
    return row && this.open(key, row)
  }

  async save(save: SaveArguments): Promise<SaveResult> {
    const { data: _sealed, ...result } = await this.#database.save({ ...save, set: this.#seal(save.key, save.set) })
    return { ...result, data: null }
  }

  /** Every value is re-sealed for the new key, at the version that was read, so that no save in between is lost. */
  async regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult> {
    let result: SaveResult | undefined
    for (let attempt = 0; attempt < tries; attempt++) {
      const row = await this.get(save.key)
      const values = new Map(Object.entries(readJson(row?.data ?? '{}') as Record<string, Json>))
      for (const name of save.unset) values.delete(name)
      for (const [name, value] of Object.entries(readJson(save.set) as Record<string, Json>)) values.set(name, value)
      const version = row?.version ?? 0
      result = await this.#database.regenerate({ ...save, set: this.#seal(newKey, textOf(values)), version }, newKey)
      if (result.status === 'saved') return { ...result, previousVersion: version }
      if (result.status !== 'conflict') return result
    }
    return result as SaveResult
  }

  async destroy(key: Buffer, id?: string): Promise<number> {
    return await this.#database.destroy(key, id)
  }

  async limit(userId: string, max: number, except: Buffer): Promise<number> {
    return await this.#database.limit(userId, max, except)
  }

  async put(put: PutArguments): Promise<SaveResult> {
    return await this.#database.put({ ...put, set: this.#seal(put.key, put.set) })
  }

  /** Throws as `get`: what cannot be opened is gone all the same. */
  async take(key: Buffer, name: string | null): Promise<string | undefined> {
    const value = await this.#database.take(key, name)
    if (value === undefined) return undefined
    const data = name === null ? value : `{${JSON.stringify(name)}:${value}}`
    const opened = this.#open(key, 'take: the value', data).text
    return name === null ? opened : JSON.stringify((readJson(opened) as Record<string, Json>)[name])
  }

  /** The database cannot add to what it cannot read: a counter is read, and saved at its version. */
  async increment({ key, name, by, ttlSeconds, maxLength }: IncrementArguments): Promise<IncrementResult> {
    const same = { key, unset: [], userId: null, label: null, tags: null, lives: null, maxLength }
    const rest = { ...same, announce: false, relaxed: false, lifetimeSeconds: null }
    for (let attempt = 0; attempt < countTries; attempt++) {
      const row = await this.get(key)
      const before = row && new Map(Object.entries(readJson(row.data) as object)).get(name)
      if (before !== undefined && typeof before !== 'number') return { status: 'invalid', value: Number.NaN }
      const value = (before ?? 0) + by
      const set = `{${JSON.stringify(name)}:${value}}`
      const version = row?.version ?? 0
      // A live counter keeps its expiry, as in SQL.
      const left = row ? (parseTime(row.expiresAt) - parseTime(row.now)) / 1000 : ttlSeconds
      const result = await this.save({
        ...rest,
        set,
        version,
        knownVersion: version,
        ttlSeconds: Math.max(left, 0.001),
      })
      if (result.status === 'saved') return { status: 'saved', value }
      if (result.status === 'too_large' || result.status === 'invalid')
        return { status: result.status, value: Number.NaN }
    }
    throw new PGStoreError('conflict', 'Other requests kept changing a sealed counter; nothing was counted. Try again.')
  }

  #seal(sessionKey: Buffer, set: string): string {
    const [first] = this.#ring
    if (set === '{}' || !first) return set
    const key = new SessionKey(first, sessionKey)
    const values = Object.entries(readJson(set) as Record<string, Json>)
    return textOf(new Map(values.map(([name, value]) => [name, key.seal(name, JSON.stringify(value))])))
  }

  /** The plain row of one as it is stored. Throws as `get`. */
  open(sessionKey: Buffer, row: SessionRow): SessionRow {
    const { text, unsealed } = this.#open(sessionKey, `Session ${row.id}: the value`, row.data)
    return withData(row, text, unsealed)
  }

  #open(
    sessionKey: Buffer,
    what: string,
    data: string,
  ): { readonly text: string; readonly unsealed: ReadonlySet<string> } {
    const keys = new Map<RingKey, SessionKey>()
    const unsealed = new Set<string>()
    const members: string[] = []
    for (const [name, value] of Object.entries(readJson(data) as Record<string, Json>)) {
      let text: string | undefined
      if (typeof value === 'string' && value.startsWith(mark)) {
        const sealed = Buffer.from(value.slice(mark.length), 'base64url')
        const ringKey = this.#ring.find(({ id }) => id.equals(sealed.subarray(0, idLength)))
        if (ringKey && sealed.length >= idLength + nonceLength + tagLength) {
          const key = keys.get(ringKey) ?? new SessionKey(ringKey, sessionKey)
          keys.set(ringKey, key)
          text = key.open(name, sealed)
          if (ringKey !== this.#ring[0]) unsealed.add(name)
        }
      } else if (this.#acceptsPlain) {
        text = JSON.stringify(value)
        unsealed.add(name)
      }
      if (text === undefined) {
        throw new PGStoreError(
          'sealed',
          `${what} of ${JSON.stringify(name)} was not sealed by this store for this session, or its key is no longer in the list.`,
        )
      }
      members.push(`${JSON.stringify(name)}:${text}`)
    }
    return { text: `{${members.join()}}`, unsealed }
  }
}

function textOf(values: ReadonlyMap<string, Json>): string {
  return `{${[...values].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join()}}`
}

/** RFC 5869, without salt: the secrets are keys already. */
function derive(secret: Uint8Array, purpose: string, context: Uint8Array | undefined, length: number): Buffer {
  const info = Buffer.concat([Buffer.from(`${purpose}\0`, 'utf8'), context ?? Buffer.alloc(0)])
  return Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), info, length))
}
