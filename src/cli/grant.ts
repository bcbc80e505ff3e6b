import type pg from 'pg'
import { databaseError, PGStoreError } from '../errors.ts'
import { grantedFunctions, grantStatements, type Right } from '../schema/grants.ts'
import { type Command, print, UsageError, withPool } from './command.ts'

export const grantCommand: Command = {
  name: 'grant',
  argument: 'ROLE',
  summary: 'let a role run the functions; again after each upgrade',
  options: ['as', 'print'],
  async run(flags) {
    const { argument: role = '', as, schema, json } = flags
    if (as === undefined) throw new UsageError('Grant what? Give --as client, cleanup or admin.')
    const sql = grantStatements(role, as as Right, schema).join('\n')
    if (flags.print) {
      print(json ? JSON.stringify({ role, as, schema, sql }) : sql)
      return
    }
    const warnings = await withPool(flags, (pool) => grant(pool, role, as as Right, schema))
    if (json) print(JSON.stringify({ role, as, schema, warnings }))
    else print([`Role ${role} has ${as} on schema ${schema}.`, ...warnings].join('\n'))
  },
}

/** All of it or nothing; returns what else the role can do that it should not. */
async function grant(pool: pg.Pool, role: string, right: Right, schema: string): Promise<string[]> {
  try {
    // As text: as a name, a longer one would be cut, and found.
    const { rows } = await pool.query('select from pg_catalog.pg_roles where rolname::text = $1', [role])
    if (rows.length === 0) {
      throw new PGStoreError('database', `There is no role "${role}" here: create it first.`, '42704')
    }
    await pool.query(grantStatements(role, right, schema).join('\n')) // one message is one transaction
    await checkGranted(pool, role, right, schema)
    return await warningsAbout(pool, role, schema)
  } catch (error) {
    throw databaseError('Granting', error)
  }
}

/** To grant what is not one's own to grant is a mere warning to Postgres. */
async function checkGranted(pool: pg.Pool, role: string, right: Right, schema: string): Promise<void> {
  const functions = grantedFunctions[right].map((signature) => `${schema}.${signature}`)
  const { rows } = await pool.query<{ owner: string; granted: boolean }>(
    `select n.nspowner::regrole::text as owner,
       has_schema_privilege($1::name, n.oid, 'usage')
         and (select bool_and(has_function_privilege($1::name, f.signature, 'execute')) from unnest($3::text[]) as f (signature))
         as granted
     from pg_catalog.pg_namespace as n
     where n.nspname = $2`,
    [role, schema, functions],
  )
  if (rows[0]?.granted) return
  throw new PGStoreError(
    'forbidden',
    `Schema ${schema} belongs to ${rows[0]?.owner}, who alone can grant rights on it.`,
    '42501',
  )
}

/** Default privileges, a membership or ownership may give a role what no statement of ours gave it. */
async function warningsAbout(pool: pg.Pool, role: string, schema: string): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select c.relname as name
     from pg_catalog.pg_class as c
     join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
     where n.nspname = $2
       and c.relkind in ('r', 'p', 'v', 'm', 'f')
       and has_table_privilege($1::name, c.oid, 'select, insert, update, delete, truncate, references, trigger')
     order by c.relname`,
    [role, schema],
  )
  if (rows.length === 0) return []
  const tables = rows.map(({ name }) => name).join(', ')
  return [
    `Warning: it reaches the tables themselves (${tables}), by a right that pgstore did not give: as superuser, owner, member of another role, or by default privileges.`,
  ]
}
