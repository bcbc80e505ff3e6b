import { migrate, schemaSql } from '../schema/migrate.ts'
import { type Flags, print, withPool } from './command.ts'

export async function migrateSchema(flags: Flags): Promise<void> {
  const { schema, json } = flags
  const applied = await withPool(flags, (pool) => migrate(pool, { schema }))
  if (json) print(JSON.stringify({ schema, applied }))
  else if (applied.length === 0) print(`Schema ${schema} is up to date.`)
  else print(`Schema ${schema}: applied ${applied.join(', ')}.`)
}

export async function printSql({ schema, json }: Flags): Promise<void> {
  const sql = schemaSql({ schema })
  print(json ? JSON.stringify({ schema, sql }) : sql.trimEnd())
}
