import { inspect } from 'node:util'
import type { RequestLike } from '../cookie/cookie-header.ts'
import { haveSameAttributes, type SessionOptions } from '../cookie/cookie-options.ts'
import type { ResponseLike } from '../cookie/response.ts'
import { type Changes, changedLabel, changedTags, changedUserId, checkLife, difference, parseBase } from './changes.ts'
import { addFlash, flashesIn, flashKey, takeFlashes } from './flash.ts'
import type { Json } from './json.ts'
import type { SessionChanges, Stored } from './stored.ts'
import { keepIn, StoredSession, storedIn } from './stored-session.ts'
import { hasContent, maxAgeKey, parseJson, parseValues, unread } from './values.ts'

interface SessionStore<Values extends object> {
  save(req: RequestLike, res: ResponseLike, session: Session<Values>): Promise<void>
  take(session: Session<Values>, name: string): Promise<unknown>
}

interface Internals {
  stored(session: Session<object>): Stored | undefined
  load(session: Session<object>, stored: Stored): void
  /** @param unsealed names of values that count as changed */
  changes(session: Session<object>, unsealed?: ReadonlySet<string>): SessionChanges
  saved(session: Session<object>, stored: Stored, changes: Changes): void
  /** This value is no longer stored, and what is stored has another version. */
  taken(session: Session<object>, stored: Stored, name: string): void
  ended(session: Session<object>): void
  /** Whether its cookie's attributes differ from the store's, apart from maxAge. */
  hasOwnAttributes(session: Session<object>): boolean
}

/** The store's way into a session. */
export let internals: Internals

/**
 * One visitor's session: change `values` and save. It is the same object throughout a request. A save sends only the
 * top-level keys that changed, so that two requests that change different keys both keep their changes.
 */
export class Session<Values extends object = Record<string, unknown>> extends StoredSession {
  /** Name of its cookie. */
  readonly name: string
  /** Whose session this is; set it at sign-in, undefined clears it. A string of 1 to 1024 bytes. */
  userId: string | undefined
  #label: { readonly value: unknown } | undefined
  #tags: string[] | undefined
  /** Lives to save, in seconds by name. */
  #lives: Map<string, number | null> | undefined
  readonly #store: SessionStore<Values>
  readonly #defaults: SessionOptions
  /** Created on first use: most requests only read. */
  #options: SessionOptions | undefined
  #base: ReadonlyMap<string, Json> | undefined
  #values: Values | undefined

  constructor(store: SessionStore<Values>, name: string, options: SessionOptions) {
    super()
    this.#store = store
    this.name = name
    this.#defaults = options
  }

  /**
   * The cookie's attributes and the session's life: a copy of the store's options, which you may change before a save. A
   * changed `maxAge` is stored with the session.
   */
  get options(): SessionOptions {
    this.#options ??= { ...this.#defaults }
    return this.#options
  }

  /** The session's data: a plain object that you change. For what it can hold, see the README, "What a session holds". */
  get values(): Values {
    if (this.#values !== undefined) return this.#values
    this.#values = parseValues(storedIn(this)?.known.row.data ?? '{}') as Values
    return this.#values
  }

  set values(values: Values) {
    this.#values = values
  }

  /**
   * What a page of devices shows for this session, such as the browser's name: any JSON of at most 512 bytes as Postgres prints it
   * (a space after each colon and comma, no exponents), undefined for nothing. Set it at sign-in; it is saved as a whole.
   */
  get label(): unknown {
    this.#label ??= { value: parseJson(storedIn(this)?.known.row.label) }
    return this.#label.value
  }

  set label(value: unknown) {
    this.#label = { value }
  }

  /**
   * Tags by which `store.revokeTag` can end this session, such as a tenant or an identity provider's `sid`. At most 16 strings of
   * 1 to 255 bytes, saved as a whole. Set them at sign-in.
   */
  get tags(): string[] {
    this.#tags ??= (parseJson(storedIn(this)?.known.row.tags) as string[] | undefined) ?? []
    return this.#tags
  }

  set tags(tags: string[]) {
    this.#tags = tags
  }

  /** Adds a message for the next page; `key` separates different kinds. Default: '_flash'. */
  addFlash(value: unknown, key?: string): void {
    addFlash(this.values, value, key)
  }

  /**
   * Returns and removes the messages under this key: save afterwards. Two concurrent requests may both read them: `takeFlashes`
   * shows each once.
   */
  flashes<Message = unknown>(key?: string): Message[] {
    return takeFlashes(this.values, key) as Message[]
  }

  /** As `flashes`, removed from the database at once, so that of several requests one gets them; see `take`. */
  async takeFlashes<Message = unknown>(key: string = flashKey): Promise<Message[]> {
    const stored = flashesIn(this.#knownBase().get(key))
    const added = takeFlashes(this.values, key).slice(stored.length)
    const taken = stored.length > 0 ? flashesIn(await this.#store.take(this, key)) : []
    return [...taken, ...added] as Message[]
  }

  /**
   * Reads this value from the database and removes it, at once, in one round trip: of several requests one gets it. For one-time
   * tokens and OAuth state: judge by what this returns, not by `values`. undefined if there is no such value, or another request
   * was faster. Changes of other values wait for the next save.
   */
  async take<Name extends keyof Values & string>(name: Name): Promise<Values[Name] | undefined> {
    return (await this.#store.take(this, name)) as Values[Name] | undefined
  }

  /**
   * Gives a value a life of its own, from the next save on: after so many seconds, by the database's clock, it is no longer there,
   * while the session goes on. It keeps its life when it is set again, and loses it when it ends or is removed. null: as long
   * as the session. Call it in the request that sets the value.
   *
   * @param seconds more than 0, at most 100 years
   * @throws {PGStoreError} `invalid_option`
   */
  expire(name: keyof Values & string, seconds: number | null): void {
    checkLife(seconds)
    this.#lives ??= new Map()
    this.#lives.set(name, seconds)
  }

  /** `store.save(req, res, session)`. */
  async save(req: RequestLike, res: ResponseLike): Promise<void> {
    await this.#store.save(req, res, this)
  }

  /** What is safe to log: no values, no user, no token. `util.inspect` shows the same. */
  toJSON(): object {
    return { id: this.id, name: this.name, isNew: this.isNew, version: this.version }
  }

  // The rest is for the store: reached through `internals`, not part of the public type.

  static {
    Object.defineProperty(Session.prototype, inspect.custom, {
      value(this: Session) {
        return `Session ${inspect(this.toJSON())}`
      },
    })
    internals = {
      stored: storedIn,
      load: (session, stored) => session.#load(stored),
      changes: (session, unsealed) => session.#changes(unsealed),
      saved: (session, stored, changes) => session.#saved(stored, changes),
      taken: (session, stored, name) => session.#taken(stored, name),
      ended: (session) => session.#ended(),
      hasOwnAttributes: (session) => !haveSameAttributes(session.#options ?? session.#defaults, session.#defaults),
    }
  }

  #load(stored: Stored): void {
    const { row } = stored.known
    this.#forget(stored)
    this.userId = row.userId ?? undefined
    if (!row.data.includes(maxAgeKey)) return
    const maxAge = this.#knownBase().get(maxAgeKey)
    if (typeof maxAge === 'number') this.options.maxAge = maxAge
  }

  /** What is stored, as far as this session knows. */
  #knownBase(): ReadonlyMap<string, Json> {
    this.#base ??= parseBase(storedIn(this)?.known.row.data ?? '{}')
    return this.#base
  }

  #changes(unsealed: ReadonlySet<string> | undefined): SessionChanges {
    const row = storedIn(this)?.known.row
    const userId = changedUserId(row?.userId ?? null, this.userId)
    const label = this.#label ? changedLabel(row?.label ?? null, this.#label.value) : null
    const tags = this.#tags ? changedTags(row?.tags ?? null, this.#tags) : null
    const lives = this.#lives ? JSON.stringify(Object.fromEntries(this.#lives)) : null
    const isNamed = userId !== null || label !== null || tags !== null
    const { maxAge } = this.#options ?? this.#defaults
    const ownMaxAge = maxAge === this.#defaults.maxAge ? undefined : maxAge
    if (this.#values === undefined && row && !this.#base && !unsealed?.size && ownMaxAge === undefined) {
      // Not accessed since it was loaded, and its maxAge is the store's.
      const isEmpty = !isNamed && lives === null
      return unread(userId, label, tags, lives, isEmpty)
    }
    const values = this.values as Record<string, unknown>
    const isKept = ownMaxAge !== undefined && ownMaxAge >= 0 && (row !== undefined || isNamed || hasContent(values))
    const before = this.#knownBase()
    const own = [maxAgeKey, isKept ? ownMaxAge : undefined] as const
    const { set, unset, isData, base } = difference(before, values, own, unsealed)
    const isMaxAge = base.get(maxAgeKey) !== before.get(maxAgeKey)
    const isEmpty = !isData && !isNamed && (lives === null || row === undefined)
    // Each by its name: with a spread, and its garbage, a save costs the client half as much again.
    return { set, unset, isData, base, userId, label, tags, lives, isEmpty, isMaxAge }
  }

  /** After a write that Postgres took. */
  #saved(stored: Stored, changes: Changes): void {
    keepIn(this, stored)
    if (changes.isData) this.#base = changes.base
    this.#label = undefined
    this.#tags = undefined
    this.#lives = undefined
  }

  #taken(stored: Stored, name: string): void {
    const base = new Map(this.#knownBase())
    const values = this.values as Record<string, unknown>
    base.delete(name)
    keepIn(this, stored)
    this.#base = base
    delete values[name]
  }

  /** Destroyed, or found gone: from here on a new, empty, anonymous session. */
  #ended(): void {
    this.#forget(undefined)
    this.userId = undefined
  }

  #forget(stored: Stored | undefined): void {
    keepIn(this, stored)
    this.#base = undefined
    this.#values = undefined
    this.#label = undefined
    this.#tags = undefined
    this.#lives = undefined
    if (this.#options) this.#options.maxAge = this.#defaults.maxAge
  }
}
