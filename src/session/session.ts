import { inspect } from 'node:util'
import type { RequestLike } from '../cookie/cookie-header.ts'
import type { SessionOptions } from '../cookie/cookie-options.ts'
import type { ResponseLike } from '../cookie/response.ts'
import type { SaveResult, SessionRow } from '../database/row.ts'
import { parseTime } from '../database/row.ts'
import { changedUserId, type Difference, difference, parseBase } from './changes.ts'
import type { Json } from './json.ts'

/** Where flash messages live in a session's values, as in gorilla/sessions. */
const flashKey = '_flash'

/** Where a session's own maxAge is kept when it differs from the store's, so that a later request keeps to it. */
const maxAgeKey = '_maxAge'

interface SessionStore<Values extends object> {
  save(req: RequestLike, res: ResponseLike, session: Session<Values>): Promise<void>
}

/** What a save sends. */
export interface Changes extends Difference {
  /** null leaves the user as it is, '' clears it. */
  readonly userId: string | null
  /** Whether there is nothing to save, the user id included. */
  readonly isEmpty: boolean
}

/** A session's values, out of what is stored. */
export function parseValues(data: string): object {
  const values: Record<string, unknown> = JSON.parse(data)
  delete values[maxAgeKey]
  return values
}

/** What the store knows of a session's row. */
export interface Stored {
  /** Its key is worked out anew where it is needed: a buffer of 32 bytes holds on to the 8 kB that node cut it from. */
  readonly token: string
  /** Its cookie is to be signed anew. */
  readonly isOutdated: boolean
  readonly row: SessionRow
  /** The version that `values` began from: behind `row.version` when somebody else's save was merged with ours. */
  readonly seenVersion: number
}

interface Internals {
  stored(session: Session<object>): Stored | undefined
  load(session: Session<object>, stored: Stored): void
  /** @param outdated whether values that are outdated in the row count as changed */
  changes(session: Session<object>, outdated?: boolean): Changes
  saved(session: Session<object>, token: string, changes: Changes, result: SaveResult): void
  ended(session: Session<object>): void
}

/** The store's way into a session. */
export let internals: Internals

/**
 * One visitor's session: change `values` and save. It is the same object all through a request. A save sends only the
 * top-level keys that changed, so that two requests which change different keys both keep their change.
 */
export class Session<Values extends object = Record<string, unknown>> {
  /** Name of its cookie. */
  readonly name: string
  /**
   * The cookie's attributes and the session's life: a copy of the store's options, this session's to change before a save.
   * A `maxAge` of its own is kept with the session.
   */
  readonly options: SessionOptions
  /** Whose session this is; set it at sign-in, undefined clears it. A string of 1 to 1024 bytes. */
  userId: string | undefined
  readonly #store: SessionStore<Values>
  readonly #storeMaxAge: number
  #stored: Stored | undefined
  #base: ReadonlyMap<string, Json> | undefined
  #values: Values | undefined

  constructor(store: SessionStore<Values>, name: string, options: SessionOptions) {
    this.#store = store
    this.name = name
    this.options = { ...options }
    this.#storeMaxAge = options.maxAge
  }

  /** The session's data: a plain object that is yours to change. What it can hold: see the README, "What a session holds". */
  get values(): Values {
    if (this.#values !== undefined) return this.#values
    this.#values = parseValues(this.#stored?.row.data ?? '{}') as Values
    return this.#values
  }

  set values(values: Values) {
    this.#values = values
  }

  /** The session's number: not secret, fit for logs. undefined until it is saved. */
  get id(): string | undefined {
    return this.#stored?.row.id
  }

  /** Whether there is nothing in the database yet. */
  get isNew(): boolean {
    return this.#stored === undefined
  }

  /** Counts the changes of the session's data; 0 until it is saved. */
  get version(): number {
    return this.#stored?.row.version ?? 0
  }

  get createdAt(): Date | undefined {
    return this.#time('createdAt')
  }

  /** When its data last changed. */
  get updatedAt(): Date | undefined {
    return this.#time('updatedAt')
  }

  get expiresAt(): Date | undefined {
    return this.#time('expiresAt')
  }

  #time(column: 'createdAt' | 'updatedAt' | 'expiresAt'): Date | undefined {
    return this.#stored && new Date(parseTime(this.#stored.row[column]))
  }

  /** Leaves a message for the next page; `key` keeps several kinds apart. Default: '_flash'. */
  addFlash(value: unknown, key: string = flashKey): void {
    const values = this.values as Record<string, unknown>
    const present = Object.hasOwn(values, key) ? values[key] : []
    const messages = [...(Array.isArray(present) ? present : []), value]
    // Not by assignment: the key may be '__proto__'.
    Object.defineProperty(values, key, { value: messages, configurable: true, enumerable: true, writable: true })
  }

  /**
   * The messages left under this key, and removes them: save afterwards. Two requests at once may both read them, unless they
   * save with `ifUnchanged`.
   */
  flashes<Message = unknown>(key: string = flashKey): Message[] {
    const values = this.values as Record<string, unknown>
    const present = Object.hasOwn(values, key) ? values[key] : []
    if (Object.hasOwn(values, key)) delete values[key]
    return Array.isArray(present) ? present : []
  }

  /** `store.save(req, res, session)`. */
  async save(req: RequestLike, res: ResponseLike): Promise<void> {
    await this.#store.save(req, res, this)
  }

  /** What may stand in a log: no values, no user, no token. `util.inspect` shows the same. */
  toJSON(): object {
    return { id: this.id, name: this.name, isNew: this.isNew, version: this.version }
  }

  // The rest is the store's: reached through `internals`, not part of the public type.

  static {
    Object.defineProperty(Session.prototype, inspect.custom, {
      value(this: Session) {
        return `Session ${inspect(this.toJSON())}`
      },
    })
    internals = {
      stored: (session) => session.#stored,
      load: (session, stored) => session.#load(stored),
      changes: (session, outdated = false) => session.#changes(outdated ? session.#stored?.row.outdated : undefined),
      saved: (session, token, changes, result) => session.#saved(token, changes, result),
      ended: (session) => session.#ended(),
    }
  }

  #load(stored: Stored): void {
    const { row } = stored
    this.#stored = stored
    this.#base = undefined
    this.#values = undefined
    this.userId = row.userId ?? undefined
    this.options.maxAge = this.#storeMaxAge
    if (!row.data.includes(maxAgeKey)) return
    const maxAge = this.#knownBase().get(maxAgeKey)
    if (typeof maxAge === 'number') this.options.maxAge = maxAge
  }

  /** What is stored, as far as this session knows. */
  #knownBase(): ReadonlyMap<string, Json> {
    this.#base ??= parseBase(this.#stored?.row.data ?? '{}')
    return this.#base
  }

  #changes(outdated: ReadonlySet<string> | undefined): Changes {
    const userId = changedUserId(this.#stored?.row.userId ?? null, this.userId)
    const maxAge = this.options.maxAge
    const ownMaxAge = maxAge === this.#storeMaxAge ? undefined : maxAge
    if (this.#values === undefined && userId === null && this.#stored && !this.#base && !outdated?.size) {
      // Not looked at since it was loaded, and its maxAge is the store's.
      if (ownMaxAge === undefined)
        return { set: '{}', unset: [], userId, isEmpty: true, isData: false, base: new Map() }
    }
    const values = this.values as Record<string, unknown>
    const isKept = ownMaxAge !== undefined && ownMaxAge >= 0 && (this.#stored !== undefined || this.#hasContent())
    const own = [maxAgeKey, isKept ? ownMaxAge : undefined] as const
    const { set, unset, isData, base } = difference(this.#knownBase(), values, own, outdated)
    return { set, unset, userId, isEmpty: !isData && userId === null, isData, base }
  }

  #hasContent(): boolean {
    const values = this.values as Record<string, unknown>
    const isValue = (name: string) => name !== maxAgeKey && values[name] !== undefined
    return this.userId !== undefined || Object.keys(values ?? {}).some(isValue)
  }

  /** After a save or regenerate that Postgres took. */
  #saved(token: string, changes: Changes, result: SaveResult): void {
    const before = this.#stored
    const userId = this.userId ?? null
    const row: SessionRow = {
      id: result.id as string,
      userId,
      data: before?.row.data ?? '{}',
      version: result.version,
      createdAt: before?.row.createdAt ?? result.now,
      updatedAt: before && !changes.isData ? before.row.updatedAt : result.now,
      expiresAt: result.expiresAt as string,
      now: result.now,
    }
    const previous = result.previousVersion ?? result.version - (changes.isData ? 1 : 0)
    // Another's save came in between and was merged with: what `values` was read from is older than the row.
    const seenVersion = !before || previous === before.seenVersion ? result.version : before.seenVersion
    if (changes.isData) this.#base = changes.base
    this.#stored = { token, isOutdated: false, row, seenVersion }
  }

  /** Destroyed, or found gone: from here on a new anonymous session that holds nothing. */
  #ended(): void {
    this.#stored = undefined
    this.#base = undefined
    this.#values = undefined
    this.userId = undefined
    this.options.maxAge = this.#storeMaxAge
  }
}
