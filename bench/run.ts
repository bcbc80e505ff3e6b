// `npm run bench [-- GROUP … --quick --soak]`: measures side by side, prints tables, and writes bench/results and the tables of
// docs/performance.md.
import fs from 'node:fs'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { measureCache } from './groups/cache.ts'
import { measureEnds, measureRowsRead } from './groups/cache-use.ts'
import { measureDistance } from './groups/distance.ts'
import { measureDurability } from './groups/durability.ts'
import { measureGrowth } from './groups/growth.ts'
import { measureHttp } from './groups/http.ts'
import { compareIndexes } from './groups/indexes.ts'
import { measureMemory } from './groups/memory.ts'
import { comparePairs, pairGroups } from './groups/pairs.ts'
import { measureProcesses } from './groups/processes.ts'
import { profileAll } from './groups/profile.ts'
import { measurePurge } from './groups/purge.ts'
import { measureOperation } from './groups/read-save.ts'
import { measureStorage } from './groups/storage.ts'
import type { Row } from './measure.ts'
import {
  type Fact,
  factList,
  rowTable,
  verdictTable,
  withEarlierRows,
  writePage,
  writeResults,
} from './report/report.ts'
import { entryFile } from './systems/build.ts'
import { type Contender, openContenders } from './systems/contenders.ts'
import { openPostgres, openRedis, type Postgres, type Redis, syncMs } from './systems/servers.ts'
import { judge } from './targets.ts'

interface Bench {
  readonly postgres: Postgres
  readonly redis: Redis | undefined
  readonly isQuick: boolean
  readonly isSoak: boolean
  /** Opened at the first use. */
  readonly contenders: () => Promise<readonly Contender[]>
}

const groups: Readonly<Record<string, (bench: Bench) => Promise<Row[]>>> = {
  read: async ({ contenders, isQuick }) => await measureOperation(await contenders(), 'read', pace(isQuick, 5, 1)),
  save: async ({ contenders, isQuick }) => await measureOperation(await contenders(), 'save', pace(isQuick, 5, 1)),
  durability: async ({ postgres, redis, isQuick }) => await measureDurability(postgres, redis, pace(isQuick, 5, 1)),
  http: async ({ postgres, redis, isQuick }) => await measureHttp(postgres, redis, pace(isQuick, 5, 1.5)),
  distance: async ({ postgres, redis, isQuick }) =>
    await measureDistance(postgres, redis, isQuick ? [0, 5] : [0, 1, 5, 20], pace(isQuick, 5, 0.5)),
  processes: async ({ postgres, isQuick }) => await measureProcesses(postgres, pace(isQuick, 5, 1)),
  purge: async ({ postgres, isQuick }) =>
    await measurePurge(
      postgres,
      isQuick
        ? { rounds: 1, expired: 100_000, live: 10_000, seconds: 3 }
        : { rounds: 3, expired: 1_000_000, live: 100_000, seconds: 15 },
    ),
  growth: async ({ postgres, isQuick }) =>
    await measureGrowth(postgres, isQuick ? [1e4, 1e5] : [1e4, 1e5, 1e6, 5e6], pace(isQuick, 7, 1)),
  storage: async ({ postgres, isQuick }) => await measureStorage(postgres, isQuick ? 3 : 10),
  indexes: async ({ postgres, isQuick }) => await compareIndexes(postgres, isQuick ? 30 : 180),
  cache: async ({ postgres, isQuick }) => [
    ...(await measureCache(postgres)),
    await measureRowsRead(postgres, isQuick ? 1e5 : 1e6, isQuick ? 6 : 60),
    await measureEnds(postgres, isQuick ? 100 : 1000),
  ],
  memory: async ({ postgres, isQuick, isSoak }) => await measureMemory(postgres, isSoak ? 300 : isQuick ? 10 : 60),
}

function pace(
  isQuick: boolean,
  rounds: number,
  seconds: number,
): { readonly rounds: number; readonly seconds: number } {
  return isQuick ? { rounds: 2, seconds: 0.4 } : { rounds, seconds }
}

const usage = `npm run bench [-- GROUP … --quick --soak]
npm run bench -- pairs --base FOLDER [--pairs N]
npm run bench -- express [--base FOLDER] [--pairs N]
  GROUP    ${Object.keys(groups).join(', ')}; default: all. Also profile, which prints where pgstore's time goes.
  --quick  about five minutes in all, for a first look
  --soak   five minutes of group memory
  pairs    compares this build with that of another checkout in FOLDER, in turns: reads, saves, node:http
  express  the same for Express; without --base, with this build when responses do not wait for their save
  --pairs  how many pairs, at least two; default: 15`

async function main(): Promise<number> {
  const options = {
    quick: { type: 'boolean', default: false },
    soak: { type: 'boolean', default: false },
    base: { type: 'string' },
    pairs: { type: 'string', default: '15' },
  } as const
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  const compared = positionals.filter((name) => name === 'pairs' || name === 'express')
  if (compared.length > 0) return await compare(compared, values.base, Number(values.pairs), values.quick)
  const unknown = positionals.filter((name) => name !== 'profile' && !Object.hasOwn(groups, name))
  if (unknown.length > 0) {
    console.error(`Unknown group: ${unknown.join(', ')}.\n\n${usage}`)
    return 2
  }
  const started = Date.now()
  const postgres = await openPostgres()
  const redis = await openRedis()
  let contenders: Promise<Contender[]> | undefined
  try {
    if (positionals.includes('profile')) {
      await profileAll(postgres, values.quick ? 2 : 8)
      return 0
    }
    const bench: Bench = {
      postgres,
      redis,
      isQuick: values.quick,
      isSoak: values.soak,
      contenders: () => (contenders ??= openContenders(postgres, redis)),
    }
    const wanted = Object.keys(groups).filter((name) => positionals.length === 0 || positionals.includes(name))
    const facts = machineFacts(postgres, redis, values.quick)
    console.log(factList(facts))
    const rows: Row[] = []
    for (const name of wanted) {
      const measured = (await groups[name]?.(bench)) ?? []
      rows.push(...measured)
      for (const bench of new Set(measured.map((row) => row.bench))) {
        console.log(`\n# ${bench}\n\n${rowTable(bench, measured)}`)
      }
    }
    const all = values.quick ? rows : withEarlierRows(rows)
    const verdicts = judge(all)
    if (verdicts.length > 0) console.log(`\n# Targets\n\n${verdictTable(verdicts)}`)
    const minutes = Math.round((Date.now() - started) / 6000) / 10
    const results = { facts: { ...facts, minutes }, verdicts, rows: all }
    writeResults(results)
    if (!values.quick) writePage(results)
    console.log(`\nbench/results/latest.json: ${all.length} rows.`)
    return 0
  } finally {
    for (const contender of (await contenders) ?? []) await contender.close()
    await redis?.stop()
    await postgres.stop()
  }
}

async function compare(
  names: readonly ('pairs' | 'express')[],
  base: string | undefined,
  pairs: number,
  isQuick: boolean,
): Promise<number> {
  if (!(Number.isInteger(pairs) && pairs >= 2) || (names.includes('pairs') && base === undefined)) {
    console.error(usage)
    return 2
  }
  if (base !== undefined && !fs.existsSync(entryFile('.', base))) {
    console.error(`${base} has not been built: npm run build there.`)
    return 2
  }
  const postgres = await openPostgres()
  try {
    console.log(factList(machineFacts(postgres, undefined, isQuick)))
    const operations = names.flatMap((name) => pairGroups[name])
    console.log(`\n${await comparePairs(postgres, { base, operations, pairs, seconds: isQuick ? 0.4 : 1 })}`)
    return 0
  } finally {
    await postgres.stop()
  }
}

function machineFacts(postgres: Postgres, redis: Redis | undefined, isQuick: boolean): Record<string, Fact> {
  const { server_version = '', ...settings } = postgres.facts
  return {
    measured: new Date().toISOString(),
    run: isQuick ? 'quick' : 'full',
    processor: `${os.cpus()[0]?.model.trim() ?? os.arch()}, ${os.cpus().length} cores`,
    memoryGb: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()}`,
    loadBefore: Number(os.loadavg()[0]?.toFixed(2)),
    diskSyncMs: Number(syncMs().toFixed(3)),
    node: process.version,
    postgres: server_version,
    postgresSettings: settings,
    redis: redis?.version ?? 'none',
    packages: Object.fromEntries(
      ['pg', 'connect-pg-simple', 'connect-redis', 'redis', 'express', 'express-session'].map((name) => [
        name,
        versionOf(name),
      ]),
    ),
  }
}

function versionOf(name: string): string {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url)
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { version: string }).version
}

// What must be released at the end depends on the process' exit event, which a signal would skip.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
process.exitCode = await main()
