// The load L of the fault experiments: clients that read, save, sign out and begin anew, some of them at one session, and a
// history of all of it for the checker. A client waits for its answer before it asks again.
import * as assert from 'uvu/assert'
import { type PGStore, PGStoreError } from '../../src/index.ts'
import { TestResponse, until, Visitor } from '../support/harness.ts'
import { type Judgement, type JudgeOptions, judge } from './checker.ts'
import type { Figure } from './faults.ts'
import { type Answer, type Asked, History, now, type Place, type Values } from './history.ts'

export interface LoadOptions {
  /** Default: 16. */
  readonly clients?: number
  /** The most calls in a second, of all clients. Default: 200. */
  readonly perSecond?: number
  /** Default: one that is kept in memory. */
  readonly history?: History
  /** Sessions to go on with, as `places` of another load had them. */
  readonly places?: readonly Place[]
  /** Tells the values of this load from those of others on the same sessions. Default: 'l'. */
  readonly name?: string
  /** Seconds that a new session lives. Default: the store's. */
  readonly maxAge?: number
}

/** Calls of a kind, and those that failed. */
interface Count {
  calls: number
  failed: number
}

const pause = async (ms: number) => await new Promise((resolve) => setTimeout(resolve, ms))

const running = new Set<Load>()

/** Those of a test that failed would go on for ever. */
export function stopLoads(): void {
  for (const load of running) void load.stop()
}

export class Load {
  readonly history: History
  readonly counts: Readonly<Record<'create' | 'read' | 'save' | 'regenerate' | 'end', Count>> = {
    create: { calls: 0, failed: 0 },
    read: { calls: 0, failed: 0 },
    save: { calls: 0, failed: 0 },
    regenerate: { calls: 0, failed: 0 },
    end: { calls: 0, failed: 0 },
  }
  /** How often a call failed with each code and SQLSTATE. */
  readonly codes: Record<string, number> = {}
  /** Errors that a store does not have. */
  readonly strange: unknown[] = []
  /** Milliseconds that each call took, failed ones too; `reads` those of reads alone. */
  readonly durations: number[] = []
  readonly reads: number[] = []
  readonly places: Place[]
  /** Where somebody has signed out, with the cookie that opened it. */
  readonly ended: Place[] = []
  readonly #stores: readonly PGStore[]
  readonly #name: string
  readonly #maxAge: number | undefined
  readonly #pauseMs: number
  readonly #many: number
  #clients: Promise<void>[] = []
  #names = 0
  #isOver = false
  #lastSuccess = 0

  /** @param stores used by turns */
  constructor(stores: PGStore | readonly PGStore[], options: LoadOptions = {}) {
    const { clients = 16, perSecond = 200, history = new History(), places = [], name = 'l', maxAge } = options
    this.#stores = Array.isArray(stores) ? stores : [stores as PGStore]
    this.#many = clients
    this.#pauseMs = (1000 * clients) / perSecond
    this.#name = name
    this.#maxAge = maxAge
    this.history = history
    this.places = [...places]
  }

  /** Resolves when each client has a session. */
  async start(): Promise<void> {
    await until(async () => {
      if (this.places.length < this.#many) await this.#create()
      return this.places.length >= this.#many
    }, 120)
    running.add(this)
    this.#clients = Array.from({ length: this.#many }, async (_, who) => {
      while (!this.#isOver) {
        const started = now()
        await this.#step(who)
        await pause(Math.max(0, this.#pauseMs * (0.5 + Math.random()) - (now() - started)))
      }
    })
  }

  get calls(): number {
    return Object.values(this.counts).reduce((sum, { calls }) => sum + calls, 0)
  }

  get failed(): number {
    return Object.values(this.counts).reduce((sum, { failed }) => sum + failed, 0)
  }

  /** Resolves when so many more calls have been answered, well or not. */
  async more(calls: number, seconds = 60): Promise<void> {
    const before = this.calls
    await until(() => this.calls >= before + calls, seconds)
  }

  /** Milliseconds until a call that begins from now on succeeds. */
  async success(seconds = 60): Promise<number> {
    const from = now()
    await until(() => this.#lastSuccess > from, seconds)
    return this.#lastAnswer - from
  }

  #lastAnswer = 0

  /** Lets the clients finish what they have begun. */
  async stop(): Promise<void> {
    this.#isOver = true
    running.delete(this)
    await Promise.all(this.#clients)
  }

  /** Stops, reads every session once more, those that ended too, and fails unless the checker finds an order for all. */
  async judged(options: JudgeOptions = {}): Promise<Judgement & { readonly text: string }> {
    await this.stop()
    await this.sweep()
    assert.equal(this.strange, [])
    const judgement = judge(this.history.calls, options)
    return { ...judgement, text: `${this.text}; ${soundness(judgement, this.text)}` }
  }

  /** Reads every session, those too that ended of late. */
  async sweep(): Promise<void> {
    for (const place of [...this.places, ...this.ended])
      await until(async () => (await this.#read(place)) !== 'unknown', 60)
  }

  /** A figure of the table: in an experiment that fails no call, one still may on a machine that is too busy to answer in time. */
  get noneFailed(): Readonly<Record<string, Figure>> {
    return { 'calls failed': { is: this.failed, most: 0, unit: '' } }
  }

  get text(): string {
    const codes = Object.entries(this.codes).map(([code, many]) => `${many} ${code}`)
    return `${this.calls} calls, ${this.failed} failed${codes.length > 0 ? ` (${codes.join(', ')})` : ''}`
  }

  #store(): PGStore {
    return this.#stores[Math.floor(Math.random() * this.#stores.length)] as PGStore
  }

  async #step(who: number): Promise<void> {
    // A fifth of the calls are another tab's, at a session that somebody else uses too.
    const own = this.places[Math.random() < 0.8 ? who : Math.floor(Math.random() * this.places.length)]
    if (!own) return await this.#create()
    const { token } = own
    const what = Math.random()
    // Another client has ended it, or a call that failed has, or moved it to a token that nobody knows.
    if (what < 0.78) {
      if ((await this.#read(own)) === 'gone' && own.token === token) await this.#leave(own)
    } else if (what < 0.8 && this.ended.length > 0)
      await this.#read(this.ended[Math.floor(Math.random() * this.ended.length)] as Place)
    else if (what < 0.95) await this.#save(own)
    else if (what < 0.97) await this.#regenerate(own)
    else if ((await this.#end(own)) === 'ok') await this.#leave(own)
  }

  async #leave(place: Place): Promise<void> {
    const at = this.places.indexOf(place)
    if (at < 0) return
    this.places.splice(at, 1)
    if (this.ended.push(place) > 200) this.ended.shift()
    await this.#create()
  }

  /** Asks, and notes the question and its answer. */
  async #ask(asked: Asked, work: () => Promise<Answer | Values>): Promise<Answer> {
    const call = this.history.begin(asked)
    const count = this.counts[call.kind]
    count.calls++
    let answer: Answer = 'unknown'
    try {
      const result = await work()
      if (typeof result === 'string') answer = result
      else answer = 'ok'
      this.history.end(call, answer, typeof result === 'string' ? undefined : result)
      if (call.began > this.#lastSuccess) [this.#lastSuccess, this.#lastAnswer] = [call.began, now()]
    } catch (error) {
      answer = this.#failure(error, count)
      // A call that failed may still be running in the database: it has no end.
      if (answer !== 'unknown') this.history.end(call, answer)
    }
    this.durations.push(now() - call.began)
    if (call.kind === 'read') this.reads.push(now() - call.began)
    return answer
  }

  #failure(error: unknown, count: Count): Answer {
    const code = error instanceof PGStoreError ? error.code : 'strange'
    if (code === 'gone') return 'gone'
    count.failed++
    const told = [code, error instanceof PGStoreError && error.sqlState].filter(Boolean).join(' ')
    this.codes[told] = (this.codes[told] ?? 0) + 1
    if (code === 'full') return 'refused'
    if (code !== 'unavailable' && code !== 'timeout') this.strange.push(error)
    return 'unknown'
  }

  #values(): Values {
    // Two values that only ever change together, and some that change alone.
    const value = `${this.#name}${++this.#names}`
    return Math.random() < 0.5 ? { one: value, other: value } : { [`own ${this.#names % 4}`]: value }
  }

  async #create(): Promise<void> {
    const visitor = new Visitor()
    const session = `${this.#name} ${++this.#names}`
    const set = this.#values()
    const place: Place = { session, visitor, token: session }
    const answer = await this.#ask({ session, kind: 'create', newToken: session, set }, async () => {
      await visitor.visit(this.#store(), ({ values, options }) => {
        Object.assign(values, set)
        if (this.#maxAge !== undefined) options.maxAge = this.#maxAge
      })
      return 'ok'
    })
    if (answer !== 'ok') {
      await pause(50)
      return
    }
    this.places.push(place)
    this.history.keep(place)
  }

  async #read({ session, token, visitor }: Place): Promise<Answer> {
    const req = visitor.request()
    return await this.#ask({ session, kind: 'read', token }, async () => {
      const { isNew, values } = await this.#store().get(req, 'sid')
      return isNew ? 'gone' : ({ ...values } as Values)
    })
  }

  async #save(place: Place): Promise<void> {
    const { session, token, visitor } = place
    const [req, res, set] = [visitor.request(), new TestResponse(), this.#values()]
    const store = this.#store()
    let found: Awaited<ReturnType<PGStore['get']>> | undefined
    const reading = await this.#ask({ session, kind: 'read', token }, async () => {
      found = await store.get(req, 'sid')
      return found.isNew ? 'gone' : ({ ...found.values } as Values)
    })
    if (reading !== 'ok' || !found) return
    const read = found
    await this.#ask({ session, kind: 'save', token, set }, async () => {
      Object.assign(read.values, set)
      await store.save(req, res, read)
      return 'ok'
    })
    if (place.token === token) visitor.receive(res)
  }

  async #regenerate(place: Place): Promise<void> {
    const { session, token, visitor } = place
    const [req, res, newToken] = [visitor.request(), new TestResponse(), `${session}.${++this.#names}`]
    const store = this.#store()
    const asked = { session, kind: 'regenerate', token, newToken } as const
    const answer = await this.#ask(asked, async () => {
      const found = await store.get(req, 'sid')
      if (found.isNew) return 'gone'
      await store.regenerate(req, res, found)
      return 'ok'
    })
    if (answer !== 'ok') return
    visitor.receive(res)
    place.token = newToken
    this.history.keep(place)
  }

  async #end({ session, token, visitor }: Place): Promise<Answer> {
    const [req, res] = [visitor.request(), new TestResponse()]
    const store = this.#store()
    return await this.#ask({ session, kind: 'end', token }, async () => {
      const found = await store.get(req, 'sid')
      if (found.isNew) return 'gone'
      await store.destroy(req, res, found)
      return 'ok'
    })
  }
}

/** Fails unless nothing is wrong; how that reads in the table. */
export function soundness({ wrong, undecided, examples, sessions }: Judgement, calls = ''): string {
  const found = Object.values(wrong).reduce((sum, many) => sum + many, 0)
  assert.is(found + undecided, 0, `${JSON.stringify(wrong)}, undecided ${undecided}; ${calls}\n${examples.join('\n')}`)
  return `${sessions} sessions, lost 0, revived 0, wrong reads 0`
}
