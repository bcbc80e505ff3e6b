// pgstore itself among the designs of indexes.ts: session_save with the same visitors. Its clock is the database's and cannot be
// moved, so the ttl is shortened, and everything with it: 30 minutes with a save a minute become 30 seconds with a save a second.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Latencies, type Row, round } from '../measure.ts'
import type { Postgres } from '../systems/servers.ts'
import { exampleValues, pgstore } from '../systems/systems.ts'
import { flushedState, walPosition } from './storage.ts'
import { activeKeys, activeTicks, keyOf, type Pattern } from './visitors.ts'

/** A ttl has 180 ticks in each pattern. */
const ttl = '30 seconds'
const tickMs = 30_000 / 180
/** That begin at each tick: few enough for all to be saved within it. */
const arrivals = 10

const schema = 'indexed'
const table = `${schema}.sessions`

export async function measureProduct({ url }: Postgres, pattern: Pattern, ticks: number): Promise<Row> {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  const client = new pg.Client(url)
  await client.connect()
  try {
    await pgstore.migrate(pool, { schema })
    await client.query(`alter table ${table} set (autovacuum_enabled = off)`)
    return await simulate(client, pattern, ticks)
  } finally {
    await client.query(`drop schema if exists ${schema} cascade`)
    await client.end()
    await pool.end()
  }
}

async function simulate(client: pg.Client, pattern: Pattern, ticks: number): Promise<Row> {
  // There are no visitors at first: measuring begins when as many leave as arrive.
  const first = activeTicks + ticks
  const begun = performance.now()
  const latencies = new Latencies()
  let before = await flushedState(client, table)
  let walBefore = 0
  let walOfSaves = 0
  let saves = 0
  for (let tick = 0; tick < first + ticks; tick++) {
    await sleep(begun + tick * tickMs - performance.now())
    const isMeasured = tick >= first
    if (tick === first) {
      before = await flushedState(client, table)
      walBefore = await walPosition(client)
    }
    const created = Array.from({ length: arrivals }, (_, n) => keyOf(tick, n))
    await save(client, created, exampleValues(0), 0)
    const visitors = activeKeys(tick, arrivals, Math.min(tick, activeTicks))
    const wal = await walPosition(client)
    for (let n = 1; n <= pattern.saves; n++) {
      for (let from = 0; from < visitors.length; from += 50) {
        const started = performance.now()
        await save(client, visitors.slice(from, from + 50), { visits: tick * pattern.saves + n }, null)
        if (isMeasured) latencies.add(performance.now() - started)
      }
    }
    if (isMeasured) {
      saves += pattern.saves * visitors.length
      walOfSaves += (await walPosition(client)) - wal
    }
    if (tick % pattern.ticksBetweenVacuums === 0) await client.query(`vacuum ${table}`)
    if (tick % pattern.ticksBetweenPurges === 0) await client.query(`select ${schema}.purge_expired(10000)`)
  }
  const lateMs = performance.now() - begun - (first + ticks) * tickMs
  if (lateMs > 1000)
    console.log(`index-product: ${Math.round(lateMs)} ms late: steps are shorter here than they should be.`)
  const walAfter = await walPosition(client)
  const after = await flushedState(client, table)
  const { p50Ms, p99Ms } = latencies.percentiles()
  return {
    bench: 'indexes',
    system: `session_save; ttl ${pattern.name}`,
    concurrency: 1,
    opsPerSecond: Math.round(saves / (latencies.sum / 1000)),
    p50Ms: round(p50Ms),
    p99Ms: round(p99Ms),
    clientCpuUs: null,
    serverCpuUs: null,
    hotShare: round((after.hotUpdates - before.hotUpdates) / (after.updates - before.updates)),
    walBytes: Math.round(walOfSaves / saves),
    walBytesInAll: Math.round((walAfter - walBefore) / saves),
    tableMbBefore: before.tableMb,
    tableMbAfter: after.tableMb,
    indexMbBefore: before.indexMb,
    indexMbAfter: after.indexMb,
  }
}

/** @param version 0 to create */
async function save(client: pg.Client, keys: Buffer[], set: Record<string, unknown>, version: 0 | null): Promise<void> {
  const text = `select from ${schema}.session_save($1::bytea[], array_fill($2::jsonb, array[cardinality($1::bytea[])]),
      array_fill(null::jsonb, array[cardinality($1::bytea[])]), array_fill($3::interval, array[cardinality($1::bytea[])]),
      array_fill($4::integer, array[cardinality($1::bytea[])]), array_fill(null::text, array[cardinality($1::bytea[])]), 4096, null)
    where status = 'saved'`
  const { rowCount } = await client.query({
    name: 'save',
    text,
    values: [keys, JSON.stringify(set), ttl, version],
  })
  if (rowCount !== keys.length) throw new Error(`${rowCount} of ${keys.length} sessions saved`)
}
