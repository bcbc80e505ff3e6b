// `npm run cluster -- bench [seconds a cell]`: the servers' time for a get and a save, alone and 64 a call: direct, and through a proxy
// in front of 1, 2 and 4 partitions, by turns in one run. As a client with a lane for each partition calls: 64 keys of one of them. And
// without, of all.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import pg from 'pg'
import type { PostgresServer } from '../postgres.ts'
import { Cluster, schema } from './cluster.ts'

/** Sessions in each database, of about 220 bytes of data. */
const sessions = 4096
const perCall = 64
const callers = 4
const rounds = 3

interface Place {
  readonly name: string
  readonly url: string
  readonly servers: readonly PostgresServer[]
  readonly partitions: number
}

interface Cell {
  /** Microseconds of the servers' processors for a session. */
  readonly total: number
  /** Of the proxy alone. */
  readonly proxy: number
  /** Of each partition. */
  readonly shares: readonly number[]
}

type Work = (client: pg.Client, keys: readonly Buffer[], round: number) => Promise<unknown>

const data = (n: number) =>
  JSON.stringify({ n, cart: Array.from({ length: 8 }, (_, item) => ({ item, count: n % 7 })) })

const works: Readonly<Record<'get' | 'save' | 'get, 64 a call' | 'save, 64 a call', Work>> = {
  get: (client, [key]) =>
    client.query({ name: 'get', text: `select * from ${schema}.session_get($1::bytea)`, values: [key] }),
  save: (client, [key], round) =>
    client.query({
      name: 'save',
      text: `select * from ${schema}.session_save($1::bytea, $2::jsonb)`,
      values: [key, data(round)],
    }),
  'get, 64 a call': (client, keys) =>
    client.query({ name: 'gets', text: `select * from ${schema}.session_get($1::bytea[])`, values: [keys] }),
  'save, 64 a call': (client, keys, round) =>
    client.query({
      name: 'saves',
      text: `select * from ${schema}.session_save($1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], 4096, '90 days')`,
      values: [
        keys,
        keys.map(() => data(round)),
        keys.map(() => null),
        keys.map(() => '30 days'),
        keys.map(() => null),
        keys.map(() => null),
      ],
    }),
}

export async function bench(args: readonly string[]): Promise<number> {
  const seconds = Number(args[0] ?? 2)
  const cluster = await Cluster.start({ settings: { shared_buffers: '128MB', autovacuum: 'off' } })
  try {
    const [first] = cluster.partitions
    if (!first) throw new Error('There is no partition.')
    const places: Place[] = [{ name: 'direct', url: first.url('direct'), servers: [first], partitions: 1 }]
    await cluster.createDatabase('direct', [first])
    for (const partitions of [1, 2, 4]) {
      const servers = cluster.partitions.slice(0, partitions)
      const { url } = await cluster.createDatabase(`over_${partitions}`, servers)
      places.push({
        name: `${partitions} partition${partitions > 1 ? 's' : ''}`,
        url,
        servers: [cluster.proxy, ...servers],
        partitions,
      })
    }
    const keys = Array.from({ length: sessions }, (_, n) => Buffer.concat([Buffer.from([n % 256]), randomBytes(31)]))
    for (const place of places) await fill(place, keys)
    console.log(
      `Microseconds of the servers' processors for each session, the median of ${rounds} rounds of ${seconds} s; ${callers} callers; load ${fs.readFileSync('/proc/loadavg', 'utf8').split(' ')[0]} before.\n`,
    )
    console.log(
      `| | ${places.map(({ name }) => name).join(' | ')} | of it the proxy | uneven by |\n| --- |${' ---: |'.repeat(places.length + 2)}`,
    )
    const table = new Map<string, number[]>()
    for (const [name, work] of Object.entries(works)) {
      for (const isInLanes of name.includes('64') ? [true, false] : [true]) {
        const cells = await measure(cluster, places, keys, work, name.includes('64') ? perCall : 1, isInLanes, seconds)
        const title = name.includes('64') ? `${name}, ${isInLanes ? 'in lanes' : 'of all'}` : name
        const totals = cells.map(({ total }) => total)
        table.set(title, totals)
        const uneven = Math.max(...cells.map(({ shares }) => unevenness(shares)))
        const proxy = cells.slice(1).map((cell) => cell.proxy.toFixed(1))
        console.log(
          `| ${title} | ${totals.map((total) => total.toFixed(1)).join(' | ')} | ${proxy.join(', ')} | ${(uneven * 100).toFixed(1)} % |`,
        )
      }
    }
    return judge(table)
  } finally {
    await cluster.stop()
  }
}

function judge(table: ReadonlyMap<string, readonly number[]>): number {
  const ratio = (title: string, over: number, under: number) =>
    (table.get(title)?.[over] ?? Number.NaN) / (table.get(title)?.[under] ?? Number.NaN)
  const targets = [
    { what: 'gets in lanes, 4 partitions to 1', is: ratio('get, 64 a call, in lanes', 3, 1), most: 1.3 },
    { what: 'saves in lanes, 4 partitions to 1', is: ratio('save, 64 a call, in lanes', 3, 1), most: 1.3 },
    { what: 'saves in lanes, 1 partition to direct', is: ratio('save, 64 a call, in lanes', 1, 0), most: 1.5 },
  ]
  console.log()
  for (const { what, is, most } of targets)
    console.log(`${is <= most ? '•' : '✘'} ${what}: ${is.toFixed(2)} (at most ${most})`)
  return targets.every(({ is, most }) => is <= most) ? 0 : 1
}

async function fill({ url }: Place, keys: readonly Buffer[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  for (let from = 0; from < keys.length; from += 256) {
    const some = keys.slice(from, from + 256)
    await client.query(
      `select count(*) from ${schema}.session_save($1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], 4096, '90 days')`,
      [
        some,
        some.map((_, n) => data(n)),
        some.map(() => null),
        some.map(() => '30 days'),
        some.map(() => 0),
        some.map(() => null),
      ],
    )
  }
  await client.end()
}

/** The places by turns, so that what else the machine does hits all of them. */
async function measure(
  cluster: Cluster,
  places: readonly Place[],
  keys: readonly Buffer[],
  work: Work,
  size: number,
  isInLanes: boolean,
  seconds: number,
): Promise<Cell[]> {
  const found = places.map((): Cell[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [index, place] of places.entries()) {
      const lanes = isInLanes ? place.partitions : 1
      const calls = Array.from({ length: lanes }, (_, lane) =>
        chunks(
          keys.filter((key) => ((key[0] ?? 0) & (lanes - 1)) === lane),
          size,
        ),
      )
      found[index]?.push(await once(cluster, place, calls, work, size, seconds))
    }
  }
  return found.map((cells) => {
    const sorted = [...cells].sort((one, other) => one.total - other.total)
    return sorted[Math.floor(sorted.length / 2)] as Cell
  })
}

async function once(
  cluster: Cluster,
  { url, servers }: Place,
  calls: readonly (readonly (readonly Buffer[])[])[],
  work: Work,
  size: number,
  seconds: number,
): Promise<Cell> {
  const clients = Array.from({ length: callers }, () => new pg.Client({ connectionString: url }))
  await Promise.all(clients.map((client) => client.connect()))
  // Each connection, the proxy's to all partitions too, has done this before.
  for (const client of clients) for (const lane of calls) await work(client, lane[0] ?? [], 0)
  const before = servers.map((server) => cpuSeconds(cluster.pids(server)))
  let done = 0
  const end = performance.now() + seconds * 1000
  await Promise.all(
    clients.map(async (client, caller) => {
      for (let n = caller; performance.now() < end; n += callers) {
        const lane = calls[(n + Math.floor(n / callers)) % calls.length] ?? []
        await work(client, lane[Math.floor(n / calls.length) % lane.length] ?? [], n)
        done += size
      }
    }),
  )
  const used = servers.map((server, n) => cpuSeconds(cluster.pids(server)) - (before[n] ?? 0))
  await Promise.all(clients.map((client) => client.end()))
  const each = used.map((one) => (one * 1e6) / done)
  const isProxied = servers[0] === cluster.proxy
  return {
    total: each.reduce((sum, one) => sum + one, 0),
    proxy: isProxied ? (each[0] ?? 0) : 0,
    shares: isProxied ? each.slice(1) : each,
  }
}

function chunks<Item>(items: readonly Item[], size: number): Item[][] {
  const count = Math.floor(items.length / size)
  return Array.from({ length: count }, (_, n) => items.slice(n * size, (n + 1) * size))
}

/** How far the busiest share is from their mean. */
function unevenness(shares: readonly number[]): number {
  const mean = shares.reduce((sum, one) => sum + one, 0) / shares.length
  return Math.max(...shares.map((one) => Math.abs(one - mean) / mean))
}

/** What these processes have used; by nanoseconds, where the kernel counts them. */
function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    try {
      return sum + Number(fs.readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9
    } catch {
      return sum // ended in between
    }
  }, 0)
}
