// Group `indexes`: the ways to index the expiry that we could have chosen, and how full to fill a page. Plain tables
// and a clock that runs as fast as the statements do, so that hours and months of saves pass in seconds.
import { createHash } from 'node:crypto'
import pg from 'pg'
import { Latencies, type Row, round } from './measure.ts'
import type { Postgres } from './servers.ts'
import { stateOf, walPosition } from './storage.ts'
import { exampleValues } from './systems.ts'

interface Design {
  readonly name: string
  readonly fillfactor: number
  /** Of a save at :at, for a ttl of $3. */
  readonly expiresAt: string
  /** A second column for the index alone; likewise. */
  readonly purgeAfter?: string
  readonly index?: string
  /** Which rows a purge at $1 may delete, up to $2. */
  readonly due: string
}

const exact = ':at + $3::interval'
const rounded = (share: number): string =>
  `date_bin($3::interval / ${share}, ${exact}, timestamptz '2000-01-01 00:00:00+00') + $3::interval / ${share}`
const inOrder = 'expires_at <= $1 order by expires_at limit $2'

const onSecond = 'purge_after <= $1 and expires_at <= $1 order by purge_after limit $2'

/** As sql/purge_time.sql has it. */
const ours: Design = {
  name: 'b-tree on a second column, 10 % of the ttl (ours)',
  fillfactor: 85,
  expiresAt: exact,
  purgeAfter: rounded(10),
  index: 'using btree (purge_after)',
  due: onSecond,
}

const onExpiry = { index: 'using btree (expires_at)', due: inOrder }
const oneColumn: Design = { name: '', fillfactor: ours.fillfactor, expiresAt: exact, due: inOrder }

const designs: readonly Design[] = [
  ours,
  { ...oneColumn, ...onExpiry, name: 'b-tree, exact' },
  { ...oneColumn, ...onExpiry, name: 'b-tree, rounded to 1 % of the ttl', expiresAt: rounded(100) },
  { ...ours, name: 'b-tree on a second column, 50 % of the ttl', purgeAfter: rounded(2) },
  {
    ...oneColumn,
    name: 'BRIN, exact',
    expiresAt: exact,
    index: 'using brin (expires_at) with (pages_per_range = 16)',
    due: 'expires_at <= $1 limit $2',
  },
  ...[70, 80, 90, 100].map((fillfactor) => ({ ...ours, name: `as ours, fillfactor ${fillfactor}`, fillfactor })),
]

/** How visitors come: each session is active for 60 ticks, and in each it has one chance in six of so many saves. */
interface Pattern {
  readonly name: string
  readonly ttl: string
  readonly tickSeconds: number
  readonly saves: number
  readonly ticksBetweenVacuums: number
  readonly ticksBetweenPurges: number
}

const patterns: readonly Pattern[] = [
  // Ten minutes of clicks, one save a minute; vacuum each minute, as autovacuum's naptime has it.
  {
    name: '30 minutes',
    ttl: '30 minutes',
    tickSeconds: 10,
    saves: 1,
    ticksBetweenVacuums: 6,
    ticksBetweenPurges: 30,
  },
  // A visit a day for ten days, with three saves at each.
  { name: '30 days', ttl: '30 days', tickSeconds: 4 * 3600, saves: 3, ticksBetweenVacuums: 1, ticksBetweenPurges: 6 },
]

const arrivals = 50
const activeTicks = 60

export async function compareIndexes(postgres: Postgres, ticks: number): Promise<Row[]> {
  const rows: Row[] = []
  for (const pattern of patterns) {
    for (const design of designs) {
      const client = new pg.Client(postgres.url)
      await client.connect()
      try {
        rows.push(await simulate(client, design, pattern, ticks))
      } finally {
        await client.query('drop table if exists simulated')
        await client.end()
      }
    }
  }
  return rows
}

async function simulate(client: pg.Client, design: Design, pattern: Pattern, ticks: number): Promise<Row> {
  await client.query('set synchronous_commit = off') // what is counted here is bytes, not commits
  if ((design.index ?? '').includes('brin')) await client.query('set enable_seqscan = off')
  await createTable(client, design)
  const clock = (tick: number) => new Date(Date.UTC(2026, 0, 1) + tick * pattern.tickSeconds * 1000)
  // What was there before: those still active, and those that have left and not expired.
  const ticksBefore = Array.from({ length: activeTicks + 180 }, (_, index) => -1 - index)
  await insert(client, design, ticksBefore, (tick) => clock(Math.min(tick + activeTicks, 0)), pattern)
  await client.query('vacuum analyze simulated')
  const before = await flushedState(client)
  const walBefore = await walPosition(client)
  const latencies = new Latencies()
  let walOfSaves = 0
  let saves = 0
  let purged = 0
  let purgeSeconds = 0
  for (let tick = 0; tick < ticks; tick++) {
    const now = clock(tick)
    await insert(client, design, [tick], clock, pattern)
    const visitors = activeKeys(tick)
    const wal = await walPosition(client)
    for (let n = 0; n < pattern.saves; n++) {
      for (let from = 0; from < visitors.length; from += 50) {
        const started = performance.now()
        await save(client, design, visitors.slice(from, from + 50), new Date(now.getTime() + n * 60_000), pattern)
        latencies.add(performance.now() - started)
      }
    }
    saves += pattern.saves * visitors.length
    walOfSaves += (await walPosition(client)) - wal
    if (tick % pattern.ticksBetweenVacuums === 0) await client.query('vacuum simulated')
    if (tick % pattern.ticksBetweenPurges > 0) continue
    const started = performance.now()
    purged += await purge(client, design, now)
    purgeSeconds += (performance.now() - started) / 1000
  }
  const walAfter = await walPosition(client)
  const after = await flushedState(client)
  const updates = after.updates - before.updates
  return {
    bench: 'indexes',
    system: `${design.name}; ttl ${pattern.name}`,
    concurrency: 1,
    opsPerSecond: Math.round((latencies.count * 50) / (latencies.sum / 1000)),
    ...roundAll(latencies.percentiles()),
    clientCpuUs: null,
    serverCpuUs: null,
    hotShare: round((after.hotUpdates - before.hotUpdates) / updates),
    walBytes: Math.round(walOfSaves / saves),
    walBytesInAll: Math.round((walAfter - walBefore) / saves),
    tableMbBefore: before.tableMb,
    tableMbAfter: after.tableMb,
    indexMbBefore: before.indexMb,
    indexMbAfter: after.indexMb,
    purgedPerSecond: purged === 0 ? null : Math.round(purged / purgeSeconds),
  }
}

function roundAll({ p50Ms, p99Ms }: { p50Ms: number; p99Ms: number }): { p50Ms: number; p99Ms: number } {
  return { p50Ms: round(p50Ms), p99Ms: round(p99Ms) }
}

async function createTable(client: pg.Client, { fillfactor, index }: Design): Promise<void> {
  await client.query('drop table if exists simulated')
  await client.query(
    `create table simulated (
       id bigint not null, created_at timestamptz not null, expires_at timestamptz not null, purge_after timestamptz,
       key bytea primary key, updated_at timestamptz not null, version integer not null, data jsonb not null
     ) with (fillfactor = ${fillfactor}, autovacuum_enabled = off)`,
  )
  if (index) await client.query(`create index on simulated ${index}`)
}

function keyOf(tick: number, n: number): Buffer {
  return createHash('sha256').update(`${tick} ${n}`).digest()
}

/** One of six of the active ones, another sixth at each tick, spread over all ages. */
function activeKeys(tick: number): Buffer[] {
  const keys: Buffer[] = []
  for (let age = 1; age <= activeTicks; age++) {
    for (let n = (tick + age) % 6; n < arrivals; n += 6) keys.push(keyOf(tick - age, n))
  }
  return keys
}

async function insert(
  client: pg.Client,
  { expiresAt, purgeAfter = 'null' }: Design,
  ticks: readonly number[],
  clock: (tick: number) => Date,
  { ttl }: Pattern,
): Promise<void> {
  const made = ticks.flatMap((tick) =>
    Array.from({ length: arrivals }, (_, n) => ({ key: keyOf(tick, n), at: clock(tick) })),
  )
  await client.query(
    `insert into simulated (id, created_at, expires_at, purge_after, key, updated_at, version, data)
     select 1, u.at, ${atTime(expiresAt, 'u.at')}, ${atTime(purgeAfter, 'u.at')}, u.key, u.at, 1, $4::jsonb
     from unnest($1::bytea[], $2::timestamptz[]) as u (key, at)
     where $3::interval is not null`,
    [made.map(({ key }) => key), made.map(({ at }) => at), ttl, JSON.stringify(exampleValues(0))],
  )
}

function atTime(expression: string, time: string): string {
  return expression.replaceAll(':at', time)
}

async function save(client: pg.Client, design: Design, keys: Buffer[], now: Date, { ttl }: Pattern): Promise<void> {
  const time = '$2::timestamptz'
  const purgeAfter = design.purgeAfter ? `, purge_after = ${atTime(design.purgeAfter, time)}` : ''
  const text = `update simulated
    set data = data || jsonb_build_object('visits', version), version = version + 1, updated_at = $2, expires_at = ${atTime(design.expiresAt, time)}${purgeAfter}
    where key = any ($1::bytea[])`
  const { rowCount } = await client.query({ name: 'save', text, values: [keys, now, ttl] })
  if (rowCount !== keys.length) throw new Error(`${rowCount} of ${keys.length} sessions saved`)
}

async function purge(client: pg.Client, design: Design, now: Date): Promise<number> {
  let total = 0
  for (;;) {
    const { rowCount } = await client.query(
      `delete from simulated where ctid = any (array(select ctid from simulated where ${design.due} for update skip locked))`,
      [now, 1000],
    )
    total += rowCount ?? 0
    if ((rowCount ?? 0) < 1000) return total
  }
}

async function flushedState(client: pg.Client): ReturnType<typeof stateOf> {
  // Before 15 a connection hands in its numbers by itself, within a second.
  await client.query(
    `do $$ begin perform pg_stat_force_next_flush(); exception when undefined_function then perform pg_sleep(1); end $$`,
  )
  return await stateOf(client, 'simulated')
}
