// Group `durability`: saves that wait for the disk, saves that do not, and a server that keeps nothing on it.
import type { Row } from '../measure.ts'
import { inOwnProcess } from '../systems/contenders.ts'
import type { Postgres, Redis } from '../systems/servers.ts'
import { measureOperation, type Pace } from './read-save.ts'

export async function measureDurability(postgres: Postgres, redis: Redis | undefined, pace: Pace): Promise<Row[]> {
  const contenders = [
    await inOwnProcess('pgstore', postgres.url, postgres.cpu),
    await inOwnProcess('pgstore, relaxed', postgres.url, postgres.cpu),
    ...(redis ? [await inOwnProcess('connect-redis', String(redis.port), redis.cpu)] : []),
  ]
  try {
    const rows = await measureOperation(contenders, 'save', pace, [1, 128])
    return rows.map((row) => ({ ...row, bench: 'durability' }))
  } finally {
    for (const contender of contenders) await contender.close()
  }
}
