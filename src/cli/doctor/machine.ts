// What can be seen on this machine, without a database: packages, Node, and the keys in the environment.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { type Finding, warning, wrong } from './finding.ts'

/** The packages that we use of those that the application installs, and what is missing without one. */
const packages = ['pg', 'graphile-worker'] as const

/** @param folder the application's: its packages count, not ours */
export function packageFindings(folder: string, node: string = process.versions.node): Finding[] {
  const own = JSON.parse(fs.readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    engines: { node: string }
    dependencies: Record<string, string>
    peerDependencies: Record<string, string>
  }
  const found = packages.flatMap((name) => {
    const range = own.dependencies[name] ?? own.peerDependencies[name] ?? '*'
    const version = installedVersion(name, folder)
    if (version === undefined || isWithin(version, range)) return []
    const says = `${name} ${version} is installed here; pgstore is made for ${range}, and works with no other for certain.`
    const [wanted = ''] = range.split(' ||')
    return [wrong('package_version', says, `npm install "${name}@${wanted}"`)]
  })
  if (!isWithin(node, own.engines.node))
    found.push(wrong('node_version', `Node ${node} runs here; pgstore needs ${own.engines.node}.`))
  return found
}

/** undefined if it is not installed, or does not say. */
function installedVersion(name: string, folder: string): string | undefined {
  try {
    const file = createRequire(path.join(folder, 'package.json')).resolve(`${name}/package.json`)
    return (JSON.parse(fs.readFileSync(file, 'utf8')) as { version?: string }).version
  } catch {
    return undefined
  }
}

/** Ranges as our package.json has them: ^, ~ and >=, several of them separated by ||. */
function isWithin(version: string, ranges: string): boolean {
  const numbers = (text: string) => (/\d+(\.\d+)*/.exec(text)?.[0] ?? '').split('.').map(Number)
  const has = numbers(version)
  return ranges.split('||').some((range) => {
    const wants = numbers(range)
    const different = wants.findIndex((number, index) => number !== has[index])
    if (different >= 0 && (has[different] ?? 0) < (wants[different] ?? 0)) return false
    const fixed = { '^': 1, '~': 2 }[range.trim()[0] ?? ''] ?? 0
    return different < 0 || different >= fixed
  })
}

/** The variables that the pages name for keys. */
const variables = ['SESSION_KEY', 'SESSION_SECRET'] as const

/** They are judged by their length and by what can be seen at a glance, and never shown. */
export function keyFindings(env: NodeJS.ProcessEnv): Finding[] {
  const mend = (name: string) => `export ${name}=$(npx pgstore key)`
  return variables.flatMap((name) => {
    const key = env[name]
    if (key === undefined) return []
    const bytes = Buffer.byteLength(key)
    if (bytes < 32) {
      const says = `The key in ${name} has ${bytes} bytes, and a store takes no fewer than 32: make a new one.`
      return [wrong('key_short', says, mend(name))]
    }
    if (key !== key.trim()) {
      const says = `The key in ${name} begins or ends with white space, which belongs to it: a server that drops it signs everybody out.`
      return [warning('key_space', says)]
    }
    if (new Set(key).size >= 12 && !/secret|password|change.?me|example|keyboard cat/i.test(key)) return []
    const says = `The key in ${name} looks as if it can be guessed, and who guesses it can sign cookies: make a random one.`
    return [wrong('key_guessable', says, mend(name))]
  })
}
