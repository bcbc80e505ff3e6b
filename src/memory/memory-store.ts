// A store without a database, for an application's unit tests: the same store, over a Map in place of the SQL functions.
import { randomBytes } from 'node:crypto'
import type { Pool, Queryable } from '../database/pool.ts'
import type { PGStoreOptions } from '../options.ts'
import { StoreParts } from '../parts.ts'
import { parseOptions } from '../settings.ts'
import { PGStore } from '../store.ts'
import { MemoryDatabase, noDatabase } from './memory-database.ts'

export interface MemoryStoreOptions
  extends Omit<
    PGStoreOptions,
    | 'connectionString'
    | 'pool'
    | 'directConnectionString'
    | 'schema'
    | 'prepare'
    | 'batch'
    | 'failFast'
    | 'cache'
    | 'durability'
  > {
  /** The clock, in milliseconds since 1970: let it run ahead to see sessions expire. Default: Date.now. */
  readonly now?: (() => number) | undefined
}

/**
 * A `PGStore` whose sessions are in this process' memory, for unit tests: cookies, merging, `gone`, `conflict`, lives and rights of
 * a user's sessions are those of the real one, since the same code runs above the database. `withClient`, `transaction`, `deviceBound`, `events` and the cleanup's
 * schedule need a database. Not for production: sessions end with the process.
 */
export class MemoryStore<Values extends object = Record<string, unknown>> extends PGStore<Values> {
  /** @throws {PGStoreError} `invalid_option`, as `PGStore`; without keys it draws one */
  constructor({ now = Date.now, ...options }: MemoryStoreOptions = {}) {
    const hasKeys = options.keys ?? options.keyPairs ?? options.codecs
    const database = new MemoryDatabase(now)
    const pool = noDatabase as Queryable as Pool
    const settings = parseOptions({ ...(hasKeys ? {} : { keys: [randomBytes(32)] }), ...options, pool })
    super(StoreParts.over(settings, database))
    this.maxAge(settings.options.maxAge)
  }

  /** Needs a database. */
  override async transaction(..._args: unknown[]): Promise<never> {
    return await noDatabase.query()
  }
}
