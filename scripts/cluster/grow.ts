// `npm run cluster -- grow [SESSIONS] [VISITORS]`: four partitions become eight, by examples/scaling-out/grow.sh, while visitors come and go
// through two proxies, each with a PgBouncer in front of it.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { migrate, PGStore } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { type Bouncer, canBounce, startBouncer } from './bouncer.ts'
import { Cluster, type ClusterDatabase, query, role, schema } from './cluster.ts'
import { Checker, Special, save } from './known-sessions.ts'
import { CountingVisitor, key, letVisit, sleep, Tally, type Visited } from './visitors.ts'

const before = 4
const after = 8
const name = 'sessions'

/** Logical replication, for two subscriptions from each old partition and two new partitions on each server. */
const settings = {
  wal_level: 'logical',
  max_replication_slots: '20',
  max_wal_senders: '20',
  max_worker_processes: '20',
  max_logical_replication_workers: '16',
}

export async function grow(args: readonly string[]): Promise<number> {
  if (!canBounce) {
    console.log('PgBouncer is not installed here. On Debian or Ubuntu: apt-get install pgbouncer.')
    return 1
  }
  const [stored = 60_000, visitors = 48] = args.map(Number)
  const cluster = await Cluster.start({ partitions: before, settings })
  const ends: (() => Promise<unknown>)[] = [() => cluster.stop()]
  try {
    const database = await cluster.createDatabase(name)
    await query(cluster.proxy.url(), `create database ${name}_too template ${name} strategy file_copy`)
    const proxies = [database.url, cluster.proxy.url(`${name}_too`)]
    await fill(database.url, stored)
    const special = await Special.make(database.url)
    const news = await newPartitions(cluster)
    const bouncers: Bouncer[] = []
    for (const proxy of proxies) bouncers.push(await startBouncer(proxy, name))
    const stores = bouncers.map(
      ({ url }) => new PGStore<Visited>({ connectionString: url, keys: [key], batch: { lanes: after } }),
    )
    ends.unshift(
      () => Promise.all(stores.map((store) => store.close())),
      () => Promise.all(bouncers.map((bouncer) => bouncer.stop())),
    )
    return await underLoad(stores, visitors, async () => {
      const settings = { database, news, proxies, bouncers }
      await interrupted(settings) // it is to begin anew as if nothing had been
      const growing = runScript(settings)
      await sleep(500)
      const ending = special.endLate()
      const output = await growing
      await ending
      return { output, problems: [...(await misplaced(news, stored)), ...(await special.problems())] }
    })
  } finally {
    for (const end of ends) await end()
  }
}

interface Grown {
  readonly output: string
  readonly problems: readonly string[]
}

async function underLoad(
  stores: readonly PGStore<Visited>[],
  count: number,
  growing: () => Promise<Grown>,
): Promise<number> {
  const tally = new Tally()
  let turn = 0
  const store = () => stores[turn++ % stores.length] as PGStore<Visited>
  const visitors = Array.from({ length: count }, () => new CountingVisitor())
  const checkers = [0, 1].map((number) => new Checker(`exactly ${number}`, store))
  const stopVisits = letVisit(visitors, store, () => tally)
  const stopChecks = checkers.map((checker) => checker.begin())
  await sleep(2000)
  let grown: Grown = { output: '', problems: ['it failed'] }
  try {
    grown = await growing()
    await sleep(2000)
  } finally {
    await stopVisits()
    for (const stop of stopChecks) await stop()
  }
  const checks = checkers.reduce((sum, { checks }) => sum + checks, 0)
  const problems = [...checkers.flatMap(({ problems }) => problems), ...grown.problems]
  const paused = Number(/paused for ([\d.]+) s/.exec(grown.output)?.[1] ?? Number.NaN)
  console.log(`
| visits | failed | signed out | lost | longest visit, ms | list and revoke | inexact | paused, s |
|---:|---:|---:|---:|---:|---:|---:|---:|
| ${tally.served} | ${tally.failed} | ${tally.signedOut} | ${tally.lost} | ${tally.quantile(1).toFixed(0)} | ${checks} | ${problems.length} | ${paused} |`)
  for (const [code, count] of tally.failures) problems.push(`${count} visits failed with ${code}`)
  if (tally.signedOut > 0) problems.push(`${tally.signedOut} visitors were signed out`)
  if (tally.lost > 0) problems.push(`${tally.lost} visits were lost`)
  if (!(paused <= 2)) problems.push(`writers were held for ${paused} s`)
  for (const problem of problems) console.log(`Not as promised: ${problem}.`)
  return problems.length > 0 ? 1 : 0
}

/** Sessions that nobody visits, through the proxy. */
async function fill(url: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += 1000) await save(url, 'sha256((random()::text || n)::bytea)', 1000, 'null')
}

interface NewPartition {
  readonly url: string
  readonly address: string
}

/** Empty databases with the schema, two on each server. */
async function newPartitions(cluster: Cluster): Promise<NewPartition[]> {
  return await Promise.all(
    Array.from({ length: after }, async (_, place) => {
      const server = cluster.partitions[place % before]
      if (!server) throw new Error('There is no such server.')
      const database = `grown${place}`
      await query(server.url(), `create database ${database}`)
      const pool = new pg.Pool({ connectionString: server.url(database), max: 1 })
      try {
        await migrate(pool, { schema })
        await pool.query(grantStatements(role, ['proxy'], schema).join('\n'))
      } finally {
        await pool.end()
      }
      return { url: server.url(database), address: `host=127.0.0.1 port=${server.port} dbname=${database}` }
    }),
  )
}

interface Parts {
  readonly database: ClusterDatabase
  readonly news: readonly NewPartition[]
  readonly proxies: readonly string[]
  readonly bouncers: readonly Bouncer[]
}

/** The script, stopped once something has been copied. */
async function interrupted(parts: Parts): Promise<void> {
  const stopping = new AbortController()
  const run = runScript(parts, stopping.signal).then(
    () => true,
    () => false,
  )
  const { url } = parts.news[0] as NewPartition
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  for (let tries = 0; tries < 600; tries++) {
    const { rows } = await client.query(`select from ${schema}.sessions limit 1`)
    if (rows.length > 0) break
    await sleep(50)
  }
  await client.end()
  stopping.abort()
  if (await run) throw new Error('It was done before it could be interrupted.')
  console.log('Interrupted; and once more:')
}

async function runScript(parts: Parts, stop?: AbortSignal): Promise<string> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-grow-'))
  const file = path.join(folder, 'settings.sh')
  const array = (name: string, values: readonly string[]) =>
    `${name}=(${values.map((value) => `'${value}'`).join(' ')})`
  const lines = [
    array('old', parts.database.partitionUrls),
    array(
      'new',
      parts.news.map(({ url }) => url),
    ),
    array(
      'addresses',
      parts.news.map(({ address }) => address),
    ),
    array('proxies', parts.proxies),
    array(
      'bouncers',
      parts.bouncers.map(({ consoleUrl }) => consoleUrl),
    ),
    `database=${name}`,
    `server=${schema}`,
  ]
  fs.writeFileSync(file, lines.join('\n'), { mode: 0o600 })
  const script = fileURLToPath(new URL('../../examples/scaling-out/grow.sh', import.meta.url))
  const child = spawn('bash', [script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
  stop?.addEventListener('abort', () => child.kill('SIGTERM'))
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
    process.stdout.write(chunk)
  })
  try {
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
    if (code !== 0) throw new Error(`grow.sh ended with ${code}.`)
    return output
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}

/** What does not lie where its first byte says, and how many sessions are not there at all. */
async function misplaced(news: readonly NewPartition[], stored: number): Promise<string[]> {
  const problems: string[] = []
  let all = 0
  for (const [place, { url }] of news.entries()) {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const { rows } = await client.query<Record<'own' | 'others' | 'ids', number>>(
      `select count(*) filter (where get_byte(key, 0) & ${after - 1} = ${place})::integer as own,
         count(*) filter (where get_byte(key, 0) & ${after - 1} <> ${place})::integer as others, count(distinct id)::integer as ids
       from ${schema}.sessions`,
    )
    await client.end()
    const { own = 0, others = 0, ids = 0 } = rows[0] ?? {}
    if (others > 0) problems.push(`partition ${place} holds ${others} sessions of others`)
    if (ids < own + others) problems.push(`partition ${place} has given a number twice`)
    all += own
  }
  if (all < stored) problems.push(`${stored} sessions were stored, ${all} are there`)
  return problems
}
