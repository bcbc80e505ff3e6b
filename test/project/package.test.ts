// The package as npm would publish it, in an empty project: installed, type-checked and run.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Browser } from '../support/browser.ts'
import { closeAll, emptyDatabase, until } from '../support/harness.ts'
import { isInstalled } from '../support/installed.ts'
import { freePort } from '../support/port.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const project = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-package-'))
const children: ChildProcess[] = []

test.after(async () => {
  for (const child of children) child.kill('SIGKILL')
  fs.rmSync(project, { recursive: true, maxRetries: 50 })
  await closeAll()
})

/** The first TypeScript in the README. */
function example(): string {
  const [, block] = /^```ts\n([\s\S]*?)^```$/m.exec(fs.readFileSync(path.join(root, 'README.md'), 'utf8')) ?? []
  if (block === undefined) throw new Error('The README has no example.')
  return block
}

function run(command: string, ...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: project, encoding: 'utf8', timeout: 120_000 })
  return { status, output: stdout + stderr }
}

const installedTest = isInstalled(project, { type: 'module' })
  ? test
  : (name: string, _run: () => unknown) => test.skip(name)

const ours = (bin: string) => path.join(root, 'node_modules', bin)

installedTest('it installs its two dependencies and their dependencies, and no framework', () => {
  const { dependencies = {} } = JSON.parse(
    fs.readFileSync(path.join(project, 'node_modules/pgstore/package.json'), 'utf8'),
  )
  assert.equal(Object.keys(dependencies), ['pg', 'pg-listen'])
  for (const name of ['pg', 'pg-listen']) assert.ok(fs.existsSync(path.join(project, 'node_modules', name)))
  for (const name of ['fastify', 'koa', 'hono', 'react-router', 'express', 'graphile-worker', 'typescript']) {
    assert.is(fs.existsSync(path.join(project, 'node_modules', name)), false, name)
  }
})

installedTest('every entry can be imported, or asks for a peer dependency', () => {
  const { exports, peerDependencies } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))
  const names = Object.keys(exports).filter((entry) => entry !== './package.json')
  const script = `for (const name of ${JSON.stringify(names)}) {
    const exported = await import(name.replace('.', 'pgstore')).then(Object.keys, (error) => error.message)
    console.log(JSON.stringify([name, exported]))
  }`
  const { status, output } = run(process.execPath, '--input-type=module', '-e', script)
  assert.is(status, 0, output)
  const found = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as [string, string | string[]])
  assert.equal(
    found.map(([name]) => name),
    names,
  )
  for (const [name, exported] of found) {
    const missing = typeof exported === 'string' ? /Cannot find package '([^']+)'/.exec(exported)?.[1] : undefined
    assert.ok(missing ? Object.hasOwn(peerDependencies, missing) : exported.length > 0, `${name}: ${String(exported)}`)
  }
})

installedTest("the README's example passes the compiler", () => {
  fs.writeFileSync(path.join(project, 'example.ts'), example())
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--skipLibCheck',
    '--types',
    'node',
  ]
  const typeRoots = ['--typeRoots', ours('@types')]
  const { status, output } = run(process.execPath, ours('typescript/bin/tsc'), ...options, ...typeRoots, 'example.ts')
  assert.is(status, 0, output)
})

installedTest("the README's example runs: it installs the schema in an empty database and counts visits", async () => {
  fs.writeFileSync(path.join(project, 'example.ts'), example())
  const DATABASE_URL = await emptyDatabase()
  const port = await freePort()
  let said = ''
  const env = { ...process.env, DATABASE_URL, PORT: String(port), SESSION_KEY: 'a key that only this test knows!' }
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), 'example.ts'], { cwd: project, env })
  children.push(child)
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.on('data', (chunk) => {
      said += chunk
    })
  }
  const browser = new Browser(`http://127.0.0.1:${port}`)
  const isUp = () =>
    browser.open('/').then(
      () => true,
      () => child.exitCode !== null,
    )
  await until(isUp, 60)
  assert.is(child.exitCode, null, said)
  const { status, text } = await browser.get('/')
  assert.is(status, 200, said)
  assert.match(text, '2')
  assert.is(browser.jar.size, 1)
})

/** What GitHub and npm make of a heading. */
function anchorOf(heading: string): string {
  const text = heading
    .replace(/^#+ /, '')
    .replace(/\[(.*?)\]\(.*?\)/g, '$1')
    .toLowerCase()
  return text.replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
}

installedTest('no relative link in the package is dead, nor does one lead to a heading that is not there', () => {
  const home = path.join(project, 'node_modules/pgstore')
  const pages = fs
    .readdirSync(home, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && !file.startsWith('node_modules'))
  assert.ok(pages.length > 30)
  const dead: string[] = []
  for (const file of pages) {
    const text = fs.readFileSync(path.join(home, file), 'utf8').replace(/^```[\s\S]*?^```$/gm, '')
    for (const [, link = ''] of text.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)) {
      const [target = '', anchor] = link.split('#')
      const full = target === '' ? path.join(home, file) : path.resolve(home, path.dirname(file), target)
      const isThere = fs.existsSync(full) && full.startsWith(home)
      const headings = isThere && anchor ? fs.readFileSync(full, 'utf8').match(/^#+ .*$/gm) : null
      if (!isThere || (anchor && !headings?.some((heading) => anchorOf(heading) === anchor)))
        dead.push(`${file}: ${link}`)
    }
  }
  assert.equal(dead, [])
})

installedTest('npx pgstore is there', () => {
  const { status, output } = run('npx', '--no-install', 'pgstore', '--help')
  assert.is(status, 0, output)
  assert.match(output, 'migrate')
})

test.run()
