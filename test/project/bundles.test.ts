// A program that imports the package as npm would publish it, bundled with the options that `pg` alone needs, and run in a folder in
// which nothing is installed; then with pg-listen beside it.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build as esbuild } from 'esbuild'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, emptyDatabase } from '../support/harness.ts'
import { isInstalled } from '../support/installed.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const tools = path.join(root, 'test/versions/node_modules')
// Not below the project, whose packages would be found.
const project = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-bundles-'))

test.after(async () => {
  fs.rmSync(project, { recursive: true, maxRetries: 50 })
  await closeAll()
})

/** Saves a session and reads it again; then tries what needs another package, and prints what it is told. */
const program = `
import { PGStore } from 'pgstore'

const settings = { connectionString: process.env.DATABASE_URL, keys: ['a key that only this test knows!'] }
const url = 'https://app.example/'

async function main() {
  const store = await PGStore.open(settings)
  const session = await store.get(new Request(url), 'sid')
  session.values.visits = 1
  const headers = new Headers()
  await store.save(new Request(url), headers, session)
  const cookie = headers.get('set-cookie').split(';')[0]
  const { values } = await store.get(new Request(url, { headers: { cookie } }), 'sid')
  console.log('visits', values.visits)
  await tell('events', async () => {
    const events = store.events()
    await events.ready
    session.options.maxAge = -1
    await store.save(new Request(url), new Headers(), session)
    return (await events.next()).value.type
  })
  await tell('cache', async () => {
    const cached = new PGStore({ ...settings, cache: true })
    while (cached.stats().cache.state !== 'listening') {
      await cached.get(new Request(url, { headers: { cookie } }), 'sid')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await cached.close()
    return 'listening'
  })
  await tell('worker', async () => {
    const worker = await store.startCleanup()
    await worker.stop()
    return 'ran'
  })
  await store.close()
}

async function tell(name, work) {
  console.log(name, await work().catch(({ code, message }) => code + ': ' + message))
}

main().then(() => process.exit())
`

/** Writes the bundle into the folder; returns how to run it there. */
type Build = (entry: string, folder: string) => Promise<readonly [string, ...string[]]>

function run(cwd: string, env: NodeJS.ProcessEnv, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: 120_000,
    env: { ...process.env, ...env },
  })
  assert.is(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

const canRun = isInstalled(project, {})

/** A module of test/versions, of no known type. */
async function tool(file: string) {
  return await import(pathToFileURL(path.join(tools, file)).href)
}

function bundleTest(name: string, needed: string | undefined, build: Build): void {
  const isThere = needed === undefined || fs.existsSync(path.join(tools, needed))
  if (!isThere) console.log(`Skipped: ${needed} is not installed: npm ci --prefix test/versions.`)
  const bundles = canRun && isThere ? test : (title: string, _run: () => unknown) => test.skip(title)
  bundles(`a bundle of ${name} needs nothing beside it, and pg-listen for events and the cache`, async () => {
    const source = fs.mkdtempSync(path.join(project, 'source-'))
    const entry = path.join(source, 'main.mjs')
    fs.writeFileSync(entry, program)
    const built = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-bundle-'))
    const hidden = path.join(project, 'node_modules')
    try {
      const [command, ...args] = await build(entry, built)
      // Where the bundle was built is not where it runs.
      fs.renameSync(hidden, `${hidden}-away`)
      const env = { DATABASE_URL: await emptyDatabase(), PORT: '0' }
      const lines = () =>
        run(built, env, command, ...args)
          .split('\n')
          .filter((line) => /^(visits|events|cache|worker) /.test(line))
      const advised =
        'Events, the cache and the worker need the package pg-listen, beside the bundle: npm install pg-listen@1'
      assert.equal(lines(), [
        'visits 1',
        `events invalid_option: ${advised}.`,
        `cache invalid_option: ${advised}.`,
        'worker invalid_option: A worker needs the package graphile-worker: npm install graphile-worker@0.17.',
      ])
      fs.renameSync(`${hidden}-away`, path.join(built, 'node_modules'))
      assert.equal(lines().slice(0, 3), ['visits 1', 'events destroyed', 'cache listening'])
    } finally {
      for (const away of [`${hidden}-away`, path.join(built, 'node_modules')])
        if (fs.existsSync(away)) fs.renameSync(away, hidden)
      fs.rmSync(built, { recursive: true })
    }
  })
}

for (const format of ['esm', 'cjs'] as const) {
  for (const minify of [false, true]) {
    bundleTest(`esbuild (${format}${minify ? ', minified' : ''})`, undefined, async (entry, folder) => {
      const outfile = path.join(folder, format === 'esm' ? 'main.mjs' : 'main.cjs')
      // pg is CommonJS, and requires Node's own modules.
      const banner = {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
      }
      await esbuild({
        entryPoints: [entry],
        outfile,
        format,
        minify,
        bundle: true,
        platform: 'node',
        logLevel: 'error',
        ...(format === 'esm' && { banner }),
      })
      return [process.execPath, outfile]
    })
  }
}

for (const format of ['es', 'cjs'] as const) {
  bundleTest(`Rollup (${format})`, 'rollup', async (entry, folder) => {
    const { rollup } = await tool('rollup/dist/es/rollup.js')
    const [{ default: nodeResolve }, { default: commonjs }, { default: json }] = await Promise.all(
      ['node-resolve', 'commonjs', 'json'].map((name) => tool(`@rollup/plugin-${name}/dist/es/index.js`)),
    )
    const plugins = [nodeResolve({ preferBuiltins: true }), commonjs({ ignoreDynamicRequires: true }), json()]
    const bundle = await rollup({ input: entry, plugins, external: ['pg-native'], logLevel: 'silent' })
    const file = path.join(folder, format === 'es' ? 'main.mjs' : 'main.cjs')
    await bundle.write({ file, format, inlineDynamicImports: true })
    return [process.execPath, file]
  })

  bundleTest(`Rolldown (${format})`, 'rolldown', async (entry, folder) => {
    const { build } = await tool('rolldown/dist/index.mjs')
    const file = path.join(folder, format === 'es' ? 'main.mjs' : 'main.cjs')
    await build({
      input: entry,
      platform: 'node',
      external: ['pg-native'],
      logLevel: 'silent',
      output: { file, format, codeSplitting: false },
    })
    return [process.execPath, file]
  })
}

for (const format of ['module', 'commonjs2'] as const) {
  bundleTest(`webpack (${format})`, 'webpack', async (entry, folder) => {
    const { default: webpack } = await tool('webpack/lib/index.js')
    const filename = format === 'module' ? 'main.mjs' : 'main.cjs'
    const stats = await new Promise<{ hasErrors(): boolean; toString(): string }>((resolve, reject) => {
      webpack(
        {
          entry,
          mode: 'production',
          target: 'node20',
          externals: { 'pg-native': 'commonjs pg-native' },
          experiments: { outputModule: format === 'module' },
          output: { path: folder, filename, library: { type: format } },
        },
        (error: Error | null, result: { hasErrors(): boolean }) => (error ? reject(error) : resolve(result)),
      )
    })
    assert.is(stats.hasErrors(), false, String(stats))
    return [process.execPath, path.join(folder, filename)]
  })
}

bundleTest('Vite (SSR, all inlined)', 'vite', async (entry, folder) => {
  const { build } = await tool('vite/dist/node/index.js')
  await build({
    root: path.dirname(entry),
    logLevel: 'error',
    configFile: false,
    ssr: { noExternal: true, external: ['pg-native'] },
    build: { ssr: entry, outDir: folder, emptyOutDir: true },
  })
  return [process.execPath, path.join(folder, fs.readdirSync(folder).find((name) => /^main\.m?js$/.test(name)) ?? '')]
})

bundleTest('ncc', '@vercel/ncc', async (entry, folder) => {
  run(
    project,
    {},
    process.execPath,
    path.join(tools, '@vercel/ncc/dist/ncc/cli.js'),
    'build',
    entry,
    '-o',
    folder,
    '-q',
  )
  const name = fs.readdirSync(folder).find((file) => /^index\.[cm]?js$/.test(file)) ?? ''
  return [process.execPath, path.join(folder, name)]
})

bundleTest('bun build --compile', 'bun', async (entry, folder) => {
  // Without the flag the program reads no package.json, and so finds few packages beside it.
  const file = path.join(folder, 'main')
  run(
    project,
    {},
    path.join(tools, '.bin/bun'),
    'build',
    '--compile',
    '--compile-autoload-package-json',
    '--external',
    'pg-native',
    entry,
    '--outfile',
    file,
  )
  return [file]
})

bundleTest('Nitro (all inlined)', 'nitropack', async (entry, folder) => {
  const source = path.dirname(entry)
  fs.mkdirSync(path.join(source, 'plugins'))
  fs.renameSync(entry, path.join(source, 'plugins/main.mjs'))
  fs.appendFileSync(path.join(source, 'plugins/main.mjs'), 'export default () => {}\n')
  const { createNitro, prepare, build } = await tool('nitropack/dist/core/index.mjs')
  const nitro = await createNitro({
    rootDir: source,
    srcDir: source,
    preset: 'node-server',
    noExternals: true,
    rollupConfig: { external: ['pg-native'] },
    logLevel: 0,
    output: { dir: folder },
    compatibilityDate: '2026-01-01',
  })
  await prepare(nitro)
  await build(nitro)
  await nitro.close()
  return [process.execPath, path.join(folder, 'server/index.mjs')]
})

test.run()
