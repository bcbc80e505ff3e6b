// The programs printed on the pages of docs/, as a reader would copy them: type-checked under `strict`, and run.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { databaseUrl } from './harness.ts'
import { freePort } from './port.ts'
import { Program } from './program.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Where the packages are that only pages need. */
const versions = path.join(root, 'test/versions')

const compilerOptions = {
  target: 'es2023',
  module: 'nodenext',
  moduleDetection: 'force',
  strict: true,
  skipLibCheck: true,
  noEmit: true,
  types: ['node'],
  experimentalDecorators: true,
}

/** The blocks of a page that begin with their file's name, and that name, in order. */
function programsOf(page: string): { readonly name: string; readonly code: string }[] {
  const text = fs.readFileSync(path.join(root, 'docs', `${page}.md`), 'utf8')
  const blocks = text.matchAll(/^```ts\n(\/\/ (\w+\.ts)\n[\s\S]*?)^```$/gm)
  return [...blocks].map(([, code = '', name = '']) => ({ name, code }))
}

/** What the compiler says of a project: '' if all is well. */
export function typeErrors(project: string): string {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', project], { encoding: 'utf8' })
  return status === 0 ? '' : stdout || `tsc: ${status}`
}

export class PageFolder {
  readonly #folder: string

  /** @param index which of the page's programs, if it has several */
  constructor(page: string, index = 0) {
    const program = programsOf(page)[index]
    if (program === undefined) throw new Error(`docs/${page}.md has no program ${index}.`)
    this.#folder = fs.mkdtempSync(path.join(versions, '.page-'))
    fs.writeFileSync(path.join(this.#folder, 'package.json'), '{ "type": "module" }')
    fs.writeFileSync(path.join(this.#folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    fs.writeFileSync(path.join(this.#folder, program.name), program.code)
    fs.mkdirSync(path.join(this.#folder, 'node_modules'))
    fs.symlinkSync(root, path.join(this.#folder, 'node_modules/pgstore'))
  }

  /** What the compiler says: '' if all is well. */
  compile(): string {
    return typeErrors(this.#folder)
  }

  /** Starts it, and returns its address once it listens. */
  async start(env: NodeJS.ProcessEnv = {}): Promise<{ readonly url: string; readonly program: Program }> {
    const port = await freePort()
    const program = this.run('server.ts', { PORT: String(port), ORIGIN: `http://127.0.0.1:${port}`, ...env })
    await program.line(/^listening/)
    return { url: `http://127.0.0.1:${port}`, program }
  }

  /** Adds a file that uses the program. */
  write(name: string, code: string): void {
    fs.writeFileSync(path.join(this.#folder, name), code)
  }

  run(name: string, env: NodeJS.ProcessEnv = {}): Program {
    const secret = 'a secret of a test, which is long enough'
    const own = { DATABASE_URL: databaseUrl, SESSION_KEY: secret, SESSION_SECRET: secret }
    const tsconfig = { TSX_TSCONFIG_PATH: path.join(this.#folder, 'tsconfig.json') }
    return new Program(['--import', 'tsx', path.join(this.#folder, name)], { ...own, ...tsconfig, ...env })
  }

  remove(): void {
    fs.rmSync(this.#folder, { recursive: true })
  }
}
