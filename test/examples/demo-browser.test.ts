// Every action of the demo, once, in a browser.

import type { BrowserContext, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { accessibilityProblems, browserTest, closeBrowser, openWindow } from '../support/chromium.ts'
import { endDemos, startDemo } from '../support/demo.ts'
import { admin, sql, until } from '../support/harness.ts'

const demo = startDemo()

test.before(async () => {
  await demo.ready()
})

test.after(async () => {
  await closeBrowser()
  endDemos()
  await admin.end()
})

/** The page, signed in, once it is told what changes. */
async function signIn(window: BrowserContext, name: string): Promise<Page> {
  const page = await window.newPage()
  await page.goto(demo.url)
  await page.getByLabel('Your name').fill(name)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: `Hello, ${name}` }).waitFor()
  await page.locator('#live').waitFor()
  return page
}

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })

const text = async (page: Page) => (await page.textContent('body')) ?? ''

/** Waits for this number under this name. */
async function shows(page: Page, name: string, value: string | RegExp): Promise<void> {
  await page.locator('.numbers div', { hasText: name }).locator('dd', { hasText: value }).waitFor()
}

/** Waits for this sentence in a panel. */
async function said(page: Page, panel: string, sentence: string | RegExp): Promise<void> {
  await page.locator(`#${panel}`).getByText(sentence).first().waitFor()
}

browserTest('the row changes while one looks, whoever changes it, and its expiry counts down', async (window) => {
  const page = await signIn(window, 'Ada')
  await page.locator('[data-part=row] [data-until]', { hasText: /^\d+:\d\d left$/ }).waitFor()
  await sql(`update pgstore.sessions set data = data || '{"theme": "dark"}' where user_id = 'Ada'`)
  await page.locator('[data-part=row]', { hasText: '"theme": "dark"' }).waitFor()
})

browserTest('of two panes at once, merging keeps both and overwriting keeps one', async (window) => {
  const page = await signIn(window, 'Barbara')
  const both = page.getByRole('button', { name: 'Both at once' })
  for (const side of [0, 1]) await both.nth(side).click()
  await page.locator('[data-part=merged]', { hasText: 'apples 1, pears 1' }).getByText('None lost').waitFor()
  await page.locator('[data-part=overwritten]').getByText('1 lost').waitFor()
  await page.getByRole('button', { name: 'Add a pear' }).first().click()
  await page.locator('[data-part=merged]', { hasText: 'apples 1, pears 2' }).waitFor()
})

browserTest('a slow request revives nothing, nor does the back button show who was signed in', async (window) => {
  const page = await signIn(window, 'Grace')
  await button(page, 'Start a slow request').click()
  await button(page, 'Sign out meanwhile').click()
  await page.getByRole('alert').getByText('This session has ended.').waitFor()
  await said(page, 'slow', /"gone", and session \d+ is still gone.*is back: the visitor is signed in again/)
  assert.equal(await sql(`select id from pgstore.sessions where user_id = 'Grace'`), [])
  assert.not.match(await text(page), 'Grace')
  await page.getByRole('link', { name: 'Begin a new one' }).click()
  await page.getByRole('heading', { name: 'Hello, visitor' }).waitFor()
  await page.goBack()
  await page.getByRole('heading', { name: 'Hello, visitor' }).waitFor()
  assert.not.match(await text(page), 'Grace')
})

browserTest('a second device appears, and is told when it is ended', async (window) => {
  const page = await signIn(window, 'Radia')
  const second = await openWindow()
  const other = await signIn(second, 'Radia')
  const end = page.getByRole('button', { name: /^End Chrome/ })
  await end.waitFor()
  const told = other.getByRole('alert').getByText('This session has ended.').waitFor()
  const started = performance.now()
  await end.click()
  await told
  console.log(`The device was told ${Math.round(performance.now() - started)} ms after the click.`)
  assert.not.match(await text(other), 'Radia')
  await end.waitFor({ state: 'detached' })
  await said(page, 'devices', 'That device is signed out.')

  await other.goto(demo.url)
  await signIn(second, 'Radia')
  await button(page, 'Sign out all others').click()
  await said(page, 'devices', 'Signed out everywhere else: 1 device.')
  await second.close()
})

/** How many pixels of the chart have the colour of what NOTIFY announced. */
const announcedPixels = `(() => {
  const canvas = document.querySelector('#chart canvas')
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  const pixels = Array.from({ length: data.length / 4 }, (_, pixel) => [...data.slice(4 * pixel, 4 * pixel + 4)].join())
  return pixels.filter((colour) => colour === '31,111,67,255').length
})()`

browserTest(
  'the cleanup purges 100,000 expired sessions until it is stopped, and the chart shows it',
  async (window) => {
    const page = await signIn(window, 'Niklaus')
    await button(page, 'Make 100,000 expired sessions').click()
    await said(page, 'cleanup', 'Added 100,000 sessions')
    await shows(page, 'Expired, waiting', '100,000')
    const bar = async () => Number(await page.evaluate(announcedPixels))
    const before = await bar() // the legend is no part of the canvas
    await button(page, 'Start the cleanup').click()
    await shows(page, 'Cleanup', 'on, every 1 s')
    const waiting = async () => Number((await page.locator('#expired').textContent())?.replaceAll(',', ''))
    await until(async () => (await waiting()) < 60_000, 60)
    await button(page, 'Stop the cleanup').click()
    await shows(page, 'Cleanup', 'off')
    await until(async () => (await bar()) > before + 100)
  },
)

browserTest('many reads are few round trips, and by way of the cache most need no query', async (window) => {
  const page = await signIn(window, 'Donald')
  await button(page, 'Read the session 200 times at once').click()
  await said(page, 'counts', /200 reads in [\d.]+ ms: 0 without a query, \d+ round trips? to Postgres/)
  // After a pause, or on a machine that stands still for a moment, the cache answers nothing at first.
  await until(async () => {
    const answered = page.waitForResponse('**/reads/cached')
    await button(page, 'The same, by way of the cache').click()
    const { message } = (await (await answered).json()) as { message: string }
    return / [1-9]\d* without a query/.test(message)
  }, 60)
})

browserTest('axe finds nothing', async (window) => {
  assert.equal(await accessibilityProblems(await signIn(window, 'Tony')), [])
})

browserTest(
  'in the dark, on a phone, before the sign-in, axe finds nothing, and nothing is wider than the screen',
  async (window) => {
    const page = await window.newPage()
    await page.goto(demo.url)
    await page.locator('#live').waitFor()
    assert.equal(await accessibilityProblems(page), [])
    assert.is(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 0)
  },
  { colorScheme: 'dark', viewport: { width: 390, height: 800 } },
)

test.run()
