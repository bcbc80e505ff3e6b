// The sessions' calls of many requests, gathered: what may stand in one call, and what is sent alone.
import { closedError } from '../errors.ts'
import type { BatchLimits } from './batch-limits.ts'
import { alone, Batcher } from './batcher.ts'
import type { Queryable } from './pool.ts'
import type { SaveArguments, SaveResult, SessionRow } from './row.ts'
import { Database } from './session-functions.ts'

/** The database, with the calls of a busy server gathered. */
export class BatchedDatabase extends Database {
  readonly #gets: Batcher<Buffer, SessionRow | undefined>
  readonly #saves: Batcher<SaveArguments, SaveResult>
  readonly #destroys: Batcher<Buffer, number>

  constructor(client: Queryable, schema: string, limits: BatchLimits) {
    super(client, schema)
    const textOf = (key: Buffer) => key.toString('latin1')
    this.#gets = new Batcher(
      {
        sendOne: (key) => super.get(key),
        sendMany: (keys) => super.getMany(keys),
        keyOf: textOf,
        sizeOf: (key) => key.length,
        fit: () => true,
        isRepeatable: () => true,
        sharesKeys: true,
      },
      limits,
    )
    this.#saves = new Batcher(
      {
        sendOne: (save) => super.save(save),
        sendMany: async (saves) => (await super.saveMany(saves)).map((result) => result ?? alone),
        keyOf: ({ key }) => textOf(key),
        sizeOf: ({ set }) => set.length + 200,
        fit: (one, other) => one.maxLength === other.maxLength && one.lifetimeSeconds === other.lifetimeSeconds,
        isRepeatable: ({ version }) => version === null,
        sharesKeys: false,
      },
      limits,
    )
    this.#destroys = new Batcher(
      {
        sendOne: (key) => super.destroy(key),
        sendMany: async (keys) => (await super.destroyMany(keys)).map((count) => count ?? alone),
        keyOf: textOf,
        sizeOf: (key) => key.length,
        fit: () => true,
        isRepeatable: () => false,
        sharesKeys: false,
      },
      limits,
    )
  }

  protected override get isIdle(): boolean {
    return super.isIdle && this.#gets.isIdle && this.#saves.isIdle && this.#destroys.isIdle
  }

  override async end(ms: number): Promise<void> {
    await super.end(ms)
    for (const batcher of [this.#gets, this.#saves, this.#destroys]) batcher.refuseAll(closedError())
  }

  // Not async: each layer of promises is a tenth of a read's cost.

  override get(key: Buffer): Promise<SessionRow | undefined> {
    return this.#gets.send(key)
  }

  override save(save: SaveArguments): Promise<SaveResult> {
    return this.#saves.send(save)
  }

  override destroy(key: Buffer): Promise<number> {
    return this.#destroys.send(key)
  }
}
