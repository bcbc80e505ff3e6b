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
  'faults/soak.test.ts': 310,
  'faults/crashes.test.ts': 30,
  'faults/network.test.ts': 30,
  'faults/failover.test.ts': 15,
  'faults/storage.test.ts': 20,
  'faults/moving.test.ts': 40,
  'faults/role-settings.test.ts': 20,
  'faults/clocks.test.ts': 20,
  'faults/behind-poolers.test.ts': 30,
  'faults/frozen.test.ts': 15,
  'faults/deaf.test.ts': 15,
  'faults/resources.test.ts': 15,
  'faults/lost-commits.test.ts': 10,
  'database/circuit.test.ts': 25,
  'cleanup/worker.test.ts': 22,
  'store/model.test.ts': 20,
  'store/endings.test.ts': 20,
  'project/bundles.test.ts': 15,
  'project/modules.test.ts': 12,
  'examples/demo-browser.test.ts': 25,
  'examples/demo.test.ts': 20,
  'cookie/cookies-browser.test.ts': 8,
  'bound/device-bound-browser.test.ts': 25,
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
  /-browser\.test|^examples\/demo|^project\/|^cache\/(model|rules)|^cookie\/codec|^cli\/(gob|import_)|^session\/(json|attachment)|^database\/read-json|^faults\/(behind-poolers|checker|moving|partitions|resources|soak|suspended|worker-versions)\.|^security\/(page|supply-chain)\./

/** Their long counts look for rare orders of events in our own code: on the first server, and short ones on the others. */
const longOnce = /^adapters\/express\/redirects|^database\/settings|^store\/(model|endings)/

/** They need a proxy, and what they look at is its own. */
const onlyThroughProxy = /^through-proxy\//

/** What they look at is the browser's. */
const inBrowser = /-browser\.test/

export interface Job<Target> {
  readonly file: string
  readonly target: Target
  /** Another version of node, or of what the tests import; undefined for what is installed. */
  readonly variant: Variant | undefined
  /** Whether it takes the long counts, where the run asks for them. */
  readonly isLong: boolean
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
 * @param isTurnAbout whether a file runs on one server, and the next on the next, and not on all
 * @param variants run their files on the first server
 * @param proxy a target of its own, for the files of its variant
 * @param isProxied whether that is the only target
 */
export function plan<Target>(
  files: readonly string[],
  targets: readonly Target[],
  atOnce: number,
  isTurnAbout: (file: string) => boolean,
  variants: readonly Variant[],
  proxy: { readonly target: Target; readonly variant: Variant } | undefined,
  isProxied: boolean,
): Plan<Target> {
  const ordered = [...files].sort((one, other) => secondsOf(other) - secondsOf(one))
  const jobs = ordered.flatMap((file, place) => {
    const turn = isTurnAbout(file) ? place % targets.length : undefined
    const chosen = once.test(file) ? targets.slice(0, 1) : turn === undefined ? targets : targets.slice(turn, turn + 1)
    const [first] = targets
    const others = variants
      .filter((variant) => variant.files.test(file) && !inBrowser.test(file))
      .map((variant) => ({ variant, target: first as Target }))
    const proxied = proxy?.variant.files.test(file) ? [proxy] : []
    const direct =
      onlyThroughProxy.test(file) && !isProxied ? [] : chosen.map((target) => ({ variant: undefined, target }))
    return [...direct, ...others, ...proxied].map((job) => ({
      file,
      ...job,
      isLong: !job.variant && (job.target === first || !longOnce.test(file)),
    }))
  })
  const all = jobs.reduce((sum, { file }) => sum + secondsOf(file), 0)
  const longest = Math.max(...files.map(secondsOf))
  return { jobs, minutes: Math.max(longest, all / atOnce) / 60 }
}
