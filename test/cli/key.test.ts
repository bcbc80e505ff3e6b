import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, testStore, Visitor } from '../support/harness.ts'
import { pgstore, pgstoreJson } from './pgstore.ts'

test.after(closeAll)

test('key prints a new key alone on a line, and says on stderr where to put it', async () => {
  const [one, two] = [await pgstore(['key'], { DATABASE_URL: '' }), await pgstore(['key'], { DATABASE_URL: '' })]
  for (const { code, stdout, stderr } of [one, two]) {
    assert.is(code, 0)
    assert.match(stdout, /^[\w-]{43}\n$/)
    assert.match(stderr, 'keys: [process.env.SESSION_KEY')
    assert.not.match(stderr, stdout.trim())
  }
  assert.is.not(one.stdout, two.stdout)
})

test('key --json prints it as JSON and nothing else', async () => {
  const { key } = await pgstoreJson<{ key: string }>(['key'])
  assert.is(Buffer.from(key, 'base64url').length, 32)
  assert.is((await pgstore(['key', '--json'])).stderr, '')
})

test('the printed text can be used as a key unchanged', async () => {
  const { key } = await pgstoreJson<{ key: string }>(['key'])
  const store = testStore({ keys: [key] })
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values['a'] = 1
  })
  assert.equal((await store.get(visitor.request(), 'sid')).values, { a: 1 })
})

test('key takes no argument and no options of other commands', async () => {
  assert.is((await pgstore(['key', 'sid'])).code, 2)
  assert.is((await pgstore(['key', '--keys', 'file'])).code, 2)
  const { code, stdout } = await pgstore(['key', '--help'])
  assert.is(code, 0)
  assert.match(stdout, 'keys: [newKey, oldKey]')
})

test.run()
