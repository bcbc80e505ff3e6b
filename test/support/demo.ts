// The demo as `npm start` starts it: a separate process.
import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { databaseUrl, until } from './harness.ts'

const main = fileURLToPath(new URL('../../examples/demo/main.ts', import.meta.url))
const folders: string[] = []
const children: ChildProcess[] = []

export class Demo {
  readonly process: ChildProcess
  said = ''

  constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    this.process = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
      env: { ...process.env, PORT: '0', TSX_TSCONFIG_PATH: path.join(path.dirname(main), 'tsconfig.json'), ...env },
    })
    children.push(this.process)
    for (const pipe of [this.process.stdout, this.process.stderr]) {
      pipe?.on('data', (chunk) => {
        this.said += chunk
      })
    }
  }

  get url(): string {
    return /The demo: +(http:\S+)/.exec(this.said)?.[1] ?? ''
  }

  get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null
  }

  async ready(): Promise<this> {
    await until(() => this.hasEnded || this.said.includes('Ctrl-C'), 60)
    if (this.hasEnded) throw new Error(`The demo ended: ${this.said}`)
    return this
  }

  /** Exit code. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.process.kill(signal)
    await until(() => this.hasEnded)
    return this.process.exitCode
  }
}

/** On this file's database; each has its own keys, as they lie in its folder. */
export function startDemo(env: NodeJS.ProcessEnv = {}, url: string = databaseUrl): Demo {
  return new Demo(['--database-url', url], { PGSTORE_DEMO_HOME: temporaryFolder(), ...env })
}

export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-demo-'))
  folders.push(folder)
  return folder
}

export function endDemos(): void {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
  for (const folder of folders) fs.rmSync(folder, { recursive: true, maxRetries: 50 })
}
