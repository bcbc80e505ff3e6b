// Packages that only tests of integrations need, from test/versions: `npm ci --prefix test/versions` brings them.
import fs from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'

const modules = new URL('../versions/node_modules/', import.meta.url)

/** Whether all are there; says so where they are not. */
export function areThere(...names: string[]): boolean {
  const missing = names.filter((name) => !fs.existsSync(new URL(name, modules)))
  if (missing.length > 0) console.log(`Skipped: ${missing.join()} is not installed: npm ci --prefix test/versions.`)
  return missing.length === 0
}

/** The module in this file of a package; its types are not checked here, but those of the programs in docs/ are. */
// biome-ignore lint/suspicious/noExplicitAny: packages that are not the project's own
export async function library(file: string): Promise<any> {
  return await import(pathToFileURL(fileURLToPath(new URL(file, modules))).href)
}
