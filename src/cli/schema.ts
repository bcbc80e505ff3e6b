import { migrate, schemaSql } from '../migrate.ts'
import { type Command, print, withPool } from './command.ts'

export const migrateCommand: Command = {
  name: 'migrate',
  summary: 'install the schema, or upgrade it',
  async run(flags) {
    const { schema, json } = flags
    const applied = await withPool(flags, (pool) => migrate(pool, { schema }))
    if (json) print(JSON.stringify({ schema, applied }))
    else if (applied.length === 0) print(`Schema ${schema} is up to date.`)
    else print(`Schema ${schema}: applied ${applied.join(', ')}.`)
  },
}

export const sqlCommand: Command = {
  name: 'sql',
  summary: 'print the schema as SQL, for a history of your own',
  async run({ schema, json }) {
    const sql = schemaSql({ schema })
    print(json ? JSON.stringify({ schema, sql }) : sql.trimEnd())
  },
}
