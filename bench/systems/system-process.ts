// One system in a process of its own, as a server has it: what the others leave behind, in the heap and in what is compiled,
// is not its cost. Told by its parent what to run; see contenders.ts.
import {
  cachedSystem,
  connectPgSimpleSystem,
  connectRedisSystem,
  measureSystem,
  memoryStoreSystem,
  type Operation,
  pgstoreSystem,
  rawSystem,
  type System,
} from './systems.ts'

/** How each is opened, by its name in the tables. */
const systems: Readonly<Record<SystemName, (server: string) => Promise<System>>> = {
  pgstore: pgstoreSystem,
  'pgstore, cached': cachedSystem,
  'connect-pg-simple': connectPgSimpleSystem,
  'connect-redis': async (port) => await connectRedisSystem(Number(port)),
  MemoryStore: memoryStoreSystem,
  'pg, prepared': rawSystem,
}

export type SystemName =
  | 'pgstore'
  | 'pgstore, cached'
  | 'connect-pg-simple'
  | 'connect-redis'
  | 'MemoryStore'
  | 'pg, prepared'

export interface Order {
  readonly operation: Operation
  readonly callers: number
  readonly seconds: number
}

const [, , name, server = ''] = process.argv
const system = await systems[name as SystemName](server)
process.on('message', ({ operation, ...load }: Order) => {
  measureSystem(system, operation, load).then(
    (sample) => process.send?.(sample),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
process.once('disconnect', () => void system.close())
process.send?.('ready')
