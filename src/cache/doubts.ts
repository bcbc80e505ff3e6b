// What has been heard or written lately, and so must not be believed as it was read before.

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
  /** Until when a session with this key is not believed at all. */
  readonly #held = new Map<string, number>()
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
  hold(key: string, now: number): void {
    this.#held.set(key, now + transactionMs)
    this.key(key)
  }

  isDoubted({ key, count }: Believed, id: string): boolean {
    if (count < this.#floor) return true
    if (this.#ids.size > 0 && this.#ids.isAfter(id, count)) return true
    if (this.#keys.size > 0 && this.#keys.isAfter(key, count)) return true
    return this.#held.size > 0 && this.#held.has(key)
  }

  /** Call it no more often than every `maxStale`: no entry that it was a doubt about is as old as that. */
  turn(now: number): void {
    for (const recent of [this.#ids, this.#keys]) recent.turn()
    for (const [key, until] of this.#held) if (until <= now) this.#held.delete(key)
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
