// One system in a separate process, as on a real server, so that it does not pay for what the others leave in the heap and
// in compiled code. Its parent tells it what to run; see contenders.ts.
import type { Sample } from '../measure.ts'
import {
  byTokenSystem,
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

/** How to open each, by its name in the tables. */
const systems: Readonly<Record<SystemName, (server: string) => Promise<System>>> = {
  pgstore: pgstoreSystem,
  'pgstore by token': byTokenSystem,
  'pgstore, cached': cachedSystem,
  'pgstore, relaxed': async (url) => await pgstoreSystem(url, { durability: 'relaxed' }, 'pgstore, relaxed'),
  'connect-pg-simple': connectPgSimpleSystem,
  'connect-redis': async (port) => await connectRedisSystem(Number(port)),
  MemoryStore: memoryStoreSystem,
  'pg, prepared': rawSystem,
}

export type SystemName =
  | 'pgstore'
  | 'pgstore by token'
  | 'pgstore, cached'
  | 'pgstore, relaxed'
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
const follow = async (order: Order | 'warm'): Promise<Sample | 'warm'> => {
  if (order !== 'warm') return await measureSystem(system, order.operation, order)
  await system.warm?.()
  return order
}
process.on('message', (order: Order | 'warm') => {
  follow(order).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
process.once('disconnect', () => void system.close())
process.send?.('ready')
