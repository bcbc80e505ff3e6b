// The way to the database: whether it is reached, and whether it is the primary; whether notifications are heard; its clock.
import { randomBytes } from 'node:crypto'
import { databaseError, PGStoreError } from '../../errors.ts'
import { type Finding, warning, wrong } from './finding.ts'
import type { Situation } from './situation.ts'

/** What a database that cannot be reached says. */
export function unreachable(error: unknown): Finding {
  const { code, message, sqlState } = databaseError('Connecting', error)
  if (/standby/.test(message) && error instanceof PGStoreError) return standby()
  const says = `The database cannot be used: ${message.replace(/^Connecting: /, '')}.`
  const known: Record<string, readonly [id: string, more: string]> = {
    ECONNREFUSED: ['unreachable', ' Nothing listens there: is the server running, and are host and port right?'],
    ENOTFOUND: ['unreachable', " The host's name is unknown: check DATABASE_URL, or PGHOST."],
    '28P01': ['password', ' Check user and password: in DATABASE_URL, or PGUSER and PGPASSWORD.'],
    '28000': ['login', ' Does the role exist, may it log in, and does pg_hba.conf let it in?'],
    '3D000': ['no_database', ' Check the name of the database: in DATABASE_URL, or PGDATABASE.'],
    '42501': ['no_connect', ' Grant the role CONNECT on the database.'],
    '53300': ['connections_scarce', ' Make the pools smaller, or put a pooler in front.'],
  }
  const [id, more] = known[sqlState ?? ''] ?? [code === 'timeout' ? 'unreachable' : 'unusable', '']
  return wrong(id, `${says.replace(/\.\.$/, '.')}${more}`)
}

function standby(): Finding {
  return wrong(
    'standby',
    'The server is a standby: it takes no writes, and what it reads is old. Name the primary in DATABASE_URL, or PGHOST.',
  )
}

export async function standbyFindings({ pool }: Situation): Promise<Finding[]> {
  const { rows } = await pool.query<{ standby: boolean }>('select pg_is_in_recovery() as standby')
  return rows[0]?.standby ? [standby()] : []
}

/** A busy server takes seconds to deliver one. */
const patienceMs = 10_000

/**
 * Sends a notification from one connection to another. A transaction pooler accepts LISTEN, but nothing arrives. The channel has a
 * name that nobody else listens to.
 */
export async function notificationFindings({ pool, options, unseen }: Situation): Promise<Finding[]> {
  if ((pool.options.max ?? 10) < 2) {
    unseen.push('Whether notifications are heard: that takes a pool of two connections.')
    return []
  }
  const channel = `pgstore_doctor_${randomBytes(8).toString('hex')}`
  const listener = await pool.connect()
  let isDirect = true
  let timer: NodeJS.Timeout | undefined
  try {
    const heard = new Promise<boolean>((resolve) => {
      listener.on('notification', (message) => message.channel === channel && resolve(true))
      timer = setTimeout(() => resolve(false), options.patienceMs ?? patienceMs)
    })
    const { rows } = await listener.query<{ pid: number }>('select pg_backend_pid() as pid')
    isDirect = rows[0]?.pid === (listener as unknown as { processID?: number }).processID
    await listener.query(`listen ${channel}`)
    await pool.query('select pg_notify($1, $2)', [channel, ''])
    if (await heard) return []
  } finally {
    clearTimeout(timer)
    listener.release(true) // closed, as it listens
  }
  const needs = 'store.events(), the cache and the worker hear nothing; sessions themselves work.'
  const says = isDirect
    ? `A notification that was sent did not arrive through this connection: ${needs}`
    : `This connection leads through a pooler in transaction mode, where notifications do not arrive: ${needs} Give them a connection that leads directly to Postgres: directConnectionString, and the worker's --database-url.`
  return [warning(isDirect ? 'notifications_unheard' : 'transaction_pooler', says)]
}

/** Seconds by which clocks may differ before cookies are judged by the wrong age. */
const toleranceSeconds = 10

/** Cookies are signed by this machine's clock, sessions expire by the database's. */
export async function clockFindings({ pool, options }: Situation): Promise<Finding[]> {
  const now = options.now ?? Date.now
  const before = now()
  const { rows } = await pool.query<{ ms: string }>('select extract(epoch from clock_timestamp()) * 1000 as ms')
  const after = now()
  const ahead = (before + after) / 2 - Number(rows[0]?.ms)
  const seconds = (Math.abs(ahead) - (after - before) / 2) / 1000
  if (!(seconds > toleranceSeconds)) return []
  const says = `The clock of this machine is ${Math.round(seconds)} s ${ahead > 0 ? 'ahead of' : 'behind'} the database's: cookies are taken for older or younger than they are. Set both by NTP.`
  return [warning('clock', says)]
}
