// What is measured, from the channels of node:diagnostics_channel: one list for OpenTelemetry and Prometheus, which only differ in
// where the numbers go.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { CacheRead } from '../cache/cache-counts.ts'
import type { RefusedCookie } from '../cookie/refusals.ts'
import {
  type TracedBatch,
  type TracedCall,
  type TracedCleanup,
  type TracedOperation,
  type TracedPurge,
  tracedCleanups,
  tracedOperations,
} from '../tracing.ts'

/** Names and units as in OpenTelemetry's semantic conventions. */
export interface Measure {
  readonly name: string
  readonly unit: 's' | 'By' | '' | `{${string}}`
  readonly description: string
  /** A histogram's upper bounds; without them it is a counter, or a gauge. */
  readonly bounds?: readonly number[]
}

export type Attributes = Record<string, string>

/** Takes a value with its attributes. */
export type Recorder = (value: number, attributes: Attributes) => void

/** From the conventions for db.client.operation.duration. */
const seconds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

type MeasureName =
  | 'operations'
  | 'batchSize'
  | 'batchDuration'
  | 'batchWait'
  | 'cacheReads'
  | 'refused'
  | 'runs'
  | 'purged'

export const measures: Readonly<Record<MeasureName, Measure>> = {
  operations: {
    name: 'db.client.operation.duration',
    unit: 's',
    description: 'How long a call for one session took, with its time in the queue.',
    bounds: seconds,
  },
  batchSize: {
    name: 'pgstore.batch.size',
    unit: '{session}',
    description: 'Calls that one statement answered.',
    bounds: [1, 2, 4, 8, 16, 32, 64, 128, 256],
  },
  batchDuration: {
    name: 'pgstore.batch.duration',
    unit: 's',
    description: 'How long a statement took, from sending to its answer.',
    bounds: seconds,
  },
  batchWait: {
    name: 'pgstore.batch.wait',
    unit: 's',
    description: 'How long the first call of a statement waited to be sent.',
    bounds: seconds,
  },
  cacheReads: { name: 'pgstore.cache.reads', unit: '{read}', description: 'Reads, by what the cache did.' },
  refused: { name: 'pgstore.cookies.refused', unit: '{cookie}', description: 'Cookies that led to no session.' },
  runs: {
    name: 'pgstore.cleanup.run.duration',
    unit: 's',
    description: 'How long a run of the recurring purge in this process took.',
    bounds: [0.01, 0.1, 1, 10, 60, 300, 1800],
  },
  purged: {
    name: 'pgstore.sessions.purged',
    unit: '{session}',
    description: 'Expired sessions that this process deleted.',
  },
}

/** The attributes of a call, by the conventions for databases. */
export function callAttributes({ operation, schema, status, error }: TracedCall): Attributes {
  const { code, sqlState } = error ?? {}
  return {
    ...placeAttributes(operation, schema),
    ...(status !== undefined && { 'pgstore.status': status }),
    ...(error && { 'error.type': code ?? '_OTHER' }),
    ...(sqlState !== undefined && { 'db.response.status_code': sqlState }),
  }
}

export function placeAttributes(operation: TracedOperation, schema: string): Attributes {
  return {
    'db.system.name': 'postgresql',
    'db.namespace': schema,
    'db.collection.name': `${schema}.sessions`,
    'db.operation.name': operation,
  }
}

/** Records until the returned function is called. */
export function startMeasuring(recorderOf: (measure: Measure) => Recorder): () => void {
  const record = Object.fromEntries(
    Object.entries(measures).map(([name, measure]) => [name, recorderOf(measure)]),
  ) as Record<MeasureName, Recorder>
  const plain: readonly (readonly [string, (message: unknown) => void])[] = [
    [
      'pgstore:batch',
      (message) => {
        const { operation, schema, size, waited, duration, code } = message as TracedBatch
        const attributes = { ...placeAttributes(operation, schema), ...(code !== undefined && { 'error.type': code }) }
        record.batchSize(size, attributes)
        record.batchDuration(duration / 1000, attributes)
        record.batchWait(waited / 1000, attributes)
      },
    ],
    [
      'pgstore:cache',
      (message) => {
        const { outcome, reason, schema } = message as CacheRead
        record.cacheReads(1, {
          'db.namespace': schema,
          'pgstore.cache.outcome': outcome,
          ...(reason && { 'pgstore.cache.reason': reason }),
        })
      },
    ],
    [
      'pgstore:cookie-refused',
      (message) => {
        const { reason, schema } = message as RefusedCookie
        record.refused(1, { 'db.namespace': schema, 'pgstore.cookie.reason': reason })
      },
    ],
    [
      'pgstore:purge',
      (message) => {
        const { purged, schema } = message as TracedPurge
        record.purged(purged, { 'db.namespace': schema })
      },
    ],
    [
      tracedCleanups.asyncEnd.name as string,
      (message) => {
        const { schema, status, code, duration = 0 } = message as TracedCleanup
        const attributes = { 'db.namespace': schema, 'pgstore.status': status ?? 'failed' }
        record.runs(duration / 1000, { ...attributes, ...(code !== undefined && { 'error.type': code }) })
      },
    ],
    ...Object.values(tracedOperations).map(
      ({ asyncEnd }) =>
        [
          asyncEnd.name as string,
          (message: unknown) => {
            const call = message as TracedCall
            record.operations((call.duration ?? 0) / 1000, callAttributes(call))
          },
        ] as const,
    ),
  ]
  for (const [channel, told] of plain) subscribe(channel, told)
  return () => {
    for (const [channel, told] of plain) unsubscribe(channel, told)
  }
}
