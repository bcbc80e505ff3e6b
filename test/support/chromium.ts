// Pages in a real browser: Chromium as this machine has it, driven by playwright-core, which brings none. Where there is none
// the tests are reported skips.
import fs from 'node:fs'
import path from 'node:path'
import axe from 'axe-core'
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type LaunchOptions,
  type Page,
} from 'playwright-core'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** The program on the path; undefined if there is none. */
const executablePath = (process.env['PATH'] ?? '')
  .split(path.delimiter)
  .flatMap((folder) => names.map((name) => path.join(folder, name)))
  .find((file) => fs.existsSync(file))
if (executablePath === undefined) console.log('Skipped: tests in a browser. chromium is not installed.')

/** Milliseconds that anything may take which a page shows in the end: a busy machine is no fault. */
export const patience = 60_000

let browser: Promise<Browser> | undefined

const more: string[] = []

/** Arguments that this file's browsers are started with beside the usual ones. */
export function startWith(...args: string[]): void {
  more.push(...args)
}

function launchOptions(): LaunchOptions {
  return {
    executablePath: executablePath ?? '',
    timeout: patience,
    // Chromium refuses to run as root with a sandbox, and /dev/shm is small in containers.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ['--disable-dev-shm-usage', ...more],
    // Browsers have one, and what it shows after a sign-out matters.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  }
}

/** One process for each test file, started by its first test. */
async function theBrowser(): Promise<Browser> {
  browser ??= chromium.launch(launchOptions())
  return await browser
}

/** Such as 156.0.8078.108. */
export async function browserVersion(): Promise<string> {
  return (await theBrowser()).version()
}

/** A private window: cookies of its own. Whatever it waits for has `patience`. */
export async function openWindow(options: BrowserContextOptions = {}): Promise<BrowserContext> {
  return patient(await (await theBrowser()).newContext(options))
}

/** The window of a browser of its own, which keeps in this folder what browsers keep. Closing it ends the browser. */
export async function openProfile(folder: string): Promise<BrowserContext> {
  return patient(await chromium.launchPersistentContext(folder, launchOptions()))
}

function patient(window: BrowserContext): BrowserContext {
  window.setDefaultTimeout(patience)
  window.setDefaultNavigationTimeout(patience)
  return window
}

/** What a visitor never sees and a developer would: errors of scripts, and what the page's own policy refused. */
function troubles(window: BrowserContext): string[] {
  const found: string[] = []
  window.on('weberror', (error) => found.push(String(error.error())))
  window.on('console', (message) => {
    if (message.type() === 'error' && message.text().includes('Content Security Policy')) found.push(message.text())
  })
  return found
}

/**
 * A test with a private window of its own, closed at its end; a reported skip where there is no browser. An error of a script and
 * a breach of the page's policy fail it too.
 */
export function browserTest(
  name: string,
  body: (window: BrowserContext) => Promise<void>,
  options: BrowserContextOptions = {},
): void {
  if (executablePath === undefined) {
    test.skip(name)
    return
  }
  test(name, async () => {
    const window = await openWindow(options)
    try {
      const found = troubles(window)
      await body(window)
      assert.equal(found, [])
    } finally {
      await window.close()
    }
  })
}

export async function closeBrowser(): Promise<void> {
  await (await browser)?.close()
}

interface AxeResults {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[]
}

/** What axe-core finds wrong with the page as it is now: its rule and the element, for each. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(axe.source) // by way of the debugger, which no policy of the page stops
  const { violations } = await page.evaluate<AxeResults>('axe.run({ resultTypes: ["violations"] })')
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
