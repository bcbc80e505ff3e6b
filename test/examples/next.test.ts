// docs/next.md as printed: type-checked, built and served by Next.js in production mode. Half a minute: with long counts.
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate } from '../../src/index.ts'
import { Browser, cookieNames } from '../support/browser.ts'
import { counts } from '../support/counts.ts'
import { admin, closeAll, sql } from '../support/harness.ts'
import { areThere } from '../support/libraries.ts'
import { endPrograms } from '../support/program.ts'
import { SiteFolder } from '../support/site.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const extra = {
  'package.json': '{ "private": true }',
  // The project's own node_modules are above; its compiler has been asked before.
  'next.config.mjs': `export default {
    turbopack: { root: ${JSON.stringify(root)} },
    serverExternalPackages: ['pgstore'],
    typescript: { ignoreBuildErrors: true },
  }`,
  'app/late/page.tsx': `
    import { session } from '../../session'
    export default async function Late() {
      const mine = await session()
      mine.values.visits = 99
      const failed = await session.save().catch((error) => error)
      return <p>{failed ? failed.code + ': ' + failed.message : 'saved'}</p>
    }`,
  'app/twice/route.ts': `
    import { session, store } from '../../session'
    export async function POST() {
      const mine = await session()
      mine.userId = 'bob'
      await session.save()
      await session.regenerate()
      return Response.json((await session()) === mine)
    }`,
}

if (counts(0, 1) === 1 && areThere('next', 'react-dom', '@types/react')) {
  const site = new SiteFolder('next', extra)
  let url = ''

  test.after(async () => {
    await endPrograms()
    site.remove()
    await closeAll()
  })

  const shown = (text: string) => /<p>(.*?)<\/p>/.exec(text)?.[1]
  const look = async (browser: Browser) => shown((await browser.get('/')).text)

  /** Presses a button, as a browser without scripts does. */
  const press = async (browser: Browser, button: string, user = '') => {
    const { text } = await browser.get('/')
    const [, form = ''] = new RegExp(`<form((?:(?!</form>).)*?)${button}</button>`, 's').exec(text) ?? []
    const fields = new FormData()
    for (const [, name = '', value = ''] of form
      .slice(form.lastIndexOf('<form') + 1)
      .matchAll(/name="([^"]+)"(?: value="([^"]*)")?/g)) {
      fields.set(name, name === 'user' ? user : value)
    }
    const { status, cookies } = await browser.get('/', { method: 'POST', body: fields, headers: { origin: url } })
    return [status, ...cookieNames(cookies)]
  }

  test('it compiles under strict, and is built and served', async () => {
    assert.is(site.compile('*.ts', 'app/**/*.ts', 'app/**/*.tsx'), '')
    await migrate(admin)
    site.run(process.execPath, 'next/dist/bin/next', 'build')
    url = (await site.start(process.execPath, /Ready/, 'next/dist/bin/next', 'start', '-p', 'PORT')).url
  })

  test('proxy counts a visitor, an action signs in under a new token with the session kept, and signs out', async () => {
    const browser = new Browser(url)
    await look(browser)
    assert.is(await look(browser), 'Nobody, visit 2')
    const old = browser.twin()
    const [, name] = await press(browser, 'Sign in', 'ada')
    assert.is(name, 'sid')
    assert.is.not(browser.jar.get('sid'), old.jar.get('sid'))
    assert.match((await look(browser)) ?? '', /^ada, visit \d$/)
    assert.match((await browser.get('/visits')).text, '"userId":"ada"')
    assert.match((await old.get('/visits')).text, '{}')
    await press(browser, 'Sign out')
    assert.equal(await sql("select from pgstore.sessions where user_id = 'ada'"), [])
  })

  test('a server component that would have to set a cookie gets an error, and nothing is written', async () => {
    const before = await sql('select from pgstore.sessions')
    const { text, cookies } = await new Browser(url).get('/late')
    assert.match(shown(text) ?? '', /^headers_sent: Next\.js sets no cookies while it renders/)
    assert.equal([cookies, (await sql('select from pgstore.sessions')).length], [[], before.length])
  })

  test('a server component saves a session that has its cookie', async () => {
    const browser = new Browser(url)
    await look(browser)
    assert.is(shown((await browser.get('/late')).text), 'saved')
    assert.is((await browser.get('/visits')).text, '{"visits":99}')
  })

  test('within a request it is one object, and one cookie is set', async () => {
    const browser = new Browser(url)
    const { text, cookies } = await browser.post('/twice')
    assert.equal([text, cookieNames(cookies)], ['true', ['sid']])
    assert.is((await browser.get('/visits')).text, '{"userId":"bob"}')
  })
} else {
  test.skip('Next.js is not installed, or it is not asked for')
}

test.run()
