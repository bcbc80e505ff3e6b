// The results of an import, as far as the tests compare them.

import { emptyReport, type ImportOptions, runImport } from '../../src/cli/import/run.ts'
import type { Source } from '../../src/cli/import/source.ts'
import { Database } from '../../src/database/session-functions.ts'
import { admin } from '../support/harness.ts'
import { type Outcome, pgstore } from './pgstore.ts'

export interface Report {
  readonly read: number
  readonly taken: number
  readonly already_there: number
  readonly expired: number
  readonly too_large: number
  readonly unreadable: number
  readonly users: number
  readonly users_added: number
  readonly problems: Readonly<Record<string, number>>
  readonly dry_run: boolean
  readonly interrupted: boolean
}

/** The counts that are not zero. */
export function counts(outcome: Outcome): Partial<Report> {
  if (outcome.stdout === '') throw new Error(`Exit code ${outcome.code}: ${outcome.stderr}`)
  const { ms: _, ...report } = JSON.parse(outcome.stdout) as Report & { ms: number }
  return present(report)
}

function present(report: object): Partial<Report> {
  const isThere = ([, value]: [string, unknown]) =>
    typeof value === 'object' ? Object.keys(value as object).length > 0 : Boolean(value)
  return Object.fromEntries(Object.entries(report).filter(isThere))
}

/** Runs `pgstore import …` and returns its counts. */
export async function importCounts(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input = '',
): Promise<Partial<Report>> {
  return counts(await pgstore(['import', ...args, '--json'], env, () => {}, input))
}

/** Imports what a source contains, in this process, and returns the counts. */
export async function take(source: Source, options: Partial<ImportOptions> = {}): Promise<Partial<Report>> {
  const report = emptyReport()
  const settings = { userPath: [], maxLength: 0, lifetimeSeconds: 90 * 86400, dryRun: false, goOn: () => true }
  try {
    await runImport(source, new Database(admin, 'pgstore'), { ...settings, ...options }, report)
  } finally {
    await source.close()
  }
  const { alreadyThere: already_there, tooLarge: too_large, usersAdded: users_added, ...others } = report
  return present({ ...others, already_there, too_large, users_added })
}
