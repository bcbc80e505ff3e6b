// The bytes of a gob stream, number by number. https://pkg.go.dev/encoding/gob
import { isUtf8 } from 'node:buffer'

/** Why a stream cannot be read: a phrase that quotes none of it. */
export class Unreadable extends Error {}

export function broken(): Unreadable {
  return new Unreadable('not a gob encoding')
}

export class GobStream {
  readonly #data: Buffer
  #at = 0

  constructor(data: Buffer) {
    this.#data = data
  }

  get isAtEnd(): boolean {
    return this.#at === this.#data.length
  }

  /** A struct: each field that is not zero, by its distance from the one before; 0 ends it. */
  fields(most: number, read: (field: number) => void): void {
    let field = 0
    for (;;) {
      const distance = this.size()
      if (distance === 0) return
      field += distance
      if (field > most) throw broken()
      read(field)
    }
  }

  list<Element>(read: () => Element): Element[] {
    const list: Element[] = []
    for (let left = this.size(); left > 0; left--) list.push(read()) // each takes at least a byte, so the data limits it
    return list
  }

  text(): string {
    const bytes = this.bytes()
    if (!isUtf8(bytes)) throw new Unreadable('text that is not UTF-8')
    return bytes.toString('utf8')
  }

  bytes(): Buffer {
    const length = this.size()
    if (length > this.#data.length - this.#at) throw broken()
    this.#at += length
    return this.#data.subarray(this.#at - length, this.#at)
  }

  /** The bits of a double, in an integer with its bytes reversed. */
  float(): number {
    const bits = Buffer.alloc(8)
    bits.writeBigUInt64BE(this.uint())
    const number = bits.readDoubleLE()
    if (!Number.isFinite(number)) throw new Unreadable('a number that JSON cannot represent')
    return number
  }

  /** A count of bytes, values or fields, or a boolean. */
  size(): number {
    const size = this.uint()
    if (size > this.#data.length) throw broken()
    return Number(size)
  }

  smallInt(): number {
    const value = this.int()
    if (value > 2 ** 31 || value < -(2 ** 31)) throw broken()
    return Number(value)
  }

  /** The sign is the lowest bit; in a negative number all others are inverted. */
  int(): bigint {
    const value = this.uint()
    return value & 1n ? ~(value >> 1n) : value >> 1n
  }

  /** Up to 0x7f one byte; above, the negated count of bytes and then the bytes, big-endian. */
  uint(): bigint {
    const first = this.#data[this.#at]
    if (first === undefined) throw broken()
    this.#at++
    if (first <= 0x7f) return BigInt(first)
    const length = 256 - first
    if (length > 8 || length > this.#data.length - this.#at) throw broken()
    let value = 0n
    for (const end = this.#at + length; this.#at < end; this.#at++) {
      value = (value << 8n) | BigInt(this.#data[this.#at] as number)
    }
    return value
  }
}
