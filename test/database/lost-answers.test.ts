// A4: the response to a call is lost with its connection, so it is unknown whether the call has run.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Session } from '../../src/index.ts'
import { clientUrl, closeAll, rejection, row, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'
import { startProxy } from '../support/proxy.ts'

type Values = Record<string, unknown>

const proxy = await startProxy({ url: clientUrl })
const near = testStore<Values>()
const far = testStore<Values>({ connectionString: proxy.url, batch: { inFlight: 1 } })
test.after(async () => {
  await closeAll()
  await proxy.close()
})

/** A visitor whose session was read by the store behind the proxy. */
async function reading(values: Values) {
  const visitor = new Visitor()
  await visitor.visit(near, (session) => Object.assign(session.values, values))
  const req = visitor.request()
  const session = await far.get(req, 'sid')
  assert.equal(session.values, values)
  return { visitor, req, session, res: new TestResponse() }
}

/** Cuts the connection of calls in progress, and lets no other connect until `meanwhile` is done. */
async function losing<Result>(how: 'answer' | 'call', call: () => Promise<Result>, meanwhile: () => Promise<unknown>) {
  let open = () => {}
  proxy.gate = new Promise((resolve) => {
    open = resolve
  })
  const cut = proxy.cut(how)
  const result = call()
  result.catch(() => {})
  await cut
  await meanwhile()
  open()
  proxy.gate = undefined
  return result
}

const save = (visitor: Visitor, change: (session: Session<Values>) => void) => visitor.visit(near, change)
const data = async (id: string | undefined) =>
  (await row<{ data: Values }>('select data from pgstore.sessions where id = $1', id)).data

test('A4: a merge whose answer was lost does not undo what another request has saved over it', async () => {
  const { visitor, req, res, session } = await reading({ x: 0 })
  session.values['x'] = 1
  const id = session.id
  const saving = losing(
    'answer',
    () => far.save(req, res, session),
    () =>
      save(visitor, (other) => {
        assert.is(other.values['x'], 1)
        other.values['x'] = 2
      }),
  )
  assert.is((await rejection(saving)).code, 'unavailable')
  assert.equal(await data(id), { x: 2 })
})

test('A4: nor does it undo a value that was set back to what it had been', async () => {
  const { visitor, req, res, session } = await reading({ x: 0 })
  session.values['x'] = 1
  const id = session.id
  const back = () =>
    save(visitor, (other) => {
      other.values['x'] = 0
    })
  assert.is((await rejection(losing('answer', () => far.save(req, res, session), back))).code, 'unavailable')
  assert.equal(await data(id), { x: 0 })
})

test('A4: a create by token whose answer was lost does not undo what others have saved since', async () => {
  const token = `lost ${Math.random()}`
  const changed = async (values: Values) => {
    const known = await near.byToken.get(token)
    assert.ok(known)
    await near.byToken.save(token, values, { ttl: 100, known })
  }
  const creating = () => far.byToken.save(token, { x: 'A' }, { ttl: 100 })
  const lost = losing('answer', creating, () => changed({ x: 'B', y: 'B' }))
  assert.is((await rejection(lost)).code, 'unavailable')
  assert.equal((await near.byToken.get(token))?.values(), { x: 'B', y: 'B' })
})

test('A4: such a create is saved where what it created is there, and where it never ran', async () => {
  for (const how of ['answer', 'call'] as const) {
    const token = `created ${Math.random()}`
    const known = await losing(
      how,
      () => far.byToken.save(token, { x: 'A' }, { ttl: 100 }),
      async () => {},
    )
    assert.equal(known?.values(), { x: 'A' }, how)
    assert.equal((await near.byToken.get(token))?.values(), { x: 'A' }, how)
  }
})

test('A4: it counts as saved where its values are there, beside what another request has saved', async () => {
  const { visitor, req, res, session } = await reading({ x: 0 })
  session.values['x'] = 1
  await losing(
    'answer',
    () => far.save(req, res, session),
    () =>
      save(visitor, (other) => {
        other.values['y'] = 1
      }),
  )
  assert.equal(await data(session.id), { x: 1, y: 1 })
  session.values['z'] = 1
  await far.save(req, res, session)
  assert.equal(await data(session.id), { x: 1, y: 1, z: 1 })
})

test('A4: a merge that never ran is saved over what another request has saved meanwhile', async () => {
  const { visitor, req, res, session } = await reading({ x: 0 })
  session.values['x'] = 1
  await losing(
    'call',
    () => far.save(req, res, session),
    () =>
      save(visitor, (other) => {
        other.values['y'] = 1
      }),
  )
  assert.equal(await data(session.id), { x: 1, y: 1 })
})

test('A4: a save that removes keys and signs in is recognized as its own', async () => {
  const { req, res, session } = await reading({ x: 0, y: 0 })
  delete session.values['y']
  session.userId = 'ann'
  await losing(
    'answer',
    () => far.save(req, res, session),
    async () => {},
  )
  const stored = await row('select data, user_id, version from pgstore.sessions where id = $1', session.id)
  assert.equal(stored, { data: { x: 0 }, user_id: 'ann', version: 2 })
})

test('A4: a session whose creation was never acknowledged is there once, and its cookie is set', async () => {
  await sql('delete from pgstore.sessions')
  const visitor = new Visitor()
  const req = visitor.request()
  const res = new TestResponse()
  await far.countExpiredSessions().catch(() => {}) // a connection that can be cut
  const session = await far.get(req, 'sid')
  session.values['x'] = 1
  await losing(
    'answer',
    () => far.save(req, res, session),
    async () => {},
  )
  visitor.receive(res)
  assert.is((await near.get(visitor.request(), 'sid')).values['x'], 1)
  assert.is(Number((await row('select count(*) from pgstore.sessions'))['count']), 1)
})

test('A4: a regenerate whose answer was lost leaves the visitor signed in, with the new token', async () => {
  const { visitor, req, res, session } = await reading({ x: 0 })
  session.userId = 'ann'
  await losing(
    'answer',
    () => far.regenerate(req, res, session),
    async () => {},
  )
  const old = visitor.request()
  visitor.receive(res)
  assert.is((await near.get(visitor.request(), 'sid')).userId, 'ann')
  assert.is((await near.new(old, 'sid')).isNew, true)
})

test('A4: a sign-out whose answer was lost still signs out', async () => {
  const { visitor, req, res, session } = await reading({ x: 0 })
  await losing(
    'answer',
    () => far.destroy(req, res, session),
    async () => {},
  )
  assert.is((await near.new(visitor.request(), 'sid')).isNew, true)
  visitor.receive(res)
  assert.is(visitor.jar.size, 0)
})

test('A4: of many saves that were lost in one call, each is judged by itself', async () => {
  const visits = await Promise.all(Array.from({ length: 20 }, async () => await reading({ x: 0 })))
  for (const { session } of visits) session.values['x'] = 1
  const ids = visits.map(({ session }) => session.id)
  let codes: string[] = []
  const all = async () => {
    const saves = visits.map(({ req, res, session }) =>
      far.save(req, res, session).then(
        () => 'saved',
        (error: { code: string }) => error.code,
      ),
    )
    codes = await Promise.all(saves)
  }
  const others = visits.filter((_visit, index) => index % 2 === 0)
  const overwrite = () =>
    Promise.all(
      others.map(({ visitor }) =>
        save(visitor, (other) => {
          other.values['x'] = 2
        }),
      ),
    )
  await losing('answer', all, overwrite)
  for (const [index, code] of codes.entries()) {
    const { x } = (await data(ids[index])) as { x: number }
    assert.equal([code, x], index % 2 === 0 ? ['unavailable', 2] : ['saved', 1])
  }
})

test.run()
