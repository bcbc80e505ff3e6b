// Lanes: sessions by the lowest bits of their key's first byte, each lane with its own batches and its own share of the pool. A
// partition behind PL/Proxy that is away then holds up its own sessions alone.
import { unsentError } from '../errors.ts'
import type { BatchLimits } from './batch-limits.ts'
import { BatchedDatabase } from './batched-sessions.ts'
import type { ArrayQuery, Queryable } from './pool.ts'
import type { IncrementArguments, IncrementResult, PutArguments, SaveArguments, SaveResult, SessionRow } from './row.ts'

/** A call that has waited this long for a connection of its share is refused, as by the pool. */
const longestTurnMs = 2000

/** How many connections a pool of ours opens for so many lanes: two for each, and two for calls that concern all partitions. */
export function connectionsFor(lanes: number): number {
  return Math.max(10, 2 * (lanes + 1))
}

/** A part of a pool: a few calls at once, and the others wait here, where they hold no connection. */
class Share implements Queryable {
  readonly #pool: Queryable
  #free: number
  readonly #turns: (() => void)[] = []

  constructor(pool: Queryable, connections: number) {
    this.#pool = pool
    this.#free = connections
  }

  async query(query: ArrayQuery): Promise<{ readonly rows: unknown[] }> {
    if (this.#free > 0) this.#free--
    else {
      const since = performance.now()
      await this.#turn()
      query = { ...query, since } // its time limit counts from here
    }
    try {
      return await this.#pool.query(query)
    } finally {
      const next = this.#turns.shift()
      if (next) next()
      else this.#free++
    }
  }

  #turn(): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        clearTimeout(limit)
        resolve()
      }
      const limit = setTimeout(() => {
        this.#turns.splice(this.#turns.indexOf(turn), 1)
        reject(unsentError('All connections for this lane wait for the database: the call was not sent.'))
      }, longestTurnMs)
      this.#turns.push(turn)
    })
  }
}

/** The database in lanes; a call that concerns more than one session goes beside them. */
export class LanedDatabase extends BatchedDatabase {
  readonly #lanes: readonly BatchedDatabase[]

  /** @param connections how many the pool may open */
  constructor(pool: Queryable, schema: string, limits: BatchLimits, connections: number) {
    const share = Math.max(Math.floor(connections / (limits.lanes + 1)), 1)
    super(new Share(pool, share), schema, limits)
    this.#lanes = Array.from(
      { length: limits.lanes },
      () => new BatchedDatabase(new Share(pool, share), schema, limits),
    )
  }

  override get isIdle(): boolean {
    return super.isIdle && this.#lanes.every((lane) => lane.isIdle)
  }

  override async end(ms: number): Promise<void> {
    await super.end(ms) // waits for the lanes too: a call in one may be followed by one in another
    await Promise.all(this.#lanes.map((lane) => lane.end(0)))
  }

  override get(key: Buffer, sent?: () => void): Promise<SessionRow | undefined> {
    return this.#lane(key).get(key, sent)
  }

  override async getMany(keys: readonly Buffer[], sent?: () => void): Promise<(SessionRow | undefined)[]> {
    const [first] = keys
    const lane = first && this.#lane(first)
    if (lane && keys.every((key) => this.#lane(key) === lane)) return await lane.getMany(keys, sent)
    return await Promise.all(keys.map((key) => this.#lane(key).get(key, sent)))
  }

  override save(save: SaveArguments): Promise<SaveResult> {
    return this.#lane(save.key).save(save)
  }

  override destroy(key: Buffer): Promise<number> {
    return this.#lane(key).destroy(key)
  }

  override async regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult> {
    return await this.#lane(save.key).regenerate(save, newKey)
  }

  override async put(put: PutArguments): Promise<SaveResult> {
    return await this.#lane(put.key).put(put)
  }

  override async take(key: Buffer, name: string | null): Promise<string | undefined> {
    return await this.#lane(key).take(key, name)
  }

  override async increment(increment: IncrementArguments): Promise<IncrementResult> {
    return await this.#lane(increment.key).increment(increment)
  }

  /** A number's low byte is the first byte of the key. */
  override async revoke(
    userId: string,
    id: string | null,
    except: Buffer | null,
    reason: string | null,
    actor: string | null,
  ): Promise<number> {
    if (id === null) return await super.revoke(userId, id, except, reason, actor)
    const lane = this.#lanes[Number(BigInt(id) & BigInt(this.#lanes.length - 1))] as BatchedDatabase
    return await lane.revoke(userId, id, except, reason, actor)
  }

  #lane(key: Buffer): BatchedDatabase {
    return this.#lanes[(key[0] as number) & (this.#lanes.length - 1)] as BatchedDatabase
  }
}
