// The metrics as Prometheus reads them, and the dashboard and alerts that name them.
import fs from 'node:fs'
import { Registry } from 'prom-client'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runWorker } from '../../src/cleanup/worker.ts'
import { collect } from '../../src/telemetry/prometheus.ts'
import { isTraced, tracedOperations } from '../../src/tracing.ts'
import { addExpired, addLive, startOver } from '../support/crowd.ts'
import { admin, closeAll, databaseUrl, rejection, testStore, until, Visitor } from '../support/harness.ts'

const docs = new URL('../../docs/', import.meta.url)
const read = (file: string) => fs.readFileSync(new URL(file, docs), 'utf8')

const stops: (() => void)[] = []

function start(options: Parameters<typeof collect>[0] = {}): Registry {
  const registry = new Registry()
  stops.push(collect({ registry, ...options }))
  return registry
}

test.before.each(startOver)
test.after.each(() => {
  for (const stop of stops.splice(0)) stop()
})
test.after(closeAll)

test('calls are counted under the names that Prometheus gives to OpenTelemetry’s', async () => {
  const registry = start()
  await testStore().byToken.get('nobody’s')
  const text = await registry.metrics()
  assert.match(text, /^# TYPE db_client_operation_duration_seconds histogram$/m)
  const labels =
    'db_system_name="postgresql",db_namespace="pgstore",db_collection_name="pgstore.sessions",db_operation_name="get",pgstore_status="none"'
  assert.match(text, `db_client_operation_duration_seconds_count{${labels}} 1\n`)
  assert.match(text, /^pgstore_batch_size_count\{.*\} 1$/m)
})

test('a watched database is shown, and no number that it did not give', async () => {
  await addLive(3)
  const registry = start({ watch: { pool: admin } })
  const text = await registry.metrics()
  assert.match(text, 'pgstore_sessions_live{db_namespace="pgstore"} 3\n')
  assert.match(text, /^pgstore_table_size_bytes\{db_namespace="pgstore"\} [1-9]\d+$/m)
  const elsewhere = start({ watch: { pool: admin, schema: 'elsewhere' } })
  const missing = await elsewhere.metrics()
  assert.match(missing, 'pgstore_watch_up{db_namespace="elsewhere"} 0\n')
  assert.not.match(missing, /^pgstore_sessions_live\{/m)
})

test('once stopped, the registry is empty and nobody listens', async () => {
  const registry = new Registry()
  const stop = collect({ registry, watch: { pool: admin } })
  stop()
  stop()
  assert.is((await registry.metrics()).trim(), '')
  assert.is(isTraced(tracedOperations.get), false)
})

/** Everything that can be printed, printed. */
async function everything(): Promise<string> {
  const registry = start({ watch: { pool: admin } })
  const store = testStore({ connectionString: databaseUrl, cache: true })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => {
    values['visits'] = 1
  })
  await visitor.visit(store)
  await store.get({ headers: { cookie: 'sid=forged' } }, 'sid')
  await rejection(testStore({ connectionString: 'postgres://127.0.0.1:1/nowhere' }).byToken.get('a token'))
  await addExpired(5)
  const worker = await runWorker({ connectionString: databaseUrl, log: () => {} })
  try {
    await admin.query(`select pgstore.cleanup_start('1 hour')`)
    await until(async () => /^pgstore_cleanup_run_duration_seconds_count\{/m.test(await registry.metrics()))
  } finally {
    await worker.stop()
  }
  return await registry.metrics()
}

/** Names and labels of the metrics in these expressions, or in what is printed. */
const namesIn = (text: string) => new Set(text.match(/\b(?:pgstore|db|error)_\w+/g))

test('every metric and label of the dashboard and of the alerts is one that is printed', async () => {
  const dashboard = JSON.parse(read('grafana.json')) as {
    panels: { title: string; targets?: { expr: string }[] }[]
  }
  const shown = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  assert.ok(shown.length >= 10)
  for (const { title, targets } of dashboard.panels) assert.ok(targets?.length, title)
  const [, alerts = ''] = /^```yaml\n([\s\S]*?)^```$/m.exec(read('operations.md')) ?? []
  const watched = [...alerts.matchAll(/expr: (.*)/g)].map(([, expr = '']) => expr)
  assert.ok(watched.length >= 6)
  const printed = namesIn(await everything())
  const unknown = [...shown, ...watched].flatMap((expr) => [...namesIn(expr)].filter((name) => !printed.has(name)))
  assert.equal(unknown, [])
})

test('docs/operations.md lists every metric that is printed', async () => {
  const page = read('operations.md')
  const text = await start({ watch: { pool: admin } }).metrics()
  const names = [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name = '']) => name)
  assert.ok(names.length >= 18)
  assert.equal(
    names.filter((name) => !page.includes(`\`${name}\``)),
    [],
  )
})

test.run()
