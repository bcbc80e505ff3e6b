import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { counts } from '../support/counts.ts'
import { closeAll, TestResponse, testStore, Visitor } from '../support/harness.ts'
import { fc } from '../support/property.ts'

const store = testStore({ maxLength: 0 })
test.after(closeAll)

/** Text that Postgres can store: any Unicode but NUL and lone surrogates. */
const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => !text.includes('\0') && text.isWellFormed())
const key = fc.oneof(
  text,
  fc.constantFrom('', '__proto__', 'constructor', 'prototype', 'toString', 'a.b', '"', '\\', 'a', 'A', '🙂', '_flash'),
)
const number = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(1e300, -1e300, 5e-324, Number.MAX_VALUE, Number.MAX_SAFE_INTEGER, 0.1, -0),
)
const value = fc.letrec((tie) => ({
  any: fc.oneof({ depthSize: 'small' }, tie('leaf'), tie('list'), tie('object')),
  leaf: fc.oneof(text, number, fc.boolean(), fc.constant(null)),
  list: fc.array(tie('any'), { maxLength: 4 }),
  object: fc.dictionary(key, tie('any'), { maxKeys: 4 }).map(plain),
})).any
const values = fc.dictionary(key, value, { maxKeys: 6 }).map(plain)

/** As JSON.parse makes objects: ordinary ones, with own keys whatever they are called. */
function plain<T>(object: Record<string, T>): Record<string, T> {
  const copy: Record<string, T> = {}
  for (const [name, inner] of Object.entries(object)) {
    Object.defineProperty(copy, name, { value: inner, enumerable: true, configurable: true, writable: true })
  }
  return copy
}

/** A value read back may differ only in the sign of a zero, which JSON does not have. */
const unsigned = (_key: string, inner: unknown) => (Object.is(inner, -0) ? 0 : inner)

function isSame(actual: unknown, expected: unknown): void {
  const sorted = (inner: unknown): unknown => {
    if (Array.isArray(inner)) return inner.map(sorted)
    if (typeof inner !== 'object' || inner === null) return unsigned('', inner)
    return Object.entries(inner)
      .map(([name, value]) => [name, sorted(value)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
  }
  assert.equal(sorted(actual), sorted(expected))
}

test('for any value in the allowed domain, get(save(x)) deep-equals x', async () => {
  await fc.assert(
    fc.asyncProperty(values, async (x) => {
      const visitor = new Visitor()
      await visitor.visit(store, (session) => {
        session.values = x
        session.userId = 'somebody' // so that an empty one is saved too
      })
      const again = await store.get(visitor.request(), 'sid')
      isSame(again.values, x)
      assert.is(Object.getPrototypeOf(again.values), Object.prototype)
    }),
    { numRuns: counts(80, 1000) },
  )
})

test('values that were read and not changed are not written', async () => {
  await fc.assert(
    fc.asyncProperty(values, async (x) => {
      const visitor = new Visitor()
      await visitor.visit(store, (session) => {
        session.values = x
        session.userId = 'somebody'
      })
      const { session } = await visitor.visit(store, (session) => {
        session.values = structuredClone(x)
      })
      assert.is(session.version, 1)
    }),
    { numRuns: counts(40, 300) },
  )
})

test('any sequence of changes leaves what a plain object would hold', async () => {
  const change = fc.record({ key, value: fc.option(value, { nil: undefined }) })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 5 }), async (visits) => {
      const visitor = new Visitor()
      const model = new Map<string, unknown>()
      for (const changes of visits) {
        await visitor.visit(store, (session) => {
          session.userId = 'somebody'
          for (const { key, value } of changes) {
            const values = session.values
            if (value === undefined) {
              delete values[key]
              model.delete(key)
            } else {
              Object.defineProperty(values, key, { value, enumerable: true, configurable: true, writable: true })
              model.set(key, value)
            }
          }
        })
      }
      const again = await store.get(visitor.request(), 'sid')
      const byKey = ([a]: [string, unknown], [b]: [string, unknown]) => (a < b ? -1 : 1)
      isSame(Object.entries(again.values).sort(byKey), [...model].sort(byKey))
    }),
    { numRuns: counts(30, 200) },
  )
})

test('keys that could pollute a prototype are own properties of this session and of nothing else', async () => {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values = JSON.parse('{"__proto__":{"admin":true},"constructor":{"admin":true},"prototype":{"admin":true}}')
  })
  const req = visitor.request()
  const session = await store.get(req, 'sid')
  assert.is((session.values as { admin?: boolean }).admin, undefined)
  assert.is(({} as { admin?: boolean }).admin, undefined)
  assert.equal(Object.keys(session.values).sort(), ['__proto__', 'constructor', 'prototype'])
  session.values['more'] = 1
  await store.save(req, new TestResponse(), session)
  const again = await store.get(visitor.request(), 'sid')
  assert.equal(Object.keys(again.values).sort(), ['__proto__', 'constructor', 'more', 'prototype'])
})

test.run()
