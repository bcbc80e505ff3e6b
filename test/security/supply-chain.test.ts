// The packages that are installed with pgstore.
import fs from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll } from '../support/harness.ts'
import { requirement } from './requirement.ts'

test.after(closeAll)

const root = new URL('../../', import.meta.url)
const readJson = (file: string) => JSON.parse(fs.readFileSync(new URL(file, root), 'utf8'))

/** Everything that `npm install pgstore` brings, with the reason for the branch that it is on. */
const tree: Readonly<Record<string, readonly string[]>> = {
  // The driver, by the authors of node-postgres, and pgpass by one of them.
  pg: [
    'pg-cloudflare',
    'pg-connection-string',
    'pg-int8',
    'pg-pool',
    'pg-protocol',
    'pg-types',
    'pgpass',
    'postgres-array',
    'postgres-bytea',
    'postgres-date',
    'postgres-interval',
    'split2',
    'xtend',
  ],
  // LISTEN that outlives outages.
  'pg-listen': ['debug', 'ms', 'pg-format', 'typed-emitter'],
}

interface Locked {
  readonly version: string
  readonly dev?: boolean
  readonly devOptional?: boolean
  readonly peer?: boolean
  readonly optional?: boolean
  readonly hasInstallScript?: boolean
  readonly integrity?: string
  readonly resolved?: string
}

function runtimePackages(): [string, Locked][] {
  const { packages } = readJson('package-lock.json') as { packages: Record<string, Locked> }
  return Object.entries(packages)
    .filter(([place, { dev, devOptional }]) => place !== '' && !dev && !devOptional)
    .map(([place, locked]) => [place.replace(/^.*node_modules\//, ''), locked])
}

requirement(
  'S54',
  'the runtime dependencies are pg and pg-listen with their dependencies; everything else is the host’s choice',
  () => {
    const { dependencies, peerDependencies, peerDependenciesMeta, optionalDependencies, bundleDependencies } =
      readJson('package.json')
    assert.equal(Object.keys(dependencies), Object.keys(tree))
    // Frameworks, the worker and telemetry: applications that do not use them install none of them.
    const choices = [
      '@opentelemetry/api',
      'elysia',
      'express',
      'express-session',
      'fastify',
      'graphile-worker',
      'hono',
      'koa',
      'mongodb',
      'next',
      'prom-client',
      'react-router',
      'redis',
    ]
    assert.equal(Object.keys(peerDependencies), choices)
    for (const name of choices) assert.equal(peerDependenciesMeta[name], { optional: true }, name)
    assert.equal([optionalDependencies, bundleDependencies], [undefined, undefined])
    const expected = Object.entries(tree).flatMap(([name, brought]) => [name, ...brought])
    const found = runtimePackages().map(([name]) => name)
    assert.equal([...new Set(found)].sort(), expected.sort())
  },
)

requirement(
  'S54',
  'each of them is once in the lockfile, with its digest, from the public registry, and runs nothing at installation',
  () => {
    const packages = runtimePackages()
    assert.is(new Set(packages.map(([name]) => name)).size, packages.length)
    for (const [name, { integrity, resolved, hasInstallScript }] of packages) {
      assert.match(integrity ?? '', /^sha512-/, name)
      assert.match(resolved ?? 'https://registry.npmjs.org/', /^https:\/\/registry\.npmjs\.org\//, name)
      assert.is(hasInstallScript, undefined, name)
    }
  },
)

requirement('S54', 'SECURITY.md names every one of them', () => {
  const page = fs.readFileSync(new URL('SECURITY.md', root), 'utf8')
  const names = Object.entries(tree).flatMap(([name, brought]) => [name, ...brought])
  assert.equal(
    ['graphile-worker', ...names].filter((name) => !page.includes(`\`${name}\``)),
    [],
  )
})

test.run()
