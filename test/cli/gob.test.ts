// test/vectors/gob.json was written once by a Go 1.19 program: encoding/gob's bytes of a value, and by hand beside them, the
// JSON that it is to become.
import fs from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readGobMap } from '../../src/cli/import/gob.ts'
import { fc } from '../support/property.ts'

interface Vector {
  readonly comment: string
  readonly gob: string
  readonly values?: unknown
  readonly problem?: string
}

const vectors: readonly Vector[] = JSON.parse(fs.readFileSync(new URL('../vectors/gob.json', import.meta.url), 'utf8'))

/** As it goes into a session; a problem as its phrase. */
function read(hex: string): unknown {
  const result = readGobMap(Buffer.from(hex, 'hex'))
  return 'values' in result ? JSON.parse(JSON.stringify(result.values)) : result.problem
}

function gobOf(comment: string): string {
  const vector = vectors.find((candidate) => candidate.comment === comment)
  if (!vector) throw new Error(`No vector ${comment}.`)
  return vector.gob
}

for (const { comment, gob, values, problem } of vectors) {
  const outcome = problem === undefined ? 'reads what Go wrote' : 'refuses what a session cannot store'
  test(`the gob reader ${outcome}: ${comment}`, () => {
    const found = read(gob)
    // uvu's own comparison does not see a key __proto__.
    assert.ok(isDeepStrictEqual(found, values ?? problem), JSON.stringify(found))
  })
}

test('a newer Go, which counts its types from 64, is read too', () => {
  const older = gobOf('text')
  assert.ok(older.startsWith('0eff81040102ff82'))
  const newer = older.replace('0eff81040102ff82', '0d7f040102ff80').replaceAll('ff82', 'ff80')
  assert.equal(read(newer), read(older))
})

test('no bytes are cut off, added or left over without being noticed', () => {
  for (const { gob } of vectors.filter(({ values }) => values !== undefined)) {
    const bytes = Buffer.from(gob, 'hex')
    for (let length = 0; length < bytes.length; length++) {
      assert.ok('problem' in readGobMap(bytes.subarray(0, length)), `${gob} cut to ${length}`)
    }
    assert.equal(readGobMap(Buffer.concat([bytes, Buffer.of(0)])), { problem: 'not a gob encoding' })
  }
})

test('whatever the bytes are, the result is values or a problem, never an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const result = readGobMap(Buffer.from(bytes))
      assert.ok('problem' in result || 'values' in result)
    }),
    { numRuns: 2000 },
  )
})

test('what Go wrote, with bytes altered, is values or a problem too', () => {
  const change = fc.record({ at: fc.nat(), byte: fc.nat(255) })
  fc.assert(
    fc.property(fc.constantFrom(...vectors), fc.array(change, { minLength: 1, maxLength: 4 }), ({ gob }, changes) => {
      const bytes = Buffer.from(gob, 'hex')
      for (const { at, byte } of changes) bytes[at % bytes.length] = byte
      const result = readGobMap(bytes)
      assert.ok('problem' in result || 'values' in result)
    }),
    { numRuns: 5000 },
  )
})

test('an endless list of lists is refused for its depth', () => {
  // Type 65 is a slice of type 65. Its value: 200 lists of one list.
  const definition = '0cff81020102ff820001ff820000'
  const value = Buffer.from(`ff8200${'01'.repeat(200)}00`, 'hex')
  // At the top there must be a map, so the slice is the element of one: type 66, from text.
  const map = '0eff83040102ff8400010c01ff820000'
  const message = Buffer.concat([Buffer.from('ff8400010161', 'hex'), value.subarray(3)])
  const result = read(`${definition}${map}${lengthOf(message)}${message.toString('hex')}`)
  assert.is(result, 'more than 32 levels')
})

test('a few bytes that expand to many values are refused', () => {
  const fields = 500
  const field = Buffer.from('010161010400', 'hex') // name "a", type int
  const struct = Buffer.concat([
    Buffer.from('ff81030102ff820001', 'hex'),
    uint(fields),
    ...Array.from({ length: fields }, () => field),
    Buffer.from('0000', 'hex'),
  ])
  const slice = Buffer.from('ff83020102ff840001ff820000', 'hex')
  const map = Buffer.from('ff85040102ff8600010c01ff840000', 'hex')
  const elements = 1000
  const value = Buffer.concat([Buffer.from('ff8600010161', 'hex'), uint(elements), Buffer.alloc(elements)])
  const stream = [struct, slice, map, value].map((message) => `${lengthOf(message)}${message.toString('hex')}`)
  assert.is(read(stream.join('')), 'too many values')
})

function uint(value: number): Buffer {
  return value <= 0x7f ? Buffer.of(value) : Buffer.of(0xfe, value >> 8, value & 0xff)
}

function lengthOf(message: Buffer): string {
  return uint(message.length).toString('hex')
}

test.run()
