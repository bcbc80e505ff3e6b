// The installed package from CommonJS, from TypeScript under each module setting, and from Jest.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { isInstalled } from '../support/installed.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const tools = path.join(root, 'test/versions/node_modules')
const project = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-modules-'))

test.after(() => fs.rmSync(project, { recursive: true, maxRetries: 50 }))

const installedTest = isInstalled(project, {}) ? test : (name: string, _run: () => unknown) => test.skip(name)

function run(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: project, encoding: 'utf8' })
  assert.is(status, 0, `${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(path.join(project, file)), { recursive: true })
  fs.writeFileSync(path.join(project, file), text)
}

installedTest(
  'require() and import of the package load neither pg-listen nor graphile-worker, and events() loads it',
  () => {
    for (const load of ["require('pgstore')", "await import('pgstore')"]) {
      write(
        'main.cjs',
        `async function main() {
        const { PGStore } = ${load}
        const isLoaded = () => Object.keys(require.cache).some((file) => /(pg-listen|graphile-worker)/.test(file))
        console.log(typeof PGStore, isLoaded())
        const keys = ['a key that only this test knows!']
        const store = new PGStore({ connectionString: 'postgres://127.0.0.1:1/nowhere', keys })
        store.events()
        console.log(isLoaded())
        await store.close()
      }
      main()`,
      )
      assert.is(run('main.cjs'), 'function false\ntrue\n', load)
    }
  },
)

installedTest('pg-listen is found beside the package, whatever the program can import', () => {
  const strict = path.join(project, 'strict') // as pnpm installs
  fs.mkdirSync(path.join(strict, 'node_modules'), { recursive: true })
  fs.mkdirSync(path.join(strict, 'store'))
  fs.cpSync(path.join(project, 'node_modules'), path.join(strict, 'store/node_modules'), { recursive: true })
  fs.symlinkSync('../store/node_modules/pgstore', path.join(strict, 'node_modules/pgstore'))
  fs.renameSync(path.join(project, 'node_modules'), path.join(project, 'away'))
  try {
    write(
      'strict/main.mjs',
      `import { PGStore } from 'pgstore'
      const keys = ['a key that only this test knows!']
      const store = new PGStore({ connectionString: 'postgres://127.0.0.1:1/nowhere', keys, cache: true })
      store.events()
      await store.close()`,
    )
    run(path.join(strict, 'main.mjs'))
  } finally {
    fs.renameSync(path.join(project, 'away'), path.join(project, 'node_modules'))
  }
})

const page = `
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type CleanupHandle, PGStore, type Session } from 'pgstore'
import { runWorker } from 'pgstore/worker'

interface Values {
  visits?: number
}

const store: PGStore<Values> = new PGStore<Values>({ connectionString: 'postgres://localhost', keys: ['key'] })

export async function page(req: IncomingMessage, res: ServerResponse): Promise<Session<Values>> {
  const session = await store.get(req, 'sid')
  session.values.visits = (session.values.visits ?? 0) + 1
  // @ts-expect-error -- the types are there, and not any
  session.values.visits = 'many'
  await store.save(req, res, session)
  for await (const { type } of store.events()) console.log(type)
  return session
}

export const worker: Promise<CleanupHandle> = runWorker({ connectionString: 'postgres://localhost' })
`

// TypeScript says of node16 and node18 that their CommonJS cannot require() modules.
const settings: readonly {
  readonly module: string
  readonly options?: readonly string[]
  readonly files: readonly string[]
}[] = [
  { module: 'node16', files: ['page.mts'] },
  { module: 'node18', files: ['page.mts'] },
  { module: 'node20', files: ['page.mts', 'page.cts'] },
  { module: 'nodenext', files: ['page.mts', 'page.cts'] },
  { module: 'esnext', options: ['--moduleResolution', 'bundler'], files: ['page.mts', 'page.cts'] },
  { module: 'preserve', options: ['--moduleResolution', 'bundler'], files: ['page.mts', 'page.cts'] },
]

function typeTest(name: string, compiler: string): void {
  const isThere = fs.existsSync(compiler)
  if (!isThere) console.log(`Skipped: ${name} is not installed: npm ci --prefix test/versions.`)
  const types = isThere ? installedTest : (title: string, _run: () => unknown) => test.skip(title)
  types(`${name} checks the package's types under each module setting, without @types/pg and skipLibCheck`, () => {
    for (const name of ['@types/node', 'undici-types']) {
      const target = path.join(project, 'node_modules', name)
      fs.cpSync(path.join(root, 'node_modules', name), target, { recursive: true })
    }
    assert.is(fs.existsSync(path.join(project, 'node_modules/@types/pg')), false)
    const fixed = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,esnext.disposable', '--types', 'node']
    for (const file of ['page.mts', 'page.cts']) write(file, page)
    for (const { module, options = [], files } of settings)
      run(compiler, ...fixed, '--module', module, ...options, ...files)
  })
}

typeTest('TypeScript 7', path.join(root, 'node_modules/typescript/bin/tsc'))
typeTest('TypeScript 5', path.join(tools, 'typescript-5/bin/tsc'))

/** The settings for Jest that docs/bundling.md prints, the nth of them. */
function printedSettings(n: number): string {
  const text = fs.readFileSync(path.join(root, 'docs/bundling.md'), 'utf8')
  const [, json] = [...text.matchAll(/^```json\n([\s\S]*?)^```$/gm)][n] ?? []
  if (json === undefined) throw new Error('docs/bundling.md has no such settings.')
  return json
}

const jest = path.join(tools, 'jest/bin/jest.js')
const hasJest = fs.existsSync(jest)
if (!hasJest) console.log('Skipped: Jest is not installed: npm ci --prefix test/versions.')
const jestTest = hasJest ? installedTest : (name: string, _run: () => unknown) => test.skip(name)

const jestTests = `
test('a visitor without a cookie has a new session, and events begin', async () => {
  const keys = ['a key that only this test knows!']
  const store = new PGStore({ connectionString: 'postgres://127.0.0.1:1/nowhere', keys })
  expect((await store.get(new Request('http://localhost/'), 'sid')).isNew).toBe(true)
  store.events()
  await store.close()
})
`

jestTest("Jest's tests import it with the settings that docs/bundling.md prints", () => {
  fs.symlinkSync(path.join(tools, 'babel-jest'), path.join(project, 'node_modules/babel-jest'))
  fs.symlinkSync(path.join(tools, '@babel'), path.join(project, 'node_modules/@babel'))
  write('jest.config.json', printedSettings(0))
  write('required.test.js', `const { PGStore } = require('pgstore')\n${jestTests}`)
  write('imported.test.js', `import { PGStore } from 'pgstore'\n${jestTests}`)
  run(jest, 'required.test.js', 'imported.test.js')
})

jestTest('so do its tests that are modules', () => {
  write('jest.config.json', printedSettings(1))
  write('module.test.mjs', `import { PGStore } from 'pgstore'\n${jestTests}`)
  run('--experimental-vm-modules', jest, 'module.test.mjs')
})

test.run()
