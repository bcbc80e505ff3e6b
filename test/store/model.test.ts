// Random sequences of what clients do, against a reference that is small enough to be obviously right.
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStoreError, Session } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, databaseUrl, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'

const store = testStore({ maxLength: 200 })
const owner = testStore({ connectionString: databaseUrl })
test.after(closeAll)

/** One session, as it should be in the database. */
interface ModelSession {
  data: Map<string, number>
  userId: string | undefined
  version: number
  /** The cookie that opens it; undefined once it ended. */
  cookie: string | undefined
  expired: boolean
}

/** A client: a browser with its cookie, and one request under way with what it has read and changed. */
interface Client {
  readonly visitor: Visitor
  /** What the cookie was issued for. */
  session: ModelSession | undefined
  open: OpenRequest | undefined
}

interface OpenRequest {
  readonly req: { headers: { cookie?: string } }
  readonly session: Session
  /** The session that was live when it was read; undefined for a new one. */
  readonly model: ModelSession | undefined
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

const isLive = (model: ModelSession | undefined, cookie: string | undefined): model is ModelSession =>
  model !== undefined && !model.expired && model.cookie !== undefined && tokenOf(model.cookie) === tokenOf(cookie)

type Step = (world: World) => Promise<void>

/** Begins a request: reads the session and checks it against the model. */
const begin =
  (index: number): Step =>
  async ({ clients }) => {
    const client = clients[index] as Client
    const req = client.visitor.request()
    const session = await store.get(req, 'sid')
    const cookie = client.visitor.jar.get('sid')
    const model = isLive(client.session, cookie) ? client.session : undefined
    assert.is(session.isNew, model === undefined)
    assert.equal(new Map(Object.entries(session.values)), model ? sorted(model.data, session) : new Map())
    assert.is(session.userId, model?.userId)
    assert.is(session.version, model?.version ?? 0)
    client.open = {
      req,
      session,
      model,
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

/** What the open request's changes make of the data, or undefined when they change nothing that it saw. */
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
  (index: number, how: 'save' | 'regenerate' | 'destroy'): Step =>
  async (world) => {
    const open = await openRequest(world, index)
    const client = world.clients[index] as Client
    client.open = undefined
    const res = new TestResponse()
    if (how === 'destroy') open.session.options.maxAge = -1
    const work =
      how === 'regenerate' ? store.regenerate(open.req, res, open.session) : store.save(open.req, res, open.session)
    const code = await work.then(
      () => 'ok',
      (error: PGStoreError) => error.code,
    )
    const hadCookie = open.req.headers.cookie !== undefined
    const before = client.visitor.jar.get('sid')
    client.visitor.receive(res)
    const after = client.visitor.jar.get('sid')
    const what = effect(open)
    const { model } = open
    // The cookie that this request came with; another request may have renewed the browser's since.
    const cookie = open.req.headers.cookie?.slice('sid='.length)
    const live = isLive(model, cookie)

    if (how === 'destroy') {
      assert.is(code, 'ok')
      if (live) model.cookie = undefined
      if (model || hadCookie) client.session = undefined
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
        assert.is(code, 'too_large')
        return
      }
      assert.is(code, 'ok')
      const created: ModelSession = { data, userId: open.userId, version: 1, cookie: after, expired: false }
      world.sessions.push(created)
      client.session = created
      return
    }
    const mustWrite = how === 'regenerate' || what !== undefined
    if (!mustWrite) {
      assert.is(code, 'ok')
      return
    }
    if (!live) {
      assert.is(code, 'gone')
      assert.is(after, undefined)
      client.session = undefined
      return
    }
    // One statement, regenerate too: all of it or nothing.
    const changes = what?.changes ?? []
    const data = apply(model.data, changes)
    if (changes.length > 0 && size(data) > 200) {
      assert.is(code, 'too_large')
      assert.is(after, before)
      return
    }
    assert.is(code, 'ok')
    model.data = data
    if (changes.length > 0) model.version += 1
    if (what?.user) model.userId = open.userId
    model.cookie = after
    client.session = model
  }

/** The browser of one client copies another's cookie: two devices, one session. */
const share =
  (from: number, to: number): Step =>
  async ({ clients }) => {
    const [source, target] = [clients[from] as Client, clients[to] as Client]
    const cookie = source.visitor.jar.get('sid')
    if (cookie === undefined) target.visitor.jar.delete('sid')
    else target.visitor.jar.set('sid', cookie)
    target.session = source.session
  }

const expire =
  (index: number): Step =>
  async ({ clients }) => {
    const model = clients[index]?.session
    if (!model) return
    const id = await idOf(model)
    if (id === undefined) return
    await sql("update pgstore.sessions set expires_at = now() - interval '1 second' where id = $1", id)
    model.expired = true
  }

async function idOf(model: ModelSession): Promise<string | undefined> {
  if (model.cookie === undefined) return undefined
  const req = { headers: { cookie: `sid=${model.cookie}` } }
  return (await store.new(req, 'sid')).id
}

const purge: Step = async ({ sessions }) => {
  await owner.purgeExpired()
  for (const model of sessions) if (model.expired) model.cookie = undefined
}

const revoke =
  (userId: string): Step =>
  async ({ sessions }) => {
    const ended = await store.revoke(userId)
    const live = sessions.filter((model) => model.userId === userId && !model.expired && model.cookie !== undefined)
    assert.is(ended, live.length)
    for (const model of live) model.cookie = undefined
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
  { weight: 2, arbitrary: index.map((i) => named(`begin ${i}`, begin(i))) },
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
  { weight: 5, arbitrary: index.map((i) => named(`save ${i}`, end(i, 'save'))) },
  { weight: 2, arbitrary: index.map((i) => named(`regenerate ${i}`, end(i, 'regenerate'))) },
  { weight: 1, arbitrary: index.map((i) => named(`destroy ${i}`, end(i, 'destroy'))) },
  { weight: 2, arbitrary: fc.tuple(index, index).map(([a, b]) => named(`share ${a} ${b}`, share(a, b))) },
  { weight: 1, arbitrary: index.map((i) => named(`expire ${i}`, expire(i))) },
  { weight: 1, arbitrary: fc.constant(named('purge', purge)) },
  { weight: 1, arbitrary: fc.constantFrom('ann', 'bob').map((user) => named(`revoke ${user}`, revoke(user))) },
)

test('clients that read, change, save, regenerate, destroy, share, expire, purge and revoke at random see what the model says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 60, size: 'max' }), async (steps) => {
      await sql('delete from pgstore.sessions')
      const clients = [0, 1, 2].map(() => ({ visitor: new Visitor(), session: undefined, open: undefined }))
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
      const live = world.sessions.filter((model) => model.cookie !== undefined && !model.expired)
      const shown = (data: object, user: unknown, version: unknown) =>
        JSON.stringify([Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1)), user ?? null, version])
      assert.equal(
        rows.map((row) => shown(row['data'] as object, row['user_id'], row['version'])).sort(),
        live.map((model) => shown(Object.fromEntries(model.data), model.userId, model.version)).sort(),
      )
    }),
    { numRuns: counts(50, 150) },
  )
})

test.run()
