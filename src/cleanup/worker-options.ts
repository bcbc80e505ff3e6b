// The options of a worker, checked before it starts.
import { refuse } from '../errors.ts'
import { identifierProblems, schemaProblems } from '../schema/schema-name.ts'

export interface RunWorkerOptions {
  /** Must lead directly to Postgres, as nothing is delivered to LISTEN behind a transaction pooler. */
  readonly connectionString: string
  /** pgstore's schema. Default: 'pgstore'. */
  readonly schema?: string | undefined
  /** graphile-worker's schema, which an application with the same version of it may share. Default: 'graphile_worker'. */
  readonly workerSchema?: string | undefined
  /** Sessions deleted by one statement; a hundred after a timeout. Default: 1000. */
  readonly batchSize?: number | undefined
  /** Milliseconds between two batches, to leave the database to others. Default: 50. */
  readonly pauseMs?: number | undefined
  /** Receives what happens. Default: warnings go to the console. */
  readonly log?: ((level: 'info' | 'warning', message: string) => void) | undefined
}

export interface WorkerSettings {
  readonly workerSchema: string
  readonly batchSize: number
  readonly pauseMs: number
  readonly log: (level: 'info' | 'warning', message: string) => void
}

/** @throws {PGStoreError} `invalid_option`, naming every problem at once */
export function parseWorkerOptions(
  schema: unknown,
  options: Omit<RunWorkerOptions, 'connectionString' | 'schema'>,
): WorkerSettings {
  const { batchSize = 1000, pauseMs = 50, workerSchema = 'graphile_worker', log = logWarnings } = options
  const problems = [...schemaProblems(schema), ...identifierProblems(workerSchema, 'workerSchema')]
  if (!Number.isInteger(batchSize) || batchSize < 1) problems.push('batchSize must be a whole number of at least 1')
  if (!(pauseMs >= 0 && pauseMs <= 60_000)) problems.push('pauseMs must be from 0 to 60,000')
  refuse(problems)
  return { batchSize, pauseMs, workerSchema, log }
}

function logWarnings(level: 'info' | 'warning', message: string): void {
  if (level === 'warning') console.warn(`pgstore worker: ${message}`)
}
