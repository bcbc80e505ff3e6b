// What runs an example besides this node: Bun and Deno, where `npm ci --prefix test/versions` has brought them.
import fs from 'node:fs'
import { runtimes as installed } from '../versions.ts'
import { counts } from './counts.ts'

export interface Runtime {
  readonly name: string
  /** The program and its arguments, before the example's file. */
  readonly command: readonly [string, ...string[]]
}

export const node: Runtime = { name: 'Node', command: [process.execPath, '--import', 'tsx'] }

const others: readonly Runtime[] = Object.entries(installed).map(([name, command]) => ({ name, command }))

/** With long counts all of them that are installed; else this node alone. */
export const runtimes: readonly Runtime[] = [
  node,
  ...others.slice(0, counts(0, others.length)).filter(({ command: [program] }) => {
    const isInstalled = fs.existsSync(program)
    if (!isInstalled) console.log(`Skipped: ${program} is not installed: npm ci --prefix test/versions.`)
    return isInstalled
  }),
]
