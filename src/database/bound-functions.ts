// The functions for sessions that are bound to a device, as typed calls. Keys, digests and public keys are hex in what they return.

import { PGStoreError } from '../errors.ts'
import { HistoryDatabase } from './history-functions.ts'
import { hex, seconds as interval } from './sql-functions.ts'

/** A session's `bound_hash` and `bound_until` in one column, for `SessionRow.bound`. */
export const boundColumn = "encode(bound_hash || timestamptz_send(bound_until), 'hex')"

export interface Binding {
  readonly id: string
  readonly publicKey: string
  readonly alg: string
  readonly boundHash: string
  readonly previousHash: string | null
}

export interface Rebound {
  readonly status: 'rebound' | 'held' | 'gone'
  readonly boundHash: string | null
  readonly previousHash: string | null
}

export type UnboundStatus = 'current' | 'previous' | 'unbound' | 'refused' | 'awaited' | 'ended' | 'gone'

export class BoundDatabase extends HistoryDatabase {
  async bind(
    key: Buffer,
    id: string,
    publicKey: Buffer,
    alg: string,
    hash: Buffer,
  ): Promise<'bound' | 'taken' | 'gone'> {
    const parameters = '$1::bytea, $2::bigint, $3::bytea, $4::text, $5::bytea'
    const [row] = await this.call('session_bind', 'session_bind', parameters, [key, id, publicKey, alg, hash])
    return expected<'bound' | 'taken' | 'gone'>('session_bind', row?.[0], ['bound', 'taken', 'gone'])
  }

  /** 'moved' if it has been regenerated from this key, 'gone' if it is not bound either. */
  async binding(key: Buffer): Promise<Binding | 'moved' | 'gone'> {
    const columns = `status, id, ${hex('public_key')}, alg, ${hex('bound_hash')}, ${hex('previous_hash')}`
    const [row] = await this.call('session_binding', columns, '$1::bytea', [key])
    const [status, id, publicKey, alg, boundHash, previousHash] = row ?? []
    if (expected('session_binding', status, ['bound', 'unbound', 'moved', 'gone']) === 'moved') return 'moved'
    if (status !== 'bound') return 'gone'
    return { id, publicKey, alg, boundHash, previousHash: previousHash ?? null } as Binding
  }

  async rebind(
    key: Buffer,
    oldHash: Buffer,
    newHash: Buffer,
    seconds: number,
    lifetime: number | null,
  ): Promise<Rebound> {
    const columns = `status, ${hex('bound_hash')}, ${hex('previous_hash')}`
    const parameters = '$1::bytea, $2::bytea, $3::bytea, $4::interval, $5::interval'
    const values = [key, oldHash, newHash, interval(seconds), interval(lifetime)]
    const [row] = await this.call('session_rebind', columns, parameters, values)
    const [status, boundHash = null, previousHash = null] = row ?? []
    return {
      status: expected('session_rebind', status, ['rebound', 'held', 'gone']),
      boundHash,
      previousHash,
    }
  }

  async unbound(key: Buffer, hash: Buffer | null, isOurs: boolean): Promise<UnboundStatus> {
    const parameters = '$1::bytea, $2::bytea, $3::boolean'
    const [row] = await this.call('session_unbound', 'session_unbound', parameters, [key, hash, String(isOurs)])
    return expected<UnboundStatus>('session_unbound', row?.[0], [
      'current',
      'previous',
      'unbound',
      'refused',
      'awaited',
      'ended',
      'gone',
    ])
  }

  async endStolen(key: Buffer): Promise<void> {
    await this.count('session_destroy', '$1::bytea, $2::text', [key, 'stolen'])
  }
}

function expected<Status extends string>(
  name: string,
  status: string | null | undefined,
  known: readonly Status[],
): Status {
  const found = known.find((one) => one === status)
  if (found === undefined) throw new PGStoreError('database', `${name}: ${status}`)
  return found
}
