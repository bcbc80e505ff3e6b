// The packages that only some programs use, loaded when they are used. No bundler can follow the name into them: neither works in a
// bundle, as both read files beside their own.
import { messageOf, PGStoreError } from './errors.ts'

interface Packages {
  'pg-listen': typeof import('pg-listen')
  'graphile-worker': typeof import('graphile-worker')
}

/** What needs the package, and how to install it. */
const advice: Readonly<Record<keyof Packages, string>> = {
  'pg-listen':
    'Events, the cache and the worker need the package pg-listen, beside the bundle: npm install pg-listen@1',
  'graphile-worker': 'A worker needs the package graphile-worker: npm install graphile-worker@0.17',
}

// Not an import of createRequire: webpack would follow what it loads, and for pg's sake esbuild's banner has often declared it.
const nodeModule = process.getBuiltinModule('node:module')

/** @throws {PGStoreError} `invalid_option` if it is not installed, or a package that it needs is not */
export function loadPackage<Name extends keyof Packages>(name: Name): Packages[Name] {
  const file = findPackage(name)
  try {
    return nodeModule.createRequire(file)(file) as Packages[Name]
  } catch (error) {
    const [reason] = messageOf(error).split('\n') // other lines show paths
    throw new PGStoreError('invalid_option', `The package ${name} cannot be loaded: ${reason}.`)
  }
}

// Bundlers may put a path of the machine that they run on in place of the first.
const files = [() => __filename, thisFile, () => process.argv[1], () => process.execPath]

/**
 * The package's main file: beside this one, or, where that is part of a bundle, beside the bundle or the program.
 *
 * @throws {PGStoreError} `invalid_option` if it is not installed
 */
export function findPackage(name: keyof Packages): string {
  for (const file of files) {
    try {
      return nodeModule.createRequire(file() ?? '').resolve(name)
    } catch {
      // not from there, or there is no such variable
    }
  }
  throw new PGStoreError('invalid_option', `${advice[name]}.`)
}

/** Not from import.meta, which is a syntax error where Jest makes this file CommonJS. */
function thisFile(): string | undefined {
  return /(?:\(|at )((?:file:|\/|[A-Za-z]:\\).+?):\d+:\d+/.exec(new Error().stack ?? '')?.[1]
}
