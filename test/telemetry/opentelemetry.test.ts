// Spans and metrics, as OpenTelemetry's own SDK receives them.
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type InstrumentOptions, instrument } from '../../src/telemetry/opentelemetry.ts'
import { isTraced, tracedOperations } from '../../src/tracing.ts'
import { addExpired, addLive, startOver } from '../support/crowd.ts'
import { admin, clientUrl, closeAll, databaseUrl, rejection, testStore, Visitor } from '../support/harness.ts'

const spans = new InMemorySpanExporter()
const tracerProvider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
tracerProvider.register() // with it, the context that knows which span is active

const exporter = new InMemoryMetricExporter(AggregationTemporality.DELTA)
const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
const meterProvider = new MeterProvider({ readers: [reader] })

const stops: (() => void)[] = []

function start(options: Partial<InstrumentOptions> = {}): void {
  stops.push(instrument({ tracerProvider, meterProvider, ...options }))
}

/** What was measured since the last call, by name. */
async function measured(): Promise<Map<string, MetricData>> {
  exporter.reset()
  await reader.forceFlush()
  const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
  return new Map(all.map((metric) => [metric.descriptor.name, metric]))
}

const valuesOf = (metric: MetricData | undefined) =>
  metric?.dataPoints.map(({ attributes, value }) => ({ ...attributes, value }))

test.before.each(startOver)
test.after.each(async () => {
  for (const stop of stops.splice(0)) stop()
  spans.reset()
  await measured()
})
test.after(async () => {
  await Promise.all([tracerProvider.shutdown(), meterProvider.shutdown()])
  await closeAll()
})

const place = { 'db.system.name': 'postgresql', 'db.namespace': 'pgstore', 'db.collection.name': 'pgstore.sessions' }

test('a call is a client span below the one that is active, with the attributes of the conventions', async () => {
  start()
  const store = testStore()
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => {
    values['visits'] = 1
  })
  spans.reset()
  await trace.getTracer('application').startActiveSpan('GET /', async (span) => {
    await store.get(visitor.request(), 'sid')
    span.end()
  })
  const [get, request] = spans.getFinishedSpans()
  assert.is(get?.name, 'get pgstore.sessions')
  assert.is(get?.kind, SpanKind.CLIENT)
  const { 'session.id': id, ...attributes } = get?.attributes ?? {}
  assert.match(String(id), /^\d+$/)
  assert.equal(attributes, { ...place, 'db.operation.name': 'get', 'pgstore.status': 'found' })
  assert.is(get?.parentSpanContext?.spanId, request?.spanContext().spanId)
  assert.is(get?.status.code, SpanStatusCode.UNSET)
})

test('a failure is an error of the span and a type of the duration', async () => {
  start()
  await rejection(testStore({ connectionString: 'postgres://127.0.0.1:1/nowhere' }).byToken.get('a token'))
  const [span] = spans.getFinishedSpans()
  assert.is(span?.status.code, SpanStatusCode.ERROR)
  assert.is(span?.attributes['error.type'], 'unavailable')
  assert.is(span?.attributes['db.response.status_code'], 'ECONNREFUSED')
  const [point] = valuesOf((await measured()).get('db.client.operation.duration')) ?? []
  assert.is((point as Record<string, unknown>)['error.type'], 'unavailable')
})

test('durations are in seconds, in the conventions’ buckets', async () => {
  start()
  await testStore().byToken.get('nobody’s')
  const metric = (await measured()).get('db.client.operation.duration')
  assert.is(metric?.descriptor.unit, 's')
  const [point] = metric?.dataPoints ?? []
  assert.equal(point?.attributes, { ...place, 'db.operation.name': 'get', 'pgstore.status': 'none' })
  const value = point?.value as { buckets: { boundaries: number[] }; count: number; sum: number } | undefined
  const { buckets, count, sum } = value ?? { buckets: { boundaries: [] }, count: 0, sum: 0 }
  assert.equal(buckets.boundaries, [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10])
  assert.is(count, 1)
  assert.ok(sum > 0 && sum < 60, String(sum))
})

test('batches, refused cookies and purged sessions are counted', async () => {
  start()
  const store = testStore({ connectionString: databaseUrl })
  await store.get({ headers: { cookie: 'sid=forged' } }, 'sid')
  await Promise.all(Array.from({ length: 20 }, (_, index) => store.byToken.get(`token ${index}`)))
  await addExpired(7)
  await store.purgeExpired()
  const metrics = await measured()
  const sizes = metrics.get('pgstore.batch.size')?.dataPoints.map(({ value }) => (value as { sum: number }).sum)
  assert.equal(sizes, [20])
  assert.equal(valuesOf(metrics.get('pgstore.cookies.refused')), [
    { 'db.namespace': 'pgstore', 'pgstore.cookie.reason': 'malformed', value: 1 },
  ])
  assert.equal(valuesOf(metrics.get('pgstore.sessions.purged')), [{ 'db.namespace': 'pgstore', value: 7 }])
})

test('a watched database shows its sessions and cleanup, and is asked once per interval', async () => {
  await addLive(3)
  await addExpired(5)
  let queries = 0
  const pool = new pg.Pool({ connectionString: databaseUrl })
  pool.on('acquire', () => queries++)
  try {
    start({ watch: { pool, every: 3600 } })
    const show = async () => {
      const metrics = await measured()
      return (name: string) => valuesOf(metrics.get(name))?.[0]?.value
    }
    const shown = await show()
    const asked = queries
    assert.ok(asked > 0)
    const { up, live, expired, enabled, lateness } = {
      up: shown('pgstore.watch.up'),
      live: shown('pgstore.sessions.live'),
      expired: shown('pgstore.sessions.expired'),
      enabled: shown('pgstore.cleanup.enabled'),
      lateness: shown('pgstore.cleanup.lateness'),
    }
    assert.equal({ up, live, expired, enabled, lateness }, { up: 1, live: 3, expired: 5, enabled: 0, lateness: 0 })
    assert.ok(Number(shown('pgstore.table.size')) > 0)
    await addLive(2)
    assert.is((await show())('pgstore.sessions.live'), 3)
    assert.is(queries, asked)
  } finally {
    await pool.end()
  }
})

test('a role without the right to look shows that nothing is known', async () => {
  const pool = new pg.Pool({ connectionString: clientUrl })
  try {
    start({ watch: { pool } })
    const metrics = await measured()
    assert.is(valuesOf(metrics.get('pgstore.watch.up'))?.[0]?.value, 0)
    assert.equal(metrics.get('pgstore.sessions.live')?.dataPoints ?? [], [])
  } finally {
    await pool.end()
  }
})

test('how late the cleanup is counts from the next run that is due', async () => {
  await admin.query(`select pgstore.cleanup_start('1 hour')`)
  await admin.query(`update pgstore.cleanup set next_run_at = now() - interval '10 minutes'`)
  start({ watch: { pool: admin } })
  const lateness = Number(valuesOf((await measured()).get('pgstore.cleanup.lateness'))?.[0]?.value)
  assert.ok(lateness >= 600 && lateness < 3600, String(lateness))
})

test('what is wrong with the watched database’s options is told at once', () => {
  try {
    instrument({ watch: { pool: admin, every: 0, schema: 'No Schema' } })
    assert.unreachable()
  } catch (error) {
    assert.is((error as { code?: string }).code, 'invalid_option')
    assert.match(String(error), /schema.*every/)
  }
  assert.is(isTraced(tracedOperations.get), false)
})

test('once stopped, nobody listens any more', async () => {
  const stop = instrument({ tracerProvider, meterProvider })
  assert.is(isTraced(tracedOperations.get), true)
  stop()
  stop()
  assert.is(isTraced(tracedOperations.get), false)
  await testStore().byToken.get('nobody’s')
  assert.is(spans.getFinishedSpans().length, 0)
})

test.run()
