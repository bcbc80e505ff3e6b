// Group `memory`: 1,024 callers that read and save without a pause. Does this process grow?
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { measure, type Row, round } from '../measure.ts'
import type { Postgres } from '../systems/servers.ts'
import { pgstoreSystem, savesPerVisit, sessionCount } from '../systems/systems.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

export async function measureMemory(postgres: Postgres, seconds: number): Promise<Row[]> {
  const system = await pgstoreSystem(postgres.url)
  const work = async (index: number): Promise<void> =>
    await (Math.random() < 0.75 ? system.read(index) : system.save(index))
  // All latencies would be 16 MB a minute at 34,000 a second: more than anything else here.
  const options = { callers: 1024, count: sessionCount, stay: savesPerVisit, cpu: postgres.cpu, kept: 1 << 16 }
  await measure(work, { ...options, seconds: Math.max(5, seconds / 10) })
  const readings: { readonly at: number; readonly heap: number; readonly rss: number }[] = []
  const start = performance.now()
  let isOver = false
  // Heap after a collection: what the process retains. Thirty readings, each a short pause.
  const watch = async (): Promise<void> => {
    while (!isOver) {
      collectGarbage()
      const { heapUsed, rss } = process.memoryUsage()
      readings.push({ at: (performance.now() - start) / 60_000, heap: heapUsed / 2 ** 20, rss: rss / 2 ** 20 })
      await pause((seconds * 1000) / 30)
    }
  }
  const watching = watch()
  const {
    operations,
    clientCpuUs,
    serverCpuUs,
    seconds: elapsed,
    p50Ms,
    p99Ms,
  } = await measure(work, { ...options, seconds })
  isOver = true
  await watching
  await system.close()
  const heaps = readings.map(({ heap }) => heap)
  const third = Math.ceil(heaps.length / 3)
  return [
    {
      bench: 'memory',
      system: system.name,
      concurrency: options.callers,
      opsPerSecond: Math.round(operations / elapsed),
      p50Ms: round(p50Ms),
      p99Ms: round(p99Ms),
      clientCpuUs: round(clientCpuUs ?? 0),
      serverCpuUs: serverCpuUs === null ? null : round(serverCpuUs),
      seconds: Math.round(elapsed),
      heapMbFirst: round(readings[0]?.heap ?? 0),
      heapMbLast: round(readings.at(-1)?.heap ?? 0),
      heapGrowth: round(meanOf(heaps.slice(-third)) / meanOf(heaps.slice(0, third))),
      rssMbFirst: round(readings[0]?.rss ?? 0),
      rssMbLast: round(readings.at(-1)?.rss ?? 0),
      rssMbPerMinute: round(slope(readings.map(({ at, rss }) => [at, rss]))),
    },
  ]
}

function meanOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length
}

/** Of the straight line that fits best. */
function slope(points: readonly (readonly [number, number])[]): number {
  const x = meanOf(points.map((point) => point[0]))
  const y = meanOf(points.map((point) => point[1]))
  const above = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0)
  const below = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0)
  return below === 0 ? 0 : above / below
}
