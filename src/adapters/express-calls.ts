// The calls of express-session's store interface: their callbacks, and their order within this process.

export type Callback<Value> = (error: unknown, value?: Value) => void

/** To the callback if there is one, outside of any promise: what it throws is the caller's problem. */
export async function answer<Value>(callback: Callback<Value> | undefined, work: () => Promise<Value>): Promise<Value> {
  if (!callback) return await work()
  work().then(
    (value) => process.nextTick(callback, null, value),
    (error) => process.nextTick(callback, error),
  )
  return undefined as Value
}

/** What this process is changing, by sid: a request that arrives before a change is done waits for it. */
export class Changes {
  readonly #underWay = new Map<string, Promise<unknown>>()

  /** Resolves when the changes to this session in progress have ended, successfully or not; undefined if there are none. */
  of(sid: string): Promise<unknown> | undefined {
    return this.#underWay.get(sid)
  }

  async add(sid: string, change: Promise<void>): Promise<void> {
    const all = Promise.allSettled([this.#underWay.get(sid), change])
    this.#underWay.set(sid, all)
    await all
    if (this.#underWay.get(sid) === all) this.#underWay.delete(sid)
  }
}
