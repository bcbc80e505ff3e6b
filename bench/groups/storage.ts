// Group `storage`: what saves leave behind in pgstore and in connect-pg-simple: WAL, heap-only updates, size.
import type pg from 'pg'
import { measure, type Row, round, summary } from '../measure.ts'
import { openPool, type Postgres } from '../systems/servers.ts'
import {
  connectPgSimpleSystem,
  measureSystem,
  pgstoreSystem,
  type System,
  savesPerVisit,
  sessionCount,
} from '../systems/systems.ts'

export async function measureStorage(postgres: Postgres, seconds: number): Promise<Row[]> {
  const admin = openPool(postgres.url, 1)
  await admin.query('create schema storage')
  const stored: [string, (url: string) => Promise<System>][] = [
    ['storage.sessions', (url) => pgstoreSystem(url, { schema: 'storage' })],
    ['storage.session', (url) => connectPgSimpleSystem(url, 'storage')],
  ]
  const rows: Row[] = []
  for (const [table, open] of stored) {
    const system = await open(postgres.url)
    for (const callers of [1, 128]) rows.push(await walOfSaves(admin, system, postgres, callers, seconds))
    const before = await stateOf(admin, table)
    const mixed = async (index: number): Promise<void> => {
      const dice = Math.random()
      await (dice < 0.7 ? system.read(index) : dice < 0.95 ? system.save(index) : system.comeAndGo())
    }
    const options = { callers: 16, seconds: seconds * 2, count: sessionCount, stay: savesPerVisit, cpu: postgres.cpu }
    const sample = await measure(mixed, options)
    await system.close() // its connections report their statistics as they end
    const after = await untilCounted(admin, table, before)
    rows.push({
      ...summary('storage', `${system.name}, mixed load`, options.callers, [sample]),
      hotShare: round((after.hotUpdates - before.hotUpdates) / (after.updates - before.updates)),
      tableMbBefore: before.tableMb,
      tableMbAfter: after.tableMb,
      indexMbBefore: before.indexMb,
      indexMbAfter: after.indexMb,
    })
  }
  await admin.query('drop schema storage cascade')
  await admin.end()
  return rows
}

/** Each page is written whole once after a checkpoint: told apart, because it depends on how far apart checkpoints are. */
async function walOfSaves(
  admin: pg.Pool,
  system: System,
  { cpu }: Postgres,
  callers: number,
  seconds: number,
): Promise<Row> {
  const save = (index: number) => system.save(index)
  await admin.query('checkpoint')
  const start = await walPosition(admin)
  let next = 0
  // Each once, and no two neighbours at a time: 7919 is prime.
  const inTurn = async (): Promise<void> => {
    while (next < sessionCount) await save((next++ * 7919) % sessionCount)
  }
  await Promise.all(Array.from({ length: 128 }, inTurn))
  const middle = await walPosition(admin)
  const sample = await measureSystem(system, 'save', { callers, seconds, cpu })
  const end = await walPosition(admin)
  return {
    ...summary('storage', `${system.name}, saves`, callers, [sample]),
    walBytes: Math.round((end - middle) / sample.operations),
    walBytesAfterCheckpoint: Math.round((middle - start) / sessionCount),
  }
}

export async function walPosition(client: pg.Pool | pg.Client): Promise<number> {
  const { rows } = await client.query<{ at: string }>(`select pg_current_wal_insert_lsn() - '0/0' as at`)
  return Number(rows[0]?.at)
}

export interface TableState {
  readonly updates: number
  readonly hotUpdates: number
  readonly tableMb: number
  readonly indexMb: number
}

async function stateOf(client: pg.Pool | pg.Client, table: string): Promise<TableState> {
  const { rows } = await client.query<TableState>(
    `select n_tup_upd::float8 as updates, n_tup_hot_upd::float8 as "hotUpdates",
       pg_table_size(relid) / 2::float8 ^ 20 as "tableMb", pg_indexes_size(relid) / 2::float8 ^ 20 as "indexMb"
     from pg_stat_user_tables where relid = $1::regclass`,
    [table],
  )
  const { updates, hotUpdates, tableMb, indexMb } = rows[0] as TableState
  return { updates, hotUpdates, tableMb: round(tableMb), indexMb: round(indexMb) }
}

/** Including what this connection has done so far; before 15 it reports its numbers by itself, within a second. */
export async function flushedState(client: pg.Client, table: string): Promise<TableState> {
  await client.query(
    `do $$ begin perform pg_stat_force_next_flush(); exception when undefined_function then perform pg_sleep(1); end $$`,
  )
  return await stateOf(client, table)
}

/** Statistics arrive a little after the connections that made them have ended. */
async function untilCounted(admin: pg.Pool, table: string, before: TableState): Promise<TableState> {
  let last = before
  for (let i = 0; i < 50; i++) {
    await new Promise((resolve) => setTimeout(resolve, 200))
    const now = await stateOf(admin, table)
    if (now.updates > before.updates && now.updates === last.updates) return now
    last = now
  }
  throw new Error(`${table}: no updates were counted.`)
}
