// The cache in the manner of Jepsen: three servers that are processes, browsers and thieves, a listener that is cut, deaf or slow, a
// server that stands still, a database that crashes and restarts. All that was shown is judged afterwards: nothing may be shown that
// docs/cache.md rules out. And with a rule taken out of the cache the checker must find what breaks, or it would prove nothing.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import * as assert from 'uvu/assert'
import { migrate } from '../../src/index.ts'
import { randomFrom } from '../cache/world.ts'
import { counts } from '../support/counts.ts'
import { closeAll, until } from '../support/harness.ts'
import { now, type Rule, type ServerReport } from './cache-calls.ts'
import { Fleet } from './cache-fleet.ts'
import { allowedMs, History, isSound, type Verdict, type Violations } from './cache-history.ts'
import { Visitors } from './cache-visitors.ts'
import { quantile, report, test } from './faults.ts'
import { canStartServers, OwnServer } from './own-server.ts'

/** Seconds, of each server. */
const maxStale = [1, 2, 1]
const maxStaleMs = maxStale.map((seconds) => seconds * 1000)

const server = new OwnServer({ max_connections: '60' })
let admin: pg.Pool
let fleet: Fleet

if (canStartServers) {
  test.before(async () => {
    await server.start()
    admin = new pg.Pool({ connectionString: server.url, connectionTimeoutMillis: 5000 }).on('error', () => {})
    await migrate(admin)
    fleet = new Fleet(server.url, maxStale.length)
  })
  test.after(async () => {
    await fleet.end()
    await admin.end()
    await server.remove()
  })
} else console.log('Skipped: the tests run on a server that is not ours to stop.')
test.after(closeAll)

const serverTest = (sentence: string, body: () => Promise<void>) =>
  canStartServers ? test(sentence, body) : test.skip(sentence)

class Run {
  readonly history: History = new History()
  readonly #random = randomFrom(randomBytes(4).readUInt32LE())
  /** Times in which a server stood still, and its bare client with it. */
  readonly #stills: { readonly server: number; readonly from: number; readonly to: number }[] = []
  readonly fleet: Fleet
  readonly visitors: Visitors
  readonly startedAt: number = now()
  faults = 0

  constructor(fleet: Fleet) {
    this.fleet = fleet
    this.visitors = new Visitors(fleet, this.history, this.#random, (userId) =>
      admin.query('delete from pgstore.sessions where user_id = $1', [userId]),
    )
  }

  async pass(least: number, most: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, least + this.#random() * (most - least)))
  }

  /** Each fault once, in an order of its own, with times of peace between. */
  async disturb(): Promise<void> {
    const faults = [
      () => this.#cut(),
      () => this.#silence(),
      () => this.#delay(),
      () => this.#standStill(),
      () => this.#crash(),
      () => this.#restart(),
    ]
    while (faults.length > 0) {
      await this.pass(300, counts(800, 3000))
      const [fault] = faults.splice(Math.floor(this.#random() * faults.length), 1)
      await fault?.()
      this.faults++
    }
  }

  async #deaf(who: number | 'all', work: () => Promise<unknown>): Promise<void> {
    const from = now()
    await work()
    this.history.deafTimes.push({ server: who, from, to: now() })
  }

  async #cut(): Promise<void> {
    const who = this.visitors.anyServer()
    await this.#deaf(who, () => this.fleet.listener(who, 'sever'))
  }

  /** Nothing arrives, and no end of the connection either. */
  async #silence(): Promise<void> {
    const who = this.visitors.anyServer()
    await this.#deaf(who, async () => {
      await this.fleet.listener(who, 'silence')
      await this.pass(300, 3000)
      await this.fleet.listener(who, 'sever')
      await this.fleet.listener(who, 'speak')
    })
  }

  async #delay(): Promise<void> {
    const who = this.visitors.anyServer()
    await this.#deaf(who, async () => {
      await this.fleet.listener(who, 'hold')
      await this.pass(200, 1500)
      await this.fleet.listener(who, 'release')
    })
  }

  /** Its listener is left alone: what is announced meanwhile must count before what is asked meanwhile. */
  async #standStill(): Promise<void> {
    const who = this.visitors.anyServer()
    const child = this.fleet.servers[who]?.process
    const from = now()
    child?.kill('SIGSTOP')
    await this.pass(100, 400)
    child?.kill('SIGCONT')
    this.#stills.push({ server: who, from, to: now() })
  }

  async #crash(): Promise<void> {
    await this.#deaf('all', async () => {
      const { rows } = await admin.query<{ pid: number }>(
        `select pid from pg_stat_activity where application_name = 'pgstore listen' limit 1`,
      )
      if (rows[0]) process.kill(rows[0].pid, 'SIGKILL')
      await this.#answers()
    })
  }

  async #restart(): Promise<void> {
    await this.#deaf('all', async () => {
      await server.stop()
      await this.pass(100, 600)
      await server.start()
      await this.#answers()
    })
  }

  async #answers(): Promise<void> {
    await until(() =>
      admin.query('select').then(
        () => true,
        () => false,
      ),
    )
  }

  /** Milliseconds from the answer to a NOTIFY to when a bare client has heard it, where that did not stand still. */
  bareDelays(reports: readonly ServerReport[]): number[] {
    const sent = new Map(reports.flatMap((report) => report.sent))
    return reports.flatMap(({ heard }, who) =>
      heard.flatMap(([name, at]) => {
        const from = sent.get(name)
        const isStill = this.#stills.some(
          (still) => still.server === who && still.from <= at && still.to >= (from ?? at),
        )
        return from === undefined || isStill ? [] : [Math.max(0, at - from)]
      }),
    )
  }
}

interface Outcome {
  readonly run: Run
  readonly verdict: Verdict
  readonly bareMs: number
  /** What cost no query. */
  readonly hits: number
  readonly text: string
}

/** What is known of it by now. */
async function judge(run: Run): Promise<Outcome> {
  const { history, visitors, startedAt } = run
  const reports = await run.fleet.reports()
  const delays = run.bareDelays(reports)
  const bareMs = delays.reduce((most, delay) => Math.max(most, delay), 0)
  const verdict = history.judge(bareMs, maxStaleMs)
  const sum = (count: 'reads' | 'hits') => reports.reduce((total, report) => total + report[count], 0)
  const share = Math.round((100 * sum('hits')) / sum('reads'))
  const seconds = Math.round((now() - startedAt) / 1000)
  const ms = (value: number) => `${value.toFixed(1)} ms`
  const violations = Object.entries(verdict.violations).map(([name, many]) => `${name} ${many}`)
  const bare = `${ms(quantile(delays, 0.5))} (p50), ${ms(quantile(delays, 0.99))} (p99), ${ms(bareMs)} (worst of ${delays.length})`
  const text = [
    `${visitors.reads} reads in ${seconds} s, ${share} % from the caches, ${visitors.failed} calls failed`,
    `${history.ends} ends, ${history.userChanges} changes of user, ${run.faults} faults`,
    `a bare LISTEN client heard after ${bare}`,
    `shown after their end by servers that heard: ${verdict.late}, the latest after ${ms(verdict.latestHearing)}`,
    `by any: the latest after ${ms(verdict.latest)}`,
    `violations: ${violations.join(', ')}`,
  ].join('; ')
  return { run, verdict, bareMs, hits: sum('hits'), text }
}

/** Lets visitors come until `isEnough`, and judges when all have left. */
async function check(without: Rule | undefined, goOn: (run: Run) => Promise<unknown>): Promise<Outcome> {
  await fleet.open(maxStale, without)
  const run = new Run(fleet)
  await goOn(run)
  await run.visitors.end()
  const outcome = await judge(run)
  console.log([outcome.text, ...outcome.verdict.examples].join('\n'))
  assert.equal(run.visitors.strange, [])
  return outcome
}

serverTest('C1: no session is shown that docs/cache.md rules out, whatever fails', async () => {
  const reads = counts(1500, 200_000)
  const { run, verdict, bareMs, hits, text } = await check(undefined, async (run) => {
    while (run.visitors.reads < reads) await run.disturb()
  })
  assert.ok(isSound(verdict.violations), [text, ...verdict.examples].join('\n'))
  // A cache that never serves breaks no promise, and neither does one that is never asked.
  assert.ok(hits > reads / 20 && run.history.ends > reads / 200 && run.history.userChanges > 0, text)
  report('C1', 'A fleet of three caches under all faults', text, {
    'latest while hearing': { is: verdict.latestHearing, most: bareMs + allowedMs },
  })
})

/** What shows that a rule is off. */
const broken: Record<Rule, readonly (keyof Violations)[]> = {
  announcements: ['dead', 'user', 'deadAfterMaxStale'],
  fence: ['dead'],
  ownWrites: ['deadHere'],
  hint: ['readYourWrites'],
}

for (const [rule, expected] of Object.entries(broken) as [Rule, (keyof Violations)[]][]) {
  serverTest(`the checker finds it where the rule "${rule}" is taken out of the cache`, async () => {
    const isFound = ({ verdict }: Outcome) => expected.every((violation) => verdict.violations[violation] > 0)
    const { verdict } = await check(rule, (run) => until(async () => isFound(await judge(run)), 60))
    assert.ok(expected.every((violation) => verdict.violations[violation] > 0))
  })
}

test.run()
