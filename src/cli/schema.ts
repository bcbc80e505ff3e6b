import { migrate, schemaSql } from '../schema/migrate.ts'
import { type Command, print, withPool } from './command.ts'

export const migrateCommand: Command = {
  name: 'migrate',
  summary: 'install the schema, or upgrade it',
  details: `All that is missing is applied in one transaction, or nothing; any number of processes may do it at once. The role needs CREATE on
the database, or to own the schema. PGStore.open() does the same unless it is told migrate: false.

  DATABASE_URL=postgres://owner@localhost/app pgstore migrate`,
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
  details: `It is what "migrate" would run on an empty database, for tools that keep the history of yours. Run it in one transaction, and open
the store with migrate: false. It connects to no database.

  pgstore sql --schema sessions > migrations/0042_sessions.sql`,
  async run({ schema, json }) {
    const sql = schemaSql({ schema })
    print(json ? JSON.stringify({ schema, sql }) : sql.trimEnd())
  },
}
