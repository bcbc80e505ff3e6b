// A world in virtual time for the cache: a database, its listeners, a network, and servers that may stand still.

import type { Clocks } from '../../src/cache/clocks.ts'
import type { Bell, Ear } from '../../src/cache/ear.ts'
import type {
  IncrementArguments,
  IncrementResult,
  PutArguments,
  SaveArguments,
  SaveResult,
  SessionDatabase,
  SessionRow,
} from '../../src/database/row.ts'
import { timeText } from '../../src/database/row.ts'
import type { Tap } from '../../src/events/listeners.ts'

/** The same numbers for the same seed: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Happening {
  readonly at: number
  readonly order: number
  work: (() => void) | undefined
}

export class World {
  now = 1000
  readonly random: () => number
  #order = 0
  readonly #heap: Happening[] = []

  constructor(seed: number) {
    this.random = randomFrom(seed)
  }

  chance(share: number): boolean {
    return this.random() < share
  }

  /** Milliseconds that one way over the network takes: a few are slow. */
  way(): number {
    return this.chance(0.06) ? this.random() * 400 : 0.1 + this.random() * 1.5
  }

  /** Returns what calls it off. */
  after(ms: number, work: () => void): () => void {
    const happening: Happening = { at: this.now + ms, order: this.#order++, work }
    const heap = this.#heap
    let place = heap.push(happening) - 1
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (!isSooner(happening, heap[parent] as Happening)) break
      heap[place] = heap[parent] as Happening
      place = parent
    }
    heap[place] = happening
    return () => {
      happening.work = undefined
    }
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.after(ms, resolve))
  }

  /** Lets so many milliseconds pass; all that follows from one happening is done before the next. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms
    for (let next = this.#heap[0]; next && next.at <= end; next = this.#heap[0]) {
      this.#take()
      this.now = next.at
      if (!next.work) continue
      next.work()
      await new Promise(setImmediate)
    }
    this.now = end
  }

  #take(): void {
    const heap = this.#heap
    const last = heap.pop() as Happening
    if (heap.length === 0) return
    let place = 0
    for (;;) {
      let child = place * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isSooner(heap[child + 1] as Happening, heap[child] as Happening)) child++
      if (!isSooner(heap[child] as Happening, last)) break
      heap[place] = heap[child] as Happening
      place = child
    }
    heap[place] = last
  }
}

function isSooner(one: Happening, other: Happening): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}

/** A process: while it stands still nothing reaches it, and then requests come before announcements, as they may. */
export class Process {
  readonly world: World
  /** Added to the wall clock, and missing from the monotonic one: the machine has slept. */
  sleptMs = 0
  #isStill = false
  readonly clocks: Clocks
  readonly #requests: (() => void)[] = []
  readonly #others: (() => void)[] = []

  constructor(world: World) {
    this.world = world
    this.clocks = {
      monotonic: () => this.world.now,
      wall: () => 1e12 + this.world.now + this.sleptMs,
      after: (ms, work) => this.world.after(ms, () => this.reach(work)),
      every: (ms, work) => {
        let isOver = false
        const again = () => {
          this.world.after(ms, () => {
            if (isOver) return
            this.reach(work)
            again()
          })
        }
        again()
        return () => {
          isOver = true
        }
      },
      polled: (work) => void this.world.after(0, () => this.reach(work)),
    }
  }

  /** Something arrives. */
  reach(work: () => void, isRequest = false): void {
    if (this.#isStill) (isRequest ? this.#requests : this.#others).push(work)
    else work()
  }

  standStill(ms: number): void {
    if (this.#isStill) return
    this.#isStill = true
    this.world.after(ms, () => {
      this.#isStill = false
      const others = this.#others.splice(0)
      this.world.after(0, () => {
        for (const work of others) work()
      })
      for (const work of this.#requests.splice(0)) work()
    })
  }
}

interface Stored {
  readonly id: string
  key: string
  userId: string | null
  version: number
}

interface Listening {
  hear(message: object): void
}

/** One database. All happens at once, when the call arrives. */
export class SimulatedDatabase {
  readonly world: World
  readonly listening: Set<Listening> = new Set()
  readonly #sessions = new Map<string, Stored>()
  #ids = 0
  number = 0
  /** Whether a change of the user is announced. */
  announcesUsers = true
  /** What is told when a session is no more, or has another user: the truth that answers are judged by. */
  ended: (key: string, isByHand: boolean) => void = () => {}
  userEnded: (userId: string) => void = () => {}

  constructor(world: World) {
    this.world = world
  }

  row(key: string): SessionRow | undefined {
    const stored = this.#sessions.get(key)
    if (!stored) return undefined
    const { id, userId, version } = stored
    const now = timeText(1.8e12 + this.world.now)
    const expiresAt = timeText(1.8e12 + this.world.now + 3_600_000)
    const times = { createdAt: now, updatedAt: now, expiresAt, seenAt: now, signedInAt: null, now }
    return { id, userId, data: '{}', version, label: null, tags: null, ...times }
  }

  create(key: string, userId: string): void {
    this.#sessions.set(key, { id: String(++this.#ids), key, userId, version: 1 })
  }

  save(key: string, userId: string | null): Stored | undefined {
    const stored = this.#sessions.get(key)
    if (!stored) return undefined
    stored.version++
    if (userId !== null) {
      if (stored.userId !== null) this.userEnded(stored.userId)
      stored.userId = userId
      if (this.announcesUsers) this.announce('changed', stored.id)
    }
    return stored
  }

  move(key: string, newKey: string): Stored | undefined {
    const stored = this.#sessions.get(key)
    if (!stored) return undefined
    this.#sessions.delete(key)
    this.#sessions.set(newKey, stored)
    this.ended(key, false)
    this.announce('regenerated', stored.id)
    return stored
  }

  end(key: string, isByHand = false): number {
    const stored = this.#sessions.get(key)
    if (!stored) return 0
    this.#sessions.delete(key)
    this.ended(key, isByHand)
    if (!isByHand) this.announce('destroyed', stored.id)
    return 1
  }

  announce(type: string, id: string): void {
    this.send({ type, ids: [Number(id)], n: ++this.number })
  }

  echo(echo: string): object {
    return { type: 'echo', echo, n: this.number, from: 'the only one' }
  }

  send(message: object): void {
    for (const each of this.listening) each.hear(message)
  }
}

/** What a server's pool does: calls that take their time over the network. */
export class Pool implements SessionDatabase, Bell {
  readonly #database: SimulatedDatabase
  readonly #process: Process

  constructor(database: SimulatedDatabase, process: Process) {
    this.#database = database
    this.#process = process
  }

  async call<Result>(work: () => Result): Promise<Result> {
    const { world } = this.#process
    return await new Promise((resolve) => {
      world.after(world.way(), () => {
        const result = work()
        world.after(world.way(), () => this.#process.reach(() => resolve(result)))
      })
    })
  }

  async get(key: Buffer): Promise<SessionRow | undefined> {
    return await this.call(() => this.#database.row(key.toString('latin1')))
  }

  async save({ key, userId }: SaveArguments): Promise<SaveResult> {
    return await this.call(() => resultOf(this.#database.save(key.toString('latin1'), userId)))
  }

  async regenerate({ key }: SaveArguments, newKey: Buffer): Promise<SaveResult> {
    return await this.call(() => resultOf(this.#database.move(key.toString('latin1'), newKey.toString('latin1'))))
  }

  async destroy(key: Buffer): Promise<number> {
    return await this.call(() => this.#database.end(key.toString('latin1')))
  }

  async limit(): Promise<number> {
    return 0
  }

  async put({ key, userId }: PutArguments): Promise<SaveResult> {
    return await this.call(() => resultOf(this.#database.save(key.toString('latin1'), userId)))
  }

  async take(key: Buffer, name: string | null): Promise<string | undefined> {
    const text = key.toString('latin1')
    return await this.call(() => {
      const isTaken = name === null ? this.#database.end(text) > 0 : this.#database.save(text, null) !== undefined
      return isTaken ? 'null' : undefined
    })
  }

  async increment({ key }: IncrementArguments): Promise<IncrementResult> {
    const saved = await this.call(() => this.#database.save(key.toString('latin1'), null))
    return { status: 'saved', value: saved?.version ?? 0 }
  }

  async ring(echo: string): Promise<number> {
    return await this.call(() => {
      this.#database.send(this.#database.echo(echo))
      return 1
    })
  }
}

function resultOf(stored: Stored | undefined): SaveResult {
  const rest = { expiresAt: null, data: null, now: timeText(1.8e12) }
  if (!stored) return { status: 'gone', id: null, version: 0, ...rest }
  return { status: 'saved', id: stored.id, version: stored.version, ...rest }
}

/** A connection that listens: it may be cut, and then notices at once or late. */
export class SimulatedEar implements Ear, Listening {
  readonly #database: SimulatedDatabase
  readonly #process: Process
  readonly places = 1
  #handlers: Tap | undefined
  /** Since when it has heard everything; undefined where it does not. */
  upSince: number | undefined
  /** When it noticed that it was cut. */
  lostAt: number | undefined
  /** When the last message arrives: none overtakes another. */
  #arrivesAt = 0
  #connections = 0
  /** What becomes of a message on its way; undefined where it is lost. */
  alter: (message: object) => object | undefined = (message) => message
  isLossTold = true
  isPingAnswered: (isUp: boolean) => boolean = (isUp) => isUp

  constructor(database: SimulatedDatabase, process: Process) {
    this.#database = database
    this.#process = process
  }

  listen(handlers: Tap): void {
    this.#handlers = handlers
    this.#connect()
  }

  hear(message: object): void {
    const { world } = this.#process
    const connection = this.#connections
    const ms = world.chance(0.3) ? world.random() * 40 : 0.1 + world.random() * 2
    this.#arrivesAt = Math.max(this.#arrivesAt, world.now + ms)
    world.after(this.#arrivesAt - world.now, () => {
      if (connection !== this.#connections) return
      const heard = this.alter(message)
      if (heard) this.#process.reach(() => this.#handlers?.notified(heard, 0))
    })
  }

  async ping(): Promise<void> {
    const { world } = this.#process
    await new Promise<void>((resolve) => {
      if (this.isPingAnswered(this.upSince !== undefined)) world.after(1, () => this.#process.reach(resolve))
    })
  }

  /** @param noticedAfter milliseconds; until then it is deaf and does not know */
  cut(noticedAfter: number): void {
    if (this.upSince === undefined) return
    const { world } = this.#process
    this.upSince = undefined
    this.#connections++
    this.#database.listening.delete(this)
    world.after(noticedAfter, () => {
      this.#process.reach(() => {
        this.lostAt = world.now
        if (this.isLossTold) this.#handlers?.lost()
        world.after(100, () => this.#connect())
      })
    })
  }

  #connect(): void {
    this.#process.world.after(1, () => {
      this.#database.listening.add(this)
      this.upSince = this.#process.world.now
      this.lostAt = undefined
      this.#process.reach(() => this.#handlers?.connected())
    })
  }
}
