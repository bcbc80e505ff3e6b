// Batches the session calls of many requests: which may go into one call, and which are sent alone.
import { isDeepStrictEqual } from 'node:util'
import { closedError, PGStoreError } from '../errors.ts'
import type { BatchLimits } from './batch-limits.ts'
import { Batcher } from './batcher.ts'
import type { Queryable } from './pool.ts'
import { readJson } from './read-json.ts'
import type { SaveArguments, SaveResult, SessionRow } from './row.ts'
import { Database } from './session-functions.ts'
import { alone } from './transport.ts'

interface ToldGet {
  readonly key: Buffer
  readonly sent: () => void
}

/** The database, with the calls of a busy server batched. */
export class BatchedDatabase extends Database {
  readonly #gets: Batcher<Buffer, SessionRow | undefined>
  /** Reads that are told when they are sent: those of a cache, and then nearly all. */
  readonly #toldGets: Batcher<ToldGet, SessionRow | undefined>
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
        again: (key) => key,
        sharesKeys: true,
      },
      limits,
      { operation: 'get', schema },
    )
    this.#toldGets = new Batcher(
      {
        sendOne: ({ key, sent }) => super.get(key, sent),
        sendMany: (gets) =>
          super.getMany(
            gets.map(({ key }) => key),
            () => {
              for (const { sent } of gets) sent()
            },
          ),
        keyOf: ({ key }) => textOf(key),
        sizeOf: ({ key }) => key.length,
        fit: () => true,
        again: (get) => get,
        sharesKeys: true,
      },
      limits,
      { operation: 'get', schema },
    )
    this.#saves = new Batcher(
      {
        sendOne: (save) => super.save(save),
        sendMany: async (saves) => (await super.saveMany(saves)).map((result) => result ?? alone),
        keyOf: ({ key }) => textOf(key),
        sizeOf: ({ set }) => set.length + 200,
        fit: (one, other) =>
          isPlain(one) &&
          isPlain(other) &&
          one.relaxed === other.relaxed && // a call commits as one
          one.maxLength === other.maxLength &&
          one.lifetimeSeconds === other.lifetimeSeconds,
        again: saveAgain,
        judge: (save, result) => this.#judge(save, result),
        sharesKeys: false,
      },
      limits,
      { operation: 'save', schema },
    )
    this.#destroys = new Batcher(
      {
        sendOne: (key) => super.destroy(key),
        sendMany: async (keys) => (await super.destroyMany(keys)).map((count) => count ?? alone),
        keyOf: textOf,
        sizeOf: (key) => key.length,
        fit: () => true,
        again: (key) => key, // it has ended, whether by the first call or by this one
        sharesKeys: false,
      },
      limits,
      { operation: 'destroy', schema },
    )
  }

  override get isIdle(): boolean {
    return super.isIdle && this.#gets.isIdle && this.#toldGets.isIdle && this.#saves.isIdle && this.#destroys.isIdle
  }

  override async end(ms: number): Promise<void> {
    await super.end(ms)
    for (const batcher of [this.#gets, this.#toldGets, this.#saves, this.#destroys]) batcher.refuseAll(closedError())
  }

  /**
   * A save was sent again, at the version that its caller knew: a different version means that someone has saved since, and that
   * may have been the first call.
   */
  async #judge(save: SaveArguments, result: SaveResult): Promise<SaveResult> {
    if (result.status !== 'conflict') return result
    const row = await super.get(save.key)
    if (!row) return { ...result, status: 'gone' }
    const { id, version, expiresAt, now } = row
    if (isThere(save, row)) return { status: 'saved', id, version, expiresAt, data: null, now }
    if (!mayHaveRun.has(save)) return result
    // Exactly one save since then, and not ours: ours has not run. Of what was created since, nobody can tell.
    if (save.version !== 0 && version === save.knownVersion + 1) {
      const merged = await super.save({ ...save, version })
      if (merged.status !== 'conflict') return merged
    }
    throw new PGStoreError(
      'unavailable',
      'The connection was lost during the save, and other requests have saved since: it may not have been saved.',
    )
  }

  // Not async: each layer of promises costs a tenth of a read.

  override get(key: Buffer, sent?: () => void): Promise<SessionRow | undefined> {
    return sent === undefined ? this.#gets.send(key) : this.#toldGets.send({ key, sent })
  }

  override save(save: SaveArguments): Promise<SaveResult> {
    return this.#saves.send(save)
  }

  override destroy(key: Buffer): Promise<number> {
    return this.#destroys.send(key)
  }
}

/** Merges that were sent again at a version, and creates, of which the first attempt may have run. */
const mayHaveRun = new WeakSet<SaveArguments>()

/** Refused before it ran, or rolled back: a backend told to end (57P01) does so before it commits or after it responds. */
const notRun =
  /^(E(CONNREFUSED|HOSTUNREACH|NETUNREACH|NOTFOUND|AI_AGAIN|NOENT)|57P0[13]|53300|08001|08004|25006|40001|40P01)$/

/** Blindly only what has not run or does no harm twice: repeating a merge that ran would undo what others saved since. */
function saveAgain(save: SaveArguments, error: PGStoreError): SaveArguments {
  const isTouch = save.set === '{}' && save.unset.length === 0 && save.userId === null && isPlain(save)
  const isAtVersion = save.version !== null && save.version > 0 // whoever loses there reads what there is
  if (isAtVersion || isTouch || notRun.test(error.sqlState ?? '')) return save
  const again = { ...save, version: save.version ?? save.knownVersion }
  mayHaveRun.add(again)
  return again
}

/** Whether it can go into a batch. */
function isPlain({ label, tags, lives, announce }: SaveArguments): boolean {
  return label === null && tags === null && lives === null && !announce
}

function isThere(save: SaveArguments, row: SessionRow): boolean {
  const data = readJson(row.data) as Record<string, unknown>
  const has = ([name, value]: [string, unknown]) => Object.hasOwn(data, name) && isDeepStrictEqual(data[name], value)
  const { userId, label, tags } = save
  return (
    Object.entries(readJson(save.set) as object).every(has) &&
    !save.unset.some((name) => Object.hasOwn(data, name)) &&
    (userId === null || userId === (row.userId ?? '')) &&
    (label === null || isDeepStrictEqual(readJson(label), readJson(row.label ?? 'null'))) &&
    (tags === null || isDeepStrictEqual(tags, readJson(row.tags ?? '[]')))
  )
}
