// Group `indexes`: possible ways to index the expiry, and how full to fill a page. Plain tables and a clock that advances as
// fast as the statements do, so that hours and months of saves pass in seconds. pgstore itself is measured in
// index-product.ts.
import pg from 'pg'
import { Latencies, type Row, round } from '../measure.ts'
import type { Postgres } from '../systems/servers.ts'
import { exampleValues } from '../systems/systems.ts'
import { measureProduct } from './index-product.ts'
import { flushedState, walPosition } from './storage.ts'
import { activeKeys, activeTicks, keyOf, type Pattern, patterns } from './visitors.ts'

interface Design {
  readonly name: string
  readonly fillfactor: number
  /** Of a save at :at, for a ttl of $3. */
  readonly expiresAt: string
  /** A second column for the index alone; likewise. */
  readonly purgeAt?: string
  /** Its value after a save, if that differs from the initial one. */
  readonly purgeAtSaved?: string
  readonly index?: string
  /** Which rows a purge at $1 may delete, up to $2. */
  readonly due: string
  /** The purge moves the second column of those that have been visited since; saves leave it alone. */
  readonly isMovedByPurge?: boolean
}

const exact = ':at + $3::interval'
const rounded = (parts: number): string =>
  `date_bin($3::interval / ${parts}, ${exact}, timestamptz '2000-01-01 00:00:00+00') + $3::interval / ${parts}`

/** The second column stays while it is late enough: a step is as long as on a grid, but does not end for all at once. */
const kept = (parts: number): Pick<Design, 'purgeAt' | 'purgeAtSaved'> => {
  const late = `${exact} + $3::interval / ${parts}`
  return {
    purgeAt: late,
    purgeAtSaved: `case when purge_at between ${exact} and ${late} then purge_at else ${late} end`,
  }
}

/** As purge_time() and purge_expired(). */
const ours: Design = {
  name: 'a second column, 20 % of the ttl late, kept while late enough (ours)',
  fillfactor: 85,
  expiresAt: exact,
  ...kept(5),
  index: 'using btree (purge_at)',
  due: 'purge_at <= $1 and expires_at <= $1 order by purge_at limit $2',
}

const { purgeAt: _purgeAt, purgeAtSaved: _purgeAtSaved, ...withoutSecond } = ours
const oneColumn = { index: 'using btree (expires_at)', due: 'expires_at <= $1 order by expires_at limit $2' }
const grid = (percent: number): Design => ({
  ...withoutSecond,
  name: `a second column, rounded to ${percent} % of the ttl`,
  purgeAt: rounded(100 / percent),
})

const designs: readonly Design[] = [
  ours,
  { ...withoutSecond, ...oneColumn, name: 'one column, exact' },
  { ...withoutSecond, ...oneColumn, name: 'one column, rounded to 1 % of the ttl', expiresAt: rounded(100) },
  grid(10),
  grid(25),
  grid(50),
  { ...ours, name: 'a second column, 10 %, kept while late enough', ...kept(10) },
  {
    ...ours,
    name: 'a second column, moved by the purge alone',
    purgeAt: exact,
    purgeAtSaved: 'purge_at',
    isMovedByPurge: true,
  },
  {
    ...withoutSecond,
    name: 'BRIN, exact',
    index: 'using brin (expires_at) with (pages_per_range = 16)',
    due: 'expires_at <= $1 limit $2',
  },
  ...[70, 80, 90, 100].map((fillfactor) => ({ ...ours, name: `as ours, fillfactor ${fillfactor}`, fillfactor })),
]

/** That begin at each tick. */
const arrivals = 50

export async function compareIndexes(postgres: Postgres, ticks: number): Promise<Row[]> {
  const rows: Row[] = []
  for (const pattern of patterns) {
    rows.push(await measureProduct(postgres, pattern, ticks))
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
  await client.query('set synchronous_commit = off') // this counts bytes, not commits
  if ((design.index ?? '').includes('brin')) await client.query('set enable_seqscan = off')
  await createTable(client, design)
  // A minute past: a run of 180 ticks, a whole ttl, then sees as many steps as the ttl has, none of them exactly at the
  // end.
  const clock = (tick: number) => new Date(Date.UTC(2026, 0, 1, 0, 1) + tick * pattern.tickSeconds * 1000)
  // Earlier sessions: those still active, and those whose visitors have left but that have not expired.
  const ticksBefore = Array.from({ length: activeTicks + 180 }, (_, index) => -1 - index)
  await insert(client, design, ticksBefore, clock, pattern, (tick) => clock(Math.min(tick + activeTicks, 0)))
  await purge(client, design, clock(0))
  await client.query('vacuum analyze simulated')
  const before = await flushedState(client, 'simulated')
  const walBefore = await walPosition(client)
  const latencies = new Latencies()
  let walOfSaves = 0
  let saves = 0
  let purged = 0
  let purgeSeconds = 0
  for (let tick = 0; tick < ticks; tick++) {
    const now = clock(tick)
    await insert(client, design, [tick], clock, pattern)
    const visitors = activeKeys(tick, arrivals)
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
  const after = await flushedState(client, 'simulated')
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
  // The columns that a save changes come last, with none that it leaves alone in between: WAL holds one stretch of the
  // row.
  await client.query(
    `create table simulated (
       id bigint not null, created_at timestamptz not null, purge_at timestamptz, key bytea primary key, data jsonb not null,
       updated_at timestamptz not null, version integer not null, expires_at timestamptz not null, seen_at timestamptz not null
     ) with (fillfactor = ${fillfactor}, autovacuum_enabled = off)`,
  )
  if (index) await client.query(`create index on simulated ${index}`)
}

async function insert(
  client: pg.Client,
  { expiresAt, purgeAt = 'null', isMovedByPurge = false }: Design,
  ticks: readonly number[],
  clock: (tick: number) => Date,
  { ttl }: Pattern,
  lastVisit: (tick: number) => Date = clock,
): Promise<void> {
  const made = ticks.flatMap((tick) =>
    Array.from({ length: arrivals }, (_, n) => ({ key: keyOf(tick, n), created: clock(tick), at: lastVisit(tick) })),
  )
  await client.query(
    `insert into simulated (id, created_at, purge_at, key, data, updated_at, version, expires_at, seen_at)
     select 1, u.created, ${atTime(purgeAt, isMovedByPurge ? 'u.created' : 'u.at')}, u.key, $4::jsonb, u.at, 1, ${atTime(expiresAt, 'u.at')}, u.at
     from unnest($1::bytea[], $2::timestamptz[], $5::timestamptz[]) as u (key, at, created)
     where $3::interval is not null`,
    [
      made.map(({ key }) => key),
      made.map(({ at }) => at),
      ttl,
      JSON.stringify(exampleValues(0)),
      made.map(({ created }) => created),
    ],
  )
}

function atTime(expression: string, time: string): string {
  return expression.replaceAll(':at', time)
}

/** As in the array form of session_save, without its verdicts. */
async function save(client: pg.Client, design: Design, keys: Buffer[], now: Date, { ttl }: Pattern): Promise<void> {
  const time = '$2::timestamptz'
  const purgeAt = design.purgeAtSaved ?? design.purgeAt
  const text = `update simulated
    set data = data || jsonb_build_object('visits', version), version = version + 1, updated_at = $2,
      ${purgeAt ? `purge_at = ${atTime(purgeAt, time)},` : ''} expires_at = ${atTime(design.expiresAt, time)}, seen_at = $2
    where key = any ($1::bytea[])`
  const { rowCount } = await client.query({ name: 'save', text, values: [keys, now, ttl] })
  if (rowCount !== keys.length) throw new Error(`${rowCount} of ${keys.length} sessions saved`)
}

async function purge(client: pg.Client, design: Design, now: Date): Promise<number> {
  if (design.isMovedByPurge) {
    await client.query('update simulated set purge_at = expires_at where purge_at <= $1 and expires_at > $1', [now])
  }
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
