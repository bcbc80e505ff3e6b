import { migrate, schemaSql } from '../schema/migrate.ts'
import { type Command, print, withPool } from './command.ts'

export const migrateCommand: Command = {
  name: 'migrate',
  summary: 'install or upgrade the schema',
  details: `Applies everything that is missing in one transaction, or nothing; any number of processes may run it at once. The role
needs CREATE on the database, or must own the schema. PGStore.open() does the same unless it is given migrate: false.

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
  summary: 'print the schema as SQL, for your own migration history',
  details: `Prints what "migrate" would run on an empty database, for your own migration tool. Run it in one transaction, and open
the store with migrate: false. No database is needed.

  pgstore sql --schema sessions > migrations/0042_sessions.sql`,
  async run({ schema, json }) {
    const sql = schemaSql({ schema })
    print(json ? JSON.stringify({ schema, sql }) : sql.trimEnd())
  },
}
