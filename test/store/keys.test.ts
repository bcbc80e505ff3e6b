import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codecsFromKeys, codecsFromPairs, PGStore, type PGStoreOptions } from '../../src/index.ts'
import { clientUrl, closeAll, hashKey, row, testStore, Visitor } from '../support/harness.ts'

test.after(closeAll)

const newKey = 'a newer hash key, of 32 bytes....'

async function visitorOf(store: PGStore): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values['a'] = 1
  })
  return visitor
}

test('A13: a list of keys rotates: the first signs, all verify, a dropped one is dead', async () => {
  const visitor = await visitorOf(testStore({ keys: [hashKey] }))
  const old = visitor.jar.get('sid')
  const { session } = await visitor.visit(testStore({ keys: [newKey, hashKey] }))
  assert.equal(session.values, { a: 1 })
  assert.is.not(visitor.jar.get('sid'), old)
  const retired = testStore({ keys: [newKey] })
  assert.is((await retired.get(visitor.request(), 'sid')).isNew, false)
  assert.is((await retired.get({ headers: { cookie: `sid=${old}` } }, 'sid')).isNew, true)
})

test('A13: every key of the list verifies, whatever its length and its place', async () => {
  const keys = [newKey, randomBytes(32), hashKey, randomBytes(64), 'x'.repeat(43)]
  const all = testStore({ keys })
  for (const key of keys) {
    const visitor = await visitorOf(testStore({ keys: [key] }))
    assert.is((await all.get(visitor.request(), 'sid')).isNew, false)
  }
})

test('A13: the same list as keyPairs is a hash key and a block key, as in Go', async () => {
  const visitor = await visitorOf(testStore({ keys: [hashKey] }))
  const block = 'b'.repeat(32)
  assert.is((await testStore({ keyPairs: [block, hashKey] }).get(visitor.request(), 'sid')).isNew, true)
  assert.is((await testStore({ keyPairs: [block, null, hashKey] }).get(visitor.request(), 'sid')).isNew, false)
})

test('keys and hash keys of pairs without block keys write and read the same cookies', async () => {
  const [keys, pairs] = [codecsFromKeys(newKey, hashKey), codecsFromPairs(newKey, null, hashKey)]
  for (const [from, to] of [
    [keys, pairs],
    [pairs, keys],
  ]) {
    for (const index of [0, 1]) {
      assert.is(to?.[index]?.decode('sid', from?.[index]?.encode('sid', 'token') as string), 'token')
    }
  }
})

test('exactly one of keys, keyPairs and codecs is given', () => {
  const codecs = codecsFromKeys(hashKey)
  const bad: [Partial<PGStoreOptions>, string][] = [
    [{}, 'give exactly one of keys, keyPairs and codecs'],
    [{ keys: [hashKey], keyPairs: [hashKey] }, 'give exactly one of keys, keyPairs and codecs'],
    [{ keys: [hashKey], codecs }, 'give exactly one of keys, keyPairs and codecs'],
    [{ keyPairs: [hashKey], codecs }, 'give exactly one of keys, keyPairs and codecs'],
    [{ keys: hashKey as never }, 'keys must be a list'],
    [{ keys: [] }, 'keys: at least one key is needed'],
    [{ keys: [hashKey, 'short'] }, 'keys: key 1: a hash key must have at least 32 bytes, this one has 5'],
    [{ keys: [hashKey, null as never] }, 'keys: key 1: a hash key is missing'],
    [{ keys: [undefined] }, 'keys: key 0: a hash key is missing'],
    [{ keys: ['', 5 as never] }, 'key 1: a hash key must be a Uint8Array or a string'],
  ]
  for (const [options, message] of bad) {
    assert.throws(
      () => new PGStore({ connectionString: clientUrl, ...options }),
      (error: { code: string; message: string }) => {
        assert.is(error.code, 'invalid_option')
        assert.match(error.message, message)
        assert.not.match(error.message, hashKey)
        return true
      },
    )
  }
})

test('a store with keys seals, and opens what an older key sealed', async () => {
  const visitor = await visitorOf(testStore({ keys: [hashKey], seal: true }))
  const both = testStore({ keys: [newKey, hashKey], seal: true })
  const { session } = await visitor.visit(both, ({ values }) => {
    values['b'] = 2
  })
  const { data } = await row<{ data: object }>('select data from pgstore.sessions where id = $1', session.id)
  assert.match(JSON.stringify(data), /"a":"sealed:1:/)
  assert.equal((await visitor.visit(testStore({ keys: [newKey], seal: true }))).session.values, { a: 1, b: 2 })
})

test.run()
