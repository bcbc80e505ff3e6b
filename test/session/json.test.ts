import vm from 'node:vm'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeJson, type Json, printedBytes, sameJson } from '../../src/session/json.ts'
import { counts } from '../support/counts.ts'
import { closeAll, sql } from '../support/harness.ts'
import { fc } from '../support/property.ts'

test.after(closeAll)

const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)])

function message(value: unknown): string {
  try {
    encodeJson(value, 'values.x')
  } catch (error) {
    return (error as Error).message
  }
  return 'accepted'
}

test('values that JSON cannot carry are refused with their path', () => {
  class Cart {
    items = []
  }
  const cycle: Record<string, unknown> = {}
  cycle['self'] = { again: cycle }
  const sparse: number[] = Object.assign([1], { 2: 3 })
  const cases: [unknown, string][] = [
    [[1, undefined], 'values.x[1] is undefined'],
    [sparse, 'values.x[1] is undefined'],
    [{ a: [{ b: () => {} }] }, 'values.x.a[0].b is a function'],
    [Symbol('s'), 'values.x is a symbol'],
    [{ n: 1n }, 'values.x.n is a bigint'],
    [Number.NaN, 'values.x is NaN'],
    [[Number.POSITIVE_INFINITY], 'values.x[0] is Infinity'],
    [{ 'odd key': -Infinity }, 'values.x["odd key"] is -Infinity'],
    ['a\0b', 'values.x contains a NUL character'],
    [{ 'k\0': 1 }, 'values.x["k\\u0000"] contains a NUL character'],
    ['\ud800', 'values.x contains a lone surrogate'],
    [{ '\udc00': 1 }, 'values.x["\\udc00"] contains a lone surrogate'],
    [new Map(), 'values.x is a Map'],
    [new Set([1]), 'values.x is a Set'],
    [/x/, 'values.x is a RegExp'],
    [new Error('x'), 'values.x is a Error'],
    [new Cart(), 'values.x is a Cart'],
    [new Date(Number.NaN), 'values.x is an invalid Date'],
    [Object.assign({}, { a: Object.create({ inherited: 1 }) }), 'values.x.a is not a plain object'],
    [cycle, 'values.x.self.again contains itself'],
    [nested(65), `values.x${'[0]'.repeat(64)} is more than 64 levels deep`],
  ]
  for (const [value, expected] of cases) assert.match(message(value), `${expected}: a session cannot store that.`)
})

test('64 levels are accepted, and so is the same object twice', () => {
  const shared = { a: 1 }
  assert.is(message(nested(64)), 'accepted')
  assert.is(encodeJson([shared, shared], 'x'), '[{"a":1},{"a":1}]')
})

test('objects are stored as what their toJSON returns; a Date as its ISO string', () => {
  assert.is(encodeJson({ at: new Date(0) }, 'x'), '{"at":"1970-01-01T00:00:00.000Z"}')
  assert.is(encodeJson(new URL('http://localhost/a'), 'x'), '"http://localhost/a"')
  assert.match(message({ toJSON: () => [undefined] }), 'values.x[0] is undefined')
})

test('undefined properties are left out, plain objects of another realm are plain', () => {
  assert.is(encodeJson({ a: undefined, b: 1 }, 'x'), '{"b":1}')
  assert.is(encodeJson(vm.runInNewContext('({ a: [1, { b: null }] })'), 'x'), '{"a":[1,{"b":null}]}')
  assert.is(encodeJson(Object.assign(Object.create(null), { a: 1 }), 'x'), '{"a":1}')
})

test('a __proto__ that came in through JSON stays an own key and pollutes nothing', () => {
  const value = JSON.parse('{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}')
  assert.is(encodeJson(value, 'x'), '{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}')
  assert.is(sameJson(JSON.parse('{"__proto__":{"admin":true}}'), JSON.parse('{"__proto__":{"admin":true}}')), true)
  assert.is(sameJson(JSON.parse('{"__proto__":{"admin":true}}'), {}), false)
  assert.is(sameJson({}, JSON.parse('{"__proto__":{"admin":true}}')), false)
  assert.is(({} as { admin?: boolean }).admin, undefined)
})

test('a __proto__ that was assigned is refused, as it would be lost', () => {
  const value: Record<string, unknown> = {}
  // biome-ignore lint/suspicious/noProto: the point
  value['__proto__'] = { admin: true }
  assert.match(message(value), 'values.x is not a plain object')
})

test('a value equals its own JSON, in any order of keys, and differs from any other', () => {
  const json = fc.jsonValue({ maxDepth: 4, noUnicodeString: false }) as fc.Arbitrary<Json>
  const reversed = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(reversed)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, inner]) => [key, reversed(inner)]),
    )
  }
  fc.assert(
    fc.property(json, (value) => sameJson(JSON.parse(JSON.stringify(value)), reversed(value))),
    { numRuns: counts(200, 2000) },
  )
  fc.assert(
    fc.property(json, json, (a, b) => {
      fc.pre(JSON.stringify(a) !== JSON.stringify(b))
      const [one, two] = [JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b))]
      const equal = sameJson(one, two)
      assert.is(equal, sameJson(two, one))
      if (equal) assert.equal(one, two)
    }),
    { numRuns: counts(200, 2000) },
  )
})

test('the comparison covers what toJSON returns and undefined properties', () => {
  assert.is(sameJson('1970-01-01T00:00:00.000Z', new Date(0)), true)
  assert.is(sameJson({ a: 1 }, { a: 1, b: undefined }), true)
  assert.is(sameJson([null], [undefined]), false)
  assert.is(sameJson([1], { 0: 1 }), false)
  assert.is(sameJson({}, []), false)
  assert.is(sameJson(null, {}), false)
})

test('the bytes of a text as Postgres prints it are known without asking: exponents, escapes, anything', async () => {
  const numbers = [1e21, -1.7976931348623157e308, 5e-324, -1.5e-7, 1e-7, 1.2345e22, 123456789.125, -0, 0.000001]
  const texts = [': , 1e+30', '"\\', '\\": 1e+21,', '\u0001\n\u007f\u2028', 'é😀']
  const samples = fc.sample(fc.jsonValue({ stringUnit: 'grapheme' }), counts(500, 5000)).filter((value) => {
    try {
      return encodeJson(value, 'x') !== undefined
    } catch {
      return false // a NUL
    }
  })
  const doubles = fc.sample(fc.double({ noNaN: true, noDefaultInfinity: true }), counts(500, 5000))
  const values = [...numbers, ...texts, { 'a:1,': [texts, {}, [], null, true] }, ...samples, ...doubles]
  const encoded = values.map((value) => encodeJson(value, 'x'))
  const printed = await sql<{ bytes: number }>(
    'select octet_length(t::jsonb::text) as bytes from unnest($1::text[]) with ordinality as u (t, n) order by n',
    encoded,
  )
  for (const [n, text] of encoded.entries()) assert.is(printedBytes(text), printed[n]?.bytes, text)
})

test.run()
