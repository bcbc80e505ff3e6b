import { isDeepStrictEqual } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readJson } from '../../src/database/read-json.ts'

// Each after its forerunner, which V8 takes for the shape of what follows.
for (const [before, name] of [
  ['\\', '"'],
  ['b\\', 'b"'],
  ['b\\', 'b"c'],
  ['c\\\\', 'c\\"'],
  ['\u0001\\', '\u0001"'],
  ['"\\', '""'],
  ['\\', '\n'],
  ['\\', '\u0001'],
] as const) {
  test(`the key ${JSON.stringify(name)} is read as it is, after ${JSON.stringify(before)}`, () => {
    for (let n = 0; n < 3; n++) {
      assert.equal(Object.keys(readJson(JSON.stringify({ a: 1, [before]: n })) as object), ['a', before])
      assert.equal(Object.keys(readJson(JSON.stringify({ a: 1, [name]: n })) as object), ['a', name])
    }
  })
}

test('keys that need an escape stand beside others, and deep inside', () => {
  const value = { 'k"': 1, k0: [{ '\n': { '"': [], __proto__x: 1 } }, '"a":'], '\\': { '': 2, 'kk\t': null } }
  assert.equal(readJson(JSON.stringify(value)), value)
  assert.equal(readJson(JSON.stringify(value, undefined, 2)), value)
})

test('the key __proto__ stays a key, written with an escape too', () => {
  for (const name of ['__proto__', String.raw`\u005f_proto__`]) {
    const read = readJson(`{"${name}":{"a":1},"\\n":2}`) as object
    assert.equal(Object.keys(read).sort(), ['\n', '__proto__'])
    assert.is(Object.getPrototypeOf(read), Object.prototype)
  }
})

test('megabytes of escapes are read', () => {
  for (const value of [{ '"': '"'.repeat(5_000_000) }, { ['a\n'.repeat(100_000)]: 'x\n'.repeat(1_000_000) }]) {
    assert.ok(isDeepStrictEqual(readJson(JSON.stringify(value)), value))
  }
})

test('text that is not JSON is an error', () => {
  for (const text of ['{"\\"', '{"\\":1', '"\\', '{"a\\q":1}']) assert.throws(() => readJson(text), /JSON/)
})

test('thousands of levels are read', () => {
  const deep = 5000
  assert.ok(readJson(`${'{"\\"":'.repeat(deep)}1${'}'.repeat(deep)}`))
})

for (const value of ['"', '\\"', '\\\\"', '"\\', 'a\\', '\\u0022', ['"', '\\'], { '\\"\\': '"' }]) {
  test(`${JSON.stringify(value)} is read as JSON.parse reads it`, () => {
    assert.equal(readJson(JSON.stringify(value)), value)
  })
}

test.run()
