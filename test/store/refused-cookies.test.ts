// Why a cookie led to no session: counted, and published on a diagnostics channel.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Codec, type PGStore, type RefusedCookie, SecureCookie } from '../../src/index.ts'
import { newToken } from '../../src/session/token.ts'
import { admin, closeAll, hashKey, sql, testStore, Visitor } from '../support/harness.ts'

test.after(closeAll)

const none = { malformed: 0, badSignature: 0, tooOld: 0, notLive: 0, unbound: 0 }
const olderKey = 'an older hash key, of 32 bytes...'

/** A cookie value that was signed this many seconds ago. */
function signedAgo(seconds: number, key: string, token = newToken()): string {
  const now = Date.now
  Date.now = () => now() - seconds * 1000
  try {
    return new SecureCookie(key).encode('sid', token)
  } finally {
    Date.now = now
  }
}

const get = async (store: PGStore, ...values: string[]) =>
  await store.get({ headers: { cookie: values.map((value) => `sid=${value}`).join('; ') } }, 'sid')

/** What `work` publishes on the channel. */
async function told(work: () => Promise<unknown>): Promise<RefusedCookie[]> {
  const messages: RefusedCookie[] = []
  const listener = (message: unknown) => void messages.push(message as RefusedCookie)
  subscribe('pgstore:cookie-refused', listener)
  try {
    await work()
  } finally {
    unsubscribe('pgstore:cookie-refused', listener)
  }
  return messages
}

async function liveCookie(store: PGStore, userId?: string): Promise<string> {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values['secret'] = 'hunter2'
    session.userId = userId
  })
  return visitor.jar.get('sid') as string
}

test('a cookie that is read is not counted, and a visitor without one neither', async () => {
  const store = testStore()
  const cookie = await liveCookie(store)
  const messages = await told(async () => {
    assert.is((await get(store, cookie)).isNew, false)
    await store.get({ headers: {} }, 'sid')
    await store.get({ headers: { cookie: 'theme=dark; xsid=1' } }, 'sid')
  })
  assert.equal(messages, [])
  assert.equal(store.stats(), { refused: none })
})

const cases: [what: string, cookie: () => string, reason: string, count: keyof typeof none][] = [
  ['empty', () => '', 'malformed', 'malformed'],
  ['no base64', () => 's%3Aabc.def', 'malformed', 'malformed'],
  ['too short', () => 'MTIz', 'malformed', 'malformed'],
  ['too long', () => 'A'.repeat(5000), 'malformed', 'malformed'],
  ['in a second spelling', () => signedAgo(0, hashKey, 'two').replace(/=+$/, ''), 'malformed', 'malformed'],
  ['of another key', () => signedAgo(0, 'k'.repeat(32)), 'bad_signature', 'badSignature'],
  ['of another name', () => new SecureCookie(hashKey).encode('other', newToken()), 'bad_signature', 'badSignature'],
  ['altered', () => signedAgo(0, hashKey).replace(/.{8}$/, 'AAAAAAAA'), 'bad_signature', 'badSignature'],
  ['old', () => signedAgo(40 * 86400, hashKey), 'too_old', 'tooOld'],
  ['old, of the second key', () => signedAgo(40 * 86400, olderKey), 'too_old', 'tooOld'],
  ['of an unknown token', () => signedAgo(0, olderKey), 'not_live', 'notLive'],
]
for (const [what, cookie, reason, count] of cases) {
  test(`a cookie that is ${what} is refused as ${reason}`, async () => {
    const store = testStore({ keys: [hashKey, olderKey] })
    const messages = await told(async () => assert.is((await get(store, cookie())).isNew, true))
    assert.equal(messages, [{ name: 'sid', reason, schema: 'pgstore' }])
    assert.equal(store.stats().refused, { ...none, [count]: 1 })
  })
}

test('a session that was revoked or has expired is refused as not_live', async () => {
  const store = testStore()
  const [revoked, expired] = [await liveCookie(store, 'revoked'), await liveCookie(store, 'expired')]
  await store.revoke('revoked')
  await sql("update pgstore.sessions set expires_at = now() - interval '1 second' where user_id = 'expired'")
  await get(store, revoked)
  await get(store, expired)
  assert.equal(store.stats().refused, { ...none, notLive: 2 })
})

test('another block key under the same hash key is malformed', async () => {
  const [before, after] = ['b'.repeat(32), 'c'.repeat(32)].map((block) => testStore({ keyPairs: [hashKey, block] }))
  const cookie = await liveCookie(before as PGStore)
  await get(after as PGStore, cookie)
  assert.equal(after?.stats().refused, { ...none, malformed: 1 })
})

test('a rotation that forgot the old key is a burst of bad_signature', async () => {
  const store = testStore({ keys: [olderKey] })
  const cookies = await Promise.all(Array.from({ length: 10 }, () => liveCookie(store)))
  const [right, wrong] = [
    testStore({ keys: [hashKey, olderKey] }),
    testStore({ keyPairs: [hashKey, olderKey.slice(1)] }),
  ]
  for (const cookie of cookies) {
    assert.is((await get(right, cookie)).isNew, false)
    assert.is((await get(wrong, cookie)).isNew, true)
  }
  assert.equal(right.stats().refused, none)
  assert.equal(wrong.stats().refused, { ...none, badSignature: 10 })
})

test('of several cookies each one that is skipped is counted, and none after the one that is used', async () => {
  const store = testStore()
  const live = await liveCookie(store)
  const dead = () => signedAgo(0, hashKey)
  const messages = await told(async () => await get(store, 'x', dead(), live, dead()))
  assert.equal(
    messages.map(({ reason }) => reason),
    ['malformed', 'not_live'],
  )
  assert.equal(store.stats().refused, { ...none, malformed: 1, notLive: 1 })
})

test('a custom codec’s refusal counts as bad_signature unless it says why', async () => {
  const silent: Codec = { encode: (_, value) => value, decode: () => undefined }
  const telling: Codec = { ...silent, refusal: () => 'too_old' }
  const talking = { ...silent, refusal: () => 'hunter2' } as never
  for (const [codecs, expected] of [
    [[silent], { badSignature: 1 }],
    [[telling], { tooOld: 1 }],
    [[silent, telling], { tooOld: 1 }],
    [[{ ...silent, refusal: () => 'malformed' }, silent], { badSignature: 1 }],
    [[talking], { badSignature: 1 }],
  ] as [Codec[], Partial<typeof none>][]) {
    const store = testStore({ codecs })
    const messages = await told(async () => await get(store, 'cookie'))
    assert.equal(store.stats().refused, { ...none, ...expected })
    assert.not.match(inspect(messages), 'hunter2')
  }
})

test('counts and events contain no value, token, number or user', async () => {
  const store = testStore()
  const cookie = await liveCookie(store, 'told user')
  await store.revoke('told user')
  const [message] = await told(async () => await get(store, cookie))
  assert.equal(Object.keys(message ?? {}).sort(), ['name', 'reason', 'schema'])
})

test('a store and those made by withClient count together', async () => {
  const store = testStore()
  const client = await admin.connect()
  try {
    await get(store.withClient(client), 'x')
  } finally {
    client.release()
  }
  assert.equal(store.stats().refused, { ...none, malformed: 1 })
})

test('a database that fails refuses no cookie', async () => {
  const pool = {
    query: async () => await Promise.reject(new Error('down')),
    connect: async () => await admin.connect(),
  }
  const store = testStore({ pool: pool as never })
  await get(store, signedAgo(0, hashKey)).catch(() => {})
  await get(store, signedAgo(0, hashKey), signedAgo(0, hashKey)).catch(() => {})
  assert.equal(store.stats().refused, none)
})

test.run()
