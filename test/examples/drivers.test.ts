// The programs on the pages of drivers for other packages run as printed, with the real packages, and print what the page says.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, databaseUrl } from '../support/harness.ts'
import { printedFile, removePrinted, withPackages } from '../support/printed.ts'

test.after(async () => {
  removePrinted()
  await closeAll()
})

const root = fileURLToPath(new URL('../..', import.meta.url))

function run(file: string): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', file], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, DATABASE_URL: databaseUrl, FORCE_COLOR: '0' },
    timeout: 60_000,
  })
  assert.is(status, 0, stderr)
  return stdout
}

test('testing.md: its test passes', () => {
  assert.match(run(printedFile('testing')), /# pass 1\b|ℹ pass 1\b/)
})

withPackages(test, 'unstorage.md: its program prints what the page says', () => {
  const page = fs.readFileSync(path.join(root, 'docs/unstorage.md'), 'utf8')
  const [, printed] = /^```text\n([\s\S]*?)^```$/m.exec(page) ?? []
  assert.is(run(printedFile('unstorage')), printed)
})

withPackages(test, 'better-auth.md: its program prints what the page says', () => {
  assert.is(run(printedFile('better-auth')), 'Ada\n')
})

test.run()
