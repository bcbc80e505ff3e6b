import { createHash, randomBytes } from 'node:crypto'

/**
 * A new session token: 32 random bytes as base64url, 43 characters. To renew a session, the token is drawn until its key has
 * the old key's first byte, about 256 times: the session stays on its shard, and moving it to its new key is one UPDATE there.
 */
export function newToken(oldKey?: Uint8Array): string {
  for (let draws = 0; draws < 100_000; draws++) {
    const token = randomBytes(32).toString('base64url')
    if (!oldKey || sessionKey(token)[0] === oldKey[0]) return token
  }
  throw new Error('randomBytes does not draw at random.') // e^-390
}

/** The primary key of the session that a token opens; the same as SQL's session_key(). The token never leaves this process. */
export function sessionKey(token: string): Buffer {
  return createHash('sha256').update(token, 'utf8').digest()
}
