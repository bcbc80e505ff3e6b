// Values that an application's schema types and checks.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore, type StandardSchema } from '../../src/index.ts'
import { closeAll, databaseUrl, hashKey, rejection, TestResponse, testStore, Visitor } from '../support/harness.ts'
import { areInstalled } from '../versions.ts'

test.after(closeAll)

interface Cart {
  items: string[]
  at?: Date
}

/** By hand: `items` is a list of strings, [] if it is missing; `at` a date, as text in JSON. Unknown keys are dropped. */
function cartSchema(isAsync = false): StandardSchema<Cart> {
  const validate = (value: unknown) => {
    const { items = [], at } = value as { items?: unknown; at?: unknown }
    if (!Array.isArray(items)) return { issues: [{ message: `no list: ${String(items)}`, path: ['items'] }] }
    const bad = items.findIndex((item) => typeof item !== 'string')
    if (bad >= 0) return { issues: [{ message: `no text: ${items[bad]}`, path: [{ key: 'items' }, bad] }] }
    if (at === undefined) return { value: { items } }
    const date = new Date(at as string)
    return Number.isNaN(date.getTime())
      ? { issues: [{ message: 'no date', path: ['at'] }] }
      : { value: { items, at: date } }
  }
  const answer = (value: unknown) => (isAsync ? Promise.resolve(validate(value)) : validate(value))
  return { '~standard': { version: 1, vendor: 'test', validate: answer } }
}

function storeOf<Values extends object>(values: StandardSchema<Values>, invalidValues?: 'error' | 'new') {
  return new PGStore({ connectionString: databaseUrl, keyPairs: [hashKey], values, invalidValues })
}

for (const isAsync of [false, true]) {
  test(`values are typed and checked, read and saved, by a schema that is ${isAsync ? '' : 'not '}async`, async () => {
    const store = storeOf(cartSchema(isAsync))
    const visitor = new Visitor()
    const fresh = await store.get(visitor.request(), 'sid')
    assert.equal(fresh.values, { items: [] }, 'defaults')
    const at = new Date('2026-11-28T12:00:00Z')
    await visitor.visit(store, ({ values }) => {
      values.items.push('tea')
      values.at = at
    })
    const session = await store.get(visitor.request(), 'sid')
    assert.equal(session.values, { items: ['tea'], at })
    const error = await rejection(
      visitor.visit(store, ({ values }) => void (values.items as unknown[]).push({ secret: 1 })),
    )
    assert.is(error.code, 'invalid_value')
    assert.match(error.message, /values\.items\[1\]/)
    assert.not.match(error.message, /secret|no text/)
    assert.equal((await store.get(visitor.request(), 'sid')).values.items, ['tea'])
    await store.close()
  })
}

test('a visit that changes nothing saves nothing, though the schema made other objects', async () => {
  const store = storeOf(cartSchema())
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => Object.assign(values, { items: ['a'], at: new Date(0) }))
  const { session } = await visitor.visit(store)
  assert.is(session.version, 1)
  await store.close()
})

test('keys that the schema drops stay, and so do flash messages and a changed maxAge', async () => {
  const plain = testStore()
  const visitor = new Visitor()
  await visitor.visit(plain, (session) => {
    session.values = { items: ['a'], later: { release: true } }
    session.addFlash('saved')
    session.options.maxAge = 600
  })
  const store = storeOf(cartSchema())
  const { session } = await visitor.visit(store, ({ values }) => values.items.push('b'))
  assert.equal(session.flashes(), ['saved'])
  assert.is(session.options.maxAge, 600)
  const kept = await plain.new(visitor.request(), 'sid')
  assert.equal(kept.values, { items: ['a', 'b'], later: { release: true }, _flash: ['saved'] })
  await store.close()
})

test('a stored session that no longer fits is invalid_value with the path, or a new session by option', async () => {
  const plain = testStore()
  const visitor = new Visitor()
  await visitor.visit(plain, (session) => {
    session.values = { items: 'before' }
    session.userId = 'someone'
  })
  const strict = storeOf(cartSchema())
  const error = await rejection(strict.get(visitor.request(), 'sid'))
  assert.equal([error.code, error.message], ['invalid_value', 'The schema refuses what is stored: values.items.'])
  const mild = storeOf(cartSchema(), 'new')
  const session = await mild.get(visitor.request(), 'sid')
  assert.equal([session.isNew, session.userId, session.values], [true, undefined, { items: [] }])
  await strict.close()
  await mild.close()
})

test('the values of a conflict, of a cached session and of one read anew are checked too', async () => {
  const plain = testStore()
  const store = new PGStore({ connectionString: databaseUrl, keyPairs: [hashKey], values: cartSchema(), cache: true })
  const visitor = new Visitor()
  const at = new Date(0)
  await visitor.visit(store, ({ values }) => Object.assign(values, { items: ['a'], at }))
  for (let turn = 0; turn < 3; turn++) {
    assert.equal((await store.get(visitor.request(), 'sid')).values.at, at)
    assert.equal((await store.get(visitor.request(), 'sid', { fresh: true })).values.at, at)
  }
  const request = visitor.request()
  const session = await store.get(request, 'sid')
  await visitor.visit(plain, ({ values }) => Object.assign(values, { items: ['b'] }))
  session.values.items.push('c')
  const options = { ifUnchanged: true }
  const conflict = await rejection(store.save(request, new TestResponse(), session, options))
  assert.is(conflict.code, 'conflict')
  assert.equal(session.values, { items: ['b'], at })
  await store.close()
})

test('what is no schema is invalid_option', () => {
  for (const values of [{}, () => {}, { '~standard': { version: 2, validate() {} } }, null]) {
    assert.throws(
      () => new PGStore({ connectionString: databaseUrl, keyPairs: [hashKey], values: values as never }),
      (error: { code?: string; message: string }) =>
        error.code === 'invalid_option' && error.message.includes('Standard Schema'),
    )
  }
  assert.throws(
    () => new PGStore({ connectionString: databaseUrl, keyPairs: [hashKey], invalidValues: 'drop' as never }),
    /invalidValues/,
  )
})

// biome-ignore lint/suspicious/noExplicitAny: packages that are not the project's own
type Library = any

/** The same schema in each library, from its file in test/versions. */
const libraries: Readonly<Record<string, readonly [file: string, (library: Library) => StandardSchema<Cart>]>> = {
  zod: [
    'zod/index.js',
    ({ z }) => z.object({ items: z.array(z.string()).default([]), at: z.coerce.date().optional() }),
  ],
  valibot: [
    'valibot/dist/index.mjs',
    (v) => {
      const date = v.pipe(
        v.string(),
        v.transform((text: string) => new Date(text)),
      )
      return v.object({ items: v.optional(v.array(v.string()), []), at: v.optional(date) })
    },
  ],
  arktype: ['arktype/out/index.js', ({ type }) => type({ items: 'string[] = []', 'at?': 'string.date.parse' })],
}

for (const [name, [file, schemaOf]] of Object.entries(libraries)) {
  if (!areInstalled) {
    console.log(`Skipped: ${name} is not installed: npm ci --prefix test/versions.`)
    continue
  }
  test(`a schema of ${name}`, async () => {
    const store = storeOf(schemaOf(await import(new URL(`../versions/node_modules/${file}`, import.meta.url).href)))
    const visitor = new Visitor()
    const at = new Date(0)
    await visitor.visit(store, ({ values }) => {
      values.items.push('tea')
      values.at = at
    })
    assert.equal((await store.get(visitor.request(), 'sid')).values, { items: ['tea'], at })
    const failed = visitor.visit(store, ({ values }) => Object.assign(values, { items: [7] }))
    const error = await rejection(failed)
    assert.equal([error.code, error.message], ['invalid_value', 'The schema refuses what is saved: values.items[0].'])
    await store.close()
  })
}

test.run()
