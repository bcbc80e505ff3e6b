// Does a server grow, or what it leaves in the database? Five minutes in CI, half an hour by `npm run faults -- soak`.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { counts } from '../support/counts.ts'
import { closeAll, databaseUrl, row } from '../support/harness.ts'
import { endPrograms, Program } from '../support/program.ts'
import { judge } from './checker.ts'
import { report, test } from './faults.ts'
import { readHistory } from './history.ts'
import { soundness } from './load.ts'

test.after.each(endPrograms)
test.after(closeAll)

interface Sample {
  readonly minute: number
  readonly connections: number
  readonly table: number
  readonly indexes: number
  readonly queue: number
  readonly updates: number
  readonly hot: number
  readonly sessions: number
}

async function sample(started: number): Promise<Sample> {
  const measured = await row<Omit<Sample, 'minute'>>(
    `select
       (select count(*) from pg_stat_activity where datname = current_database() and application_name like 'pgstore%')::integer as connections,
       pg_table_size('pgstore.sessions')::integer as table,
       pg_indexes_size('pgstore.sessions')::integer as indexes,
       pg_notification_queue_usage() as queue,
       n_tup_upd::integer as updates, n_tup_hot_upd::integer as hot,
       (select count(*) from pgstore.sessions)::integer as sessions
     from pg_stat_user_tables where relid = 'pgstore.sessions'::regclass`,
  )
  return { ...measured, minute: (performance.now() - started) / 60_000 }
}

const meanOf = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length

/** Of the straight line that fits best, in MB a minute. */
function slope(points: readonly (readonly [minute: number, bytes: number])[]): number {
  const [x, y] = [meanOf(points.map((point) => point[0])), meanOf(points.map((point) => point[1]))]
  const above = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0)
  const below = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0)
  return below === 0 ? 0 : above / below / 2 ** 20
}

test('F35: a server with cache, events and worker does not grow, and neither do its connections and its table', async () => {
  const minutes = counts(5, 30)
  // Sessions that nobody asks for: in a table of forty rows a page more of an index is a tenth more.
  await row(
    `select count(*) from generate_series(1, 10000) as n, pgstore.session_put(sha256(n::text::bytea), '{"a": 1}', '1 day')`,
  )
  const file = path.join(os.tmpdir(), `pgstore-soak-${process.pid}`)
  const started = performance.now()
  const server = new Program(
    ['--expose-gc', '--import', 'tsx', 'test/faults/soaking.ts', databaseUrl, file],
    process.env,
  )
  await server.line(/soaking/)
  const samples: Sample[] = []
  for (const end = performance.now() + minutes * 60_000; performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 5000))
    samples.push(await sample(started))
    assert.ok(server.isRunning, server.errors)
  }
  const memory = server.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
  const { code } = await server.end('SIGTERM')
  assert.is(code, 0, server.errors)
  const { calls, failed, heard, hits, regenerated, strange } = JSON.parse(server.lines.at(-1) as string)
  const sound = soundness(judge(readHistory(file).calls, { maxStaleMs: 1000 }))
  fs.rmSync(file)
  const left = await sample(started)

  const most = (name: keyof Sample, from = samples) => Math.max(...from.map((sample) => sample[name]))
  const third = Math.ceil(samples.length / 3)
  const growth = (name: 'table' | 'indexes') =>
    100 * (most(name, samples.slice(-third)) / most(name, samples.slice(third, -third)) - 1)
  const [first, last] = [samples[0] as Sample, samples.at(-1) as Sample]
  // A renewed session has another key, which no heap-only update can have.
  const hot = Math.min(100, (100 * (last.hot - first.hot)) / (last.updates - first.updates - regenerated))
  const later = memory.slice(Math.ceil(memory.length / 3))
  const at = (n: number) => ((n * 5) / 60) as number
  const rss = slope(later.map(({ rss }, n) => [at(n), rss]))
  const heap = slope(later.map(({ heapUsed }, n) => [at(n), heapUsed]))
  console.log(
    JSON.stringify({ memory: memory.filter((_, n) => n % 12 === 0), samples: samples.filter((_, n) => n % 12 === 0) }),
  )

  assert.equal({ strange, left: left.connections }, { strange: [], left: 0 })
  assert.ok(calls > 0 && heard > 0 && hits > 0, `${calls} calls, ${heard} events, ${hits} from the cache`)
  assert.ok(most('queue') < 0.01, `${most('queue')}`)
  // The pool's ten, the worker's, and two that listen.
  assert.ok(most('connections') <= 20, `${most('connections')}`)
  const text = [
    `${calls} calls, ${failed} failed, ${hits} from the cache, ${heard} events; ${sound}`,
    `heap ${heap.toFixed(2)} MB/min, table ${Math.round(last.table / 1024)} kB, indexes ${Math.round(last.indexes / 1024)} kB`,
    `connections ${Math.min(...samples.map((sample) => sample.connections))} to ${most('connections')}, sessions at most ${most('sessions')}`,
    `heap-only ${hot.toFixed(1)} % of saves, notification queue ${(100 * most('queue')).toFixed(3)} %`,
  ]
  report('F35', `${minutes} minutes with cache, events and worker`, text.join('; '), {
    'RSS in 10 minutes': { is: Math.max(0, 10 * rss), most: 1, unit: 'MB' },
    'table grown in the last third': { is: Math.max(0, growth('table')), most: 5, unit: '%' },
    'indexes grown in the last third': { is: Math.max(0, growth('indexes')), most: 5, unit: '%' },
    'saves not heap-only': { is: 100 - hot, most: 10, unit: '%' },
  })
})

test.run()
