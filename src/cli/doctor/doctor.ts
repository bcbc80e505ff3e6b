// The command: asks `examine`, and prints what it found for people or for programs.
import { openPool } from '../../database/pool.ts'
import { databaseUrl, type Flags, print, Unfinished } from '../command.ts'
import { type Examination, examine } from './diagnose.ts'
import { count, isSql } from './finding.ts'

export async function doctor(flags: Flags): Promise<void> {
  const { schema, json, role } = flags
  const pool = openPool({
    connectionString: databaseUrl(flags),
    application_name: 'pgstore doctor',
    max: 2,
    connectionTimeoutMillis: 10_000,
    query_timeout: 60_000,
    onConnect: () => {}, // a standby is a finding
  })
  let examination: Examination
  try {
    examination = await examine(pool, schema, { env: process.env, folder: process.cwd(), role })
  } finally {
    await pool.end()
  }
  print(json ? JSON.stringify(jsonReport(schema, examination)) : textReport(schema, examination))
  if (examination.findings.some(({ level }) => level === 'wrong')) throw new Unfinished()
}

/** Names as in SQL: other programs read this. */
function jsonReport(schema: string, { findings, unseen, stats, roles }: Examination): object {
  return {
    schema,
    roles,
    findings,
    not_looked_at: unseen,
    live: stats?.live ?? null,
    anonymous: stats?.anonymous ?? null,
    expired: stats?.expired ?? null,
    oldest_expired_at: stats?.oldestExpiredAt ?? null,
  }
}

function textReport(schema: string, { findings, unseen, stats, roles }: Examination): string {
  const lines = findings.flatMap(({ level, says, mend }) => [
    `${level === 'wrong' ? 'Wrong:  ' : 'Warning:'} ${says}`,
    ...(mend === null ? [] : [`         ${isSql(mend) ? 'psql:' : '$'} ${mend}`]),
  ])
  if (findings.length === 0) lines.push(`Nothing is wrong with schema ${schema}.`)
  if (roles.length > 0) lines.push(`Looked at as the application's: ${roles.join(', ')}.`)
  if (stats) {
    const oldest = stats.oldestExpiredAt ? `, the oldest since ${stats.oldestExpiredAt.toISOString()}` : ''
    const about = stats.isEstimate ? 'about ' : ''
    lines.push(
      `Sessions: ${about}${count(stats.live)} live, ${count(stats.anonymous)} of them without a user; ${count(stats.expired)} expired and not purged yet${oldest}.`,
    )
  }
  lines.push(...unseen.map((text) => `Not looked at: ${text}`))
  return lines.join('\n')
}
