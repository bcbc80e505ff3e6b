// A cache of session rows. What was heard or written kills what is stored, on its way or shared; where nothing is proven to be heard,
// nothing is served. The law is `isUsable`: it judges every use of an answer but the first, by the one who asked.
import { hash, randomBytes } from 'node:crypto'
import type { SecureCookie } from '../cookie/codec.ts'
import { parseTime, ReadRow, type SessionRow } from '../database/row.ts'
import { CacheCounts, type CacheStats } from './cache-counts.ts'
import type { CacheLimits } from './cache-options.ts'
import type { Clocks } from './clocks.ts'
import { Doubts, type Held } from './doubts.ts'
import type { Bell, Ear } from './ear.ts'
import { Entries } from './entries.ts'
import { Entry } from './entry.ts'
import { Hearing } from './hearing.ts'
import { Stillness } from './stillness.ts'

/** Clocks that have drifted apart by more since an answer was asked for: the machine slept, or was set back to a snapshot. */
const mostDriftMs = 250

export interface CacheParts {
  readonly clocks: Clocks
  readonly ear: Ear
  readonly bell: Bell
  /** Reads the live session with this key; calls `sent` when the query is handed to a connection. */
  readonly read: (key: Buffer, sent: () => void) => Promise<SessionRow | undefined>
  readonly schema: string
}

/** Whose session is asked for. */
export interface Asked {
  readonly digest: string
  readonly key: Buffer
  readonly hint: string | undefined
  readonly codec: SecureCookie | undefined
  readonly signedAt: number
}

/** An entry whose answer has come. */
export type Filled = Entry & { readonly row: SessionRow }

interface UnderWay {
  readonly entry: Entry
  readonly answer: Promise<Filled | undefined>
}

export class SessionCache {
  readonly counts: CacheCounts
  readonly #doubts: Doubts
  readonly #parts: CacheParts
  readonly #clocks: Clocks
  readonly #maxStaleMs: number
  readonly #hearing: Hearing
  readonly #stillness: Stillness
  readonly #entries: Entries
  readonly #underWay = new Map<string, UnderWay>()
  /** Keeps digests from being chosen by a visitor, or compared with another process'. */
  readonly #secret = randomBytes(32).toString('base64url')
  /** By the wall clock. */
  readonly #madeAt: number
  #turnedAt = 0
  #stopSweep: (() => void) | undefined

  constructor({ maxStale, sessions, bytes }: CacheLimits, parts: CacheParts) {
    const { clocks, ear, bell, schema } = parts
    this.#parts = parts
    this.#clocks = clocks
    this.#madeAt = clocks.wall()
    this.#maxStaleMs = Math.ceil(maxStale * 1000)
    this.counts = new CacheCounts(schema)
    this.#doubts = new Doubts((ms) => this.#hearing.end('more changes than can be remembered', ms))
    this.#entries = new Entries(sessions, bytes)
    this.#stillness = new Stillness(clocks, Math.max(this.#maxStaleMs, 1000))
    this.#hearing = new Hearing(ear, bell, clocks, {
      heard: (ids) => {
        for (const id of ids) this.session(id)
      },
      heardSome: () => this.sessions(),
      ended: () => {
        this.#entries.clear()
        this.#doubts.clear()
      },
      state: (state, reason) => this.counts.state(state, reason),
    })
  }

  /** The whole digest is what authenticates a hit. `kind` is no character of a cookie's name. */
  digest(name: string, kind: '=' | ':', text: string): string {
    return hash('sha256', this.#secret + name + kind + text, 'binary')
  }

  /** Whether anything may be served: ask this first, then `find` and `join`. After the process stood still, once it has caught up. */
  isOpen(): boolean | Promise<boolean> {
    const now = this.#clocks.monotonic()
    const caughtUp = this.#stillness.caughtUp(now)
    return caughtUp ? caughtUp.then(() => this.#isHearing(this.#clocks.monotonic())) : this.#isHearing(now)
  }

  #isHearing(now: number): boolean {
    const hearing = this.#hearing
    if (now >= hearing.dueAt) hearing.check(now)
    if (hearing.epoch !== 0) return true
    this.counts.bypass('not_listening')
    return false
  }

  /** What is stored and may be served to a request with this hint. */
  find(digest: string, hint: string | undefined): Filled | undefined {
    const entry = this.#entries.get(digest)
    return entry !== undefined && this.isUsable(entry, hint) ? entry : undefined
  }

  /** Shares a read that is under way, if its answer may be of use; undefined where there is none. */
  join(digest: string, hint: string | undefined): Promise<Filled | undefined> | undefined {
    const underWay = this.#underWay.get(digest)
    if (!underWay || underWay.entry.epoch !== this.#hearing.epoch) return undefined
    if (hint !== undefined && hint !== underWay.entry.hint) return undefined
    return underWay.answer.then((entry) => (entry && this.isUsable(entry, hint) ? entry : undefined))
  }

  /** Reads, and stores what may be stored. The caller may use the answer once, whatever its age: it asked for it. */
  async read({ digest, key, hint, codec, signedAt }: Asked): Promise<Filled | undefined> {
    // Copied: a piece of a string keeps the whole header that it was cut from.
    const ownHint = hint === undefined ? undefined : Buffer.from(hint, 'latin1').toString('latin1')
    const entry = new Entry(digest, key.toString('latin1'), ownHint, codec, signedAt)
    this.#stamp(entry) // again when it is sent; where nobody tells when that is, this is earlier and so as safe
    const answer = this.#parts.read(key, () => this.#stamp(entry)).then((row) => this.#answered(entry, row))
    const underWay = { entry, answer }
    this.#underWay.set(digest, underWay)
    try {
      return await answer
    } finally {
      if (this.#underWay.get(digest) === underWay) this.#underWay.delete(digest)
    }
  }

  /** Milliseconds since its query was sent. */
  ageOf(entry: Entry): number {
    return this.#clocks.monotonic() - entry.sentAt
  }

  /** A write of this process' has come to its end, well or not; where it is not committed, others see it later or never. */
  written(key: Buffer, isUncommitted: boolean): void {
    const text = key.toString('latin1')
    this.#doubts.key(text)
    if (isUncommitted) this.hold(`key ${text}`)
    this.#sweepLater()
  }

  /** These may end when an open transaction of the caller's commits, after what was written in it was acknowledged. */
  hold(held: Held): void {
    this.#doubts.hold(held, this.#clocks.monotonic())
    this.#sweepLater()
  }

  /** This session has ended or changed. */
  session(id: string): void {
    this.#doubts.session(id)
    this.#sweepLater()
  }

  /** Some have, and nobody can say which: a copy may be older than the user, or the tags, by which its session was ended. */
  sessions(): void {
    this.#doubts.all()
  }

  get stats(): CacheStats {
    const { reason, hits, misses, joins, bypasses } = this.counts
    const { size, bytes, evictions } = this.#entries
    const counts = { hits, misses, joins, bypasses: { ...bypasses }, evictions, entries: size, bytes }
    return { state: this.#hearing.state, reason, ...counts }
  }

  close(): void {
    this.#stopSweep?.()
    this.#stopSweep = undefined
    this.#stillness.close()
    this.#hearing.close()
  }

  protected isUsable(entry: Entry, hint: string | undefined): entry is Filled {
    const { row } = entry
    const { epoch } = this.#hearing
    if (row === undefined || epoch === 0 || entry.epoch !== epoch) return false
    const age = this.#clocks.monotonic() - entry.sentAt
    const wallAge = this.#clocks.wall() - this.#madeAt - entry.sentWall
    // The wall clock knows of most of the time that a machine slept, and the other of time that was set back.
    if (Math.abs(wallAge - age) > mostDriftMs) {
      this.#hearing.end('the clocks have drifted apart')
      return false
    }
    if (Math.max(age, wallAge) >= entry.lifeMs) return false
    // A hint is new after each change: this browser has seen one that is not older than what it brings.
    if (hint !== undefined && hint !== entry.hint) return false
    return !this.#doubts.isDoubted(entry, row)
  }

  #stamp(entry: Entry): void {
    entry.sentAt = Math.floor(this.#clocks.monotonic())
    entry.sentWall = Math.floor(this.#clocks.wall() - this.#madeAt)
    entry.count = this.#doubts.count
    entry.epoch = this.#hearing.epoch
  }

  #answered(entry: Entry, row: SessionRow | undefined): Filled | undefined {
    if (!row) return undefined // what does not live may be created a moment later: it is asked for each time
    entry.row = row instanceof ReadRow ? row.packed() : row
    const remainingMs = parseTime(row.expiresAt) - parseTime(row.now)
    entry.lifeMs = Math.floor(Math.min(this.#maxStaleMs, remainingMs))
    if (this.isUsable(entry, entry.hint)) {
      this.#entries.set(entry, entry.row)
      this.#sweepLater()
    }
    return entry as Filled
  }

  /** What nobody asks for any more does not stay in memory. */
  #sweepLater(): void {
    if (this.#stopSweep) return
    this.#turnedAt = this.#clocks.monotonic()
    this.#stopSweep = this.#clocks.every(this.#maxStaleMs, () => this.#sweep())
  }

  #sweep(): void {
    const now = this.#clocks.monotonic()
    this.#entries.drop((entry) => now - entry.sentAt >= this.#maxStaleMs)
    // A timer may be a little early.
    if (now - this.#turnedAt >= this.#maxStaleMs) {
      this.#doubts.turn(now)
      this.#turnedAt = now
    }
    if (this.#entries.size > 0 || !this.#doubts.isEmpty) return
    this.#stopSweep?.()
    this.#stopSweep = undefined
  }
}
