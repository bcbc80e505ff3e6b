// The complete programs of docs/h3.md, elysia.md and express.md, type-checked and run as printed.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Browser } from '../support/browser.ts'
import { closeAll } from '../support/harness.ts'
import { areThere } from '../support/libraries.ts'
import { endPrograms } from '../support/program.ts'
import { SiteFolder } from '../support/site.ts'
import { runtimes } from '../versions.ts'

test.after(async () => {
  await endPrograms()
  await closeAll()
})

const programs = {
  h3: { packages: ['h3'], command: [process.execPath, '--import', 'tsx'] },
  elysia: { packages: ['elysia', 'bun'], command: runtimes.Bun },
  express: { packages: [], command: [process.execPath, '--import', 'tsx'] },
} as const

for (const [page, { packages, command }] of Object.entries(programs)) {
  if (!areThere(...packages)) {
    test.skip(`docs/${page}.md`)
    continue
  }
  test(`docs/${page}.md: a visitor is counted, signs in under a new token and signs out`, async () => {
    const site = new SiteFolder(page, { 'package.json': '{ "type": "module" }' })
    try {
      assert.is(site.compile('server.ts'), '')
      const [node, ...args] = command
      const { url } = await site.start(node, /^listening/, ...args, 'server.ts')
      const browser = new Browser(url)
      // Over plain http, to localhost, a browser keeps a Secure cookie.
      const json = async (path: string, body?: object, at = browser) => {
        const { status, text, cookies } = await (body ? at.post(path, body) : at.get(path))
        assert.is(status, 200, text)
        assert.ok(cookies.length <= 1)
        return JSON.parse(text)
      }
      assert.equal([await json('/'), await json('/')], [{ visits: 1 }, { visits: 2 }])
      const before = browser.twin()
      assert.equal(await json('/sign-in', { user: 'ada' }), { signedIn: 'ada' })
      assert.equal(await json('/'), { userId: 'ada', visits: 3 })
      assert.equal(await json('/', undefined, before), { visits: 1 })
      assert.equal(await json('/sign-out', {}), { signedOut: true })
      assert.is(browser.jar.size, 0)
    } finally {
      await endPrograms()
      site.remove()
    }
  })
}

test.run()
