// Many callers, one call: sends at once when idle, batches while calls are in flight.
import { PGStoreError, wasSent } from '../errors.ts'
import { batchTime, type TracedBatch, tellBatch } from '../tracing.ts'
import type { BatchLimits } from './batch-limits.ts'
import { queryTimeoutMs } from './pool.ts'
import { takeFitting } from './take.ts'
import { alone, type Transport } from './transport.ts'

/** A call is refused when the database has not responded for this long, as long as the pool waits for a connection. */
const longestSilenceMs = 2000

/** And after this long in any case, which leaves time for the response: `queryTimeoutMs` counts from its arrival. */
const longestWaitMs = 4000

/** Single calls in flight beside the batches: they wait for others' locks, and must leave connections to the rest. */
const mostAlone = 4

export type BatchName = Pick<TracedBatch, 'operation' | 'schema'>

interface Call<Item, Result> {
  item: Item
  readonly key: string
  readonly since: number
  isRepeated: boolean
  isAlone: boolean
  resolve(result: Result): void
  reject(error: unknown): void
}

/** Batches the calls of one kind. */
export class Batcher<Item, Result> {
  readonly #transport: Transport<Item, Result>
  readonly #limits: BatchLimits
  readonly #name: BatchName | undefined
  #queue: Call<Item, Result>[] = []
  /** For each key in flight, the calls whose turn comes next. */
  readonly #parked = new Map<string, Call<Item, Result>[]>()
  /** Keys whose first parked call must be sent alone. */
  readonly #lonely: string[] = []
  /** Calls that were sent and not yet answered. */
  readonly #sent = new Set<readonly Call<Item, Result>[]>()
  #waiting = 0
  #inFlight = 0
  #alone = 0
  #isScheduled = false
  #clock: NodeJS.Timeout | undefined
  #answeredAt = 0

  /** @param name by which subscribers are told of each batch */
  constructor(transport: Transport<Item, Result>, limits: BatchLimits, name?: BatchName) {
    this.#transport = transport
    this.#limits = limits
    this.#name = name
  }

  get isIdle(): boolean {
    return this.#waiting === 0 && this.#sent.size === 0
  }

  /** @throws {PGStoreError} `unavailable` when too many calls wait or this one waits too long; else what the call throws */
  send(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#waiting >= this.#limits.waiting) {
        throw new PGStoreError('unavailable', `Too many calls are already waiting for the database (${this.#waiting}).`)
      }
      const key = this.#transport.keyOf(item)
      const call = { item, key, since: performance.now(), isRepeated: false, isAlone: false, resolve, reject }
      const turns = this.#parked.get(key)
      if (turns) turns.push(call)
      else this.#queue.push(call)
      this.#waiting++
      this.#schedule()
    })
  }

  /** Idle: at the end of this tick, with all its calls. Busy: once everything that has arrived by now is processed. */
  #schedule(): void {
    if (this.#waiting > 0) this.#clock ??= setInterval(() => this.#endOld(), longestSilenceMs / 10).unref()
    if (this.#isScheduled || this.#queue.length === 0 || this.#inFlight >= this.#limits.inFlight) return
    this.#isScheduled = true
    if (this.#inFlight === 0) process.nextTick(() => this.#flush())
    else setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#isScheduled = false
    while (this.#inFlight < this.#limits.inFlight && this.#queue.length > 0) void this.#dispatch(this.#take())
  }

  /** From the head of the queue, a fair share for each call that may still go out, which keeps both ends busy. */
  #take(): Call<Item, Result>[] {
    const share = Math.ceil(this.#queue.length / (this.#limits.inFlight - this.#inFlight))
    return takeFitting(this.#queue, share, this.#limits, this.#transport)
  }

  async #dispatch(calls: readonly Call<Item, Result>[]): Promise<void> {
    this.#inFlight++
    this.#waiting -= calls.length
    if (!this.#transport.sharesKeys) this.#park(calls)
    this.#sent.add(calls)
    const left = await this.#settle(calls)
    this.#sent.delete(calls)
    for (const call of left.toReversed()) {
      call.isAlone = true
      this.#waiting++
      this.#parked.set(call.key, [call, ...(this.#parked.get(call.key) ?? [])])
    }
    const lonely = new Set(left.map(({ key }) => key))
    this.#lonely.push(...lonely)
    for (const { key } of calls) if (!lonely.has(key)) this.#unpark(key)
    this.#inFlight--
    this.#sendLonely()
    this.#schedule()
  }

  /** Sends them in one call. Returns those that must be sent alone. */
  async #settle(calls: readonly Call<Item, Result>[]): Promise<readonly Call<Item, Result>[]> {
    const sent = batchTime()
    try {
      let left: readonly Call<Item, Result>[] = []
      if (calls.length > 1) left = await this.#sendMany(calls)
      else for (const call of calls) this.#answer(call, await this.#transport.sendOne(call.item))
      this.#answeredAt = performance.now()
      if (sent > 0) this.#tell(calls, sent)
      return left
    } catch (error) {
      const known = error instanceof PGStoreError ? error : undefined
      if (sent > 0) this.#tell(calls, sent, known?.code ?? 'database')
      // One of them contains something that Postgres rejects: the others must not fail with it.
      if (calls.length > 1 && /^(22|54)/.test(known?.sqlState ?? '')) return calls
      const repeated: Call<Item, Result>[] = []
      const isLost = known?.code === 'unavailable' && wasSent(known)
      for (const call of calls) {
        const item = isLost && !call.isRepeated ? this.#transport.again(call.item, known) : undefined
        if (item !== undefined) {
          call.item = item
          call.isRepeated = true
          repeated.push(call)
        } else
          call.reject(known && calls.length > 1 ? new PGStoreError(known.code, known.message, known.sqlState) : error)
      }
      if (repeated.length === 0) return []
      return await this.#settle(repeated)
    }
  }

  #tell(calls: readonly Call<Item, Result>[], sent: number, code?: string): void {
    if (this.#name && calls[0]) tellBatch(this.#name, calls.length, calls[0].since, sent, code)
  }

  #answer(call: Call<Item, Result>, result: Result): void {
    if (!call.isRepeated) call.resolve(result)
    else {
      const { judge } = this.#transport
      if (judge)
        judge(call.item, result).then(
          (verdict) => call.resolve(verdict),
          (error) => call.reject(error),
        )
      else call.resolve(result)
    }
  }

  async #sendMany(calls: readonly Call<Item, Result>[]): Promise<readonly Call<Item, Result>[]> {
    const { sendMany, sharesKeys } = this.#transport
    const items: Item[] = []
    const places = new Map<string, number>()
    const placeOf = calls.map(({ item, key }) => {
      const shared = sharesKeys ? places.get(key) : undefined
      if (shared !== undefined) return shared
      places.set(key, items.length)
      return items.push(item) - 1
    })
    const results = await sendMany(items)
    const left: Call<Item, Result>[] = []
    for (const [index, call] of calls.entries()) {
      const result = results[placeOf[index] as number] as Result | typeof alone
      if (result === alone) left.push(call)
      else this.#answer(call, result)
    }
    return left
  }

  /** While a key is in flight, later calls for it wait: concurrent ones could overtake each other. */
  #park(calls: readonly Call<Item, Result>[]): void {
    for (const { key } of calls) this.#parked.set(key, [])
    const isFree = ({ key }: Call<Item, Result>) => !this.#parked.has(key)
    if (this.#queue.every(isFree)) return
    for (const call of this.#queue) this.#parked.get(call.key)?.push(call)
    this.#queue = this.#queue.filter(isFree)
  }

  #unpark(key: string): void {
    const turns = this.#parked.get(key)
    if (!turns) return
    this.#parked.delete(key)
    this.#queue.push(...turns)
  }

  #sendLonely(): void {
    while (this.#alone < mostAlone && this.#lonely.length > 0) void this.#sendAlone(this.#lonely.shift() as string)
  }

  async #sendAlone(key: string): Promise<void> {
    this.#alone++
    for (let call = this.#nextAlone(key); call; call = this.#nextAlone(key)) {
      this.#waiting--
      const calls = [call]
      this.#sent.add(calls)
      await this.#settle(calls)
      this.#sent.delete(calls)
    }
    this.#alone--
    this.#unpark(key)
    this.#sendLonely()
    this.#schedule()
  }

  #nextAlone(key: string): Call<Item, Result> | undefined {
    const turns = this.#parked.get(key)
    return turns?.[0]?.isAlone ? turns.shift() : undefined
  }

  /** Refuses what waits, as the store is closing; calls already sent end with their connection. */
  refuseAll(error: PGStoreError): void {
    this.#refuse(() => error)
  }

  #endOld(): void {
    const now = performance.now()
    for (const calls of this.#sent) {
      for (const call of calls) {
        if (call.since < now - queryTimeoutMs)
          call.reject(new PGStoreError('timeout', 'The database did not respond in time.'))
      }
    }
    const isSilent = this.#answeredAt < now - longestSilenceMs
    const oldest = now - (isSilent ? longestSilenceMs : longestWaitMs)
    this.#refuse(({ since }) => {
      if (since > oldest) return undefined
      const ms = Math.round(now - since)
      return new PGStoreError('unavailable', `The database is too busy: the call was not sent within ${ms} ms.`)
    })
    if (!this.isIdle) return
    clearInterval(this.#clock)
    this.#clock = undefined
  }

  #refuse(reason: (call: Call<Item, Result>) => PGStoreError | undefined): void {
    const stays = (call: Call<Item, Result>) => {
      const error = reason(call)
      if (!error) return true
      this.#waiting--
      call.reject(error)
      return false
    }
    this.#queue = this.#queue.filter(stays)
    for (const [key, turns] of this.#parked) this.#parked.set(key, turns.filter(stays))
  }
}
