import { hash, randomBytes } from 'node:crypto'
import { PGStoreError } from '../errors.ts'

const tokenBytes = 32
const drawsAtOnce = 64

/**
 * A new session token: 32 random bytes as base64url, 43 characters. To renew a session, tokens are drawn until the key has the
 * old key's first byte, about 256 times: the session stays on its shard, and moving it to its new key is one UPDATE there.
 */
export function newToken(oldKey?: Uint8Array): string {
  if (!oldKey) return randomBytes(tokenBytes).toString('base64url')
  for (let round = 0; round < 1000; round++) {
    const drawn = randomBytes(tokenBytes * drawsAtOnce) // one call for many: a call costs more than its bytes
    for (let at = 0; at < drawn.length; at += tokenBytes) {
      const token = drawn.toString('base64url', at, at + tokenBytes)
      if (sessionKey(token)[0] === oldKey[0]) return token
    }
  }
  throw new Error('randomBytes is not random.') // e^-250
}

/** The primary key of the session that a token opens; the same as SQL's session_key(). The token never leaves this process. */
export function sessionKey(token: string): Buffer {
  if (typeof token !== 'string') throw new PGStoreError('invalid_option', 'The token must be a string.')
  return Buffer.from(hash('sha256', token, 'binary'), 'latin1') // twice as fast as asking for a buffer
}
