// Group `growth`: does a read cost the same as the table grows?
import { randomBytes } from 'node:crypto'
import { measure, type Row, type Sample, summary } from '../measure.ts'
import { fillSessions, readFilled } from '../systems/fill.ts'
import { openPool, type Postgres } from '../systems/servers.ts'
import { pgstore } from '../systems/systems.ts'
import type { Pace } from './read-save.ts'

/** One table per size, all read in turn, so that drift affects every size. */
export async function measureGrowth(postgres: Postgres, sizes: readonly number[], pace: Pace): Promise<Row[]> {
  const admin = openPool(postgres.url, 1)
  const stores = []
  for (const size of sizes) {
    const schema = `growth_${size}`
    const store = await pgstore.PGStore.open({ connectionString: postgres.url, keys: [randomBytes(32)], schema })
    await fillSessions(admin, schema, { from: 0, to: size, expiresIn: '20 days' })
    await admin.query(`vacuum analyze ${schema}.sessions`)
    stores.push({ size, schema, store })
  }
  await admin.query('checkpoint')
  const rows: Row[] = []
  for (const callers of [1, 128]) {
    const samples = new Map<number, Sample[]>(sizes.map((size) => [size, []]))
    for (let round = 0; round <= pace.rounds; round++) {
      for (const { size, store } of stores) {
        const read = (number: number) => readFilled(store, number)
        const sample = await measure(read, { callers, seconds: pace.seconds, count: size, cpu: postgres.cpu })
        if (round > 0) samples.get(size)?.push(sample)
      }
    }
    for (const [size, all] of samples) {
      rows.push({ ...summary('growth', `pgstore, ${size.toLocaleString('en')} rows`, callers, all), tableRows: size })
    }
  }
  for (const { schema, store } of stores) {
    await store.close()
    await admin.query(`drop schema ${schema} cascade`)
  }
  await admin.end()
  return rows
}
