// SECURITY.md says which file tests which requirement: it must be so.
import fs from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const page = fs.readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8')
const rows = [...page.matchAll(/^\| (S\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm)]

test('SECURITY.md has a row for each requirement, in order', () => {
  assert.equal(
    rows.map(([, number]) => number),
    Array.from({ length: 54 }, (_, index) => `S${index + 1}`),
  )
})

test('each row names a test of its requirement, and only files that exist', () => {
  const wrong: string[] = []
  for (const [, number = '', , , files = ''] of rows) {
    const named = [...files.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file)
    const urls = named.map((file) => new URL(file.includes('/') ? `../../${file}` : `${file}.test.ts`, import.meta.url))
    const missing = urls.filter((url) => !fs.existsSync(url))
    const own = urls.filter((url) => !missing.includes(url) && url.pathname.includes('/security/'))
    const isTested = own.some((url) => new RegExp(`\\b${number}\\b`).test(fs.readFileSync(url, 'utf8')))
    if (missing.length > 0 || !isTested) wrong.push(`${number}: ${files}`)
  }
  assert.equal(wrong, [])
})

test.run()
