// A string as Go's encoding/gob writes it alone.
import { isUtf8 } from 'node:buffer'

/** https://pkg.go.dev/encoding/gob: message length, type id of string (6, as an int: 0x0c), a zero, length, bytes. */
export function encodeGobString(value: string): Buffer {
  const text = Buffer.from(value, 'utf8')
  const body = Buffer.concat([Buffer.of(0x0c, 0x00), encodeGobUint(text.length), text])
  return Buffer.concat([encodeGobUint(body.length), body])
}

export function decodeGobString(data: Buffer): string | undefined {
  const message = decodeGobUint(data, 0)
  if (!message || message.next + message.value !== data.length) return undefined
  if (data[message.next] !== 0x0c || data[message.next + 1] !== 0x00) return undefined
  const text = decodeGobUint(data, message.next + 2)
  if (!text || text.next + text.value !== data.length) return undefined
  return isUtf8(data.subarray(text.next)) ? data.toString('utf8', text.next) : undefined
}

/** Up to 0x7f one byte; above, the negated count of bytes and then the bytes, big-endian. */
function encodeGobUint(value: number): Buffer {
  if (value <= 0x7f) return Buffer.of(value)
  return value <= 0xff ? Buffer.of(0xff, value) : Buffer.of(0xfe, value >> 8, value & 0xff)
}

function decodeGobUint(data: Buffer, at: number): { readonly value: number; readonly next: number } | undefined {
  const first = data[at]
  if (first === undefined) return undefined
  if (first <= 0x7f) return { value: first, next: at + 1 }
  const count = 256 - first
  if (count > 2 || at + count >= data.length) return undefined // a cookie has at most 4096 characters
  return { value: data.readUIntBE(at + 1, count), next: at + 1 + count }
}
