// Arrays in Postgres' binary format: JSON inside an array literal would be escaped a second time, and a bytea in hex is
// twice as long.

/** A one-dimensional array whose elements `write` writes, returning where each ended; null is NULL. */
function encode<T>(
  oid: number,
  elements: readonly (T | null)[],
  sizeOf: (element: T) => number,
  write: (to: Buffer, at: number, element: T) => number,
): Buffer {
  let size = 20
  for (const element of elements) size += 4 + (element === null ? 0 : sizeOf(element))
  const to = Buffer.allocUnsafe(size)
  to.writeInt32BE(elements.length === 0 ? 0 : 1, 0) // dimensions
  to.writeInt32BE(1, 4) // may hold NULL
  to.writeInt32BE(oid, 8)
  to.writeInt32BE(elements.length, 12)
  to.writeInt32BE(1, 16) // lower bound
  let at = 20
  for (const element of elements) {
    if (element === null) {
      at = to.writeInt32BE(-1, at)
      continue
    }
    const end = write(to, at + 4, element)
    to.writeInt32BE(end - at - 4, at)
    at = end
  }
  return elements.length === 0 ? to.subarray(0, 12) : to.subarray(0, at)
}

export function byteaArray(elements: readonly Uint8Array[]): Buffer {
  return encode(
    17,
    elements,
    (bytes) => bytes.length,
    (to, at, bytes) => {
      to.set(bytes, at)
      return at + bytes.length
    },
  )
}

const mostBytesPerUnit = 3 // of UTF-8, for a UTF-16 code unit

export function textArray(elements: readonly (string | null)[]): Buffer {
  return encode(
    25,
    elements,
    (text) => text.length * mostBytesPerUnit,
    (to, at, text) => at + to.write(text, at),
  )
}

/** @param elements JSON texts */
export function jsonbArray(elements: readonly (string | null)[]): Buffer {
  return encode(
    3802,
    elements,
    (text) => 1 + text.length * mostBytesPerUnit,
    (to, at, text) => {
      to[at] = 1 // version of the format: text follows
      return at + 1 + to.write(text, at + 1)
    },
  )
}

export function integerArray(elements: readonly (number | null)[]): Buffer {
  return encode(
    23,
    elements,
    () => 4,
    (to, at, integer) => to.writeInt32BE(integer, at),
  )
}

/** @param elements seconds */
export function intervalArray(elements: readonly number[]): Buffer {
  return encode(
    1186,
    elements,
    () => 16,
    (to, at, seconds) => {
      to.writeBigInt64BE(BigInt(Math.round(seconds * 1e6)), at)
      to.writeInt32BE(0, at + 8) // days
      return to.writeInt32BE(0, at + 12) // months
    },
  )
}
