import { checkInterval } from '../cleanup/cleanup.ts'
import { type AuditConsumer, type AuditState, HistoryDatabase } from '../database/history-functions.ts'
import { PGStoreError } from '../errors.ts'
import { type Flags, print, withPool } from './command.ts'

export async function setAudit(flags: Flags, isOn: boolean): Promise<void> {
  const { keep } = flags
  if (keep !== undefined) checkInterval(keep, 'keep')
  const state = await withPool(flags, (pool) => new HistoryDatabase(pool, flags.schema).auditSet(isOn, keep ?? null))
  if (state.status === 'invalid') {
    throw new PGStoreError('invalid_option', 'keep must be an interval from a millisecond to a hundred years.')
  }
  print(flags.json ? JSON.stringify(state) : describe(state))
}

export async function auditStatus(flags: Flags): Promise<void> {
  const { consumers, ...state } = await withPool(flags, (pool) => new HistoryDatabase(pool, flags.schema).auditStatus())
  if (flags.json) print(JSON.stringify({ ...state, consumers: consumers.map(publicConsumer) }))
  else print([describe(state), ...consumers.map(line)].join('\n'))
}

function describe({ status, keep }: AuditState): string {
  return status === 'on'
    ? `The history is on, and kept for ${keep}.`
    : `The history is off. What there is, is kept for ${keep}.`
}

/** Names as in SQL: other programs read this. */
function publicConsumer({ consumer, waiting, oldestAt }: AuditConsumer): object {
  return { consumer, waiting, oldest_at: oldestAt ?? null }
}

function line({ consumer, waiting, oldestAt }: AuditConsumer): string {
  const since = oldestAt ? `, the oldest of ${oldestAt.toISOString()}` : ''
  const endings = waiting === 1 ? '1 ending waits' : `${waiting.toLocaleString('en-US')} endings wait`
  return `Consumer ${consumer}: ${endings}${since}.`
}
