// `npm run cluster [-- COMMAND]`: a PL/Proxy proxy and four partitions, each a Postgres server on this machine, to try by hand; or what is
// asked of them.
import { howToInstall, plproxyBin } from './cluster/cluster.ts'

/** By name; each is loaded when it is asked for, and returns an exit code. */
const commands: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  start: async () => (await import('./cluster/start.ts')).start(),
  bench: async (args) => (await import('./cluster/bench.ts')).bench(args),
  test: async (args) => (await import('./cluster/test.ts')).test(args),
  outage: async () => (await import('./cluster/outage.ts')).outage(),
  grow: async (args) => (await import('./cluster/grow.ts')).grow(args),
}

const [name = 'start', ...args] = process.argv.slice(2)
const command = Object.hasOwn(commands, name) ? commands[name] : undefined
if (command === undefined) {
  console.log(`npm run cluster -- ${Object.keys(commands).join(' | ')}`)
  process.exitCode = 2
} else if (plproxyBin() === undefined) {
  console.log(howToInstall())
  process.exitCode = 1
} else {
  process.exitCode = await command(args)
}
