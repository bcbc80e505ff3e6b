import { migrate, schemaSql } from '../schema/migrate.ts'
import { proxySql } from '../schema/proxy.ts'
import { type Flags, print, UsageError, withPool } from './command.ts'

export async function migrateSchema(flags: Flags): Promise<void> {
  const { schema, json } = flags
  const applied = await withPool(flags, (pool) => migrate(pool, { schema }))
  if (json) print(JSON.stringify({ schema, applied }))
  else if (applied.length === 0) print(`Schema ${schema} is up to date.`)
  else print(`Schema ${schema}: applied ${applied.join(', ')}.`)
}

export async function printSql({ schema, json, engine, partitions }: Flags): Promise<void> {
  if (engine !== undefined && engine !== 'plproxy') {
    throw new UsageError(`Unknown engine "${engine}": leave --engine out, or give plproxy.`)
  }
  if ((engine === undefined) !== (partitions === undefined)) {
    throw new UsageError('Give --engine plproxy and --partitions NUMBER together.')
  }
  const sql = engine === undefined ? schemaSql({ schema }) : proxySql({ schema, partitions: Number(partitions) })
  print(json ? JSON.stringify({ schema, sql }) : sql.trimEnd())
}
