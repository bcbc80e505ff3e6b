// Random sequences of client actions, against a reference model that is small enough to be obviously right. They go through two
// stores: one near the database, and one with a clock that is minutes off, behind a proxy that now and then cuts a connection
// after the server has done what it was asked and before its answer arrives. The role's settings change meanwhile.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type PGStore, type PGStoreError, SecureCookie, type Session } from '../../src/index.ts'
import { newToken } from '../../src/session/token.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, databaseUrl, hashKey, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'
import { fc } from '../support/property.ts'
import { startProxy } from '../support/proxy.ts'

/** A codec of a server whose clock is off: it signs and judges by that. */
class SkewedCookie extends SecureCookie {
  override encode(name: string, value: string): string {
    return skewed(() => super.encode(name, value))
  }

  override decode(name: string, cookie: string): string | undefined {
    return skewed(() => super.decode(name, cookie))
  }
}

function skewed<Result>(work: () => Result): Result {
  const { now } = Date
  Date.now = () => now() - 7 * 60_000
  try {
    return work()
  } finally {
    Date.now = now
  }
}

const proxy = await startProxy({ url: clientUrl })
const store = testStore({ maxLength: 200 })
const far = testStore({ maxLength: 200, connectionString: proxy.url, codecs: [new SkewedCookie(hashKey)] })
const owner = testStore({ connectionString: databaseUrl })
const unknownToken = newToken()
const database = new URL(databaseUrl).pathname.slice(1)
const role = new URL(clientUrl).username
test.after(async () => {
  await sql(`alter role ${role} in database ${database} reset all`)
  await closeAll()
  await proxy.close()
})

/** One session, as it should be in the database. */
interface ModelSession {
  data: Map<string, number>
  userId: string | undefined
  version: number
  /** The token that opens it; undefined once it ended. */
  token: string | undefined
  /** The tokens that it was regenerated from, newest first: eight of them can still end it. */
  formerTokens: string[]
  expired: boolean
}

/** A client: a browser with its cookie, and one request in progress with what it has read and changed. */
interface Client {
  readonly visitor: Visitor
  open: OpenRequest | undefined
}

interface OpenRequest {
  readonly at: PGStore
  readonly req: { headers: { cookie?: string } }
  readonly session: Session
  /** The session that was live when it was read, and its token then; undefined for a new one. */
  readonly model: ModelSession | undefined
  readonly token: string | undefined
  readonly changes: Map<string, number | undefined>
  userId: string | undefined
  readonly seenUserId: string | undefined
  readonly seenKeys: Map<string, number>
}

interface World {
  readonly clients: Client[]
  readonly sessions: ModelSession[]
}

/** Cookies of one token differ in the second they were signed. */
const tokenOf = (cookie: string | undefined) => cookie && store.codecs[0]?.decode('sid', cookie)

const isLive = (model: ModelSession | undefined, token: string | undefined): model is ModelSession =>
  model !== undefined && !model.expired && model.token !== undefined && model.token === token

type Step = (world: World) => Promise<void>

/** Begins a request: reads the session and checks it against the model. */
const begin =
  (index: number, isFar = false, isLost = false): Step =>
  async ({ clients, sessions }) => {
    const client = clients[index] as Client
    const at = isFar ? far : store
    const req = client.visitor.request()
    if (isLost && isFar) void proxy.cut('answer')
    const session = await at.get(req, 'sid')
    proxy.spare() // a cookie that is refused is not asked for
    const token = tokenOf(client.visitor.jar.get('sid'))
    const model = sessions.find((candidate) => isLive(candidate, token))
    assert.is(session.isNew, model === undefined)
    assert.equal(new Map(Object.entries(session.values)), model ? sorted(model.data, session) : new Map())
    assert.is(session.userId, model?.userId)
    assert.is(session.version, model?.version ?? 0)
    client.open = {
      at,
      req,
      session,
      model,
      token,
      changes: new Map(),
      userId: model?.userId,
      seenUserId: model?.userId,
      seenKeys: new Map(model?.data),
    }
  }

async function openRequest(world: World, index: number): Promise<OpenRequest> {
  const client = world.clients[index] as Client
  if (!client.open) await begin(index)(world)
  return client.open as OpenRequest
}

/** jsonb keeps no order of keys: take the one that was read. */
function sorted(data: Map<string, number>, session: Session): Map<string, unknown> {
  const order = Object.keys(session.values)
  return new Map([...data].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)))
}

const change =
  (index: number, key: string, value: number | undefined): Step =>
  async (world) => {
    const open = await openRequest(world, index)
    if (value === undefined) delete open.session.values[key]
    else open.session.values[key] = value
    open.changes.set(key, value)
  }

const signIn =
  (index: number, userId: string | undefined): Step =>
  async (world) => {
    const open = await openRequest(world, index)
    open.session.userId = userId
    open.userId = userId
  }

/** The data with the open request's changes, or undefined if they change nothing that it saw. */
function effect(open: OpenRequest) {
  const changes = [...open.changes].filter(([key, value]) => open.seenKeys.get(key) !== value)
  const user = open.userId !== open.seenUserId
  return changes.length > 0 || user ? { changes, user } : undefined
}

function apply(data: Map<string, number>, changes: readonly [string, number | undefined][]): Map<string, number> {
  const next = new Map(data)
  for (const [key, value] of changes) {
    if (value === undefined) next.delete(key)
    else next.set(key, value)
  }
  return next
}

/** Length of the data as jsonb prints it. */
const size = (data: Map<string, number>) => {
  const members = [...data].map(([key, value]) => `"${key}": ${value}`)
  return `{${members.join(', ')}}`.length
}

const end =
  (index: number, how: 'save' | 'regenerate' | 'destroy', isLost = false): Step =>
  async (world) => {
    const open = await openRequest(world, index)
    const client = world.clients[index] as Client
    const { at, req, session, model, token } = open
    client.open = undefined
    const res = new TestResponse()
    if (how === 'destroy') session.options.maxAge = -1
    if (isLost && at === far) void proxy.cut('answer')
    const work = how === 'regenerate' ? at.regenerate(req, res, session) : at.save(req, res, session)
    const code = await work.then(
      () => 'ok',
      (error: PGStoreError) => error.code,
    )
    proxy.spare() // where nothing was sent, the next step's answer would be cut
    const before = client.visitor.jar.get('sid')
    client.visitor.receive(res)
    const after = client.visitor.jar.get('sid')
    const what = effect(open)
    const isThere = isLive(model, token)
    /** A call that changed nothing and whose response was lost may report an unknown outcome. */
    const refused = (expected: string) => assert.ok(code === expected || (isLost && code === 'unavailable'), code)

    if (how === 'destroy') {
      assert.is(code, 'ok')
      if (model?.token !== undefined && [model.token, ...model.formerTokens].includes(token ?? '') && !model.expired) {
        model.token = undefined // regenerated in the meantime or not
      }
      if (model || req.headers.cookie !== undefined) assert.is(after, undefined)
      return
    }
    if (!model) {
      if (!what) {
        assert.is(code, 'ok')
        assert.is(after, before)
        return
      }
      const data = apply(new Map(), what.changes)
      if (size(data) > 200) {
        refused('too_large')
        return
      }
      assert.is(code, 'ok')
      world.sessions.push({
        data,
        userId: open.userId,
        version: 1,
        token: tokenOf(after),
        formerTokens: [],
        expired: false,
      })
      return
    }
    if (how === 'save' && !what) {
      assert.is(code, 'ok')
      assert.is(after, before)
      return
    }
    if (!isThere) {
      refused('gone')
      assert.is(after, before)
      return
    }
    if (how === 'regenerate' && isLost && code === 'unavailable') {
      // The connection was lost before the call was sent, as it was being opened: all is as it was.
      assert.is((await store.new(req, 'sid')).isNew, false)
      assert.is(after, before)
      return
    }
    // One statement, regenerate too: all of it or nothing.
    const changes = what?.changes ?? []
    const data = apply(model.data, changes)
    if (changes.length > 0 && size(data) > 200) {
      refused('too_large')
      assert.is(after, before)
      return
    }
    assert.is(code, 'ok')
    const isRenamed = what?.user === true && open.userId !== model.userId
    model.data = data
    if (changes.length > 0 || isRenamed) model.version += 1
    if (what?.user) model.userId = open.userId
    if (how === 'save') {
      if (what?.user) assert.is(tokenOf(after), token)
      else assert.is(after, before)
      return
    }
    model.formerTokens = [token as string, ...model.formerTokens].slice(0, 8)
    model.token = tokenOf(after)
    assert.is.not(model.token, token)
  }

/** The browser of one client copies another's cookie: two devices, one session. */
const share =
  (from: number, to: number): Step =>
  async ({ clients }) => {
    const [source, target] = [clients[from] as Client, clients[to] as Client]
    const cookie = source.visitor.jar.get('sid')
    if (cookie === undefined) target.visitor.jar.delete('sid')
    else target.visitor.jar.set('sid', cookie)
  }

const expire =
  (index: number): Step =>
  async ({ clients, sessions }) => {
    const token = tokenOf(clients[index]?.visitor.jar.get('sid'))
    const model = sessions.find((candidate) => isLive(candidate, token))
    if (!model) return
    const past = "now() - interval '1 second'"
    await sql(
      `update pgstore.sessions set expires_at = ${past}, purge_at = ${past} where key = pgstore.session_key($1)`,
      token,
    )
    model.expired = true
  }

/** Settings that change how values print, and how queries are planned: see test/database/settings.test.ts for all of them. */
const settings: readonly (readonly [name: string, value: string])[] = [
  ['bytea_output', 'escape'],
  ['DateStyle', 'SQL, DMY'],
  ['TimeZone', 'Asia/Kathmandu'],
  ['IntervalStyle', 'iso_8601'],
  ['extra_float_digits', '-15'],
  ['plan_cache_mode', 'force_custom_plan'],
  ['enable_indexscan', 'off'],
  ['standard_conforming_strings', 'off'],
  ['transform_null_equals', 'on'],
]

/**
 * For the connections that are opened from now on; those that are open end. Both stores meet that here: a cut, which comes later,
 * is of a call's answer then, and of no connection's that is being opened.
 */
const set =
  (index: number): Step =>
  async () => {
    const [name, value] = settings[index] as (typeof settings)[number]
    await sql(`alter role ${role} in database ${database} set ${name} = '${value}'`)
    await sql(
      'select pg_terminate_backend(pid, 1000) from pg_stat_activity where usename = $1 and datname = $2',
      role,
      database,
    )
    for (const at of [store, far]) assert.is(await at.byToken.get(unknownToken), undefined)
  }

const purge: Step = async ({ sessions }) => {
  await owner.purgeExpired()
  for (const model of sessions) if (model.expired) model.token = undefined
}

const revoke =
  (userId: string): Step =>
  async ({ sessions }) => {
    const ended = await store.revoke(userId)
    const live = sessions.filter((model) => model.userId === userId && !model.expired && model.token !== undefined)
    assert.is(ended, live.length)
    for (const model of live) model.token = undefined
  }

/** A step that fast-check shows by its name. */
interface NamedStep {
  readonly name: string
  readonly run: Step
  readonly [fc.toStringMethod]: () => string
}

function named(name: string, run: Step): NamedStep {
  return { name, run, [fc.toStringMethod]: () => name }
}

const index = fc.integer({ min: 0, max: 2 })
const userId = fc.option(fc.constantFrom('ann', 'bob'), { nil: undefined })
const step: fc.Arbitrary<NamedStep> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(index, fc.boolean(), fc.boolean())
      .map(([i, isFar, isLost]) =>
        named(`begin ${i}${isFar ? ' far' : ''}${isLost ? ' lost' : ''}`, begin(i, isFar, isLost)),
      ),
  },
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        index,
        fc.constantFrom('a', 'b', 'x'.repeat(90), 'y'.repeat(90)),
        fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
      )
      .map(([i, key, value]) => named(`change ${i} ${key.slice(0, 3)} ${value}`, change(i, key, value))),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(index, userId).map(([i, user]) => named(`sign in ${i} ${user}`, signIn(i, user))),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(index, fc.boolean())
      .map(([i, isLost]) => named(`save ${i}${isLost ? ' lost' : ''}`, end(i, 'save', isLost))),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(index, fc.boolean())
      .map(([i, isLost]) => named(`regenerate ${i}${isLost ? ' lost' : ''}`, end(i, 'regenerate', isLost))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(index, fc.boolean())
      .map(([i, isLost]) => named(`destroy ${i}${isLost ? ' lost' : ''}`, end(i, 'destroy', isLost))),
  },
  { weight: 2, arbitrary: fc.tuple(index, index).map(([a, b]) => named(`share ${a} ${b}`, share(a, b))) },
  { weight: 1, arbitrary: index.map((i) => named(`expire ${i}`, expire(i))) },
  { weight: 1, arbitrary: fc.constant(named('purge', purge)) },
  {
    weight: 1,
    arbitrary: fc.nat(settings.length - 1).map((i) => named(`set ${settings[i]?.join(' ')}`, set(i))),
  },
  { weight: 1, arbitrary: fc.constantFrom('ann', 'bob').map((user) => named(`revoke ${user}`, revoke(user))) },
)

test('clients that read, change, save, regenerate, destroy, share, expire, purge and revoke at random see what the model says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 60, size: 'max' }), async (steps) => {
      await sql('delete from pgstore.sessions')
      const clients = [0, 1, 2].map(() => ({ visitor: new Visitor(), open: undefined }))
      const world: World = { clients, sessions: [] }
      const done: string[] = []
      for (const { name, run } of steps) {
        done.push(name)
        try {
          await run(world)
        } catch (error) {
          throw new Error(`After ${done.join(', ')}:\n${(error as Error).stack}`)
        }
      }
      const rows = await sql('select data, user_id, version from pgstore.sessions where expires_at > now()')
      const live = world.sessions.filter((model) => model.token !== undefined && !model.expired)
      const shown = (data: object, user: unknown, version: unknown) =>
        JSON.stringify([Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1)), user ?? null, version])
      assert.equal(
        rows.map((row) => shown(row['data'] as object, row['user_id'], row['version'])).sort(),
        live.map((model) => shown(Object.fromEntries(model.data), model.userId, model.version)).sort(),
      )
    }),
    { numRuns: counts(20, 250) }, // of 45 steps: more than 10,000
  )
})

test.run()
