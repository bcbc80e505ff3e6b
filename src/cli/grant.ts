import type pg from 'pg'
import { databaseError, PGStoreError } from '../errors.ts'
import { grantStatements, type Right } from '../schema/grants.ts'
import { inspect } from '../schema/inspection.ts'
import { lockNumber } from '../schema/migrate.ts'
import { rightsDifferences, rightsStatement } from '../schema/rights.ts'
import { type Flags, print, UsageError, withPool } from './command.ts'

export async function grantRights(flags: Flags): Promise<void> {
  const { argument: role = '', as, schema, json } = flags
  if (as === undefined)
    throw new UsageError('Right missing: give --as client, entry, account, cleanup, admin or proxy.')
  const rights = as.split(',').map((right) => right.trim()) as Right[]
  const statements = grantStatements(role, rights, schema)
  const sql = statements.join('\n')
  if (flags.print) {
    print(json ? JSON.stringify({ role, as, schema, sql }) : sql)
    return
  }
  const warnings = await withPool(flags, async (pool) => {
    if (rights.includes('proxy')) await checkPartition(pool, schema)
    return await grant(pool, role, statements, schema)
  })
  if (json) print(JSON.stringify({ role, as, schema, warnings }))
  else print([`Role ${role} has ${rights.join(', ')} on schema ${schema}.`, ...warnings].join('\n'))
}

async function checkPartition(pool: pg.Pool, schema: string): Promise<void> {
  const { is_proxy: isProxy } = await inspect(pool, schema).catch((error) => {
    throw databaseError('Inspecting the schema', error)
  })
  if (isProxy) {
    throw new PGStoreError(
      'invalid_option',
      'The right "proxy" is for the role that a proxy uses on its partitions, and this is a proxy: grant it on each partition.',
    )
  }
}

/** All of it or nothing; returns warnings about what else the role can do. */
async function grant(pool: pg.Pool, role: string, statements: readonly string[], schema: string): Promise<string[]> {
  try {
    // As text: a longer name would be truncated, and found.
    const { rows } = await pool.query('select from pg_catalog.pg_roles where rolname::text = $1', [role])
    if (rows.length === 0) {
      throw new PGStoreError('database', `Role "${role}" does not exist: create it first.`, '42704')
    }
    await checkOwner(pool, schema)
    const lock = `select pg_advisory_xact_lock(${lockNumber(schema)});`
    await pool.query([lock, ...statements, rightsStatement(schema)].join('\n')) // one message is one transaction
    const [left] = await rightsDifferences(pool, schema)
    if (left) {
      // To Postgres, granting or revoking without the right to do so is only a warning.
      throw new PGStoreError(
        'forbidden',
        `${left.holder} ${left.isMissing ? 'could not be granted' : 'keeps'} ${left.privilege}: only its owner can change that.`,
        '42501',
      )
    }
    return await warningsAbout(pool, role, schema)
  } catch (error) {
    throw databaseError('Granting', error)
  }
}

async function checkOwner(pool: pg.Pool, schema: string): Promise<void> {
  const { rows } = await pool.query<{ owner: string; is_owner: boolean }>(
    `select n.nspowner::regrole::text as owner, pg_has_role(n.nspowner, 'usage') as is_owner
     from pg_catalog.pg_namespace as n
     where n.nspname = $1`,
    [schema],
  )
  if (rows[0]?.is_owner === false) {
    throw new PGStoreError(
      'forbidden',
      `Schema ${schema} belongs to ${rows[0].owner}: only that role can grant rights on it.`,
      '42501',
    )
  }
}

/** A membership or ownership may give a role rights that were not granted to it, which we cannot revoke. */
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
    `Warning: it can access the tables directly (${tables}), by a right that pgstore did not grant: as superuser, owner or member of another role.`,
  ]
}
