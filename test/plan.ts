// In which order the files run, side by side, and how long that will take.

/** Seconds that the longest take on an idle machine of two cores: they start first, so that none is left for the end. */
const slow: Readonly<Record<string, number>> = {
  'faults/outage.test.ts': 50,
  'faults/worker.test.ts': 30,
  'faults/store.test.ts': 30,
  'cleanup/worker.test.ts': 22,
  'examples/demo.test.ts': 15,
  'schema/migrate.test.ts': 15,
  'cli/cleanup.test.ts': 15,
  'schema/grants.test.ts': 10,
  'sql/concurrency.test.ts': 10,
  'examples/frameworks.test.ts': 10,
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

/** Tests that do not depend on the server's version run only on the first server. */
const once = /^project\/|^cookie\/codec|^cli\/gob|^session\/(json|attachment)|^security\/(page|supply-chain)\./

/** Tests where versions differ most: these run on each server in the quick suite too. */
const always = /^sql\//

export interface Job<Target> {
  readonly file: string
  readonly target: Target
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
 * @param isTurnAbout whether most files run on one server, each on the next: the quick suite, for CI runs all on all
 */
export function plan<Target>(
  files: readonly string[],
  targets: readonly Target[],
  atOnce: number,
  isTurnAbout: boolean,
): Plan<Target> {
  const ordered = [...files].sort((one, other) => secondsOf(other) - secondsOf(one))
  const jobs = ordered.flatMap((file, place) => {
    const turn = isTurnAbout && !always.test(file) ? place % targets.length : undefined
    const chosen = once.test(file) ? targets.slice(0, 1) : turn === undefined ? targets : targets.slice(turn, turn + 1)
    return chosen.map((target) => ({ file, target }))
  })
  const all = jobs.reduce((sum, { file }) => sum + secondsOf(file), 0)
  const longest = Math.max(...files.map(secondsOf))
  return { jobs, minutes: Math.max(longest, all / atOnce) / 60 }
}
