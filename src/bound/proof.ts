// A device's proof: a JWT (RFC 7519) of the one form that the draft allows. Read here and not by a library: nothing is chosen by what
// arrives, neither the algorithm nor where the key comes from, and the choice is where libraries were broken (alg none, RS256 keys
// taken for HMAC secrets). https://w3c.github.io/webappsec-dbsc/#format-jwt
import { createPublicKey, verify } from 'node:crypto'

export interface Proof {
  /** The challenge that it answers. */
  readonly challenge: string
  /** The two coordinates of the key that it names, 32 bytes each; undefined where it names none, as a refresh. */
  readonly publicKey: Buffer | undefined
  readonly signed: Buffer
  readonly signature: Buffer
}

/** One of Chromium's has less than 500 characters. */
const longest = 4096

/** The last of a signature's 86 characters has two bits of it: with any other there would be 16 texts of one signature (RFC 4648 §3.5). */
const form = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/

/** undefined for whatever is no ES256 proof: nothing is verified yet. */
export function parseProof(header: string): Proof | undefined {
  const text = header.replace(/^"(.*)"$/, '$1')
  if (text.length > longest || !form.test(text)) return undefined
  const [head = '', body = '', signature = ''] = text.split('.')
  const { alg, typ, jwk, crit } = jsonIn(head)
  const { jti } = jsonIn(body)
  if (alg !== 'ES256' || typ !== 'dbsc+jwt' || crit !== undefined) return undefined
  if (typeof jti !== 'string' || jti.length > 256) return undefined
  const publicKey = jwk === undefined ? undefined : pointIn(jwk)
  if (jwk !== undefined && !publicKey) return undefined
  const signed = Buffer.from(`${head}.${body}`, 'latin1')
  return { challenge: jti, publicKey, signed, signature: Buffer.from(signature, 'base64url') }
}

/** Whether the owner of this key made it. */
export function isProven({ signed, signature }: Proof, publicKey: Buffer): boolean {
  try {
    const [x, y] = [publicKey.subarray(0, 32), publicKey.subarray(32)].map((part) => part.toString('base64url'))
    const key = createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: x as string, y: y as string }, format: 'jwk' })
    return verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature)
  } catch {
    return false // not a point of the curve
  }
}

function pointIn(jwk: unknown): Buffer | undefined {
  const { kty, crv, x, y } = Object(jwk) as Record<'kty' | 'crv' | 'x' | 'y', unknown>
  if (kty !== 'EC' || crv !== 'P-256' || !isCoordinate(x) || !isCoordinate(y)) return undefined
  return Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

function isCoordinate(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{43}$/.test(value)
}

/** The members of this part's object that are its own; none for anything else. */
function jsonIn(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url')))
    return typeof value === 'object' && value !== null ? Object.assign(Object.create(null), value) : {}
  } catch {
    return {}
  }
}
