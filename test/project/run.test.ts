// The runner closes gaps that uvu leaves: by itself uvu counts each of these files as a success.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { requirementVerdicts } from '../security/verdicts.ts'
import { verdict } from '../verdict.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-run-'))
const uvu = pathToFileURL(createRequire(import.meta.url).resolve('uvu')).href.replace('index.js', 'index.mjs')
test.after(() => fs.rmSync(folder, { recursive: true }))

async function runFile(body: string) {
  const file = path.join(folder, `${Math.random()}.mjs`)
  fs.writeFileSync(file, `import { test } from '${uvu}'\n${body}`)
  const child = spawn(process.execPath, [file], { env: { ...process.env, FORCE_COLOR: '0' } })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return verdict(output, code)
}

test('tests that pass are counted', async () => {
  const result = await runFile("test('a', () => {}); test('b', () => {}); test.skip('c'); test.run()")
  assert.equal(result, { passed: 2, failed: 0, skipped: 1 })
})

test('a test that fails is a failure', async () => {
  const result = await runFile("test('a', () => {}); test('b', () => { throw new Error('b') }); test.run()")
  assert.equal(result, { passed: 1, failed: 1, skipped: 0 })
})

test('a file that forgot run() is a failure', async () => {
  assert.is((await runFile("test('a', () => {})")).failed, 1)
})

test('a before hook that throws is a failure', async () => {
  const result = await runFile("test.before(() => { throw new Error('x') }); test('a', () => {}); test.run()")
  assert.is(result.failed, 1)
})

test('an after.each hook that throws after a failure does not hide that failure', async () => {
  const result = await runFile(
    "test.after.each(() => { throw new Error('x') }); test('a', () => { throw new Error('a') }); test.run()",
  )
  assert.ok(result.failed > 0)
})

test('a file that ends in the middle is a failure', async () => {
  assert.ok((await runFile("test('a', () => process.exit(0)); test.run()")).failed > 0)
  assert.ok((await runFile("test('a', async () => { await new Promise(() => {}) }); test.run()")).failed > 0)
})

test('an error after the last test is a failure', async () => {
  const result = await runFile("test('a', () => {}); test.run(); setTimeout(() => { throw new Error('late') }, 50)")
  assert.is(result.failed, 1)
})

test('no test file awaits nothing of an async assert.throws', () => {
  const here = fileURLToPath(new URL('..', import.meta.url))
  // Not in versions: other tests make folders there, with links, while this one looks.
  const files = fs.readdirSync(here).flatMap((folder) => {
    if (folder === 'versions' || !fs.statSync(path.join(here, folder)).isDirectory()) return []
    const found = fs.readdirSync(path.join(here, folder), { recursive: true, encoding: 'utf8' })
    return found.filter((name) => name.endsWith('.test.ts')).map((name) => path.join(folder, name))
  })
  assert.ok(files.length > 100)
  const offending = files.filter((name) =>
    /assert\.throws\(\s*async/.test(fs.readFileSync(path.join(here, name), 'utf8')),
  )
  assert.equal(offending, [])
})

test('a security requirement is met when all its tests say so, and a test that never reported has failed', () => {
  const output = [
    'requirement S1 declared: one',
    '• requirement S1 passed: a dot stands in front of it, and it counts for nothing',
    'requirement S2 declared: one',
    'requirement S2 declared: two',
    'requirement S2 passed: one',
    'requirement S3 declared: one',
    '• ',
    'requirement S3 passed: one',
    'requirement S4 declared: prose',
    'requirement S4 answered: prose',
    'requirement S5 declared: one',
    'requirement S5 skipped: one',
    'requirement S6 declared: one',
    'requirement S6 failed: one',
  ].join('\n')
  const found = requirementVerdicts(output)
  assert.is(found.length, 54)
  assert.equal(
    found.slice(0, 7).map(({ verdict }) => verdict),
    ['failed', 'failed', 'passed', 'answered in SECURITY.md', 'skipped', 'failed', 'no test'],
  )
})

test.run()
