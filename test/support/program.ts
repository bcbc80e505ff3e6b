// Other processes: the installed command `pgstore`, and programs of the tests.
import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { databaseUrl, until } from './harness.ts'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..')

/** Milliseconds in which a process ends that promises to within five seconds: a machine may be busy with other things. */
export const soon = 15_000

export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const programs = new Set<Program>()

/** A process whose output is kept, line by line. */
export class Program {
  readonly lines: string[] = []
  errors = ''
  readonly ended: Promise<Ending>
  readonly #child: ChildProcess
  #rest = ''

  constructor(
    args: readonly string[],
    environment: NodeJS.ProcessEnv = {},
    { cwd = root, node = process.execPath }: { readonly cwd?: string; readonly node?: string } = {},
  ) {
    programs.add(this)
    this.#child = spawn(node, args, {
      cwd,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n')
      this.#rest = lines.pop() ?? ''
      this.lines.push(...lines)
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text
    })
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        programs.delete(this)
        resolve({ code, signal })
      })
    })
  }

  get output(): string {
    return [...this.lines, this.#rest].join('\n')
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** The first line that matches, as soon as it is there. */
  async line(pattern: RegExp, seconds = 60): Promise<string> {
    let found: string | undefined
    try {
      await until(() => {
        found = this.lines.find((line) => pattern.test(line))
        return found !== undefined || !this.isRunning
      }, seconds)
    } catch {
      // said below
    }
    if (found === undefined) throw new Error(`No ${pattern} in:\n${this.output}\n${this.errors}`)
    return found
  }

  /** Reads no more, as `head` does. */
  leave(): void {
    this.#child.stdout?.destroy()
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal)
  }

  /** Sends the signal; how the process ended, and after how many milliseconds. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ending & { ms: number }> {
    const started = performance.now()
    this.signal(signal)
    const ending = await this.ended
    return { ...ending, ms: performance.now() - started }
  }
}

/** The command line, as it is shipped, on this file's database. */
export function pgstore(...args: string[]): Program {
  return new Program(['dist/cli/main.js', ...args], { DATABASE_URL: databaseUrl })
}

/** A module of the tests, in TypeScript, with the address of a database as its argument. */
export function program(name: string, url: string = databaseUrl, ...nodeOptions: string[]): Program {
  return new Program([...nodeOptions, '--import', 'tsx', path.join('test', name), url])
}

export async function endPrograms(): Promise<void> {
  await Promise.all([...programs].map((program) => program.end('SIGKILL')))
}
