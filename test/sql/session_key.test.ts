import { createHash, randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { row } from '../support/harness.ts'
import { closeEverything } from './calls.ts'

test.after(closeEverything)

async function sessionKey(token: string | null): Promise<Buffer | null> {
  return (await row<{ key: Buffer | null }>('select pgstore.session_key($1) as key', token)).key
}

for (const [kind, token] of [
  ['a token', randomBytes(32).toString('base64url')],
  ['the empty text', ''],
  ['text of several alphabets', 'clé ключ 鍵 🔑'],
  ['a backslash, which text and bytea escape differently', '\\x41\\'],
  ['a long text', 'x'.repeat(100_000)],
] as const) {
  test(`the key of ${kind} is the SHA-256 that a client computes`, async () => {
    assert.equal(await sessionKey(token), createHash('sha256').update(token, 'utf8').digest())
  })
}

test('no token has no key', async () => {
  assert.is(await sessionKey(null), null)
})

test.run()
