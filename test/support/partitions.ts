// Two databases behind something like a proxy, without PL/Proxy: calls with a key go to one of them, the others to both.
import pg from 'pg'
import { migrate, type Pool } from '../../src/index.ts'

/** What a store calls for each query, as `Pool` has it. */
type Query = Parameters<Pool['query']>[0]

export interface Partitions {
  /** For a store with `batch: false`: an array of keys would have to be cut up. */
  readonly pool: Pool
  readonly pools: readonly pg.Pool[]
  close(): Promise<void>
}

export async function startPartitions(urls: readonly string[]): Promise<Partitions> {
  const pools = urls.map((connectionString) => new pg.Pool({ connectionString }))
  for (const pool of pools) {
    pool.on('error', () => {})
    await migrate(pool)
  }
  const query = async (query: Query) => {
    const [key] = query.values
    if (Buffer.isBuffer(key)) return await (pools[(key[0] as number) % pools.length] as pg.Pool).query(query)
    const rows = (await Promise.all(pools.map((pool) => pool.query(query)))).flatMap(
      (answer) => answer.rows as unknown[][],
    )
    const isCount = /^select (\w+) from \w+\.\1\(/.test(query.text)
    return { rows: isCount ? [[String(rows.reduce((sum, [count]) => sum + Number(count), 0))]] : rows }
  }
  return {
    pool: { query, connect: () => Promise.reject(new Error('A transaction has one partition.')) },
    pools,
    async close() {
      for (const pool of pools) await pool.end()
    },
  }
}
