import { createHmac } from 'node:crypto'
import fs from 'node:fs'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codecsFromPairs, type Key, PGStoreError, SecureCookie } from '../../src/index.ts'
import { counts } from '../support/counts.ts'

/** A cookie that Go's securecookie v1.1.2 created, or was given. */
interface Vector {
  readonly comment: string
  readonly name: string
  /** The reader's keys in hex, the newest pair first. */
  readonly hashKeys: readonly string[]
  readonly blockKeys: readonly (string | null)[]
  readonly cookie: string
  /** If age matters: the reader's limit in seconds, and its clock. */
  readonly maxAge?: number
  readonly now?: number
  /** What Go's DecodeMulti reads; null if it refuses. */
  readonly value: string | null
  /** Whether we read it too. */
  readonly ok: boolean
}

const vectors: readonly Vector[] = JSON.parse(
  fs.readFileSync(new URL('../vectors/securecookie.json', import.meta.url), 'utf8'),
)
const hashKey = Buffer.from('an example hash key of 32 bytes!')
const otherHashKey = Buffer.from('another hash key, also 32 bytes!')
const blockKeys = [null, Buffer.alloc(16, 'block'), Buffer.alloc(24, 'block'), Buffer.alloc(32, 'block')]
const letters = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')
const token = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq'
const plain = new SecureCookie(hashKey)
const encrypted = new SecureCookie(hashKey, Buffer.alloc(32, 'block'))

test('what Go makes is read', () => {
  assert.equal(misread(vectors.filter((vector) => vector.ok)), [])
})

test('what Go refuses is refused', () => {
  assert.equal(misread(vectors.filter((vector) => vector.value === null)), [])
})

test('what Go reads although its encoder would write it differently is refused', () => {
  assert.equal(misread(vectors.filter((vector) => vector.value !== null && !vector.ok)), [])
})

test('without a block key, a cookie equals Go’s, byte for byte', () => {
  const made = vectors.filter(
    ({ ok, blockKeys, comment }) =>
      ok && blockKeys.length === 1 && blockKeys[0] === null && !comment.startsWith('signed'),
  )
  const different = made.filter((vector) => {
    const time = Number(Buffer.from(vector.cookie, 'base64url').toString('latin1').split('|')[0])
    return at(time, () => codecsOf(vector)[0]?.encode(vector.name, vector.value ?? '')) !== vector.cookie
  })
  assert.equal(comments(different), [])
  assert.ok(made.length > 40)
})

test('any value comes back, under any name and with keys of any length', () => {
  // As fast-check's unit 'binary', whose tables take more than a second to build.
  const unit = fc.nat(0x10f7ff).map((code) => String.fromCodePoint(code < 0xd800 ? code : code + 0x800))
  const text = fc.string({ unit, maxLength: 500 })
  const longKey = fc.uint8Array({ minLength: 32, maxLength: 130 })
  fc.assert(
    fc.property(text, text, longKey, fc.constantFrom(...blockKeys), (name, value, hashKey, blockKey) => {
      const codec = new SecureCookie(hashKey, blockKey)
      return codec.decode(name, codec.encode(name, value)) === value
    }),
    { numRuns: 1000 },
  )
})

test('a value of any length comes back or is too long: a cookie has at most 4096 characters', () => {
  for (const [codec, longest] of [
    [plain, 2263],
    [encrypted, 2247],
  ] as const) {
    const lengths = Array.from({ length: longest + 1 }, (_, length) => length)
    const comesBack = (value: string) => codec.decode('sid', codec.encode('sid', value)) === value
    assert.ok(lengths.every((length) => comesBack('x'.repeat(length))))
    assert.is(codec.encode('sid', 'x'.repeat(longest)).length, 4096)
    assert.is(failure(() => codec.encode('sid', 'x'.repeat(longest + 1))).code, 'invalid_value')
    assert.is(failure(() => codec.encode('sid', 'x'.repeat(1_000_000))).code, 'invalid_value')
  }
})

test('the signature is HMAC-SHA256 for keys, names and values of any length', () => {
  const lengths = fc.integer({ min: 32, max: 200 })
  fc.assert(
    fc.property(
      lengths,
      fc.string({ unit: 'grapheme', maxLength: 2000 }),
      fc.string({ maxLength: 400 }),
      (n, name, value) => {
        const key = Buffer.alloc(n, 'key')
        const raw = Buffer.from(new SecureCookie(key).encode(name, value), 'base64url')
        const signed = Buffer.concat([Buffer.from(`${name}|`), raw.subarray(0, -33)])
        assert.equal(raw.subarray(-32), createHmac('sha256', key).update(signed).digest())
      },
    ),
  )
})

test('a value that UTF-8 cannot hold is refused rather than altered', () => {
  assert.is(failure(() => plain.encode('sid', 'half a pair: \ud83d')).code, 'invalid_value')
})

test('an encrypted cookie differs each time, and does not show its value', () => {
  const cookies = Array.from({ length: 100 }, () => encrypted.encode('sid', token))
  assert.is(new Set(cookies).size, 100)
  assert.not.ok(cookies.some((cookie) => payloadOf(cookie).includes(token)))
})

test('a cookie is read only under its own name', () => {
  const name = fc.string({ maxLength: 5, unit: fc.constantFrom('a', 'b', '|', '1') })
  fc.assert(
    fc.property(name, name, (name, other) => {
      return (plain.decode(other, plain.encode(name, token)) === token) === (name === other)
    }),
  )
})

test('the first pair signs, and all verify', () => {
  const [block] = blockKeys.slice(3)
  const now = codecsFromPairs(hashKey, block, otherHashKey, null)
  const before = codecsFromPairs(otherHashKey, null)
  assert.equal(read(now, now[0]?.encode('sid', token)), [token, undefined])
  assert.equal(read(now, before[0]?.encode('sid', token)), [undefined, token])
})

test('a pair with the same hash key and another block key is another pair', () => {
  const codecs = codecsFromPairs(...blockKeys.flatMap((blockKey) => [hashKey, blockKey]))
  const readers = codecs.map((codec) => read(codecs, codec.encode('sid', token)))
  assert.equal(
    readers,
    codecs.map((_, signer) => codecs.map((_, reader) => (reader === signer ? token : undefined))),
  )
})

test('an odd last key is a hash key without encryption', () => {
  const codecs = codecsFromPairs(otherHashKey, Buffer.alloc(16), hashKey)
  assert.is(codecs.length, 2)
  assert.is(codecs[1]?.decode('sid', plain.encode('sid', token)), token)
})

test('a key given as a string is its UTF-8 bytes', () => {
  const codec = new SecureCookie('ä'.repeat(16), 'ö'.repeat(8))
  const sameCodec = new SecureCookie(new TextEncoder().encode('ä'.repeat(16)), Buffer.from('ö'.repeat(8)))
  assert.is(sameCodec.decode('sid', codec.encode('sid', token)), token)
})

test('a key that its owner overwrites afterwards still signs as it did', () => {
  const key = Buffer.from(hashKey)
  const codec = new SecureCookie(key)
  key.fill(0)
  assert.is(codec.decode('sid', plain.encode('sid', token)), token)
})

test('keys of a wrong length or type are an invalid option, each named by its position', () => {
  const keys = [Buffer.alloc(31), Buffer.alloc(17), null, 'short', hashKey, '', 5, {}] as readonly (Key | null)[]
  const error = failure(() => codecsFromPairs(...keys))
  assert.is(error.code, 'invalid_option')
  assert.equal(
    [...error.message.matchAll(/key (\d+): (?:a hash|a block) key/g)].map(([, position]) => Number(position)),
    [0, 1, 2, 3, 5, 6, 7],
  )
})

test('a hash key has 32 bytes or more, a block key 16, 24 or 32', () => {
  const lengths = Array.from({ length: 70 }, (_, length) => length)
  const accepts = (...keys: [Key, Key?]) => failureOf(() => new SecureCookie(...keys)) === undefined
  assert.equal(
    lengths.filter((length) => accepts(Buffer.alloc(length))),
    lengths.slice(32),
  )
  assert.equal(
    lengths.filter((length) => accepts(hashKey, Buffer.alloc(length))),
    [16, 24, 32],
  )
})

test('no keys at all are an invalid option', () => {
  assert.is(failure(() => codecsFromPairs()).code, 'invalid_option')
})

test('neither an error nor inspecting a codec shows a key', () => {
  const { message } = failure(() =>
    codecsFromPairs('a secret, too short', 'a secret that is too long for AES, and so on'),
  )
  const looks = inspect(new SecureCookie(hashKey, 'a secret of 16 b'), { showHidden: true, depth: 9 })
  assert.not.match(message, 'secret')
  assert.is(looks, 'SecureCookie {}')
})

test('a cookie is read until it is exactly as old as the maximum age', () => {
  for (const codec of [new SecureCookie(hashKey), encrypted]) {
    const cookie = at(1_700_000_000, () => codec.encode('sid', token))
    const readAfter = (seconds: number) => at(1_700_000_000 + seconds, () => codec.decode('sid', cookie))
    assert.equal([2_592_000, 2_592_001].map(readAfter), [token, undefined]) // 30 days, as in Go
    codec.maxAge(60)
    assert.equal([60, 61].map(readAfter), [token, undefined])
  }
})

test('a maximum age of 0 refuses no cookie for its age', () => {
  const codec = new SecureCookie(hashKey)
  codec.maxAge(0)
  assert.is(
    codec.decode(
      'sid',
      at(0, () => codec.encode('sid', token)),
    ),
    token,
  )
})

test('a cookie from a clock ahead of ours is read, as in Go', () => {
  assert.is(
    plain.decode(
      'sid',
      at(4_000_000_000, () => plain.encode('sid', token)),
    ),
    token,
  )
})

test('a maximum age that is not a number of seconds is refused, as it would refuse no cookie', () => {
  for (const seconds of [Number.NaN, -1, undefined, '60'] as number[]) {
    assert.is(failure(() => new SecureCookie(hashKey).maxAge(seconds)).code, 'invalid_option')
  }
})

test('no cookie with one character changed, removed or added is read', () => {
  const characters = letters.concat(Array.from('=+/%|". ;\0\r\nÿŁ'), '\ud83d')
  for (const [codec, value] of [
    [plain, token],
    [encrypted, token.slice(0, 40)],
  ] as const) {
    const cookie = codec.encode('sid', value)
    const altered = Array.from(cookie, (_, index) => {
      const [before, after] = [cookie.slice(0, index), cookie.slice(index + 1)]
      const changed = characters.map((character) => before + character + after)
      const added = characters.map((character) => before + character + cookie.slice(index))
      return [before, after, before + after, ...changed, ...added]
    }).flat()
    const accepted = altered.filter((text) => text !== cookie && codec.decode('sid', text) !== undefined)
    assert.equal(accepted, [])
  }
})

test('of all base64 texts that decode to the same bytes, one is read', () => {
  for (const [value, padding] of [
    ['one', '='],
    ['the other', '=='],
  ] as const) {
    const cookie = plain.encode('sid', value)
    const bare = cookie.slice(0, -padding.length)
    assert.is(bare + padding, padded(bytesOf(cookie)))
    const same = [
      ...letters.map((letter) => bare.slice(0, -1) + letter + padding),
      ...['', '===', `${padding}\n`, `${padding} `, `${padding}=`, '%3D'].map((end) => bare + end),
      cookie.replaceAll('-', '+').replaceAll('_', '/'),
      ` ${cookie}`,
      `${cookie.slice(0, 8)}\r\n${cookie.slice(8)}`,
    ].filter((text) => text !== cookie && bytesOf(text).equals(bytesOf(cookie)))
    assert.ok(same.length > 8)
    assert.not.ok(same.some((text) => plain.decode('sid', text) !== undefined))
  }
})

test('whatever the cookie, decode refuses it and does not throw', () => {
  const utf16 = fc.array(fc.nat(0xffff), { size: 'medium' }).map((units) => String.fromCharCode(...units))
  const base64 = fc.uint8Array({ size: 'medium' }).map((bytes) => padded(Buffer.from(bytes)))
  const parts = fc.array(fc.constantFrom('MTcwMDAwMDAwMHw', '|', '=', '-', '_', plain.encode('sid', token)))
  const anything = fc.oneof(
    utf16,
    fc.string(),
    base64,
    parts.map((texts) => texts.slice(1).join('')),
  )
  fc.assert(
    fc.property(anything, (cookie) => {
      return plain.decode('other', cookie) === undefined && encrypted.decode('other', cookie) === undefined
    }),
    { numRuns: counts(1000, 20_000) },
  )
})

test('a cookie altered in several places is refused without an exception', () => {
  for (const codec of [plain, encrypted]) {
    const cookie = codec.encode('sid', token)
    const cut = fc.tuple(fc.nat(cookie.length), fc.nat(cookie.length), fc.string({ maxLength: 3 }))
    fc.assert(
      fc.property(fc.array(cut, { minLength: 1, maxLength: 4 }), (cuts) => {
        const altered = cuts.reduce((text, [from, to, put]) => text.slice(0, from) + put + text.slice(to), cookie)
        return altered === cookie || codec.decode('sid', altered) === undefined
      }),
      { numRuns: counts(300, 5000) },
    )
  }
})

test('whatever is signed with our key, decode does not throw', () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((data) => Buffer.from(data))
  const gobLike = bytes.map((data) => Buffer.concat([Buffer.of(data.length + 3, 0x0c, 0, data.length), data]))
  const inner = fc.oneof(bytes.map(padded), gobLike.map(padded), fc.string())
  const time = fc.oneof(fc.string(), fc.integer().map(String), fc.constant('1700000000'))
  fc.assert(
    fc.property(time, inner, (time, inner) => {
      for (const codec of [plain, encrypted]) codec.decode('sid', signed(time, inner))
    }),
    { numRuns: counts(500, 10_000) },
  )
})

test('a MAC of any other length is refused without an exception', () => {
  const data = bytesOf(plain.encode('sid', token))
  const [before, mac] = [data.subarray(0, -32), data.subarray(-32)]
  const longMac = Buffer.concat(Array.from({ length: 80 }, () => mac))
  const lengths = Array.from({ length: longMac.length + 1 }, (_, length) => length)
  const accepted = lengths.filter((length) => {
    return plain.decode('sid', padded(Buffer.concat([before, longMac.subarray(0, length)]))) !== undefined
  })
  assert.equal(accepted, [32])
})

test('a cookie whose MAC contains a bar is read', () => {
  const cookies = Array.from({ length: 1000 }, (_, second) =>
    at(4_000_000_000 + second, () => plain.encode('sid', token)),
  )
  const barred = cookies.filter((cookie) => bytesOf(cookie).subarray(-32).includes('|'))
  assert.ok(barred.length > 20)
  assert.ok(barred.every((cookie) => plain.decode('sid', cookie) === token))
})

test.run()

/** Comments of the vectors that are not read as they say. */
function misread(list: readonly Vector[]): string[] {
  assert.ok(list.length > 0)
  return comments(
    list.filter((vector) => {
      const codecs = codecsOf(vector)
      for (const codec of codecs) codec.maxAge?.(vector.maxAge ?? 0)
      const value = at(vector.now, () => read(codecs, vector.cookie, vector.name).find((found) => found !== undefined))
      return value !== (vector.ok ? vector.value : undefined)
    }),
  )
}

function comments(list: readonly Vector[]): string[] {
  return list.map(({ comment }) => comment)
}

function codecsOf(vector: Vector): ReturnType<typeof codecsFromPairs> {
  const key = (hex: string | null | undefined) => (hex ? Buffer.from(hex, 'hex') : null)
  return codecsFromPairs(...vector.hashKeys.flatMap((hashKey, index) => [key(hashKey), key(vector.blockKeys[index])]))
}

/** What each codec reads of a cookie. */
function read(codecs: ReturnType<typeof codecsFromPairs>, cookie = '', name = 'sid'): (string | undefined)[] {
  return codecs.map((codec) => codec.decode(name, cookie))
}

/** Does the work late in that Unix second: the codec's clock is the process's, not the database's. */
function at<Result>(seconds: number | undefined, work: () => Result): Result {
  const { now } = Date
  if (seconds !== undefined) Date.now = () => seconds * 1000 + 999
  try {
    return work()
  } finally {
    Date.now = now
  }
}

/** A cookie signed by hand with `hashKey`, for the name sid. */
function signed(time: string, inner: string): string {
  const mac = createHmac('sha256', hashKey).update(`sid|${time}|${inner}`).digest()
  return padded(Buffer.concat([Buffer.from(`${time}|${inner}|`), mac]))
}

function padded(data: Buffer): string {
  return data.toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'base64url')
}

function payloadOf(cookie: string): Buffer {
  return bytesOf(bytesOf(cookie).toString('latin1').split('|')[1] ?? '')
}

function failureOf(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return undefined
}

function failure(work: () => unknown): PGStoreError {
  const error = failureOf(work)
  if (error instanceof PGStoreError) return error
  throw new Error('It threw no PGStoreError.', { cause: error })
}
