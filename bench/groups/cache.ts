// Group `cache`: how much heap cached sessions take, after a collection.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Row, round } from '../measure.ts'
import type { Postgres } from '../systems/servers.ts'
import { pgstoreSystem, sessionCount } from '../systems/systems.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** What the target counts in. */
const perTarget = 100_000

/** Sessions that are read before the heap is measured for the first time. */
const warmUp = 2000

/** Twice: what V8 compiles while it fills the first cache takes a tenth of its heap, and stays. */
export async function measureCache(postgres: Postgres): Promise<Row[]> {
  await fillOne(postgres)
  return [await fillOne(postgres)]
}

async function fillOne(postgres: Postgres): Promise<Row> {
  const cache = { maxStale: 60, sessions: perTarget, bytes: 2 ** 30 }
  const system = await pgstoreSystem(postgres.url, { cache }, 'pgstore, cached')
  const { store } = system
  const entries = (): number => store.stats().cache?.entries ?? 0
  for (let turn = 0; turn < 500 && entries() === 0; turn++) {
    await system.read(0)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const read = async (from: number, to: number) => {
    for (let index = from; index < to; index += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, offset) => system.read(index + offset)))
    }
  }
  await read(0, warmUp) // V8 keeps what it compiles
  const before = heapUsed()
  const present = entries()
  const started = performance.now()
  await read(warmUp, sessionCount)
  const seconds = (performance.now() - started) / 1000
  const filled = entries() - present
  const bytes = (heapUsed() - before) / filled
  await system.close()
  return {
    bench: 'cache',
    system: system.name,
    concurrency: 100,
    opsPerSecond: Math.round((sessionCount - warmUp) / seconds),
    p50Ms: 0,
    p99Ms: 0,
    clientCpuUs: null,
    serverCpuUs: null,
    entries: filled,
    bytesPerEntry: Math.round(bytes),
    heapMb: round((bytes * perTarget) / 1e6),
  }
}

function heapUsed(): number {
  for (let i = 0; i < 3; i++) collectGarbage()
  return process.memoryUsage().heapUsed
}
