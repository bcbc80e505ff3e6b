// Whatever a role, a database or a server can set, an answer is right, or an error says what is wrong. `npm test` tries the
// settings that touch text, time, plans or errors; with long counts, as in CI, all of them.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate, PGStore, PGStoreError, type Session } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { closeAll, emptyDatabase, hashKey, sql, TestResponse, Visitor } from '../support/harness.ts'
import { mayFail, roleSettings, settingValues } from '../support/role-settings.ts'

const lanes = 4
const longestMs = 15_000

/** A database and a role for settings that are tried in turn. */
class Lane {
  readonly #owner: pg.Pool
  readonly #url: URL
  readonly role: string

  private constructor(url: string, role: string, password: string) {
    this.#owner = new pg.Pool({ connectionString: url, max: 1 })
    this.#owner.on('error', () => {})
    this.#url = Object.assign(new URL(url), { username: role, password })
    this.role = role
  }

  static async open(n: number): Promise<Lane> {
    const url = await emptyDatabase()
    const role = `${new URL(url).pathname.slice(1)}_role`
    const lane = new Lane(url, role, `password${n}`)
    await migrate(lane.#owner)
    await sql(`create role ${role} login password 'password${n}'`)
    for (const statement of grantStatements(role, ['admin'], 'pgstore')) await lane.#owner.query(statement)
    return lane
  }

  /** Whether this server takes the value for a role. */
  async set(name: string, value: string): Promise<boolean> {
    // Statements that the planner considers expensive are compiled, up to two seconds each.
    if (/^enable_|(?<!^jit.*)_cost$/.test(name)) await this.#owner.query(`alter role ${this.role} set jit = off`)
    const quoted = name === 'search_path' && value.includes(',') ? value : `'${value.replaceAll("'", "''")}'`
    return await this.#owner.query(`alter role ${this.role} set ${name} = ${quoted}`).then(
      () => true,
      () => false,
    )
  }

  async reset(): Promise<void> {
    await this.#owner.query(`alter role ${this.role} reset all`)
    await this.#owner.query('select pgstore.purge_expired(1000000)')
    await this.#owner.query(`update pgstore.cleanup set enabled = false, every = '5 minutes', next_run_at = null`)
  }

  async addExpired(): Promise<void> {
    const expired = `select pgstore.session_save(sha256(uuid_send(gen_random_uuid())), p_version => 0, p_ttl => '1 millisecond')`
    await this.#owner.query(expired)
  }

  /** Its text as the owner sees it. */
  async stored(id: string | undefined): Promise<unknown> {
    const { rows } = await this.#owner.query('select data from pgstore.sessions where id = $1', [id])
    return rows[0]?.data
  }

  pool(): pg.Pool {
    const pool = new pg.Pool({ connectionString: this.#url.href, max: 2, connectionTimeoutMillis: 5000 })
    pool.on('error', () => {})
    return pool
  }

  async close(): Promise<void> {
    await this.#owner.query(`drop owned by ${this.role}`)
    await this.#owner.end()
    await sql(`drop role ${this.role}`)
  }
}

type Values = Record<string, unknown>

const text = 'Zoë ✓ \\x41 \' " {1,NULL}'
const month = 30 * 86_400_000

/**
 * Lone and array calls of everything. Each that is not right throws.
 *
 * @param long of the same sessions, which live twice as long there: a visit touches them
 */
async function everything(lane: Lane, store: PGStore<Values>, long: PGStore<Values>): Promise<void> {
  const user = `user ${Math.random()}`
  const visitors = Array.from({ length: 6 }, () => new Visitor())
  const all = <T>(work: (visitor: Visitor, n: number) => Promise<T>) => Promise.all(visitors.map(work))
  const first = visitors[0] as Visitor
  const loaded = async (visitor: Visitor) => await store.new(visitor.request(), 'sid')
  const fill = (n: number) => (session: Session<Values>) => {
    session.values = { n, text, third: 0.1 + 0.2, large: 1e21, list: [null, 'NULL'] }
    if (n < 2) session.userId = user
  }

  const created = (await all((visitor, n) => visitor.visit(store, fill(n)))).map(({ session }) => session)
  const lone = new Visitor()
  await lone.visit(store, fill(6))
  assert.is(new Set(created.map(({ id }) => id)).size, 6)
  assert.is(((await lane.stored(created[0]?.id)) as Values)['text'], text, 'text that others read')

  const isRight = (session: Session<Values>, n: number) => {
    assert.equal([session.isNew, session.version], [false, 1], 'a live session')
    assert.equal(session.values, { n, text, third: 0.1 + 0.2, large: 1e21, list: [null, 'NULL'] })
    assert.is(session.userId, n < 2 ? user : undefined)
    const { createdAt, expiresAt, id } = session
    assert.ok(Math.abs(Number(createdAt) - Date.now()) < 600_000, `created ${createdAt?.toISOString()}`)
    assert.ok(
      Math.abs(Number(expiresAt) - Number(createdAt) - month) <= month / 50,
      `expires ${expiresAt?.toISOString()}`,
    )
    assert.is(id, created[n]?.id ?? id)
  }
  for (const [n, session] of (await all(loaded)).entries()) isRight(session, n)
  isRight(await loaded(lone), 6)

  await all((visitor, n) => visitor.visit(store, ({ values }) => Object.assign(values, { n: n + 10, more: text })))
  await lone.visit(store, ({ values }) => {
    delete values['list']
  })
  assert.equal(
    (await all(loaded)).map(({ values }) => values['n']),
    [10, 11, 12, 13, 14, 15],
  )
  assert.equal(Object.hasOwn((await loaded(lone)).values, 'list'), false)

  const touched = await all((visitor) => visitor.visit(long))
  for (const { session } of touched) {
    assert.is(session.version, 2, 'a touch is no version')
    assert.ok(Number(session.expiresAt) - Date.now() > 1.9 * month, 'a touch')
  }

  const [one, other] = [await loaded(first), await loaded(first)]
  Object.assign(one.values, { by: 'one' })
  Object.assign(other.values, { by: 'other' })
  await store.save(first.request(), new TestResponse(), one)
  const error = await store.save(first.request(), new TestResponse(), other, { ifUnchanged: true }).catch((e) => e)
  if (error?.code !== 'conflict') throw error ?? new Error('two saves of one version')

  await first.visit(store, async (session, req, res) => await store.regenerate(req, res, session))
  assert.is((await loaded(first)).values['by'], 'one')

  await lone.visit(store, (session) => {
    session.userId = user // the third of two: the oldest ends
  })
  assert.is((await store.list(user)).length, 2)
  const [newest] = await store.list(user)
  assert.ok(Math.abs(Number(newest?.createdAt) - Date.now()) < 600_000)
  assert.is(await store.revoke(user, { id: newest?.id ?? '' }), 1)
  assert.is(await store.revoke(user), 1)

  await all((visitor) => visitor.visit(store, async (session, req, res) => await store.destroy(req, res, session)))
  assert.equal(
    (await all(loaded)).map(({ isNew }) => isNew),
    visitors.map(() => true),
  )

  await store.startCleanup('90 minutes', { worker: false })
  const { enabled, every, nextRunAt } = await store.cleanupStatus()
  assert.equal([enabled, every], [true, '01:30:00'])
  assert.ok(Math.abs(Number(nextRunAt) - Date.now()) < 600_000, `next run ${nextRunAt?.toISOString()}`)
  assert.is((await store.stopCleanup()).enabled, false)

  await lane.addExpired()
  let expired = 0
  for (let tries = 0; tries < 100 && expired === 0; tries++) expired = await store.countExpiredSessions()
  assert.is(expired, 1)
  assert.is(await store.purgeExpired(), 1)
  assert.is(await store.countExpiredSessions(), 0)
}

/** undefined if everything is right, else the error; an error that is not ours is a fault. */
async function attempt(lane: Lane): Promise<PGStoreError | undefined> {
  const pool = lane.pool()
  const options = { pool, keyPairs: [hashKey], sessionsPerUser: 2 }
  const store = new PGStore<Values>(options)
  const long = new PGStore<Values>({ ...options, options: { maxAge: 60 * 86400 } })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('It hangs.')), longestMs)
  })
  try {
    await Promise.race([everything(lane, store, long), late])
    return undefined
  } catch (error) {
    if (!(error instanceof PGStoreError)) throw error
    assert.match(error.message, /\w/)
    return error
  } finally {
    clearTimeout(timer)
    await Promise.all([store.close(), long.close()])
    await pool.end()
  }
}

test.after(closeAll)

test('A1: no setting that a role can have makes an answer wrong', async () => {
  const open = await Promise.all(Array.from({ length: lanes }, (_, n) => Lane.open(n)))
  assert.equal(await Promise.all(open.map(attempt)), [undefined, undefined, undefined, undefined])
  await Promise.all(open.map((lane) => lane.reset()))
  const waiting = (await roleSettings()).flatMap((setting) =>
    settingValues(setting).map((value) => ({ name: setting.name, value })),
  )
  const wrong: string[] = []
  const counts = { tried: 0, refused: 0, failed: [] as string[] }
  await Promise.all(
    open.map(async (lane) => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const { name, value } = next
        if (!(await lane.set(name, value))) {
          counts.refused++
          continue
        }
        counts.tried++
        try {
          const error = await attempt(lane)
          if (error) counts.failed.push(`${name} = ${value}: ${error.code} (${error.message})`)
          if (error && !mayFail.test(name)) wrong.push(`${name} = ${value}: ${error.code} (${error.message})`)
        } catch (error) {
          wrong.push(`${name} = ${value}: ${(error as Error).stack?.slice(0, 1000)}`)
        }
        await lane.reset()
      }
      await lane.close()
    }),
  )
  if (process.env['VERBOSE']) console.log(JSON.stringify(counts, undefined, 1))
  assert.equal(wrong, [])
  assert.ok(counts.tried > 60, `${counts.tried} tried`)
})

test.run()
