// The worker in a store's process: one for all callers that start the cleanup on the store, until the last of them stops it.

import { PGStoreError } from '../errors.ts'
import { noConnection } from '../events/channel-events.ts'
import type { ListenConnection } from '../events/listen.ts'
import type { Sleep, Sleeper } from '../events/sleep.ts'
import { type CleanupHandle, CleanupWorker } from './worker.ts'

/** A worker that could not begin after a sleep is tried again. */
const restartMs = 5000

type Part = Pick<CleanupHandle, 'stop' | 'done'>
type Stoppable = Pick<CleanupHandle, 'stop'>

export class StoreWorker implements Sleeper {
  readonly #connections: readonly ListenConnection[]
  readonly #schema: string
  #workerSchema: string | undefined
  /** undefined while nobody needs it, and asleep. */
  #handle: Promise<Stoppable> | undefined
  readonly #users = new Set<() => void>()
  readonly #ending = new Set<Promise<void>>()
  #restart: NodeJS.Timeout | undefined

  /** @param connections one for each database with sessions: each needs a worker */
  constructor(connections: readonly ListenConnection[], schema: string, sleep: Sleep | undefined) {
    this.#connections = connections
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

  async #start(): Promise<Stoppable> {
    if (this.#connections.length === 0) throw new PGStoreError('invalid_option', noConnection)
    const options = { schema: this.#schema, workerSchema: this.#workerSchema }
    const starts = this.#connections.map((connection) => CleanupWorker.start(connection, options))
    const begun = await Promise.allSettled(starts)
    const workers = begun.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
    const stop = async () => void (await Promise.all(workers.map((worker) => worker.stop())))
    const failed = begun.find((start) => start.status === 'rejected')
    if (!failed) return { stop }
    await stop()
    throw failed.reason
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
