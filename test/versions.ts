// Other versions of what pgstore runs on and beside: node's, and those of the peers that a range names besides the one that is
// installed. They are in a folder of their own, which CI installs: `npm ci --prefix test/versions`.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const modules = fileURLToPath(new URL('versions/node_modules', import.meta.url))

export const areInstalled: boolean = fs.existsSync(modules)

/** Requires a package from that folder. */
export const requireVersion: NodeJS.Require = createRequire(path.join(modules, 'index.js'))

/** A way to run test files: on what, and with which other packages under their names. */
export interface Variant {
  readonly name: string
  /** Program and arguments, before the file. */
  readonly command: readonly [string, ...string[]]
  /** The folder of the package to find, by the name under which it is imported. */
  readonly packages: Readonly<Record<string, string>>
  readonly files: Pick<RegExp, 'test'>
}

/** What node's version can have a part in: two minutes a version. */
const core =
  /^(adapters|cookie|events|session|store)\/|^database\/(batcher|pools|read-json)|^cleanup\/|^cli\/(key|main)|^telemetry\/channels/

const node = (major: number) => [path.join(modules, `node-${major}/bin/node`), '--enable-source-maps'] as const

/** graphile-worker 0.18 and React Router 8 ask for a newer node than the first that we support. */
const otherPeers: Readonly<Record<string, string>> = {
  express: 'express-4',
  'graphile-worker': 'graphile-worker-0.18',
  koa: 'koa-2',
  'react-router': 'react-router-8',
}

/** Program and arguments that run a file on another runtime. */
export const runtimes: Readonly<Record<'Bun' | 'Deno', readonly [string, ...string[]]>> = {
  Bun: [path.join(modules, '.bin/bun')],
  Deno: [path.join(modules, '.bin/deno'), 'run', '--allow-all', '--node-modules-dir=manual'],
}

export const variants: readonly Variant[] = [
  ...[22, 24, 26].map((major) => ({ name: `Node ${major}`, command: node(major), packages: {}, files: core })),
  {
    name: `Node 24 with ${Object.values(otherPeers).join(', ')}`,
    command: node(24),
    packages: Object.fromEntries(
      Object.entries(otherPeers).map(([name, folder]) => [name, path.join(modules, folder)]),
    ),
    // Not what starts the built program: that finds the packages of the project.
    files: /^adapters\/(express\/|koa|react-router)|^cleanup\/(cleanup|worker)\./,
  },
  // But for how the end of a response is held back, which goes by the inner workings of node:http, and which Bun does not do.
  {
    name: 'Bun',
    command: runtimes.Bun,
    packages: {},
    files: /^adapters\/(?!express\/re(directs|sponse)|storages)/,
  },
  {
    name: 'Deno',
    command: runtimes.Deno,
    packages: {},
    files: /^adapters\/(?!express\/response|storages)/,
  },
]
