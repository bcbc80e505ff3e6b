// The cached sessions, bounded by their number and their size. All live equally long, so that the order of filling is the order of
// expiry: the first to go is the oldest, and a hit writes nothing.
import type { SessionRow } from '../database/row.ts'
import type { Entry } from './entry.ts'

/** Bytes of heap that an entry takes besides its texts. */
const ownBytes = 600

export class Entries {
  readonly #byDigest = new Map<string, Entry>()
  readonly #most: number
  readonly #mostBytes: number
  /** One for all evictions: a new one would walk over what was deleted before. */
  #walk: Iterator<Entry> = this.#byDigest.values()
  #first: Entry | undefined
  bytes = 0
  evictions = 0

  constructor(most: number, mostBytes: number) {
    this.#most = most
    this.#mostBytes = mostBytes
  }

  get size(): number {
    return this.#byDigest.size
  }

  get(digest: string): Entry | undefined {
    return this.#byDigest.get(digest)
  }

  set(entry: Entry, row: SessionRow): void {
    const size = sizeOf(row)
    const before = this.#byDigest.get(entry.digest)
    if (before) this.#delete(before)
    if (size > this.#mostBytes || this.#most === 0) return
    this.#byDigest.set(entry.digest, entry)
    entry.bytes = size
    this.bytes += size
    while (this.#byDigest.size > this.#most || this.bytes > this.#mostBytes) {
      const oldest = this.#oldest()
      if (!oldest) return
      this.#delete(oldest)
      this.evictions++
    }
  }

  /** Drops the oldest ones for which this holds, up to the first for which it does not. */
  drop(isOver: (entry: Entry) => boolean): void {
    for (let oldest = this.#oldest(); oldest && isOver(oldest); oldest = this.#oldest()) this.#delete(oldest)
  }

  clear(): void {
    this.#byDigest.clear()
    this.bytes = 0
    this.#first = undefined
    this.#walk = this.#byDigest.values()
  }

  #delete(entry: Entry): void {
    this.#byDigest.delete(entry.digest)
    this.bytes -= entry.bytes
  }

  #oldest(): Entry | undefined {
    while (!this.#first || this.#byDigest.get(this.#first.digest) !== this.#first) {
      let next = this.#walk.next()
      if (next.done) {
        // An iterator that has come to the end stays there.
        this.#walk = this.#byDigest.values()
        next = this.#walk.next()
        if (next.done) return undefined
      }
      this.#first = next.value
    }
    return this.#first
  }
}

function sizeOf({ data, userId, label, tags }: SessionRow): number {
  return [data, userId, label, tags].reduce((sum, text) => sum + (text ? heapBytes(text) : 0), ownBytes)
}

/** V8 keeps two bytes for each character of a text in which one needs them. */
function heapBytes(text: string): number {
  return beyondLatin1.test(text) ? 2 * text.length : text.length
}

const beyondLatin1 = /[^\0-\xff]/
