// Programs as printed on a page, written where they find the packages of test/versions, which only some machines have.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folders: string[] = []

/** Where the packages of test/versions lie. */
export const packages: string = path.join(root, 'test/versions/node_modules')

/** What the pages import. */
const imported = ['@adonisjs', 'astro', 'better-auth', 'pg', 'unstorage']
const areInstalled = imported.every((name) => fs.existsSync(path.join(packages, name)))

/** The first program of a page, as a file of this name; with types only where tsx runs it. */
export function printedFile(page: string, name: string = 'main.ts'): string {
  const text = fs.readFileSync(path.join(root, `docs/${page}.md`), 'utf8')
  const [, program] = /^```[tj]s\n([\s\S]*?)^```$/m.exec(text) ?? []
  if (program === undefined) throw new Error(`docs/${page}.md has no program.`)
  // Not below test/, whose folders are searched for tests, through links too.
  fs.mkdirSync(path.join(root, '.tests'), { recursive: true })
  const folder = fs.mkdtempSync(path.join(root, '.tests/page-'))
  folders.push(folder)
  const modules = path.join(folder, 'node_modules')
  fs.mkdirSync(modules)
  fs.symlinkSync(root, path.join(modules, 'pgstore'), 'dir')
  for (const one of imported) fs.symlinkSync(path.join(packages, one), path.join(modules, one), 'dir')
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }')
  const file = path.join(folder, name)
  fs.writeFileSync(file, program)
  return file
}

export function removePrinted(): void {
  for (const folder of folders) fs.rmSync(folder, { recursive: true })
}

type Test = (name: string, body: () => Promise<void> | void) => void

/** A test that is skipped, and says so, where the packages are not installed. */
export function withPackages(test: Test & { skip: Test }, name: string, body: () => Promise<void> | void): void {
  if (!areInstalled) console.log(`Skipped: ${name}: its packages are not installed (npm ci --prefix test/versions).`)
  const declare = areInstalled ? test : test.skip
  declare(name, body)
}
