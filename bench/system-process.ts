// One system in a process of its own, as a server has it: what the others leave behind, in the heap and in what is compiled,
// is not its cost. Told by its parent what to run; see contenders.ts.
import type { Operation } from './contenders.ts'
import { measure, type Sample } from './measure.ts'
import {
  connectPgSimpleSystem,
  connectRedisSystem,
  memoryStoreSystem,
  pgstoreSystem,
  rawSystem,
  type System,
  savesPerVisit,
  sessionCount,
} from './systems.ts'

/** How each is opened, by its name in the tables. */
const systems: Readonly<Record<SystemName, (server: string) => Promise<System>>> = {
  pgstore: pgstoreSystem,
  'connect-pg-simple': connectPgSimpleSystem,
  'connect-redis': async (port) => await connectRedisSystem(Number(port)),
  MemoryStore: memoryStoreSystem,
  'pg, prepared': rawSystem,
}

export type SystemName = 'pgstore' | 'connect-pg-simple' | 'connect-redis' | 'MemoryStore' | 'pg, prepared'

export interface Order {
  readonly operation: Operation
  readonly callers: number
  readonly seconds: number
}

/** What the parent hears: `isReady` once, and then a sample, or why there is none, for each order. */
export interface Report {
  readonly isReady?: true
  readonly sample?: Sample
  readonly error?: string
}

async function serve(name: SystemName, server: string): Promise<void> {
  const tell = (report: Report) => process.send?.(report)
  const system = await systems[name](server)
  process.on('message', ({ operation, callers, seconds }: Order) => {
    const work = (index: number) => system[operation](index)
    const stay = operation === 'save' ? savesPerVisit : 1
    measure(work, { callers, seconds, count: sessionCount, stay }).then(
      (sample) => tell({ sample }),
      (error: unknown) => tell({ error: String(error) }),
    )
  })
  process.on('disconnect', () => void system.close())
  tell({ isReady: true })
}

if (process.send) await serve(process.argv[2] as SystemName, process.argv[3] ?? '')
