// What the database's operator sees of a sealed store, and what happens to the operator's changes.
import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { admin, closeAll, databaseUrl, hashKey, rejection, row, sql, testStore, Visitor } from '../support/harness.ts'
import { fc } from '../support/property.ts'

test.after(closeAll)

const older = 'the hash key before it, 32 bytes!'
const sealedStore = (options: object = {}) => testStore({ seal: true, ...options })

async function visitorWith(store: PGStore, values: object): Promise<{ visitor: Visitor; id: string }> {
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, (fresh) => {
    fresh.values = { ...values }
  })
  return { visitor, id: session.id as string }
}

async function storedData(id: string): Promise<Record<string, unknown>> {
  return (await row<{ data: Record<string, unknown> }>('select data from pgstore.sessions where id = $1', id)).data
}

async function setData(id: string, data: object): Promise<void> {
  await sql('update pgstore.sessions set data = $2::jsonb where id = $1', id, JSON.stringify(data))
}

test('the stored data shows names, and nothing of the values', async () => {
  const store = sealedStore()
  const { visitor, id } = await visitorWith(store, { card: 'hunter2', list: ['hunter2'], n: 424242 })
  const text = JSON.stringify(await storedData(id))
  assert.equal(Object.keys(JSON.parse(text)).sort(), ['card', 'list', 'n'])
  assert.not.match(text, /hunter2|424242/)
  const { session } = await visitor.visit(store)
  assert.equal(session.values, { card: 'hunter2', list: ['hunter2'], n: 424242 })
})

test('equal values are sealed differently, also when one is saved again', async () => {
  const store = sealedStore()
  const { visitor, id } = await visitorWith(store, { a: 'same', b: 'same' })
  const before = await storedData(id)
  assert.is.not(before['a'], before['b'])
  await visitor.visit(store, ({ values }) => {
    values['a'] = 'other'
  })
  await visitor.visit(store, ({ values }) => {
    values['a'] = 'same'
  })
  assert.is.not((await storedData(id))['a'], before['a'])
  assert.is((await storedData(id))['b'], before['b'])
})

test('requests that change different keys are merged, as without the seal', async () => {
  const store = sealedStore()
  const { visitor } = await visitorWith(store, { start: 1 })
  await Promise.all(
    Array.from({ length: 20 }, async (_, n) => {
      const other = new Visitor()
      for (const [name, value] of visitor.jar) other.jar.set(name, value)
      await other.visit(store, ({ values }) => {
        values[`key${n}`] = n
      })
    }),
  )
  const { session } = await visitor.visit(store)
  assert.is(Object.keys(session.values).length, 21)
})

test('a session is read and saved under its new key after it was regenerated', async () => {
  const store = sealedStore()
  const { visitor, id } = await visitorWith(store, { a: 1, b: 'two', gone: true })
  const req = visitor.request()
  const { session, res } = await visitor.visit(store, async (loaded, request, response) => {
    loaded.userId = '42'
    loaded.values['a'] = 9
    delete loaded.values['gone']
    await store.regenerate(request, response, loaded)
  })
  assert.is(res.cookies.length, 1)
  assert.is(session.id, id)
  assert.equal((await visitor.visit(store)).session.values, { a: 9, b: 'two' })
  await visitor.visit(store, ({ values }) => {
    values['c'] = 3
  })
  assert.equal((await visitor.visit(store)).session.values, { a: 9, b: 'two', c: 3 })
  assert.ok((await store.new(req, 'sid')).isNew)
})

test('values that others save while a session is regenerated are kept', async () => {
  const store = sealedStore()
  const { visitor } = await visitorWith(store, { a: 1 })
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  session.values['mine'] = 1
  await visitor.visit(store, ({ values }) => {
    values['theirs'] = 2
  })
  await visitor.visit(store, async (_, __, res) => await store.regenerate(req, res, session))
  assert.equal((await visitor.visit(store)).session.values, { a: 1, mine: 1, theirs: 2 })
})

test('ifUnchanged holds after a regenerate', async () => {
  const store = sealedStore()
  const { visitor } = await visitorWith(store, { n: 1 })
  await visitor.visit(store, async (session, req, res) => {
    await store.regenerate(req, res, session)
    session.values['n'] = 2
    await store.save(req, res, session, { ifUnchanged: true })
  })
  assert.equal((await visitor.visit(store)).session.values, { n: 2 })
})

const damages: Record<string, (data: Record<string, string>, other: Record<string, string>) => object> = {
  'one character changed': ({ a = '', b }) => ({ a: `${a.slice(0, 40)}${a[40] === 'A' ? 'B' : 'A'}${a.slice(41)}`, b }),
  'cut short': ({ a = '', b }) => ({ a: a.slice(0, 30), b }),
  'an empty seal': ({ b }) => ({ a: 'sealed:1:', b }),
  'moved to another name': ({ a, b }) => ({ a: b, b: a }),
  'moved from another session': ({ b }, other) => ({ a: other['a'], b }),
  'plain text': ({ b }) => ({ a: 'admin', b }),
  'plain JSON': ({ b }) => ({ a: { admin: true }, b }),
}

for (const [name, damage] of Object.entries(damages)) {
  test(`a value that was tampered with (${name}) is an error and never shown`, async () => {
    const store = sealedStore()
    const [one, two] = [await visitorWith(store, { a: 'x', b: 'y' }), await visitorWith(store, { a: 'z' })]
    const data = (await storedData(one.id)) as Record<string, string>
    await setData(one.id, damage(data, (await storedData(two.id)) as Record<string, string>))
    const error = await rejection(store.get(one.visitor.request(), 'sid'))
    assert.is(error.code, 'sealed')
    assert.match(error.message, new RegExp(`Session ${one.id}: .*"a"`))
    assert.not.match(error.message, /admin/)
  })
}

test('older keys open, the first seals, and a save re-seals what an older key had sealed', async () => {
  const { visitor, id } = await visitorWith(sealedStore({ keyPairs: [older] }), { a: 1, b: 2 })
  const store = sealedStore({ keyPairs: [hashKey, null, older] })
  const before = await storedData(id)
  const { session } = await visitor.visit(store)
  assert.equal(session.values, { a: 1, b: 2 })
  const after = await storedData(id)
  assert.is.not(after['a'], before['a'])
  const alone = sealedStore()
  assert.equal((await visitor.visit(alone)).session.values, { a: 1, b: 2 })
  assert.is((await row<{ version: number }>('select version from pgstore.sessions where id = $1', id)).version, 2)
})

test('re-sealing does not overwrite what another request saves in between', async () => {
  const { visitor } = await visitorWith(sealedStore({ keyPairs: [older] }), { a: 1, b: 2 })
  const store = sealedStore({ keyPairs: [hashKey, null, older] })
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  session.values['b'] = 'mine'
  const others = new Visitor()
  for (const [name, value] of visitor.jar) others.jar.set(name, value)
  await others.visit(store, ({ values }) => {
    values['a'] = 'theirs'
  })
  await visitor.visit(store, async (_, __, res) => await store.save(req, res, session))
  assert.equal((await visitor.visit(store)).session.values, { a: 'theirs', b: 'mine' })
})

test('a key that is no longer in the ring opens nothing', async () => {
  const { id, visitor } = await visitorWith(sealedStore({ keyPairs: [older] }), { a: 1 })
  const both = sealedStore({ keyPairs: [hashKey, null, older] })
  const data = await storedData(id)
  await visitor.visit(both)
  await setData(id, data)
  assert.is((await rejection(sealedStore().get(visitor.request(), 'sid'))).code, 'sealed')
})

test("'gradual' reads plain values and seals them at the next save", async () => {
  const { visitor, id } = await visitorWith(testStore(), { a: 1, b: 'two' })
  const store = sealedStore({ seal: 'gradual' })
  await visitor.visit(store)
  assert.not.match(JSON.stringify(await storedData(id)), /two/)
  assert.equal((await visitor.visit(sealedStore())).session.values, { a: 1, b: 'two' })
})

test("list shows a user's sessions without values", async () => {
  const store = sealedStore()
  await new Visitor().visit(store, (session) => {
    session.userId = 'sealed user'
    session.values['a'] = 1
  })
  const [listed] = await store.list('sealed user')
  assert.equal(listed?.values, {})
})

test('withClient seals too', async () => {
  const store = sealedStore()
  const { visitor, id } = await visitorWith(store, {}).then(() => visitorWith(store, { a: 'x' }))
  const client = await admin.connect()
  const inside = store.withClient(client)
  await visitor.visit(inside, ({ values }) => {
    values['b'] = 'secret'
  })
  client.release()
  assert.not.match(JSON.stringify(await storedData(id)), /secret/)
  assert.equal((await visitor.visit(store)).session.values, { a: 'x', b: 'secret' })
})

test('a session’s own maxAge is kept', async () => {
  const store = sealedStore()
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values['a'] = 1
    session.options.maxAge = 3600
  })
  assert.is((await visitor.visit(store)).session.options.maxAge, 3600)
})

test('the limit counts what is stored', async () => {
  const store = sealedStore({ maxLength: 200 })
  const error = await rejection(visitorWith(store, { a: 'x'.repeat(150) }))
  assert.is(error.code, 'too_large')
})

test('codecs alone give no key to seal with', () => {
  const codecs = testStore().codecs
  assert.throws(() => new PGStore({ connectionString: databaseUrl, codecs, seal: true }), /seal needs keys/)
})

test('any value that a session can hold comes back', async () => {
  const store = sealedStore({ maxLength: 0, keyPairs: [randomBytes(32)] })
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), async (values) => {
      const kept = JSON.parse(JSON.stringify(values).replaceAll('\\u0000', '')) as Record<string, unknown>
      delete kept['_maxAge']
      if (Object.keys(kept).length === 0) return
      const { visitor } = await visitorWith(store, kept)
      assert.equal((await visitor.visit(store)).session.values, kept)
    }),
    { numRuns: 200 },
  )
})

test.run()
