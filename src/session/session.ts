import { inspect } from 'node:util'
import type { RequestLike } from '../cookie/cookie-header.ts'
import { haveSameAttributes, type SessionOptions } from '../cookie/cookie-options.ts'
import type { ResponseLike } from '../cookie/response.ts'
import { parseTime } from '../database/row.ts'
import { type Changes, changedLabel, changedTags, changedUserId, difference, parseBase } from './changes.ts'
import { addFlash, takeFlashes } from './flash.ts'
import type { Json } from './json.ts'
import type { SessionChanges, Stored } from './stored.ts'
import { maxAgeKey, notRead, parseJson, parseValues } from './values.ts'

interface SessionStore<Values extends object> {
  save(req: RequestLike, res: ResponseLike, session: Session<Values>): Promise<void>
}

interface Internals {
  stored(session: Session<object>): Stored | undefined
  load(session: Session<object>, stored: Stored): void
  /** @param unsealed names of values that count as changed */
  changes(session: Session<object>, unsealed?: ReadonlySet<string>): SessionChanges
  saved(session: Session<object>, stored: Stored, changes: Changes): void
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
export class Session<Values extends object = Record<string, unknown>> {
  /** Name of its cookie. */
  readonly name: string
  /** Whose session this is; set it at sign-in, undefined clears it. A string of 1 to 1024 bytes. */
  userId: string | undefined
  #label: { readonly value: unknown } | undefined
  #tags: string[] | undefined
  readonly #store: SessionStore<Values>
  readonly #defaults: SessionOptions
  /** Created on first use: most requests only read. */
  #options: SessionOptions | undefined
  #stored: Stored | undefined
  #base: ReadonlyMap<string, Json> | undefined
  #values: Values | undefined

  constructor(store: SessionStore<Values>, name: string, options: SessionOptions) {
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
    this.#values = parseValues(this.#stored?.known.row.data ?? '{}') as Values
    return this.#values
  }

  set values(values: Values) {
    this.#values = values
  }

  /** The session's number: not secret, safe to log. undefined until it is saved. */
  get id(): string | undefined {
    return this.#stored?.known.row.id
  }

  /** Whether nothing is stored in the database yet. */
  get isNew(): boolean {
    return this.#stored === undefined
  }

  /** Counts the changes of the session's data, user, label and tags; 0 until it is saved. */
  get version(): number {
    return this.#stored?.known.row.version ?? 0
  }

  /**
   * What a page of devices shows for this session, such as the browser's name: any JSON of at most 512 bytes as Postgres prints it
   * (a space after each colon and comma, no exponents), undefined for nothing. Set it at sign-in; it is saved as a whole.
   */
  get label(): unknown {
    this.#label ??= { value: parseJson(this.#stored?.known.row.label) }
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
    this.#tags ??= (parseJson(this.#stored?.known.row.tags) as string[] | undefined) ?? []
    return this.#tags
  }

  set tags(tags: string[]) {
    this.#tags = tags
  }

  get createdAt(): Date | undefined {
    return this.#time('createdAt')
  }

  /** When its data, user, label or tags last changed. */
  get updatedAt(): Date | undefined {
    return this.#time('updatedAt')
  }

  get expiresAt(): Date | undefined {
    return this.#time('expiresAt')
  }

  /** When it was last saved or touched: visits within `touchAfter` of the last recorded one are not recorded. */
  get seenAt(): Date | undefined {
    return this.#time('seenAt')
  }

  /** When its user last signed in; undefined for an anonymous visitor. */
  get signedInAt(): Date | undefined {
    return this.#time('signedInAt')
  }

  /**
   * Whether the user signed in at most this many seconds ago, by the database's clock when the session was read: if not,
   * ask for the password again. NIST SP 800-63B-4 §5.2 calls it reauthentication.
   */
  isFresh(seconds: number): boolean {
    const row = this.#stored?.known.row
    return !!row && row.signedInAt !== null && parseTime(row.now) - parseTime(row.signedInAt) <= seconds * 1000
  }

  #time(column: 'createdAt' | 'updatedAt' | 'expiresAt' | 'seenAt' | 'signedInAt'): Date | undefined {
    const time = this.#stored?.known.row[column] ?? undefined
    return time === undefined ? undefined : new Date(parseTime(time))
  }

  /** Adds a message for the next page; `key` separates different kinds. Default: '_flash'. */
  addFlash(value: unknown, key?: string): void {
    addFlash(this.values, value, key)
  }

  /**
   * Returns and removes the messages under this key: save afterwards. Two concurrent requests may both read them, unless they
   * save with `ifUnchanged`.
   */
  flashes<Message = unknown>(key?: string): Message[] {
    return takeFlashes(this.values, key) as Message[]
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
      stored: (session) => session.#stored,
      load: (session, stored) => session.#load(stored),
      changes: (session, unsealed) => session.#changes(unsealed),
      saved: (session, stored, changes) => session.#saved(stored, changes),
      ended: (session) => session.#ended(),
      hasOwnAttributes: (session) => !haveSameAttributes(session.#options ?? session.#defaults, session.#defaults),
    }
  }

  #load(stored: Stored): void {
    const { row } = stored.known
    this.#stored = stored
    this.#base = undefined
    this.#values = undefined
    this.#label = undefined
    this.#tags = undefined
    this.userId = row.userId ?? undefined
    if (this.#options) this.#options.maxAge = this.#defaults.maxAge
    if (!row.data.includes(maxAgeKey)) return
    const maxAge = this.#knownBase().get(maxAgeKey)
    if (typeof maxAge === 'number') this.options.maxAge = maxAge
  }

  /** What is stored, as far as this session knows. */
  #knownBase(): ReadonlyMap<string, Json> {
    this.#base ??= parseBase(this.#stored?.known.row.data ?? '{}')
    return this.#base
  }

  #changes(unsealed: ReadonlySet<string> | undefined): SessionChanges {
    const row = this.#stored?.known.row
    const userId = changedUserId(row?.userId ?? null, this.userId)
    const label = this.#label ? changedLabel(row?.label ?? null, this.#label.value) : null
    const tags = this.#tags ? changedTags(row?.tags ?? null, this.#tags) : null
    const isNamed = userId !== null || label !== null || tags !== null
    const { maxAge } = this.#options ?? this.#defaults
    const ownMaxAge = maxAge === this.#defaults.maxAge ? undefined : maxAge
    if (this.#values === undefined && row && !this.#base && !unsealed?.size && ownMaxAge === undefined) {
      // Not accessed since it was loaded, and its maxAge is the store's.
      const isEmpty = !isNamed
      return { set: '{}', unset: [], isData: false, base: notRead, userId, label, tags, isEmpty, isMaxAge: false }
    }
    const values = this.values as Record<string, unknown>
    const isKept = ownMaxAge !== undefined && ownMaxAge >= 0 && (row !== undefined || isNamed || this.#hasContent())
    const before = this.#knownBase()
    const own = [maxAgeKey, isKept ? ownMaxAge : undefined] as const
    const { set, unset, isData, base } = difference(before, values, own, unsealed)
    const isMaxAge = base.get(maxAgeKey) !== before.get(maxAgeKey)
    return { set, unset, isData, base, userId, label, tags, isEmpty: !isData && !isNamed, isMaxAge }
  }

  #hasContent(): boolean {
    const values = this.values as Record<string, unknown>
    const isValue = (name: string) => name !== maxAgeKey && values[name] !== undefined
    return Object.keys(values ?? {}).some(isValue)
  }

  /** After a write that Postgres took. */
  #saved(stored: Stored, changes: Changes): void {
    this.#stored = stored
    if (changes.isData) this.#base = changes.base
    this.#label = undefined
    this.#tags = undefined
  }

  /** Destroyed, or found gone: from here on a new, empty, anonymous session. */
  #ended(): void {
    this.#stored = undefined
    this.#base = undefined
    this.#values = undefined
    this.#label = undefined
    this.#tags = undefined
    this.userId = undefined
    if (this.#options) this.#options.maxAge = this.#defaults.maxAge
  }
}
