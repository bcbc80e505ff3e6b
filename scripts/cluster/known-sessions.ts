// Sessions of which everything is known, so that after a change of partitions it can be said what of them is wrong.
import pg from 'pg'
import type { PGStore } from '../../src/index.ts'
import { query, schema } from './cluster.ts'
import { CountingVisitor, sleep, Tally, type Visited } from './visitors.ts'

/** A user whose sessions are known: at every moment the list is to be exact, and so is what ends them. */
export class Checker {
  readonly #userId: string
  readonly #store: () => PGStore<Visited>
  readonly #known = new Set<string>()
  readonly problems: string[] = []
  checks = 0

  constructor(userId: string, store: () => PGStore<Visited>) {
    this.#userId = userId
    this.#store = store
  }

  begin(): () => Promise<void> {
    let isOver = false
    const work = (async () => {
      for (let round = 0; !isOver; round++) {
        try {
          await this.#round(round)
        } catch (error) {
          this.problems.push(`${this.#userId}: ${String(error)}`)
          // What failed may have been done: from here on nothing is known until all have ended.
          await this.#endAll()
        }
        await sleep(20)
      }
    })()
    return async () => {
      isOver = true
      await work
    }
  }

  async #endAll(): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      try {
        await this.#store().revoke(this.#userId)
        this.#known.clear()
        return
      } catch {
        await sleep(100)
      }
    }
  }

  async #round(round: number): Promise<void> {
    while (this.#known.size < 16) {
      const tally = new Tally()
      const visitor = new CountingVisitor()
      await visitor.visit(this.#store(), tally, (session) => {
        session.userId = this.#userId
      })
      if (visitor.id === undefined) throw new Error(`a sign-in failed, ${[...tally.failures.keys()].join(', ')}`)
      this.#known.add(visitor.id)
    }
    const listed = (await this.#store().list(this.#userId)).map(({ id }) => id)
    this.#check(
      listed.length === this.#known.size && listed.every((id) => this.#known.has(id)),
      `a list of ${listed.length}`,
    )
    const [id = ''] = this.#known
    this.#known.delete(id)
    const ended = await this.#store().revoke(this.#userId, { id })
    this.#check(ended === 1, `revoking one ended ${ended}`)
    if (round % 10 !== 9) return
    const all = await this.#store().revoke(this.#userId)
    this.#check(all === this.#known.size, `revoking ${this.#known.size} ended ${all}`)
    this.#known.clear()
  }

  #check(isExact: boolean, what: string): void {
    this.checks++
    if (!isExact) this.problems.push(what)
  }
}

/** @param key SQL of a key, with the number n */
export async function save(url: string, key: string, count: number, user: string): Promise<void> {
  await query(
    url,
    `select count(*) from ${schema}.session_save(
       array(select ${key} from generate_series(1, ${count}) as n),
       array_fill(jsonb_build_object('theme', 'dark', 'filler', repeat('x', 300)), array[${count}]), array_fill(null::jsonb, array[${count}]),
       array_fill(interval '1 day', array[${count}]), array_fill(0, array[${count}]), array_fill(${user}::text, array[${count}]), 4096, null, false)`,
  )
}

/** Sessions of which more is known than their row: ended by a mark before the growing and in it, and bound to a device. */
export class Special {
  readonly #client: pg.Client

  private constructor(client: pg.Client) {
    this.#client = client
  }

  /** @param url of a proxy that is asked directly, and so not while the others pause */
  static async make(url: string): Promise<Special> {
    for (const user of ['early', 'late', 'bound']) await save(url, keyOf(user), each, `'${user}'`)
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query(`select ${schema}.session_end_before('user:early')`)
    await client.query(
      `select ${schema}.session_bind(s.key, s.id, decode(repeat('ab', 64), 'hex'), 'ES256', sha256('cookie'))
       from ${schema}.session_get(array(select ${keyOf('bound')} from generate_series(1, ${each}) as n)) as s`,
    )
    return new Special(client)
  }

  async endLate(): Promise<void> {
    await this.#client.query(`select ${schema}.session_end_before('user:late')`)
  }

  async problems(): Promise<string[]> {
    const problems: string[] = []
    for (const [user, expected] of Object.entries({ early: 0, late: 0, bound: each })) {
      const { rows } = await this.#client.query(
        `select count(*)::integer as live from ${schema}.session_get(array(select ${keyOf(user)} from generate_series(1, ${each}) as n))`,
      )
      const { live } = rows[0] as { live: number }
      if (live !== expected) problems.push(`of the sessions "${user}" ${live} live`)
    }
    const { rows } = await this.#client.query(
      `select count(*)::integer as bound from generate_series(1, ${each}) as n, ${schema}.session_binding(${keyOf('bound')}) as b
       where b.status = 'bound'`,
    )
    const { bound } = rows[0] as { bound: number }
    if (bound !== each) problems.push(`of ${each} bound sessions ${bound} are`)
    await this.#client.end()
    return problems
  }
}

const each = 200

const keyOf = (user: string) => `sha256(('${user}' || n)::bytea)`
