// The page of `pgstore dashboard` in a browser: each of its actions once. Who is answered at all: dashboard.test.ts.
import type { BrowserContext, Page } from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { create } from '../sql/calls.ts'
import { accessibilityProblems, browserTest, closeBrowser } from '../support/chromium.ts'
import { addExpired, addLive, countSessions, startOver } from '../support/crowd.ts'
import { closeAll, sql } from '../support/harness.ts'
import { endPrograms, type Program, pgstore } from '../support/program.ts'

test.before.each(startOver)
test.after(async () => {
  await closeBrowser()
  await endPrograms()
  await closeAll()
})

interface Started {
  readonly program: Program
  readonly url: string
}

async function start(...args: string[]): Promise<Started> {
  const program = pgstore('dashboard', '--json', ...args)
  const { url } = JSON.parse(await program.line(/url/)) as { url: string }
  return { program, url }
}

const shared = new Map<string, Promise<Started>>()

/** One for each choice of options: starting takes most of a test's time. */
async function anyDashboard(...args: string[]): Promise<Started> {
  const key = args.join(' ')
  const started = shared.get(key) ?? start(...args)
  shared.set(key, started)
  return await started
}

/** The page, once it shows figures. */
async function open(window: BrowserContext, { url }: Started): Promise<Page> {
  const page = await window.newPage()
  await page.goto(url)
  await page.locator('#live-chart canvas').waitFor()
  return page
}

/** Waits until the element's text is like this. */
async function shows(page: Page, selector: string, text: RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).waitFor()
}

async function lookUp(page: Page, user: string): Promise<void> {
  await page.getByLabel('User id').fill(user)
  await page.keyboard.press('Enter')
  await shows(page, '#user-state', new RegExp(`^(Ended .*)?User ${user} has`))
}

browserTest('it shows the figures, draws charts, and follows what happens', async (window) => {
  await addLive(3)
  const page = await open(window, await anyDashboard())
  await shows(page, '#figures div:has-text("Live")', /Live3counted/)
  await shows(page, '#figures div:has-text("Expired")', /Expired0/)
  await shows(page, '#cleanup', /Recurring purgeoff/)
  assert.is(await page.locator('.chart canvas').count(), 4)
  await addExpired(4)
  await shows(page, '#figures div:has-text("Expired")', /Expired4/)
  await page.locator('#expired-chart[aria-label="Chart, at its end Expired: 4"]').waitFor()
  await sql('select pgstore.cleanup_end_run(1234, 56)')
  await shows(page, '#runs', /1,234.*56 msdone/)
  await page.locator('#purge-chart[aria-label="Chart, at its end Purged: 1,234"]').waitFor()
})

browserTest(
  'it shows findings with their commands, which can be copied, and looks again when asked',
  async (window) => {
    await sql(
      `insert into pgstore.sessions (id, created_at, updated_at, seen_at, expires_at, purge_at, version, key, data)
       values (1, now(), now(), now(), now() - interval '2 days', now() - interval '2 days', 1, sha256('old'), '{}')`,
    )
    const page = await open(window, await start())
    const finding = page.locator('#findings li').filter({ hasText: 'The recurring purge is off' })
    await finding.waitFor()
    await window.grantPermissions(['clipboard-read', 'clipboard-write'])
    await finding.getByRole('button', { name: 'Copy' }).click()
    await finding.getByText('Copied').waitFor()
    assert.is(await page.evaluate('navigator.clipboard.readText()'), 'npx pgstore cleanup start')
    await sql('truncate pgstore.sessions')
    await page.getByRole('button', { name: 'Look again' }).click()
    await finding.waitFor({ state: 'detached' })
  },
)

browserTest('a session ends only after a confirmation, by mouse or keyboard', async (window) => {
  await create({}, { user_id: 'ann', label: '"A phone"', tags: ['web'] })
  await create({}, { user_id: 'ann', label: '"A laptop"' })
  await create({}, { user_id: 'ann' })
  await create({}, { user_id: 'bob' })
  const page = await open(window, await anyDashboard())
  await lookUp(page, 'ann')
  const dialog = page.getByRole('dialog')
  const phone = page.locator('#sessions li').filter({ hasText: 'A phone' })
  assert.match((await phone.textContent()) ?? '', 'tags web')

  await phone.getByRole('button').click()
  await dialog.getByText('A phone, of user ann').waitFor()
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'hidden' })
  await phone.getByRole('button').press('Enter')
  await page.keyboard.press('Enter') // Cancel has the focus
  await dialog.waitFor({ state: 'hidden' })
  assert.is((await countSessions()).live, 4)

  await phone.getByRole('button').click()
  await dialog.getByRole('button', { name: 'End' }).click()
  await shows(page, '#user-state', /^Ended 1 session\. User ann has 2 live sessions\./)
  await phone.waitFor({ state: 'detached' })
  assert.is((await countSessions()).live, 3)

  await page.getByRole('button', { name: 'End all' }).click()
  await dialog.getByRole('button', { name: 'End' }).click()
  await shows(page, '#user-state', /^Ended 2 sessions\. User ann has no live session\./)
  await page.getByRole('button', { name: 'End all' }).waitFor({ state: 'hidden' })
  assert.is((await countSessions()).live, 1)
})

browserTest('what a visitor wrote is text, never markup', async (window) => {
  const markup = '<img src=x onerror="document.title=1"><b>bold</b>'
  await create({ [markup]: markup }, { user_id: markup, label: JSON.stringify(markup), tags: [markup] })
  const page = await open(window, await anyDashboard('--show-data'))
  await page.getByLabel('User id').fill(markup)
  await page.keyboard.press('Enter')
  await page.locator('#sessions li').waitFor()
  await page.locator('#sessions').getByRole('button', { name: 'End' }).click()
  await page.getByRole('dialog').waitFor()
  assert.equal([await page.locator('img, b').count(), await page.title()], [0, 'pgstore dashboard'])
  assert.match((await page.locator('#sessions pre').textContent()) ?? '', '<b>bold</b>')
})

browserTest('data is shown only if the dashboard was started for it', async (window) => {
  await create({ cart: ['shoes'] }, { user_id: 'ann' })
  const page = await open(window, await anyDashboard())
  await lookUp(page, 'ann')
  assert.match((await page.locator('#user-state').textContent()) ?? '', '--show-data')
  assert.not.match((await page.content()) ?? '', 'shoes')
  const other = await open(window, await anyDashboard('--show-data'))
  await lookUp(other, 'ann')
  await other.locator('#sessions pre').getByText('shoes').waitFor()
})

browserTest('it says when the dashboard has ended', async (window) => {
  const started = await start()
  const page = await open(window, started)
  await started.program.end()
  await shows(page, '#state', /^The dashboard does not answer; is it still running\?/)
})

for (const [name, options] of Object.entries({
  wide: { viewport: { width: 1280, height: 900 } },
  'on a phone': { viewport: { width: 390, height: 844 } },
  dark: { colorScheme: 'dark' },
} as const)) {
  browserTest(
    `it fits and is accessible: ${name}`,
    async (window) => {
      await create({ cart: 'shoes '.repeat(400) }, { user_id: 'ann', label: `"${'A long label '.repeat(30)}"` })
      await sql(`select pgstore.cleanup_end_run(123456789, 5600, '57014')`)
      await addExpired(10_000)
      const page = await open(window, await anyDashboard('--show-data'))
      await page.getByRole('button', { name: 'Look again' }).click()
      await page.locator('#findings li').first().waitFor()
      await lookUp(page, 'ann')
      assert.equal(await accessibilityProblems(page), [])
      const [width, room] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as number[]
      assert.ok((width ?? 0) <= (room ?? 0), `${width} of ${room}`)
      await page.getByRole('button', { name: 'End all' }).click()
      await page.getByRole('dialog').waitFor()
      assert.equal(await accessibilityProblems(page), [])
    },
    options,
  )
}

test.run()
