// A commit whose answer is lost: every kind of write, cut at that moment again and again, beside another writer of the same session.
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, row, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'
import { startProxy } from '../support/proxy.ts'
import { report, test } from './faults.ts'

type Values = Record<string, unknown>

const proxy = await startProxy({ url: clientUrl })
/** Loses its connections; the other one does not. */
const far = testStore<Values>({ connectionString: proxy.url, failFast: false })
const near = testStore<Values>()
const rounds = counts(15, 400)

test.after(async () => {
  await closeAll()
  await proxy.close()
})

/** How a call ended whose answer was cut off, or that of the question before it. */
async function cut<Result>(call: () => Promise<Result>): Promise<Result | 'unavailable'> {
  await far.countExpiredSessions().catch(() => {}) // a connection that is known, so that the first answer is the call's
  const done = proxy.cut('answer')
  const result = await call().catch((error: { code?: string }) => {
    assert.is(error.code, 'unavailable')
    return 'unavailable' as const
  })
  await done
  return result
}

async function visited(store: PGStore<Values>, values: Values = {}): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => Object.assign(session.values, values))
  return visitor
}

const read = async (visitor: Visitor) => await near.new(visitor.request(), 'sid')

test('F36: a save whose answer is lost undoes nothing that was saved after it, and what is acknowledged is there', async () => {
  const ends = { saved: 0, unknown: 0, overwritten: 0 }
  for (let n = 1; n <= rounds; n++) {
    const visitor = await visited(near, { x: 0 })
    let isOver = false
    let overwrote = false
    const other = async () => {
      while (!isOver && !overwrote) {
        if ((await read(visitor)).values['x'] !== n) continue
        await visitor.visit(near, ({ values }) => Object.assign(values, { x: -n }))
        overwrote = true
      }
    }
    const session = await far.get(visitor.request(), 'sid')
    session.values['x'] = n
    const watching = n % 2 === 0 ? other() : undefined
    const outcome = await cut(() => far.save(visitor.request(), new TestResponse(), session))
    isOver = true
    await watching
    const { x } = (await read(visitor)).values
    if (overwrote) assert.is(x, -n, 'the other’s value was undone')
    else if (outcome !== 'unavailable') assert.is(x, n, 'an acknowledged value is missing')
    else assert.ok(x === n || x === 0, String(x as number))
    if (overwrote) ends.overwritten++
    ends[outcome === 'unavailable' ? 'unknown' : 'saved']++
  }
  report(
    'F36',
    'a commit whose answer is lost: saves',
    `${rounds} cut: ${ends.saved} saved, ${ends.unknown} unknown and said so; ${ends.overwritten} overwritten meanwhile, none undone, none lost`,
  )
})

test('F36: nobody is signed out, doubled or revived by a lost answer to creating, signing in or signing out', async () => {
  await sql('truncate pgstore.sessions')
  let [created, unknown] = [0, 0]
  for (let n = 0; n < rounds; n++) {
    const visitor = new Visitor()
    const made = await cut(() => visitor.visit(far, ({ values }) => Object.assign(values, { n })))
    if (made === 'unavailable') {
      unknown++
      continue
    }
    created++
    assert.is((await read(visitor)).values['n'], n)

    const [req, res] = [visitor.request(), new TestResponse()]
    const session = await far.get(req, 'sid')
    session.userId = `user ${n}`
    const old = new Map(visitor.jar)
    const moved = await cut(() => far.regenerate(req, res, session))
    visitor.receive(res)
    if (moved === 'unavailable') {
      // It says so, and the visitor's cookie is what it was: it signs in again.
      assert.equal(visitor.jar, old)
      unknown++
      continue
    }
    assert.is((await read(visitor)).userId, `user ${n}`)
    const thief = new Visitor()
    for (const [name, value] of old) thief.jar.set(name, value)
    assert.ok((await read(thief)).isNew)

    const last = visitor.request()
    const ended = await cut(async () => await far.destroy(last, new TestResponse(), await near.new(last, 'sid')))
    assert.is(ended, undefined)
    assert.ok((await near.new(last, 'sid')).isNew)
  }
  const { many, users } = await row<{ many: number; users: number }>(
    'select count(*)::integer as many, count(distinct user_id)::integer as users from pgstore.sessions',
  )
  assert.ok(many <= unknown && users <= unknown, `${many} sessions left, ${unknown} of unknown outcome`)
  report(
    'F36',
    'a commit whose answer is lost: create, sign in, sign out',
    `${rounds} visitors: ${created} made, ${unknown} unknown and said so, 0 doubled, 0 revived`,
  )
})

test('F36: what must happen once is not done twice: counting, taking', async () => {
  const token = `counter ${Math.random()}`
  await near.byToken.put(token, { n: 0 }, { ttl: 1000 })
  let [counted, unknown, taken, lost] = [0, 0, 0, 0]
  for (let n = 0; n < rounds; n++) {
    const outcome = await cut(() => far.byToken.increment(token, 'n', 1, { ttl: 1000 }))
    if (outcome === 'unavailable') unknown++
    else counted++
    await near.byToken.put(`once ${n}`, { secret: n }, { ttl: 1000 })
    const first = await cut(() => far.byToken.take(`once ${n}`, 'secret'))
    const second = await near.byToken.take(`once ${n}`, 'secret')
    if (first === 'unavailable') lost++
    else assert.is(first, n)
    if (first === n) assert.is(second, undefined)
    taken += Number(first === n) + Number(second === n)
  }
  const stored = (await near.byToken.get(token))?.values() as { n: number }
  assert.ok(stored.n >= counted && stored.n <= counted + unknown, `${stored.n}: ${counted} and ${unknown}`)
  assert.ok(taken <= rounds)
  report(
    'F36',
    'a commit whose answer is lost: increment, take',
    `${counted} counted and ${unknown} unknown are ${stored.n}; ${taken} of ${rounds} taken once, ${lost} unknown`,
  )
})

test.run()
