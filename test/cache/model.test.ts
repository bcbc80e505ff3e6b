// The cache's rules against a model: three servers in virtual time, listeners that are cut, answers that are slow, browsers that wait
// for theirs, thieves with old cookies. With all rules nothing that is promised breaks; with any one switched off it does, or the
// model would prove nothing. A rule is switched off in what the cache works with: the cache itself is the one that ships.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { NotedSessions } from '../../src/cache/noted-sessions.ts'
import { SessionCache } from '../../src/cache/session-cache.ts'
import type { SaveArguments, SessionDatabase, SessionRow } from '../../src/database/row.ts'
import { counts } from '../support/counts.ts'
import { Pool, Process, SimulatedDatabase, SimulatedEar, World } from './world.ts'

const maxStaleMs = 5000

/** A listener that is up tells within this time. */
const toldMs = 50

/** A listener that does not hear is found out within this time, while sessions are read. */
const foundOutMs = 2600

interface Rules {
  /** What an answer may become is fixed when its query is sent. */
  readonly fence: boolean
  /** A joined answer is judged again when it arrives. */
  readonly secondLook: boolean
  /** The loss of the listener is told at once. */
  readonly lossIsTold: boolean
  /** The listening connection is asked whether it is still there. */
  readonly ping: boolean
  /** What is sent through the pool must be heard before anything is served. */
  readonly echo: boolean
  /** An announcement that is missing is noticed by its number. */
  readonly numbers: boolean
  /** Own writes count when their outcome is known. */
  readonly ownWritesAtEnd: boolean
  readonly hint: boolean
  readonly usersAnnounced: boolean
  /** Nothing is served until a process that stood still has caught up. */
  readonly catchingUp: boolean
}

const all: Rules = {
  fence: true,
  secondLook: true,
  lossIsTold: true,
  ping: true,
  echo: true,
  numbers: true,
  ownWritesAtEnd: true,
  hint: true,
  usersAnnounced: true,
  catchingUp: true,
}

/** What must not happen, and how often it did. */
interface Violations {
  /** A session that had ended more than `toldMs` before the request, shown by a server whose listener was up all the time. */
  dead: number
  /** The same after maxStale, however it ended and whoever listens. */
  deadAfterMaxStale: number
  /** The same after `foundOutMs`, unless it was deleted by hand. */
  deadWhileDeaf: number
  /** Another user than the session's, for more than `toldMs`, with the listener up all the time. */
  user: number
  /** Less than the browser was told. */
  readYourWrites: number
  /** A session that this very server had ended. */
  deadHere: number
  /** Hits 20 ms or more after the listener's loss was noticed. */
  blind: number
}

class Server {
  readonly process: Process
  readonly ear: SimulatedEar
  readonly pool: Pool
  readonly cache: SessionCache
  readonly sessions: SessionDatabase
  /** When this server told that it had ended a session. */
  readonly ended = new Map<string, number>()
  readonly #rules: Rules
  readonly #shared = new Map<string, Promise<SessionRow | undefined>>()
  hits = 0
  /** Until then, answers for the cache are held back. */
  heldUntil = 0
  /** Hits 20 ms or more after the listener noticed that it was cut, before it was back. */
  blind = 0

  constructor(world: World, database: SimulatedDatabase, rules: Rules, isDeaf: boolean) {
    this.#rules = rules
    this.process = new Process(world)
    // Deaf: it listens to another server than the one its pool leads to, and all its checks pass.
    this.ear = new SimulatedEar(isDeaf ? new SimulatedDatabase(world) : database, this.process)
    this.ear.isLossTold = rules.lossIsTold
    if (!rules.ping) this.ear.isPingAnswered = () => true
    this.pool = new Pool(database, this.process)
    const { process, ear, pool } = this
    let heard = 0
    ear.alter = (message) => {
      if ('echo' in message) return rules.numbers ? message : { ...message, n: heard }
      if (!('n' in message)) return message
      if (world.chance(rules.numbers ? 0.01 : 0.05)) {
        ear.upSince = world.now // lost on the way, which no network does: nothing is promised for what was announced before
        return undefined
      }
      heard++
      return rules.numbers ? message : { ...message, n: heard }
    }
    this.cache = new SessionCache(
      { maxStale: maxStaleMs / 1000, sessions: 1000, bytes: 1e9, byToken: false },
      {
        clocks: rules.catchingUp ? process.clocks : { ...process.clocks, polled: (work) => work() },
        ear,
        bell: {
          ring: async (echo) => {
            const told = await pool.ring(echo)
            if (!rules.echo) ear.hear(database.echo(echo))
            return told
          },
        },
        read: async (key, sent) => {
          if (rules.fence) sent()
          const row = await pool.get(key)
          if (world.now < this.heldUntil) await world.sleep(this.heldUntil - world.now)
          if (!rules.fence) sent()
          return row
        },
        schema: 'pgstore',
      },
    )
    this.sessions = rules.ownWritesAtEnd ? new NotedSessions(pool, this.cache, false) : this.#notedTooEarly()
  }

  /** The way of a request to its session. */
  async read(token: string, hint: string | undefined): Promise<SessionRow | undefined> {
    const { cache, pool } = this
    const key = Buffer.from(token, 'latin1')
    if (!(await cache.isOpen())) return await pool.get(key)
    const found = cache.find(token, hint)
    if (found) {
      this.hits++
      const { lostAt } = this.ear
      if (lostAt !== undefined && this.process.world.now - lostAt >= 20) this.blind++
      return found.row
    }
    if (!this.#rules.secondLook) {
      const shared = this.#shared.get(token)
      if (shared) return await shared
    }
    const joined = await cache.join(token, hint)
    if (joined) return joined.row
    const answer = cache.read({ digest: token, key, hint, codec: undefined, signedAt: 0 }).then((entry) => entry?.row)
    this.#shared.set(token, answer)
    const row = await answer
    if (this.#shared.get(token) === answer) this.#shared.delete(token)
    return row
  }

  #notedTooEarly(): SessionDatabase {
    const { pool, cache } = this
    return {
      get: (key) => pool.get(key),
      save: async (save) => {
        cache.written(save.key, false)
        return await pool.save(save)
      },
      regenerate: async (save, newKey) => {
        cache.written(save.key, false)
        return await pool.regenerate(save, newKey)
      },
      destroy: async (key) => {
        cache.written(key, false)
        return await pool.destroy(key)
      },
      put: async (put) => await pool.put(put),
      take: async (key, name) => await pool.take(key, name),
      increment: async (increment) => await pool.increment(increment),
      limit: () => pool.limit(),
    }
  }
}

interface Browser {
  token: string
  hint: string | undefined
  version: number
  userId: string
}

const none: Violations = {
  dead: 0,
  deadAfterMaxStale: 0,
  deadWhileDeaf: 0,
  user: 0,
  readYourWrites: 0,
  deadHere: 0,
  blind: 0,
}

class Model {
  readonly world: World
  readonly violations: Violations = { ...none }
  reads = 0
  readonly servers: Server[]
  readonly #rules: Rules
  readonly #database: SimulatedDatabase
  readonly #ended = new Map<string, { readonly at: number; readonly isByHand: boolean }>()
  readonly #usersEnded = new Map<string, number>()
  /** The tokens that thieves know, the latest last. */
  readonly #tokens: string[] = []
  #names = 0

  constructor(seed: number, rules: Rules) {
    this.#rules = rules
    this.world = new World(seed)
    const database = new SimulatedDatabase(this.world)
    database.announcesUsers = rules.usersAnnounced
    database.ended = (key, isByHand) => void this.#ended.set(key, { at: this.world.now, isByHand })
    database.userEnded = (userId) => void this.#usersEnded.set(userId, this.world.now)
    this.#database = database
    this.servers = [false, false, false].map(() => new Server(this.world, database, rules, false))
    if (!rules.echo) this.servers[2] = new Server(this.world, database, rules, true)
    for (let n = 0; n < 12; n++) void this.#browse()
    for (let n = 0; n < 6; n++) void this.#steal()
    for (const server of this.servers) void this.#disturb(server)
  }

  get hits(): number {
    return this.servers.reduce((sum, { hits }) => sum + hits, 0)
  }

  #name(kind: string): string {
    return `${kind}${++this.#names}`
  }

  #create(): Browser {
    const token = this.#name('token')
    const userId = this.#name('user')
    this.#database.create(token, userId)
    this.#tokens.push(token)
    return { token, hint: undefined, version: 1, userId }
  }

  #anyServer(): Server {
    return this.servers[Math.floor(this.world.random() * this.servers.length)] as Server
  }

  /** A request that a client sends now. */
  async #request<Answer>(server: Server, work: () => Promise<Answer>): Promise<Answer> {
    return await new Promise((resolve) => {
      this.world.after(0.2, () => {
        server.process.reach(() => {
          void work().then((answer) => this.world.after(0.2, () => resolve(answer)))
        }, true)
      })
    })
  }

  async #read(server: Server, token: string, hint: string | undefined, browser?: Browser): Promise<void> {
    const began = this.world.now
    const told = browser && { ...browser }
    const row = await this.#request(server, () => server.read(token, this.#rules.hint ? hint : undefined))
    this.reads++
    this.#judge(server, token, row, began, told)
  }

  #judge(server: Server, token: string, row: SessionRow | undefined, began: number, told: Browser | undefined): void {
    if (!row) return
    const { violations } = this
    const { upSince } = server.ear
    const hasHeardSince = (at: number) => upSince !== undefined && upSince <= at
    const end = this.#ended.get(token)
    const since = end ? began - end.at : 0
    if (end && !end.isByHand && since > toldMs && hasHeardSince(end.at)) violations.dead++
    if (end && since > maxStaleMs) violations.deadAfterMaxStale++
    if (end && !end.isByHand && since > foundOutMs) violations.deadWhileDeaf++
    if ((server.ended.get(token) ?? began) < began) violations.deadHere++
    const userEnd = this.#usersEnded.get(row.userId ?? '')
    if (userEnd !== undefined && began - userEnd > toldMs && hasHeardSince(userEnd)) violations.user++
    if (told && (row.version < told.version || row.userId !== told.userId)) violations.readYourWrites++
  }

  async #browse(): Promise<void> {
    let browser = this.#create()
    for (;;) {
      await this.world.sleep(this.world.random() * 30)
      const server = this.#anyServer()
      const what = this.world.random()
      if (what < 0.8) await this.#read(server, browser.token, browser.hint, browser)
      else if (what < 0.98) await this.#save(server, browser, what > 0.93)
      else if (what < 0.99) await this.#regenerate(server, browser)
      else {
        await this.#end(server, browser, what > 0.998)
        browser = this.#create()
      }
    }
  }

  /** Reads on all servers while something is done to this session, and soon after: by chance alone that is rare. */
  #watch(token: string): void {
    if (!this.world.chance(0.3)) return
    for (const server of this.servers) {
      if (this.world.chance(0.3)) server.heldUntil = this.world.now + 100
      else if (this.world.chance(0.05)) server.process.standStill(120 + this.world.random() * 100)
      for (const ms of [0, 1, 2, 4, 55, 60, 80].map((ms) => ms + this.world.random() * 2)) {
        this.world.after(ms, () => void this.#read(server, token, undefined))
      }
    }
  }

  async #save(server: Server, browser: Browser, isUserNew: boolean): Promise<void> {
    const userId = isUserNew ? this.#name('user') : null
    if (isUserNew) this.#watch(browser.token)
    const key = Buffer.from(browser.token, 'latin1')
    const saved = await this.#request(server, () => server.sessions.save({ ...nothing, key, userId }))
    if (saved.status !== 'saved') return
    browser.version = saved.version
    browser.userId = userId ?? browser.userId
    browser.hint = this.#name('hint')
  }

  async #regenerate(server: Server, browser: Browser): Promise<void> {
    const token = this.#name('token')
    this.#watch(browser.token)
    const [key, newKey] = [Buffer.from(browser.token, 'latin1'), Buffer.from(token, 'latin1')]
    const moved = await this.#request(server, async () => {
      const moved = await server.sessions.regenerate({ ...nothing, key }, newKey)
      server.ended.set(browser.token, this.world.now)
      return moved
    })
    if (moved.status !== 'saved') return
    browser.token = token
    this.#tokens.push(token)
  }

  async #end(server: Server, { token }: Browser, isByHand: boolean): Promise<void> {
    this.#watch(token)
    if (isByHand) {
      this.#database.end(token, true)
      return
    }
    await this.#request(server, async () => {
      await server.sessions.destroy(Buffer.from(token, 'latin1'))
      server.ended.set(token, this.world.now)
      this.world.after(0.1, () => void this.#read(server, token, undefined))
    })
  }

  async #steal(): Promise<void> {
    for (;;) {
      await this.world.sleep(this.world.random() * 4)
      const latest = this.#tokens.length - 1 - Math.floor(this.world.random() ** 3 * 150)
      await this.#read(this.#anyServer(), this.#tokens[Math.max(latest, 0)] as string, undefined)
    }
  }

  /** Cuts its listener, now and then without a sign, and stops it now and then. */
  async #disturb(server: Server): Promise<void> {
    for (;;) {
      await this.world.sleep(this.world.random() * 8000)
      if (this.world.chance(0.4)) server.process.standStill(100 + this.world.random() * 200)
      else server.ear.cut(this.world.chance(this.#rules.ping ? 0.4 : 1) ? this.world.random() * 8000 : 0.1)
    }
  }
}

const nothing: Omit<SaveArguments, 'key'> = {
  set: '{}',
  unset: [],
  ttlSeconds: 3600,
  version: null,
  userId: null,
  label: null,
  tags: null,
  lives: null,
  announce: false,
  relaxed: false,
  maxLength: 0,
  lifetimeSeconds: null,
  knownVersion: 1,
}

async function run(seed: number, rules: Rules, seconds: number): Promise<Model> {
  const model = new Model(seed, rules)
  await model.world.pass(seconds * 1000)
  model.violations.blind = model.servers.reduce((sum, { blind }) => sum + blind, 0)
  return model
}

test('with all rules no promise is broken', async () => {
  let hits = 0
  for (let seed = 1; seed <= counts(1, 6); seed++) {
    const model = await run(seed, all, counts(15, 120))
    console.log(`seed ${seed}: ${model.reads} reads, ${model.hits} hits`)
    assert.equal(model.violations, none, `seed ${seed}`)
    hits += model.hits
  }
  assert.ok(hits > 1000, 'a cache that never serves breaks no promise')
})

/** What shows that a rule is off. */
const broken: Record<keyof Rules, keyof Violations> = {
  fence: 'dead',
  secondLook: 'dead',
  lossIsTold: 'blind',
  ping: 'deadWhileDeaf',
  echo: 'deadWhileDeaf',
  numbers: 'deadWhileDeaf',
  ownWritesAtEnd: 'deadHere',
  hint: 'readYourWrites',
  usersAnnounced: 'user',
  catchingUp: 'dead',
}

for (const [rule, violation] of Object.entries(broken) as [keyof Rules, keyof Violations][]) {
  test(`the model finds it where the rule "${rule}" is off`, async () => {
    let found = 0
    let seeds = 0
    for (let seed = 1; seed <= 60 && found === 0; seed++) {
      seeds++
      const model = await run(seed, { ...all, [rule]: false }, 6)
      found += model.violations[violation]
    }
    console.log(`${rule}: ${found} in ${seeds} runs`)
    assert.ok(found > 0)
  })
}

test.run()
