// The build of pgstore that this process measures: this checkout's, or that of the folder named by PGSTORE_BENCH_BUILD.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export const ownFolder: string = fileURLToPath(new URL('../..', import.meta.url))

const folder = process.env['PGSTORE_BENCH_BUILD'] ?? ownFolder

/** The file behind an entry of the package, from its package.json, as files move between builds. */
export function entryFile(entry: '.' | './express-session' | './express', build: string = folder): string {
  const { exports } = JSON.parse(fs.readFileSync(path.join(build, 'package.json'), 'utf8')) as {
    exports: Record<string, { default: string }>
  }
  return path.join(build, exports[entry]?.default ?? '')
}

/** A file of the build, as a module. */
export async function importBuilt<Module>(file: string): Promise<Module> {
  return (await import(pathToFileURL(path.resolve(folder, file)).href)) as Module
}
