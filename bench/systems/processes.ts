// The benchmark's own processes: how they start, and their replies.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** @param file below bench/ */
export function start(file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess {
  return fork(fileURLToPath(new URL(`../${file}`, import.meta.url)), args, { env, execArgv: ['--import', 'tsx'] })
}

/** The next message of the process. */
export async function answerOf<T>(child: ChildProcess): Promise<T> {
  return await new Promise((resolve, reject) => {
    const fail = (): void => reject(new Error('A benchmark process ended early.'))
    child.once('exit', fail)
    child.once('message', (message) => {
      child.off('exit', fail)
      resolve(message as T)
    })
  })
}
