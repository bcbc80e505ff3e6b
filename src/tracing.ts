// What the store tells subscribers of node:diagnostics_channel: calls for a session, batches, the cleanup. Never a token, a key,
// data or a user.
import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { PGStoreError } from './errors.ts'

/** The calls for one session that can be traced. */
export type TracedOperation = 'get' | 'save' | 'regenerate' | 'destroy' | 'put' | 'take' | 'increment'

/**
 * What subscribers to the tracing channels `pgstore.get`, `pgstore.save`, `pgstore.regenerate`, `pgstore.destroy`, `pgstore.put`,
 * `pgstore.take` and `pgstore.increment` of `node:diagnostics_channel` (`tracing:pgstore.get:start`, `end`, `asyncStart`, `asyncEnd`
 * and `error`) receive: the same object from start to end. One call for one session, however many share its query; what the cache
 * answers is no call.
 */
export interface TracedCall {
  readonly operation: TracedOperation
  /** The store's schema. */
  readonly schema: string
  /**
   * Once answered, how it went: `found` or `none` of a get, `destroyed` or `none` of a destroy, `taken` or `none` of a take, else the
   * SQL function's status, such as `saved`, `gone` or `conflict`.
   */
  readonly status: string | undefined
  /** The session's number, once it is known. */
  readonly id: string | undefined
  /** Milliseconds that the caller waited, with the time in the queue; at `asyncStart` and after. */
  readonly duration: number | undefined
  /** If it failed. */
  readonly error?: PGStoreError
}

/** What a subscriber to the channel `pgstore:batch` of `node:diagnostics_channel` is told of each statement for get, save or destroy. */
export interface TracedBatch {
  readonly operation: TracedOperation
  /** The store's schema. */
  readonly schema: string
  /** Calls that the statement answers. */
  readonly size: number
  /** Milliseconds that the first of them waited to be sent. */
  readonly waited: number
  /** Milliseconds from there to the answer. */
  readonly duration: number
  /** A `PGStoreError`'s code, if it failed. */
  readonly code: string | undefined
}

/**
 * What subscribers to the tracing channel `pgstore.cleanup` of `node:diagnostics_channel` receive of a run of the recurring purge in
 * this process: the same object from start to end.
 */
export interface TracedCleanup {
  /** The schema whose sessions it purges. */
  readonly schema: string
  /** At the end: `off` if the cleanup was switched off or the worker stopped before the run was complete. */
  readonly status: 'done' | 'off' | 'failed' | undefined
  /** Sessions deleted so far. */
  readonly purged: number
  /** Milliseconds, at the end. */
  readonly duration: number | undefined
  /** The SQLSTATE or the `PGStoreError`'s code that a failed run ended with. */
  readonly code: string | undefined
}

/** What a subscriber to the channel `pgstore:purge` of `node:diagnostics_channel` is told of each batch of expired sessions deleted here. */
export interface TracedPurge {
  /** The schema whose sessions were deleted. */
  readonly schema: string
  readonly purged: number
  /** Milliseconds. */
  readonly duration: number
}

export type Mutable<Message> = { -readonly [Name in keyof Message]: Message[Name] }

type Traced<Message extends object> = TracingChannel<object, Message>

const tracedCalls = (operation: TracedOperation) =>
  tracingChannel<object, TracedCall>(`pgstore.${operation}`) as Traced<TracedCall>

export const tracedOperations: Readonly<Record<TracedOperation, Traced<TracedCall>>> = {
  get: tracedCalls('get'),
  save: tracedCalls('save'),
  regenerate: tracedCalls('regenerate'),
  destroy: tracedCalls('destroy'),
  put: tracedCalls('put'),
  take: tracedCalls('take'),
  increment: tracedCalls('increment'),
}

export const tracedCleanups: Traced<TracedCleanup> = tracingChannel('pgstore.cleanup')

const batches = channel('pgstore:batch')
const purges = channel('pgstore:purge')

/** Not the tracing channel's own `hasSubscribers`, which Bun 1.4 does not have. */
export function isTraced({ start, end, asyncStart, asyncEnd, error }: Traced<TracedCall>): boolean {
  return (
    start.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    error.hasSubscribers ||
    asyncStart.hasSubscribers ||
    end.hasSubscribers
  )
}

/** @param describe puts what may be told of the result into the message */
export async function traceCall<Result>(
  operation: TracedOperation,
  schema: string,
  work: () => Promise<Result>,
  describe: (call: Mutable<TracedCall>, result: Result) => void,
): Promise<Result> {
  const call: Mutable<TracedCall> = { operation, schema, status: undefined, id: undefined, duration: undefined }
  const began = performance.now()
  let result: Result | undefined
  // Of what this promise resolves to, subscribers are told: nothing.
  const traced = async () => {
    try {
      result = await work()
      describe(call, result)
    } finally {
      call.duration = performance.now() - began
    }
  }
  await tracedOperations[operation].tracePromise(traced, call)
  return result as Result
}

/** The time if someone wants to be told of a batch; else 0. */
export function batchTime(): number {
  return batches.hasSubscribers ? performance.now() : 0
}

/**
 * @param since when the first of its calls arrived
 * @param sent from `batchTime`
 */
export function tellBatch(
  { operation, schema }: Pick<TracedBatch, 'operation' | 'schema'>,
  size: number,
  since: number,
  sent: number,
  code?: string,
): void {
  const duration = performance.now() - sent
  batches.publish({ operation, schema, size, waited: sent - since, duration, code } satisfies TracedBatch)
}

/** @param began by `performance.now()` */
export function tellPurge(schema: string, purged: number, began: number): void {
  if (!purges.hasSubscribers) return
  purges.publish({ schema, purged, duration: performance.now() - began } satisfies TracedPurge)
}
