// What has been heard or written lately, and so must not be believed as it was read before.
import type { SessionRow } from '../database/row.ts'

/** More than this is a flood, and costs more to remember than a cache spares. */
const most = 100_000

/** How long a write inside a transaction of the caller's is expected to stay uncommitted. */
const transactionMs = 60_000

/** By name, when it was last doubted: forgotten no sooner than `turn` has been called twice. */
class Recent {
  #current = new Map<string, number>()
  #previous = new Map<string, number>()
  size = 0

  add(name: string, count: number): void {
    this.#current.set(name, count)
    this.size = this.#current.size + this.#previous.size
  }

  isAfter(name: string, count: number): boolean {
    return (this.#current.get(name) ?? this.#previous.get(name) ?? -1) > count
  }

  turn(): void {
    this.#previous = this.#current
    this.#current = new Map()
    this.size = this.#previous.size
  }

  clear(): void {
    this.turn()
    this.turn()
  }
}

/** Whose sessions an open transaction may have ended: `tags` are those that carry any. */
export type Held = 'all' | 'tags' | `user ${string}` | `id ${string}` | `key ${string}`

interface Believed {
  readonly key: string
  /** The count of doubts when it was asked for. */
  readonly count: number
}

/** One comparison judges what is stored, arriving and joined: no index from sessions to entries is needed. */
export class Doubts {
  /** Grows with each doubt. */
  count = 0
  /** What was asked for before this count is not believed. */
  #floor = 0
  readonly #ids = new Recent()
  readonly #keys = new Recent()
  /** Until when these sessions are not believed at all. */
  readonly #held = new Map<Held, number>()
  readonly #flooded: (ms: number) => void

  /** @param flooded there are too many to remember: nothing may be believed, for so long */
  constructor(flooded: (ms: number) => void) {
    this.#flooded = flooded
  }

  get isEmpty(): boolean {
    return this.#size === 0
  }

  get #size(): number {
    return this.#ids.size + this.#keys.size + this.#held.size
  }

  session(id: string): void {
    this.#ids.add(id, ++this.count)
    this.#bound()
  }

  key(key: string): void {
    this.#keys.add(key, ++this.count)
    this.#bound()
  }

  all(): void {
    this.#floor = ++this.count
  }

  /** A write that others see later than it is acknowledged, or never: its transaction is still open. */
  hold(held: Held, now: number): void {
    this.#held.set(held, now + transactionMs)
    this.#bound()
  }

  isDoubted({ key, count }: Believed, row: Pick<SessionRow, 'id' | 'userId' | 'tags'>): boolean {
    if (count < this.#floor) return true
    if (this.#ids.size > 0 && this.#ids.isAfter(row.id, count)) return true
    if (this.#keys.size > 0 && this.#keys.isAfter(key, count)) return true
    return this.#held.size > 0 && this.#isHeld(key, row)
  }

  #isHeld(key: string, { id, userId, tags }: Pick<SessionRow, 'id' | 'userId' | 'tags'>): boolean {
    const held = this.#held
    return (
      held.has(`key ${key}`) ||
      held.has(`id ${id}`) ||
      held.has('all') ||
      (userId !== null && held.has(`user ${userId}`)) ||
      (tags !== null && held.has('tags'))
    )
  }

  /** Call it no more often than every `maxStale`: no entry that it was a doubt about is as old as that. */
  turn(now: number): void {
    for (const recent of [this.#ids, this.#keys]) recent.turn()
    for (const [held, until] of this.#held) if (until <= now) this.#held.delete(held)
  }

  /** Nothing that was asked for until now is believed any more: there is nothing left to doubt but what is held. */
  clear(): void {
    for (const recent of [this.#ids, this.#keys]) recent.clear()
  }

  #bound(): void {
    if (this.#size <= most) return
    const isHeld = this.#held.size > most / 2
    if (isHeld) this.#held.clear()
    this.clear()
    this.all()
    this.#flooded(isHeld ? transactionMs : 0)
  }
}
