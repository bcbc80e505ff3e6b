// The command line as its users start it: a process. It runs the built package: npm test builds it.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { databaseUrl } from '../support/harness.ts'

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `pgstore …` on this file's database, or on that of `env.DATABASE_URL`, with `input` on its standard input. */
export async function pgstore(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  whileItRuns: (child: ChildProcess) => unknown = () => {},
  input = '',
): Promise<Outcome> {
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...process.env, DATABASE_URL: databaseUrl, ...env },
    stdio: 'pipe',
  })
  child.stdin.on('error', () => {}) // it need not read it
  child.stdin.end(input)
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  try {
    await whileItRuns(child)
    return { code: await ended, stdout, stderr }
  } finally {
    clearTimeout(timer)
  }
}

/** What `pgstore … --json` prints; fails when it fails. */
export async function pgstoreJson<Printed>(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Printed> {
  const { code, stdout, stderr } = await pgstore([...args, '--json'], env)
  if (code !== 0) throw new Error(`Exit code ${code}: ${stderr}`)
  return JSON.parse(stdout)
}
