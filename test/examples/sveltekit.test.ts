// docs/sveltekit.md as printed: type-checked, built, and served by SvelteKit.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Browser, cookieNames } from '../support/browser.ts'
import { closeAll } from '../support/harness.ts'
import { areThere } from '../support/libraries.ts'
import { endPrograms } from '../support/program.ts'
import { SiteFolder } from '../support/site.ts'

const modules = fileURLToPath(new URL('../versions/node_modules/', import.meta.url))
const node24 = `${modules}node-24/bin/node`

const extra = {
  'package.json': '{ "type": "module" }',
  'vite.config.js':
    "import { sveltekit } from '@sveltejs/kit/vite'\nexport default { plugins: [sveltekit()], build: { minify: false } }",
  'src/app.html': '<!doctype html><head>%sveltekit.head%</head><body>%sveltekit.body%</body>',
  'src/routes/proxied/+server.ts': `
    export async function GET({ locals, url }) {
      const { values } = await locals.session()
      values.visits = 100
      const response = await fetch(url.searchParams.get('from'))
      if (!url.searchParams.has('save')) return response
      await locals.session.save()
      return new Response(response.body, response) // or SvelteKit itself fails to add the cookie to it
    }`,
  'src/routes/plain/+server.ts': "export const GET = () => new Response('plain')",
  'src/routes/inner/+server.ts': `
    export async function GET({ locals, fetch }) {
      const session = await locals.session()
      session.userId = 'inner'
      await locals.session.regenerate()
      return new Response(await (await fetch('/who')).text())
    }`,
  'src/routes/who/+server.ts':
    "export const GET = async ({ locals }) => new Response((await locals.session()).userId ?? 'nobody')",
  'src/check.ts':
    "import type { Handle } from '@sveltejs/kit/hooks'\nimport { handle } from './hooks.server.js'\nexport const own: Handle = handle\n",
}

if (areThere('@sveltejs/kit', 'svelte', 'vite', 'node-24')) {
  const site = new SiteFolder('sveltekit', extra)
  let url = ''
  let server: Awaited<ReturnType<SiteFolder['start']>>

  test.after(async () => {
    await endPrograms()
    site.remove()
    await closeAll()
  })

  const shown = async (browser: Browser) =>
    /<p>(.*?)<\/p>/s.exec((await browser.get('/')).text.replaceAll(/<!--.*?-->/gs, ''))?.[1]
  const submit = async (browser: Browser, action: string, fields = {}) => {
    const headers = { origin: url, accept: 'text/html', 'content-type': 'application/x-www-form-urlencoded' }
    const { status, cookies } = await browser.get(`/?/${action}`, {
      method: 'POST',
      headers,
      body: String(new URLSearchParams(fields)),
    })
    return [status, ...cookieNames(cookies)]
  }

  test('it compiles under strict, as a Handle whose locals are those of the app, and is built and served', async () => {
    assert.is(site.compile('src/app.d.ts', 'src/hooks.server.ts', 'src/check.ts', 'src/routes/+page.server.ts'), '')
    // SvelteKit's own version, which npm puts here in a project that needs no other.
    fs.symlinkSync(`${modules}@sveltejs/kit/node_modules/cookie`, path.join(site.folder, 'node_modules/cookie'))
    site.run(node24, 'vite/bin/vite.js', 'build')
    const args = ['vite/bin/vite.js', 'preview', '--port', 'PORT', '--strictPort', '--host', '127.0.0.1']
    server = await site.start(node24, /Local|http:/, ...args)
    url = server.url.replace('localhost', '127.0.0.1')
  })

  test('a visitor is counted, signs in under a new token with the session kept, and signs out', async () => {
    const browser = new Browser(url)
    assert.equal([await shown(browser), await shown(browser)], ['Nobody, visit 1', 'Nobody, visit 2'])
    const old = browser.twin()
    assert.equal(await submit(browser, 'signIn', { user: 'ada' }), [303, 'sid'])
    assert.is(await shown(browser), 'ada, visit 3')
    assert.is(await shown(old), 'Nobody, visit 1')
    assert.equal(await submit(browser, 'signOut'), [303, 'sid'])
    assert.is(browser.jar.size, 0)
    assert.is(await shown(browser), 'Nobody, visit 1')
  })

  test('a page without a session has no cookie and no header; one with says so to caches', async () => {
    const plain = await new Browser(url).get('/plain')
    assert.equal([plain.text, plain.cookies, plain.headers.get('cache-control')], ['plain', [], null])
    const counted = await new Browser(url).get('/')
    assert.is(counted.headers.get('cache-control'), 'no-store')
    assert.match(counted.headers.get('vary') ?? '', 'Cookie')
    assert.not.match(plain.headers.get('vary') ?? '', 'Cookie')
  })

  test('the answer of a fetch goes on with the cookie, saved early or not', async () => {
    for (const path of ['/proxied?', '/proxied?save&']) {
      const browser = new Browser(url)
      const { text, cookies } = await browser.get(`${path}from=${encodeURIComponent(`${url}/plain`)}`)
      assert.equal([text, cookieNames(cookies)], ['plain', ['sid']], server.program.errors)
      assert.is(await shown(browser), 'Nobody, visit 101')
    }
  })

  test('SvelteKit’s own fetch to another page sends the cookie that this request has set', async () => {
    const { text, cookies } = await new Browser(url).get('/inner')
    assert.equal([text, cookieNames(cookies)], ['inner', ['sid']])
  })
} else {
  test.skip('SvelteKit is not installed')
}

test.run()
