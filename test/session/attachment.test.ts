import { inspect } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attachment } from '../../src/session/attachment.ts'

test('each attachment keeps one value per object, the last one set', () => {
  const [one, other] = [attachment<string>(), attachment<string>()]
  const [a, b] = [{}, {}]
  one.set(a, 'first')
  other.set(a, 'other')
  one.set(a, 'last')
  assert.equal([one.get(a), other.get(a), one.get(b), other.get(b)], ['last', 'other', undefined, undefined])
  one.set(a, undefined)
  assert.equal([one.get(a), other.get(a)], [undefined, 'other'])
})

test('it is invisible on the object and not copied with it', () => {
  const secrets = attachment<string>()
  const owner = { name: 'request' }
  secrets.set(owner, 'secret')
  assert.equal(Reflect.ownKeys(owner), ['name'])
  assert.equal(inspect(owner, { showHidden: true, depth: null }), "{ name: 'request' }")
  assert.equal(JSON.stringify(owner), '{"name":"request"}')
  for (const copy of [{ ...owner }, structuredClone(owner), Object.create(owner), new Proxy(owner, {})]) {
    assert.equal(secrets.get(copy), undefined)
  }
})

test('objects that cannot be extended can have one too', () => {
  const values = attachment<number>()
  for (const owner of [Object.freeze({}), Object.seal([]), Object.preventExtensions(() => {})]) {
    values.set(owner, 1)
    values.set(owner, 2)
    assert.equal(values.get(owner), 2)
  }
})

test.run()
