// The wire format of Go's gorilla/securecookie, read strictly: a Go program with the same keys reads our cookies, and
// vice versa. https://github.com/gorilla/securecookie
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hash,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import { PGStoreError } from '../errors.ts'
import { decodeGobString, encodeGobString } from './gob-string.ts'
import { hashKeyProblems, type Key, keyBytes, keyProblems } from './keys.ts'

/**
 * Why a codec refuses a cookie. `malformed`: it does not have this codec's format, or its signature is valid but its block key
 * differs. `bad_signature`: it was signed with another key or for another name, or altered. `too_old`: signed longer ago than
 * `maxAge`.
 */
export type CodecRefusal = 'malformed' | 'bad_signature' | 'too_old'

/**
 * Turns a value into a signed cookie value and back. `decode` never throws: it returns `undefined` for a cookie that is
 * not ours.
 */
export interface Codec {
  encode(name: string, value: string): string
  decode(name: string, cookie: string): string | undefined
  /** Why the last cookie that `decode` refused was refused, for `store.stats()`. Default: `bad_signature`. */
  refusal?(): CodecRefusal | undefined
  /**
   * When the last cookie that `decode` accepted was signed, in seconds since the epoch. If a codec does not say, each save that
   * changes something sets the cookie. Default: undefined.
   */
  signedAt?(): number | undefined
  /** Sets the age in seconds beyond which `decode` refuses; 0 for no limit. `store.maxAge()` calls it if it exists. */
  maxAge?(seconds: number): void
}

interface Opened {
  readonly payload: Buffer
  readonly signedAt: number
}

/** Longest cookie value in characters, as securecookie's default. Browsers ignore a cookie of more than 4096 bytes. */
const maxLength = 4096

/** SHA-256: the size of its block and of its result. */
const blockBytes = 64
const macBytes = 32

/**
 * One pair of keys: `base64( time | base64(payload) | HMAC-SHA256 )`, where the payload is the gob encoding of a string,
 * AES-CTR encrypted when there is a block key.
 */
export class SecureCookie implements Codec {
  readonly #inner: Buffer
  readonly #outer: Buffer
  readonly #block: { readonly key: KeyObject; readonly cipher: string } | undefined
  #maxAge = 30 * 86400
  #refusal: CodecRefusal | undefined
  #signedAt: number | undefined

  /**
   * @param hashKey at least 32 bytes, for HMAC-SHA256
   * @param blockKey 16, 24 or 32 bytes for AES-128, -192 or -256; null for no encryption
   * @throws {PGStoreError} `invalid_option` for any other length
   */
  constructor(hashKey: Key, blockKey: Key | null = null) {
    const problems = keyProblems(hashKey, blockKey)
    if (problems.length > 0) throw new PGStoreError('invalid_option', `${problems.join('; ')}.`)
    const key = keyBytes(hashKey)
    const padded = Buffer.concat([key.length > blockBytes ? hash('sha256', key, 'buffer') : key], blockBytes)
    this.#inner = Buffer.concat([padded.map((byte) => byte ^ 0x36)], blockBytes + maxLength)
    this.#outer = Buffer.concat([padded.map((byte) => byte ^ 0x5c)], blockBytes + macBytes)
    if (blockKey === null) return
    const block = keyBytes(blockKey)
    this.#block = { key: createSecretKey(block), cipher: `aes-${block.length * 8}-ctr` }
  }

  /**
   * Refuses cookies older than this many seconds; 0 refuses none for their age. Default: 30 days.
   *
   * @throws {PGStoreError} `invalid_option` for a negative number or anything else
   */
  maxAge(seconds: number): void {
    // No cookie is older than NaN seconds.
    if (typeof seconds !== 'number' || !(seconds >= 0)) {
      throw new PGStoreError('invalid_option', 'maxAge must be a number of seconds, or 0 for no limit.')
    }
    this.#maxAge = seconds
  }

  /**
   * The cookie value that carries `value` under the cookie name `name`, at most 4096 characters.
   *
   * @throws {PGStoreError} `invalid_value` when it would be longer, or `value` contains a lone surrogate
   */
  encode(name: string, value: string): string {
    if (!value.isWellFormed()) throw new PGStoreError('invalid_value', 'The value is not well-formed Unicode.')
    let payload = encodeGobString(value)
    if (this.#block) {
      const iv = randomBytes(16)
      const cipher = createCipheriv(this.#block.cipher, this.#block.key, iv)
      payload = Buffer.concat([iv, cipher.update(payload), cipher.final()])
    }
    const signed = `${Math.floor(Date.now() / 1000)}|${encodeBase64(payload)}`
    const cookie = encodeBase64(Buffer.concat([Buffer.from(`${signed}|`, 'latin1'), this.#mac(name, signed)]))
    if (cookie.length > maxLength) throw new PGStoreError('invalid_value', 'The value is too long for a cookie.')
    return cookie
  }

  /** Why the last cookie that `decode` refused was refused. */
  refusal(): CodecRefusal | undefined {
    return this.#refusal
  }

  /** When the last cookie that `decode` accepted was signed, in seconds since the epoch. */
  signedAt(): number | undefined {
    return this.#signedAt
  }

  /** The value inside, or undefined when the cookie is not ours, not for this name, altered, or too old. */
  decode(name: string, cookie: string): string | undefined {
    if (cookie.length > maxLength) return this.#refuse('malformed')
    const opened = this.open(name, cookie)
    this.#signedAt = opened?.signedAt
    return opened && (decodeGobString(opened.payload) ?? this.#refuse('malformed'))
  }

  /** Whether a cookie that was signed then, in seconds since the epoch, is refused for its age now. */
  isTooOld(signedAt: number): boolean {
    return this.#maxAge !== 0 && signedAt < Math.floor(Date.now() / 1000) - this.#maxAge
  }

  /** As `decode`, for a cookie that was accepted before: its age was judged then. */
  decodeAgain(name: string, cookie: string): string | undefined {
    const opened = this.#verify(name, cookie, true)
    return typeof opened === 'string' ? undefined : decodeGobString(opened.payload)
  }

  /**
   * The payload, whatever it encodes and however long it is, and when it was signed, in seconds since the epoch;
   * undefined as for `decode`. Go's pgstore writes its rows in the cookies' format too.
   */
  open(name: string, text: string): { readonly payload: Buffer; readonly signedAt: number } | undefined {
    const opened = this.#verify(name, text)
    return typeof opened === 'string' ? this.#refuse(opened) : opened
  }

  #refuse(reason: CodecRefusal): undefined {
    this.#refusal = reason
  }

  #verify(name: string, text: string, isOfAnyAge = false): Opened | CodecRefusal {
    const raw = decodeBase64(text)
    if (!raw) return 'malformed'
    // The MAC is the last 32 bytes and may itself contain a "|": only what precedes it is split at its two.
    const end = raw.length - 33
    if (end < 0 || raw[end] !== 0x7c) return 'malformed'
    const signed = raw.toString('latin1', 0, end)
    if (!timingSafeEqual(this.#mac(name, signed), raw.subarray(end + 1))) return 'bad_signature'
    const [, time, inner] = /^(-?\d{1,15})\|([^|]*)$/.exec(signed) ?? []
    if (time === undefined || inner === undefined) return 'malformed'
    const signedAt = Number(time)
    if (!isOfAnyAge && this.isTooOld(signedAt)) return 'too_old'
    const payload = decodeBase64(inner)
    if (!payload) return 'malformed'
    if (!this.#block) return { payload, signedAt }
    if (payload.length <= 16) return 'malformed'
    const decipher = createDecipheriv(this.#block.cipher, this.#block.key, payload.subarray(0, 16))
    return { payload: Buffer.concat([decipher.update(payload.subarray(16)), decipher.final()]), signedAt }
  }

  /** HMAC-SHA256, RFC 2104, as two hashes: a third of the cost of an HMAC object, and every read needs one. */
  #mac(name: string, signed: string): Buffer {
    const message = `${name}|${signed}`
    const fits = message.length * 3 <= maxLength
    const inner = fits ? this.#inner : Buffer.concat([this.#inner.subarray(0, blockBytes), Buffer.from(message)])
    const end = fits ? blockBytes + inner.write(message, blockBytes) : inner.length
    this.#outer.write(sha256(inner.subarray(0, end)), blockBytes, 'latin1')
    return Buffer.from(sha256(this.#outer), 'latin1')
  }
}

/**
 * One codec for each key, for cookies that are signed and not encrypted: the first signs, all verify.
 *
 * @throws {PGStoreError} `invalid_option`, naming every key of a wrong length by its position
 */
export function codecsFromKeys(...keys: readonly (Key | null | undefined)[]): Codec[] {
  const problems = keys.flatMap((key, index) => hashKeyProblems(key, `key ${index}: `))
  if (keys.length === 0) problems.push('at least one key is needed')
  if (problems.length > 0) throw new PGStoreError('invalid_option', `keys: ${problems.join('; ')}.`)
  return keys.map((key) => new SecureCookie(key as Key))
}

/**
 * One codec for each pair of keys, as securecookie's CodecsFromPairs: hash key, block key, hash key, block key … The first
 * signs, all verify. An odd last key is a hash key without encryption. For a list of hash keys use `codecsFromKeys`: here every
 * second one would be taken for a block key.
 *
 * @throws {PGStoreError} `invalid_option`, naming every key of a wrong length by its position
 */
export function codecsFromPairs(...keyPairs: readonly (Key | null | undefined)[]): Codec[] {
  const pairs: [Key, Key | null][] = []
  const problems: string[] = []
  for (let i = 0; i < keyPairs.length; i += 2) {
    const hashKey = keyPairs[i]
    const blockKey = keyPairs[i + 1] ?? null
    problems.push(...keyProblems(hashKey, blockKey, `key ${i}: `, `key ${i + 1}: `))
    if (hashKey !== null && hashKey !== undefined) pairs.push([hashKey, blockKey])
  }
  if (keyPairs.length === 0) problems.push('at least one hash key is needed')
  if (problems.length > 0) throw new PGStoreError('invalid_option', `keyPairs: ${problems.join('; ')}.`)
  return pairs.map(([hashKey, blockKey]) => new SecureCookie(hashKey, blockKey))
}

/** A character for each byte: Node creates that faster than a buffer. */
function sha256(data: Buffer): string {
  return hash('sha256', data, 'binary')
}

/** Base64url with padding, which Go requires. */
function encodeBase64(data: Buffer): string {
  const text = data.toString('base64url')
  return text + '='.repeat((4 - (text.length % 4)) % 4)
}

/** Canonical padded base64url, or undefined: two spellings of one cookie would be two cookies for one session. */
function decodeBase64(text: string): Buffer | undefined {
  const data = Buffer.from(text, 'base64url')
  return encodeBase64(data) === text ? data : undefined
}
