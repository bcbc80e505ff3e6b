// Clear-Site-Data at sign-out: https://www.w3.org/TR/clear-site-data/
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore, type PGStoreOptions } from '../../src/index.ts'
import { clientUrl, closeAll, hashKey, TestResponse, testStore, Visitor } from '../support/harness.ts'

test.after(closeAll)

/** Clear-Site-Data of the response that saves a session, and of the one that ends it. */
async function headersOf(options: Partial<PGStoreOptions>): Promise<unknown[]> {
  const store = testStore(options)
  const visitor = new Visitor()
  const { res: saved } = await visitor.visit(store, ({ values }) => {
    values['a'] = 1
  })
  const { res: ended } = await visitor.visit(store, async (session) => {
    session.options.maxAge = -1
  })
  return [saved, ended].map((res) => res.getHeader('Clear-Site-Data'))
}

test('the response that ends a session clears what the option names, and no other response does', async () => {
  assert.equal(await headersOf({ clearSiteData: true }), [undefined, '"cache", "storage"'])
  assert.equal(await headersOf({ clearSiteData: ['cookies', 'executionContexts'] }), [
    undefined,
    '"cookies", "executionContexts"',
  ])
  assert.equal(await headersOf({ clearSiteData: ['*'] }), [undefined, '"*"'])
})

test('without the option nothing is cleared', async () => {
  for (const options of [{}, { clearSiteData: false }, { clearSiteData: [] }]) {
    assert.equal(await headersOf(options), [undefined, undefined])
  }
})

test('destroy clears too, on a fetch response, and adds to existing directives', async () => {
  const store = testStore({ clearSiteData: true })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => {
    values['a'] = 1
  })
  const req = visitor.request()
  const headers = new Headers({ 'Clear-Site-Data': '"prefetchCache"' })
  await store.destroy(req, headers, await store.get(req, 'sid'))
  assert.is(headers.get('Clear-Site-Data'), '"prefetchCache", "cache", "storage"')
})

test('nothing is cleared for a visitor without a session and a cookie', async () => {
  const store = testStore({ clearSiteData: true })
  const req = { headers: {} }
  const res = new TestResponse()
  await store.destroy(req, res, await store.get(req, 'sid'))
  assert.is(res.getHeader('Clear-Site-Data'), undefined)
})

test('an invalid directive is refused when the store is created', () => {
  for (const clearSiteData of ['cache', ['cache', 'everything'], ['"cache"'], ['cache\r\nX: 1'], 1, {}]) {
    const make = () =>
      new PGStore({ connectionString: clientUrl, keys: [hashKey], clearSiteData: clearSiteData as never })
    assert.throws(make, /clearSiteData must be true, false or a list of cache, clientHints, cookies/)
  }
})

test.run()
