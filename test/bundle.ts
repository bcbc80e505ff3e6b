// The test files as plain JavaScript, bundled once for all their processes: a loader that compiles TypeScript in each of them
// would take more of the suite's time than the tests do.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
let made = 0

export interface Bundle {
  /** The arguments with which this node runs a test file, but for the file. */
  readonly flags: readonly string[]
  readonly pathOf: (file: string) => string
  readonly remove: () => void
}

/**
 * @param files names below test/
 * @param packages folders of packages to find in place of the project's own, by name
 */
export async function bundle(
  files: readonly string[],
  packages: Readonly<Record<string, string>> = {},
): Promise<Bundle> {
  // For coverage each source must be itself.
  const isCovered = process.env['NODE_V8_COVERAGE'] !== undefined
  if (isCovered)
    return { flags: ['--import', 'tsx'], pathOf: (file) => path.join(root, 'test', file), remove: () => {} }
  // In the project, from where packages are found, unless the folder has its own.
  const folder = path.join(root, '.tests', `${process.pid}-${made++}`)
  for (const [name, target] of Object.entries(packages)) {
    fs.mkdirSync(path.join(folder, 'node_modules'), { recursive: true })
    fs.symlinkSync(target, path.join(folder, 'node_modules', name))
  }
  await build({
    absWorkingDir: root,
    entryPoints: files.map((file) => path.join('test', file)),
    outbase: root,
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    // Where packages are found that are loaded by name; the source maps lead elsewhere.
    banner: { js: "import { fileURLToPath as $file } from 'node:url'; const __filename = $file(import.meta.url);" },
    logLevel: 'warning',
    plugins: [
      {
        name: 'modules know where their source is',
        setup(esbuild) {
          esbuild.onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
            const text = await fs.promises.readFile(file, 'utf8')
            return { loader: 'ts', contents: text.replaceAll('import.meta.url', `'${pathToFileURL(file).href}'`) }
          })
        },
      },
    ],
  })
  return {
    flags: ['--enable-source-maps'],
    pathOf: (file) => path.join(folder, 'test', file.replace(/\.ts$/, '.mjs')),
    remove: () => fs.rmSync(folder, { recursive: true, force: true }),
  }
}
