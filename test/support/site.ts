// The program of a page of docs/ that has several files, written out as a reader would: each block that begins with its file's name.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { databaseUrl } from './harness.ts'
import { typeErrors } from './page.ts'
import { freePort } from './port.ts'
import { Program } from './program.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Where the packages are that only pages need. */
const versions = path.join(root, 'test/versions')

/** A block, by its first line: a comment in its language with the name of its file. */
const block = /^```(?:ts|tsx|js|svelte)\n(?:\/\/|<!--) ([\w.+/[\]-]+\.\w+)(?: -->)?\n([\s\S]*?)^```$/gm

export class SiteFolder {
  readonly folder: string

  /** @param extra files that a project has and the page does not show */
  constructor(page: string, extra: Readonly<Record<string, string>>) {
    const text = fs.readFileSync(path.join(root, 'docs', `${page}.md`), 'utf8')
    const shown = [...text.matchAll(block)].map(([, name, code]) => [name as string, code as string] as const)
    if (shown.length === 0) throw new Error(`docs/${page}.md has no file.`)
    this.folder = fs.mkdtempSync(path.join(versions, '.site-'))
    for (const [name, code] of [...Object.entries(extra), ...shown]) {
      const file = path.join(this.folder, name)
      fs.mkdirSync(path.dirname(file), { recursive: true })
      fs.writeFileSync(file, code)
    }
    // A copy, which finds the frameworks that are installed beside it; a link would be looked at where it leads.
    const installed = path.join(this.folder, 'node_modules/pgstore')
    fs.cpSync(path.join(root, 'dist'), path.join(installed, 'dist'), { recursive: true })
    fs.copyFileSync(path.join(root, 'package.json'), path.join(installed, 'package.json'))
  }

  /** What the compiler says of these files, or those that match: '' if all is well. */
  compile(...include: string[]): string {
    const compilerOptions = {
      target: 'es2023',
      module: 'preserve',
      moduleDetection: 'force',
      strict: true,
      skipLibCheck: true,
      noEmit: true,
      jsx: 'react-jsx',
      types: ['node'],
      typeRoots: [path.join(root, 'node_modules/@types')],
    }
    const project = path.join(this.folder, 'check.json')
    fs.writeFileSync(project, JSON.stringify({ compilerOptions, include }))
    const errors = typeErrors(project)
    fs.rmSync(project)
    return errors
  }

  /** Runs a command of a package to its end; throws with what it said where it fails. */
  run(node: string, ...args: string[]): void {
    const options = { cwd: this.folder, encoding: 'utf8', env: { ...process.env, ...this.#env } } as const
    const { status, stdout, stderr } = spawnSync(node, args.map(located), options)
    if (status !== 0) throw new Error(`${args.join(' ')}: ${status}\n${stdout}\n${stderr}`)
  }

  /** Starts a command that serves the port that is put in for PORT, and returns its address. */
  async start(node: string, ready: RegExp, ...args: string[]): Promise<{ url: string; program: Program }> {
    const port = String(await freePort())
    const given = args.map((arg) => located(arg.replace('PORT', port)))
    const program = new Program(given, { ...this.#env, PORT: port }, { cwd: this.folder, node })
    await program.line(ready)
    return { url: `http://localhost:${port}`, program }
  }

  get #env(): NodeJS.ProcessEnv {
    return {
      DATABASE_URL: databaseUrl,
      SESSION_KEY: 'a secret of a test, which is long enough',
      NODE_ENV: 'production',
    }
  }

  remove(): void {
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

/** `vite/bin/vite.js` is that file of the package. */
function located(arg: string): string {
  const file = path.join(versions, 'node_modules', arg)
  return /\/bin\b/.test(arg) && fs.existsSync(file) ? file : arg
}
