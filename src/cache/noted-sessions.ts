// The database, for a cache that must know what this process writes: by key, once the outcome is known, before the caller hears of it.
import type {
  IncrementArguments,
  IncrementResult,
  PutArguments,
  SaveArguments,
  SaveResult,
  SessionDatabase,
  SessionRow,
} from '../database/row.ts'
import type { SessionCache } from './session-cache.ts'

export class NotedSessions implements SessionDatabase {
  readonly #database: SessionDatabase
  readonly #cache: SessionCache
  readonly #isUncommitted: boolean

  /** @param isUncommitted the database is one client, whose transaction the caller commits, later or never */
  constructor(database: SessionDatabase, cache: SessionCache, isUncommitted: boolean) {
    this.#database = database
    this.#cache = cache
    this.#isUncommitted = isUncommitted
  }

  get(key: Buffer): Promise<SessionRow | undefined> {
    return this.#database.get(key)
  }

  async save(save: SaveArguments): Promise<SaveResult> {
    try {
      return await this.#database.save(save)
    } finally {
      // Nobody has read what is only now created.
      if (save.version !== 0 || this.#isUncommitted) this.#cache.written(save.key, this.#isUncommitted)
    }
  }

  async regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult> {
    try {
      return await this.#database.regenerate(save, newKey)
    } finally {
      for (const key of [save.key, newKey]) this.#cache.written(key, this.#isUncommitted)
    }
  }

  async destroy(key: Buffer, id?: string): Promise<number> {
    try {
      return await this.#database.destroy(key)
    } finally {
      this.#cache.written(key, this.#isUncommitted)
      // It may have been regenerated meanwhile, and be read by its new key.
      if (id !== undefined) this.#cache.session(id)
    }
  }

  async limit(userId: string, max: number, except: Buffer): Promise<number> {
    let ended: number | undefined
    try {
      ended = await this.#database.limit(userId, max, except)
      return ended
    } finally {
      if (ended !== 0) {
        this.#cache.sessions()
        if (this.#isUncommitted) this.#cache.hold(`user ${userId}`)
      }
    }
  }

  async put(put: PutArguments): Promise<SaveResult> {
    return await this.#noting(put.key, this.#database.put(put))
  }

  async take(key: Buffer, name: string | null): Promise<string | undefined> {
    return await this.#noting(key, this.#database.take(key, name))
  }

  async increment(increment: IncrementArguments): Promise<IncrementResult> {
    return await this.#noting(increment.key, this.#database.increment(increment))
  }

  async #noting<Result>(key: Buffer, write: Promise<Result>): Promise<Result> {
    try {
      return await write
    } finally {
      this.#cache.written(key, this.#isUncommitted)
    }
  }
}
