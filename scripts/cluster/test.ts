// `npm run cluster -- test [part-of-a-file-name …]`: the functional suite through the proxy.
import { spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..')

export async function test(args: readonly string[]): Promise<number> {
  const env = { ...process.env, PGSTORE_TARGET: 'proxy' }
  const runner = spawn(process.execPath, ['--import', 'tsx', 'test/run.ts', ...args], {
    cwd: root,
    env,
    stdio: 'inherit',
  })
  return await new Promise((resolve) => runner.on('close', (code) => resolve(code ?? 1)))
}
