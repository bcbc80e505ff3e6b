// Sign-ins and sign-outs that answer with a redirect, whose client is faster than the save: see src/adapters/express-response.ts.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../../src/adapters/express-session.ts'
import { counts } from '../../support/counts.ts'
import { clientUrl, closeAll } from '../../support/harness.ts'
import { endPrograms, program } from '../../support/program.ts'
import { HastyBrowser, startSite } from './redirects.ts'

const visits = counts(40, 400)
const store = new ExpressSessionStore({ connectionString: clientUrl })
const site = await startSite(store)
const other = program('adapters/express/redirects.ts', clientUrl)
const otherUrl = await other.line(/^http:/, 60)

test.after(async () => {
  await endPrograms()
  await site.close()
  await store.close()
  await closeAll()
})

/** Of so many visits, ten at a time, those that this is the outcome of. */
async function count(many: number, outcome: (browser: HastyBrowser) => Promise<boolean>): Promise<number> {
  let [begun, found] = [0, 0]
  const visitor = async () => {
    while (begun++ < many) {
      const browser = new HastyBrowser()
      if (await outcome(browser)) found++
      browser.close()
    }
  }
  await Promise.all(Array.from({ length: 10 }, visitor))
  return found
}

for (const [where, next] of [
  ['the same process', site.url],
  ['another process', otherUrl],
] as const) {
  const one = async (browser: HastyBrowser, path: string) => await browser.get(site.url, path, next)

  for (const [path, how, many] of [
    ['/sign-in', 'by a redirect', visits],
    ['/regenerate', 'by regenerate and a redirect', visits],
    ['/large', 'by a redirect with 3 MB', visits / 10],
  ] as const) {
    test(`A3: who signs in ${how} and follows at its headers is signed in, in ${where}`, async () => {
      const lost = await count(many, async (browser) => (await one(browser, `${path}?user=ann`)) !== 'ann')
      assert.is(lost, 0)
    })
  }

  for (const [path, how] of [
    ['/unset', 'by taking the session off the request'],
    ['/forget', 'by cookie.maxAge = 0'],
  ] as const) {
    test(`A3: who signs out ${how} and follows at the headers is signed out, in ${where}`, async () => {
      const left = await count(visits / 2, async (browser) => {
        assert.is(await one(browser, '/sign-in?user=ann'), 'ann')
        return (await one(browser, path)) !== 'nobody'
      })
      assert.is(left, 0)
    })
  }
}

for (const [path, expected] of [
  ['/save?user=ben', 'ben'],
  ['/destroy', 'nobody'],
] as const) {
  test(`A3: a process reads no session before what it does with it is done, waited for or not: ${path}`, async () => {
    const wrong = await count(visits / 2, async (browser) => {
      assert.is(await browser.get(site.url, '/sign-in?user=ann'), 'ann')
      return (await browser.get(site.url, path)) !== expected
    })
    assert.is(wrong, 0)
  })
}

test.run()
