// In which order the files run, side by side, and how long that will take.
import type { Variant } from './versions.ts'

/** Seconds that the longest take on an idle machine of two cores: they start first, so that none is left for the end. */
const slow: Readonly<Record<string, number>> = {
  'faults/outage.test.ts': 50,
  'faults/worker.test.ts': 30,
  'faults/partitions.test.ts': 20,
  'faults/store.test.ts': 30,
  'faults/cache.test.ts': 25,
  'faults/durability.test.ts': 10,
  'cleanup/worker.test.ts': 22,
  'examples/demo-browser.test.ts': 25,
  'examples/demo.test.ts': 20,
  'cookie/cookies-browser.test.ts': 8,
  'cache/servers.test.ts': 15,
  'schema/migrate.test.ts': 15,
  'cli/cleanup.test.ts': 15,
  'cli/dashboard-browser.test.ts': 20,
  'cli/dashboard.test.ts': 12,
  'schema/grants.test.ts': 10,
  'schema/settings.test.ts': 8,
  'sql/concurrency.test.ts': 10,
  'examples/frameworks.test.ts': 10,
  'cache/store.test.ts': 10,
  'cache/outages.test.ts': 10,
  'cache/model.test.ts': 8,
  'cleanup/cleanup.test.ts': 10,
  'security/token-secrecy.test.ts': 10,
  'security/leaks.test.ts': 10,
  'cli/import_pg_simple.test.ts': 8,
  'cli/status.test.ts': 8,
  'security/crash.test.ts': 8,
  'project/package.test.ts': 8,
  'cli/import_go.test.ts': 6,
  'examples/express.test.ts': 6,
}
const otherSeconds = 2

/** Tests that do not depend on the server's version, and those in a browser, run only on the first server. */
const once =
  /-browser\.test|^examples\/demo|^project\/|^cache\/(model|rules)|^cookie\/codec|^cli\/gob|^session\/(json|attachment)|^database\/read-json|^faults\/partitions|^security\/(page|supply-chain)\./

/** They need a proxy, and what they look at is its own. */
const onlyThroughProxy = /^through-proxy\//

/** What they look at is the browser's. */
const inBrowser = /-browser\.test/

export interface Job<Target> {
  readonly file: string
  readonly target: Target
  /** Another version of node, or of what the tests import; undefined for what is installed. */
  readonly variant: Variant | undefined
}

export interface Plan<Target> {
  readonly jobs: Job<Target>[]
  /** Expected, on a machine with nothing else to do. */
  readonly minutes: number
}

function secondsOf(file: string): number {
  return slow[file] ?? otherSeconds
}

/**
 * The slow ones first.
 *
 * @param isTurnAbout whether each file runs on one server, the next on the next: the quick suite, for CI runs all on all
 * @param variants run their files on the first server
 * @param proxy a target of its own, for the files of its variant
 * @param isProxied whether that is the only target
 */
export function plan<Target>(
  files: readonly string[],
  targets: readonly Target[],
  atOnce: number,
  isTurnAbout: boolean,
  variants: readonly Variant[],
  proxy: { readonly target: Target; readonly variant: Variant } | undefined,
  isProxied: boolean,
): Plan<Target> {
  const ordered = [...files].sort((one, other) => secondsOf(other) - secondsOf(one))
  const jobs = ordered.flatMap((file, place) => {
    const turn = isTurnAbout ? place % targets.length : undefined
    const chosen = once.test(file) ? targets.slice(0, 1) : turn === undefined ? targets : targets.slice(turn, turn + 1)
    const [first] = targets
    const others = variants
      .filter((variant) => variant.files.test(file) && !inBrowser.test(file))
      .map((variant) => ({ variant, target: first as Target }))
    const proxied = proxy?.variant.files.test(file) ? [proxy] : []
    const direct =
      onlyThroughProxy.test(file) && !isProxied ? [] : chosen.map((target) => ({ variant: undefined, target }))
    return [...direct, ...others, ...proxied].map((job) => ({ file, ...job }))
  })
  const all = jobs.reduce((sum, { file }) => sum + secondsOf(file), 0)
  const longest = Math.max(...files.map(secondsOf))
  return { jobs, minutes: Math.max(longest, all / atOnce) / 60 }
}
