// Spans and metrics by OpenTelemetry's semantic conventions for databases, from the channels of node:diagnostics_channel.
import {
  type MeterProvider,
  metrics,
  type Observable,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import { type TracedCall, type TracedCleanup, tracedCleanups, tracedOperations } from '../tracing.ts'
import { callAttributes, placeAttributes, startMeasuring } from './measures.ts'
import { gauges, type Reading, Standing, type WatchOptions } from './standing.ts'

export type { WatchOptions } from './standing.ts'

export interface InstrumentOptions {
  /** Where spans go. Default: the global provider. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Where metrics go. Default: the global provider. */
  readonly meterProvider?: MeterProvider | undefined
  /** A database whose sessions and cleanup are observed as well: in one process of a fleet. Default: none. */
  readonly watch?: WatchOptions | undefined
}

/**
 * Makes spans and metrics of what all stores and workers of this process do, until the returned function is called. A span for each
 * call for one session (`get pgstore.sessions`), below the span that is active where it was made, and for each run of the purge. Its
 * attributes are those of the conventions, `pgstore.status`, and `session.id`, the session's number; `error.type` is a `PGStoreError`'s
 * code. docs/operations.md lists the metrics.
 *
 * @throws {PGStoreError} `invalid_option`
 */
export function instrument(options: InstrumentOptions = {}): () => void {
  const { tracerProvider = trace.getTracerProvider(), meterProvider = metrics.getMeterProvider(), watch } = options
  const standing = watch && new Standing(watch)
  const meter = meterProvider.getMeter('pgstore')
  const stops = [
    ...traceAll(tracerProvider),
    startMeasuring(({ name, unit, description, bounds }) => {
      if (!bounds) {
        const counter = meter.createCounter(name, { unit, description })
        return (value, attributes) => counter.add(value, attributes)
      }
      const advice = { explicitBucketBoundaries: [...bounds] }
      const histogram = meter.createHistogram(name, { unit, description, advice })
      return (value, attributes) => histogram.record(value, attributes)
    }),
  ]
  if (standing) {
    const observables = Object.entries(gauges).map(
      ([key, { name, unit, description }]) =>
        [key as keyof Reading, meter.createObservableGauge(name, { unit, description })] as const,
    )
    const all: Observable[] = observables.map(([, observable]) => observable)
    const observe: Parameters<typeof meter.addBatchObservableCallback>[0] = async (result) => {
      const reading = await standing.read()
      for (const [key, observable] of observables) {
        const value = reading[key]
        if (value !== undefined) result.observe(observable, value, { 'db.namespace': standing.schema })
      }
    }
    meter.addBatchObservableCallback(observe, all)
    stops.push(() => meter.removeBatchObservableCallback(observe, all))
  }
  return () => {
    for (const stop of stops.splice(0)) stop()
  }
}

function traceAll(provider: TracerProvider): (() => void)[] {
  const tracer = provider.getTracer('pgstore')
  const spans = new WeakMap<object, Span>()
  const nothing = () => {}
  const calls = {
    start(call: TracedCall) {
      const { operation, schema } = call
      const attributes = placeAttributes(operation, schema)
      spans.set(call, tracer.startSpan(`${operation} ${schema}.sessions`, { kind: SpanKind.CLIENT, attributes }))
    },
    asyncEnd(call: TracedCall) {
      const span = spans.get(call)
      span?.setAttributes({ ...callAttributes(call), ...(call.id !== undefined && { 'session.id': call.id }) })
      if (call.error) span?.setStatus({ code: SpanStatusCode.ERROR, message: call.error.message })
      span?.end()
    },
    end: nothing,
    asyncStart: nothing,
    error: nothing,
  }
  const runs = {
    ...calls,
    start(run: TracedCleanup) {
      const attributes = { 'db.namespace': run.schema }
      spans.set(run, tracer.startSpan(`cleanup ${run.schema}`, { attributes }))
    },
    asyncEnd(run: TracedCleanup) {
      const { status = 'failed', purged, code } = run
      const span = spans.get(run)
      span?.setAttributes({ 'pgstore.status': status, 'pgstore.sessions.purged': purged })
      if (code !== undefined) span?.setAttribute('error.type', code).setStatus({ code: SpanStatusCode.ERROR })
      span?.end()
    },
  }
  const channels = Object.values(tracedOperations)
  for (const channel of channels) channel.subscribe(calls)
  tracedCleanups.subscribe(runs)
  return [
    () => {
      for (const channel of channels) channel.unsubscribe(calls)
      tracedCleanups.unsubscribe(runs)
    },
  ]
}
