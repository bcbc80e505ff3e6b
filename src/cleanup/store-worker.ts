// The worker in a store's process: one for all callers that start the cleanup on the store, until the last of them stops it.

import { PGStoreError } from '../errors.ts'
import { noConnection } from '../events/channel-events.ts'
import type { ListenConnection } from '../events/listen.ts'
import type { Sleep, Sleeper } from '../events/sleep.ts'
import { type CleanupHandle, CleanupWorker } from './worker.ts'

/** A worker that could not begin after a sleep is tried again. */
const restartMs = 5000

type Part = Pick<CleanupHandle, 'stop' | 'done'>

export class StoreWorker implements Sleeper {
  readonly #connection: ListenConnection | undefined
  readonly #schema: string
  #workerSchema: string | undefined
  /** undefined while nobody needs it, and asleep. */
  #handle: Promise<CleanupHandle> | undefined
  readonly #users = new Set<() => void>()
  readonly #ending = new Set<Promise<void>>()
  #restart: NodeJS.Timeout | undefined

  constructor(connection: ListenConnection | undefined, schema: string, sleep: Sleep | undefined) {
    this.#connection = connection
    this.#schema = schema
    sleep?.add(this)
  }

  /** @throws {PGStoreError} what `startCleanup` throws for a worker that cannot start */
  async join(workerSchema: string | undefined): Promise<Part> {
    let ended = () => {}
    const done = new Promise<void>((resolve) => {
      ended = resolve
    })
    if (this.#users.size === 0) this.#workerSchema = workerSchema
    this.#users.add(ended)
    const handle = this.#handle ?? this.#start()
    this.#handle = handle
    try {
      await handle
    } catch (error) {
      if (this.#handle === handle) this.#handle = undefined
      this.#users.delete(ended)
      throw error
    }
    let left: Promise<void> | undefined
    const leave = async () => {
      this.#users.delete(ended)
      if (this.#users.size === 0) await this.#end()
      ended()
    }
    return {
      done,
      async stop() {
        left ??= leave()
        await left
      },
    }
  }

  sleep(): void {
    clearTimeout(this.#restart)
    void this.#end()
  }

  wake(): void {
    if (this.#users.size === 0 || this.#handle) return
    const handle = this.#start()
    this.#handle = handle
    handle.catch(() => {
      if (this.#handle !== handle) return
      this.#handle = undefined
      this.#restart = setTimeout(() => this.wake(), restartMs).unref()
    })
  }

  async close(): Promise<void> {
    clearTimeout(this.#restart)
    void this.#end()
    await Promise.all(this.#ending)
    for (const ended of this.#users) ended()
    this.#users.clear()
  }

  async #start(): Promise<CleanupHandle> {
    if (this.#connection === undefined) throw new PGStoreError('invalid_option', noConnection)
    return await CleanupWorker.start(this.#connection, { schema: this.#schema, workerSchema: this.#workerSchema })
  }

  async #end(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    const ending = handle?.then(
      (worker) => worker.stop(),
      () => {}, // it never began, as its caller has been told
    )
    if (!ending) return
    this.#ending.add(ending)
    await ending
    this.#ending.delete(ending)
  }
}
