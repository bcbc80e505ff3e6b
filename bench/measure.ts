// A closed loop: a number of callers, each of which waits for its response before it calls again.
/** A line of the results: what was measured, of which system, with how many concurrent callers. */
export interface Row {
  readonly bench: string
  readonly system: string
  readonly concurrency: number
  readonly opsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Microseconds of processor time that this process spends on one operation; null if another process does the work. */
  readonly clientCpuUs: number | null
  /** Microseconds of processor time that the server spends on one operation; null if unknown. */
  readonly serverCpuUs: number | null
  readonly [extra: string]: string | number | null
}

export interface Percentiles {
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface Sample extends Percentiles {
  readonly operations: number
  /** Calls that failed; they do not count as operations. */
  readonly errors?: number
  readonly seconds: number
  readonly clientCpuUs: number | null
  readonly serverCpuUs: number | null
}

/** Processor time that a server has spent so far, in microseconds; undefined if unknown. */
export type CpuMeter = () => number | undefined

export interface Load {
  readonly callers: number
  readonly seconds: number
  /** Sessions. */
  readonly count: number
  /** How often a caller returns to a session, with others in between, before it moves to another. Default: 1. */
  readonly stay?: number | undefined
  readonly cpu?: CpuMeter | undefined
  /** How many latencies to keep, drawn at random, for percentiles that are estimates. Default: all. */
  readonly kept?: number | undefined
}

/** The number of sessions that a returning caller cycles through, so that none is saved twice within the time of one call. */
const visitsAtOnce = 5

/** Which session a caller asks for: at random among its own, so that no two callers change one object at once. */
export function picker(caller: number, callers: number, count: number, stay = 1): () => number {
  const own = Math.max(1, Math.floor(count / callers))
  const draw = () => (caller + callers * Math.floor(Math.random() * own)) % count
  if (stay === 1) return draw
  const visits = Array.from({ length: visitsAtOnce }, () => ({ index: draw(), left: stay }))
  let turn = 0
  return () => {
    const visit = visits[turn++ % visitsAtOnce] as { index: number; left: number }
    if (visit.left === 0) Object.assign(visit, { index: draw(), left: stay })
    visit.left--
    return visit.index
  }
}

/** Runs `work` for this long. All latencies are kept unless `kept` says otherwise, so percentiles are exact. */
export async function measure(
  work: (index: number) => Promise<void>,
  { callers, seconds, count, stay, cpu, kept }: Load,
): Promise<Sample> {
  const latencies = new Latencies(kept)
  let errors = 0
  let error: unknown
  const before = { client: process.cpuUsage(), server: cpu?.() }
  const start = performance.now()
  const end = start + seconds * 1000
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      const pick = picker(caller, callers, count, stay)
      for (let at = performance.now(); at < end; ) {
        try {
          await work(pick())
          latencies.add(performance.now() - at)
        } catch (failure) {
          errors++
          error = failure
        }
        at = performance.now()
      }
    }),
  )
  const elapsed = performance.now() - start
  const client = process.cpuUsage(before.client)
  const server = cpu?.()
  const operations = latencies.count
  if (operations === 0) throw error
  return {
    operations,
    errors,
    seconds: elapsed / 1000,
    ...latencies.percentiles(),
    clientCpuUs: (client.user + client.system) / operations,
    serverCpuUs: perOperation(before.server, server, operations),
  }
}

/** Microseconds of processor time that each operation took, by a meter's readings. */
export function perOperation(before: number | undefined, after: number | undefined, operations: number): number | null {
  return before === undefined || after === undefined ? null : (after - before) / operations
}

/** Milliseconds, one by one: eight bytes each, outside of the heap. */
export class Latencies {
  #values = new Float64Array(1 << 16)
  readonly #most: number
  count = 0
  sum = 0

  /** @param most how many to keep, each with the same chance. Default: all */
  constructor(most: number = Number.POSITIVE_INFINITY) {
    this.#most = most
  }

  add(value: number): void {
    if (this.count >= this.#most) {
      // https://en.wikipedia.org/wiki/Reservoir_sampling
      const place = Math.floor(Math.random() * ++this.count)
      if (place < this.#most) this.#values[place] = value
      this.sum += value
      return
    }
    if (this.count === this.#values.length) {
      const larger = new Float64Array(this.count * 2)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.count++] = value
    this.sum += value
  }

  percentiles(): Percentiles {
    const sorted = this.#values.slice(0, Math.min(this.count, this.#most)).sort()
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    return { p50Ms: at(0.5), p99Ms: at(0.99) }
  }
}

/** The middle one, by throughput, with the medians of its other figures. */
export function summary(bench: string, system: string, concurrency: number, samples: readonly Sample[]): Row {
  const of = (figure: (sample: Sample) => number) => median(samples.map(figure))
  const errors = samples.reduce((sum, sample) => sum + (sample.errors ?? 0), 0)
  const ifKnown = (figure: 'clientCpuUs' | 'serverCpuUs') =>
    samples.some((sample) => sample[figure] === null) ? null : round(of((sample) => sample[figure] ?? 0))
  return {
    bench,
    system,
    concurrency,
    opsPerSecond: Math.round(of(({ operations, seconds }) => operations / seconds)),
    ...(samples.length > 1 && {
      opsRange: range(samples.map(({ operations, seconds }) => Math.round(operations / seconds))),
    }),
    p50Ms: round(of(({ p50Ms }) => p50Ms)),
    p99Ms: round(of(({ p99Ms }) => p99Ms)),
    clientCpuUs: ifKnown('clientCpuUs'),
    serverCpuUs: ifKnown('serverCpuUs'),
    ...(errors > 0 ? { errors } : {}),
  }
}

/** The smallest and the largest figure of the rounds, to show beside their median. */
export function range(numbers: readonly number[]): string {
  return [Math.min(...numbers), Math.max(...numbers)]
    .map((number) => round(number).toLocaleString('en', { maximumFractionDigits: 6 }))
    .join(' – ')
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** To at least three significant digits. */
export function round(number: number): number {
  return Math.abs(number) >= 100 ? Math.round(number) : Number(number.toPrecision(3))
}
