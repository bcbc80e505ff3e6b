// Browsers that wait for their answers, and thieves with copies of their cookies, who read at every server before, while and after a
// session ends: by chance alone that is rare.
import { type TestResponse, Visitor } from '../support/harness.ts'
import { type Answer, type Call, type Kept, now } from './cache-calls.ts'
import type { Fleet } from './cache-fleet.ts'
import type { End, History, Passport } from './cache-history.ts'

const pause = async (ms: number) => await new Promise((resolve) => setTimeout(resolve, ms))

/** Errors that an outage explains. */
const outages = new Set(['unavailable', 'timeout'])

/** A copy of a browser's cookies, of the hint too or not. */
interface Theft {
  readonly passport: Passport
  readonly sid: string
  readonly hint: string | undefined
}

/** All that happens to sessions, until it is told to end. */
export class Visitors {
  reads = 0
  failed = 0
  /** Errors that nothing explains. */
  readonly strange: string[] = []
  readonly fleet: Fleet
  readonly history: History
  readonly random: () => number
  /** By hand, so that nobody is told: ends the sessions of this user. */
  readonly deleteByHand: (userId: string) => Promise<unknown>
  #isOver = false
  #names = 0
  #isHeld = false
  readonly #thefts: Theft[] = []
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(
    fleet: Fleet,
    history: History,
    random: () => number,
    deleteByHand: (userId: string) => Promise<unknown>,
  ) {
    this.fleet = fleet
    this.history = history
    this.random = random
    this.deleteByHand = deleteByHand
    for (let n = 0; n < 12; n++) this.#start(new Browser(this).run())
    for (let n = 0; n < 4; n++) this.#start(this.#steal())
  }

  get isOver(): boolean {
    return this.#isOver
  }

  async end(): Promise<void> {
    this.#isOver = true
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  #start(work: Promise<unknown>): void {
    this.#underWay.add(work)
    void work.finally(() => this.#underWay.delete(work))
  }

  name(kind: string): string {
    return `${kind} ${++this.#names}`
  }

  anyServer(): number {
    return Math.floor(this.random() * this.fleet.servers.length)
  }

  async wait(ms: number): Promise<void> {
    await pause(this.random() * ms)
  }

  async ask(server: number, call: Call): Promise<Answer | undefined> {
    const answer = await this.fleet.servers[server]?.ask(call)
    if (!answer || answer.error === undefined) return answer
    if (outages.has(answer.error)) this.failed++
    else this.strange.push(`${call.op}: ${answer.error}`)
    return undefined
  }

  /** Notes what this shows of the session that the cookie once led to. */
  show(server: number, passport: Passport, { isLive, began, userId }: Answer): void {
    if (isLive) this.history.show({ server, began, passport, userId })
  }

  async #read(server: number, { passport, sid, hint }: Theft): Promise<void> {
    const cookie = `sid=${sid}${hint === undefined ? '' : `; sid-v=${hint}`}`
    const answer = await this.ask(server, { op: 'read', cookie })
    if (!answer) return
    this.reads++
    this.show(server, passport, answer)
  }

  /** Reads at all servers from now on, for a while. Resolves when each has seen the session. */
  async watch(theft: Theft): Promise<void> {
    this.#thefts.push(theft)
    if (this.#thefts.length > 100) this.#thefts.shift()
    const servers = this.fleet.servers.map((_, server) => server)
    await Promise.all(servers.map((server) => this.#read(server, theft)))
    for (const server of servers) {
      const begun = now()
      const follow = async () => {
        for (let ms = 10; !this.#isOver && now() - begun < 700; ms *= 1.2) {
          await this.wait(ms)
          await this.#read(server, theft)
        }
      }
      this.#start(follow())
    }
    if (this.random() < 0.25) await this.#holdAnswers(theft)
  }

  /** Answers to queries that were sent before the end come when it has long been announced. */
  async #holdAnswers(theft: Theft): Promise<void> {
    if (this.#isHeld) return
    this.#isHeld = true
    await this.fleet.answers('hold')
    const other = { ...theft, hint: `a-hint-${++this.#names}` } // under which nothing is cached yet
    const asked = this.#read(0, other)
    await this.wait(20)
    const release = async () => {
      await pause(60 + this.random() * 60)
      await this.fleet.answers('release')
      await asked
      this.#isHeld = false
      for (let ms = 40; ms < 1000 && !this.#isOver; ms *= 1.2) {
        await this.#read(0, other)
        await pause(ms)
      }
    }
    this.#start(release())
  }

  async #steal(): Promise<void> {
    while (!this.#isOver) {
      await this.wait(12)
      const theft = this.#thefts[Math.floor(this.#thefts.length * Math.sqrt(this.random()))]
      if (theft) await this.#read(this.anyServer(), theft)
    }
  }
}

class Browser {
  readonly #visitors: Visitors
  #visitor = new Visitor()
  #passport: Passport = {}
  /** What it was told is saved. */
  #told: Kept = {}
  #userId = ''
  #tag = ''
  #hasSession = false

  constructor(visitors: Visitors) {
    this.#visitors = visitors
  }

  async run(): Promise<void> {
    while (!this.#visitors.isOver) {
      await this.#visitors.wait(30)
      await this.#step()
    }
  }

  get #cookie(): string {
    return this.#visitor.request().headers.cookie ?? ''
  }

  async #step(): Promise<void> {
    const visitors = this.#visitors
    if (!this.#hasSession) await this.#create(visitors.anyServer(), visitors.name('user'))
    if (!this.#hasSession) return
    const what = visitors.random()
    if (what < 0.75) await Promise.all(Array.from({ length: 4 }, () => this.#read()))
    else if (what < 0.87) await this.#save('one')
    else if (what < 0.92) await Promise.all([this.#save('one'), this.#save('two'), this.#read(), this.#read()])
    else if (what < 0.935) await this.#changeUser()
    else if (what < 0.95) await this.#regenerate()
    else await this.#end(what)
  }

  async #create(server: number, userId: string): Promise<Answer | undefined> {
    const visitors = this.#visitors
    this.#visitor = new Visitor()
    this.#passport = {}
    const [name, tag] = [visitors.name('session'), visitors.name('tag')]
    const set = { name, one: 0, two: 0 }
    const answer = await visitors.ask(server, { op: 'save', cookie: '', set, userId, tag })
    this.#hasSession = answer !== undefined
    if (!answer) return undefined
    this.#told = set
    this.#userId = userId
    this.#tag = tag
    this.#receive(answer)
    return answer
  }

  #receive({ cookies = [] }: Answer): void {
    this.#visitor.receive({ cookies } as TestResponse)
  }

  /** Whether the session was there; what it was must be as new as what the browser had been told when it asked. */
  #isRight(answer: Answer, server: number, told: Kept, passport: Passport): boolean {
    const { history } = this.#visitors
    this.#visitors.show(server, passport, answer)
    const { isLive, kept = {}, userId } = answer
    if (!isLive) {
      const isEnding = (passport.askedToEndAt ?? Number.POSITIVE_INFINITY) <= answer.done
      if (!isEnding) history.notWhatWasSaved(`no session at server ${server}`)
      return false
    }
    if (kept.name !== told.name) history.notItsSession(`${kept.name} for ${told.name} at server ${server}`)
    const isOlder = (['one', 'two'] as const).some((tab) => (kept[tab] ?? -1) < (told[tab] ?? 0))
    if (isOlder || userId !== this.#userId) {
      const [seen, known] = [kept, told].map(({ one, two }) => `${one} ${two}`)
      history.notWhatWasSaved(`server ${server}: ${seen} of ${userId} where ${known} of ${this.#userId} was saved`)
    }
    return true
  }

  async #read(): Promise<void> {
    const visitors = this.#visitors
    const [server, told, passport] = [visitors.anyServer(), { ...this.#told }, this.#passport]
    const answer = await visitors.ask(server, { op: 'read', cookie: this.#cookie })
    if (!answer) return
    visitors.reads++
    this.#isRight(answer, server, told, passport)
  }

  /** One tab's counter: nobody else writes it. */
  async #save(tab: 'one' | 'two'): Promise<void> {
    const visitors = this.#visitors
    const [server, told, passport] = [visitors.anyServer(), { ...this.#told }, this.#passport]
    const value = (told[tab] ?? 0) + 1
    const answer = await visitors.ask(server, { op: 'save', cookie: this.#cookie, set: { [tab]: value } })
    if (!answer) return this.#leave()
    visitors.reads++
    if (!this.#isRight(answer, server, told, passport)) return
    this.#told[tab] = value
    this.#receive(answer)
  }

  /** Nobody knows what is stored now, or will be. */
  #leave(): void {
    this.#passport.askedToEndAt ??= now()
    this.#hasSession = false
  }

  /** What a thief has of it now: the hint too, or not. */
  #theft(): Theft {
    const { jar } = this.#visitor
    const hint = this.#visitors.random() < 0.5 ? jar.get('sid-v') : undefined
    return { passport: this.#passport, sid: jar.get('sid') ?? '', hint }
  }

  async #changeUser(): Promise<void> {
    const visitors = this.#visitors
    const [server, userId, before] = [visitors.anyServer(), visitors.name('user'), this.#userId]
    await visitors.watch(this.#theft())
    const answer = await visitors.ask(server, { op: 'save', cookie: this.#cookie, set: {}, userId })
    if (!answer) return this.#leave()
    if (!this.#isRight(answer, server, this.#told, this.#passport)) return
    visitors.history.userEnded(before, answer.done)
    this.#userId = userId
    this.#receive(answer)
  }

  async #regenerate(): Promise<void> {
    const visitors = this.#visitors
    const [server, old] = [visitors.anyServer(), this.#passport]
    await visitors.watch(this.#theft())
    const cookie = this.#cookie
    const answer = await visitors.ask(server, { op: 'regenerate', cookie })
    if (!answer) return this.#leave()
    if (!this.#isRight(answer, server, this.#told, old)) return
    this.#acknowledged('regenerated', answer, server)
    this.#passport = {}
    this.#receive(answer)
  }

  async #end(what: number): Promise<void> {
    const visitors = this.#visitors
    const server = visitors.anyServer()
    const [cookie, userId, tag] = [this.#cookie, this.#userId, this.#tag]
    await visitors.watch(this.#theft())
    this.#passport.askedToEndAt = now()
    this.#hasSession = false
    if (what > 0.995) {
      const isDone = await visitors.deleteByHand(userId).then(
        () => true,
        () => false,
      )
      if (isDone) visitors.history.ended(this.#passport, 'deleted by hand', now(), -1)
    } else if (what > 0.99) {
      // Of one user no more than one session may live.
      const old = this.#passport
      const answer = await this.#create(server, userId)
      if (answer) visitors.history.ended(old, 'limited', answer.done, server)
    } else {
      const call: Call =
        what < 0.97
          ? { op: 'destroy', cookie }
          : what < 0.98
            ? { op: 'revoke', cookie, userId }
            : { op: 'revoke', cookie, tag }
      // The others go on meanwhile.
      const [answer] = await Promise.all([visitors.ask(server, call), this.#read()])
      if (!answer) return
      if (answer.isLive ?? true) this.#acknowledged(call.op === 'revoke' ? 'revoked' : 'destroyed', answer, server)
      else visitors.history.notWhatWasSaved(`no session to end at server ${server}`)
    }
  }

  #acknowledged(how: End, { done, isLiveAfterEnd }: Answer, server: number): void {
    this.#visitors.history.ended(this.#passport, how, done, server, isLiveAfterEnd)
  }
}
