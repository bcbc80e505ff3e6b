// Visitors who count their own visits, and so notice what is lost; by the partition that their session lies on.
import { type PGStore, PGStoreError, type Session } from '../../src/index.ts'

export type Visited = { n?: number }

export const key = 'an example hash key of 32 bytes!'

/** What happened to some visitors in some span of time. */
export class Tally {
  readonly ms: number[] = []
  /** By code. */
  readonly failures: Map<string, number> = new Map()
  /** Visits that brought a cookie and found no session. */
  signedOut = 0
  /** Visits that found another count than the last one left. */
  lost = 0
  /** When the newest visit that was served began, by `performance.now()`. */
  servedAt = 0

  get served(): number {
    return this.ms.length
  }

  get failed(): number {
    return [...this.failures.values()].reduce((sum, count) => sum + count, 0)
  }

  quantile(share: number): number {
    const sorted = [...this.ms].sort((one, other) => one - other)
    return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0
  }
}

export class CountingVisitor {
  #cookie: string | undefined
  #n = 0
  /** The answer to a save was lost: it may have been done. */
  #isUncertain = false
  id: string | undefined

  /** Of a session's number, and of its key's first byte. */
  partition(partitions: number): number {
    return Number(BigInt(this.id ?? 0) % BigInt(partitions))
  }

  request(): { headers: { cookie?: string } } {
    return { headers: this.#cookie === undefined ? {} : { cookie: this.#cookie } }
  }

  /** Reads, counts, saves. */
  async visit(
    store: PGStore<Visited>,
    tally: Tally,
    work: (session: Session<Visited>) => void = () => {},
  ): Promise<void> {
    const begun = performance.now()
    const req = this.request()
    let isSaving = false
    try {
      const session = await store.get(req, 'sid')
      if (session.isNew && this.#cookie !== undefined) tally.signedOut++
      const n = session.values.n ?? 0
      const isKnown = n === this.#n || (this.#isUncertain && n === this.#n + 1)
      if (!isKnown && !session.isNew) tally.lost++
      this.#n = n
      session.values.n = n + 1
      work(session)
      const res = new Headers()
      isSaving = true
      await store.save(req, res, session)
      this.#n++
      this.#isUncertain = false
      this.id = session.id
      const [cookie] = res.getSetCookie()
      if (cookie !== undefined) this.#cookie = cookie.split(';')[0]
      tally.ms.push(performance.now() - begun)
      tally.servedAt = begun
    } catch (error) {
      const code = error instanceof PGStoreError ? error.code : String(error)
      tally.failures.set(code, (tally.failures.get(code) ?? 0) + 1)
      this.#isUncertain ||= isSaving
    }
  }
}

/** So many visitors with a session on each partition. */
export async function settle(store: PGStore<Visited>, partitions: number, each: number): Promise<CountingVisitor[][]> {
  const places: CountingVisitor[][] = Array.from({ length: partitions }, () => [])
  for (let tries = 0; places.some((place) => place.length < each); tries++) {
    if (tries > 100 * partitions * each) throw new Error('The sessions do not spread over the partitions.')
    const visitor = new CountingVisitor()
    const tally = new Tally()
    await visitor.visit(store, tally)
    if (tally.failed > 0) throw new Error(`A first visit failed: ${[...tally.failures.keys()].join(', ')}`)
    const place = places[visitor.partition(partitions)]
    if (place && place.length < each) place.push(visitor)
  }
  return places
}

/** Lets them visit, each again 20 ms after its answer, until the returned function is called. */
export function letVisit(
  visitors: readonly CountingVisitor[],
  store: () => PGStore<Visited>,
  tally: () => Tally,
): () => Promise<void> {
  let isOver = false
  const visits = visitors.map(async (visitor) => {
    while (!isOver) {
      await visitor.visit(store(), tally())
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })
  return async () => {
    isOver = true
    await Promise.all(visits)
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
