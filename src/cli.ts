#!/usr/bin/env node
import { parseArgs } from 'node:util'
import pg from 'pg'
import { PGStoreError } from './errors.ts'
import { migrate, schemaSql } from './migrate.ts'

const usage = `pgstore: HTTP sessions in Postgres

  pgstore migrate   install the schema, or upgrade it
  pgstore sql       print the schema as SQL, for a history of your own

  --database-url URL   the database; default: the environment's DATABASE_URL
  --schema NAME        the schema; default: pgstore
  --json               print JSON
  --help               print this

Exit codes: 0 done, 1 failed, 2 used wrongly.
`

interface Flags {
  readonly databaseUrl: string | undefined
  readonly schema: string
  readonly json: boolean
}

/** A command that was used wrongly: exit code 2. */
class UsageError extends Error {}

async function runMigrate(flags: Flags): Promise<void> {
  const applied = await withPool(flags, (pool) => migrate(pool, { schema: flags.schema }))
  if (flags.json) print(JSON.stringify({ schema: flags.schema, applied }))
  else if (applied.length === 0) print(`Schema ${flags.schema} is up to date.`)
  else print(`Schema ${flags.schema}: applied ${applied.join(', ')}.`)
}

async function runSql({ schema, json }: Flags): Promise<void> {
  const sql = schemaSql({ schema })
  print(json ? JSON.stringify({ schema, sql }) : sql.trimEnd())
}

const commands: Readonly<Record<string, (flags: Flags) => Promise<void>>> = { migrate: runMigrate, sql: runSql }

async function withPool<Result>(flags: Flags, work: (pool: pg.Pool) => Promise<Result>): Promise<Result> {
  if (!flags.databaseUrl) throw new UsageError('Which database? Give --database-url or set DATABASE_URL.')
  const pool = new pg.Pool({ connectionString: flags.databaseUrl, max: 1, connectionTimeoutMillis: 10_000 })
  pool.on('error', () => {}) // the query under way reports it
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function parse(args: readonly string[]): { readonly command: (flags: Flags) => Promise<void>; readonly flags: Flags } {
  const options = {
    'database-url': { type: 'string' },
    schema: { type: 'string', default: 'pgstore' },
    json: { type: 'boolean', default: false },
  } as const
  const parsed = (() => {
    try {
      return parseArgs({ args: [...args], options, allowPositionals: true })
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message : String(error))
    }
  })()
  const [name = '', ...rest] = parsed.positionals
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new UsageError(name ? `There is no command "${name}".` : 'Which command?')
  if (rest.length > 0) throw new UsageError(`"${name}" takes no argument "${rest[0]}".`)
  const { schema, json } = parsed.values
  return { command, flags: { databaseUrl: parsed.values['database-url'] ?? process.env['DATABASE_URL'], schema, json } }
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    print(usage.trimEnd())
    return 0
  }
  try {
    const { command, flags } = parse(args)
    await command(flags)
    return 0
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`${error.message}\n\n${usage}`)
      return 2
    }
    const isOurs = error instanceof PGStoreError
    const message = error instanceof Error ? error.message : String(error)
    if (args.includes('--json')) print(JSON.stringify({ error: isOurs ? error.code : 'failed', message }))
    process.stderr.write(`${message}\n`)
    return isOurs && error.code === 'invalid_option' ? 2 : 1
  }
}

process.exitCode = await main(process.argv.slice(2))
