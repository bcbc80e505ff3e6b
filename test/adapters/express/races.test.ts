// Thousands of overlapping requests of one session; and the same with connect-pg-simple, if bench/ has it installed.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import session, { Cookie, type SessionData } from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../../src/adapters/express-session.ts'
import { admin, closeAll, databaseUrl, sql } from '../../support/harness.ts'
import { App } from './app.ts'

const bench = new URL('../../../bench/', import.meta.url)
const hasPeer = fs.existsSync(new URL('node_modules/connect-pg-simple', bench))
if (!hasPeer) console.log('Skipped: the races with connect-pg-simple. It is not installed: npm ci --prefix bench.')
const peerTest = (name: string, run: () => Promise<void>) => (hasPeer ? test(name, run) : test.skip(name))

const ours = new ExpressSessionStore({ connectionString: databaseUrl })
const apps: App[] = []

test.after(async () => {
  for (const app of apps) await app.close()
  await ours.close()
  await closeAll()
})

function peer(): session.Store {
  const connect: (from: typeof session) => new (options: object) => session.Store =
    createRequire(bench)('connect-pg-simple')
  const PgStore = connect(session)
  return new PgStore({ pool: admin, createTableIfMissing: true, pruneSessionInterval: false })
}

/** A call of a store as express-session makes it. */
async function call<Value>(make: (callback: (error: unknown, value?: Value) => void) => unknown): Promise<Value> {
  return await new Promise((resolve, reject) => {
    make((error, value) => (error ? reject(error as Error) : resolve(value as Value)))
  })
}

/** How many of so many sessions are there again after a request that saves has raced with one that signs out. */
async function revived(store: session.Store, races: number): Promise<number> {
  const sids = Array.from({ length: races }, (_, index) => `race ${index}`)
  const run = async (sid: string, index: number) => {
    await call((done) => store.set(sid, { cookie: new Cookie(), visits: index }, done))
    const loaded = await call<SessionData>((done) => store.load(sid, done))
    loaded.user = 'late'
    const save = async () =>
      await call<void>((done) => store.set(sid, loaded, done)).catch((error) => assert.is(error.code, 'gone'))
    const signOut = async () => await call<void>((done) => store.destroy(sid, done))
    if (index % 2 === 0) await Promise.all([save(), signOut()])
    else await signOut().then(save)
    return (await call((done) => store.get(sid, done))) ? 1 : 0
  }
  let count = 0
  for (let from = 0; from < races; from += 50) {
    const outcomes = await Promise.all(sids.slice(from, from + 50).map((sid, index) => run(sid, from + index)))
    count += outcomes.filter(Boolean).length
  }
  return count
}

/** How many of two changes are kept when two requests over HTTP change different keys at once. */
async function kept(store: session.Store): Promise<Record<string, unknown>> {
  const app = await new App(store).listen()
  apps.push(app)
  const browser = app.browser()
  await browser.get('/set?visits=1')
  const gate = app.gate('slow')
  const slow = browser.copy().get('/set?user=ann&gate=slow')
  await gate.arrived
  await browser.get('/set?cart=apple')
  gate.open()
  await slow
  return await browser.session()
}

test('of 1,000 sessions that are signed out while a request saves, none is revived', async () => {
  assert.is(await revived(ours, 1000), 0)
  assert.equal(await sql('select from pgstore.sessions'), [])
})

peerTest('connect-pg-simple revives sessions in the same races', async () => {
  const count = await revived(peer(), 1000)
  console.log(`connect-pg-simple: ${count} of 1,000 revived`)
  assert.ok(count >= 500, String(count))
})

test('two concurrent requests that change different keys both keep their changes', async () => {
  assert.equal(await kept(ours), { visits: '1', user: 'ann', cart: 'apple' })
})

peerTest('connect-pg-simple loses one of the two changes', async () => {
  assert.equal(await kept(peer()), { visits: '1', user: 'ann' })
})

test('200 concurrent requests that set 200 keys of one session all keep theirs', async () => {
  const sid = 'crowd'
  await ours.set(sid, { cookie: new Cookie() })
  const keys = Array.from({ length: 200 }, (_, index) => `key${index}`)
  await Promise.all(
    keys.map(async (key) => {
      const loaded = await call<SessionData>((done) => ours.load(sid, done))
      Object.assign(loaded, { [key]: true })
      await call((done) => ours.set(sid, loaded, done))
    }),
  )
  const { cookie: _, ...values } = (await ours.get(sid)) as SessionData
  assert.is(Object.keys(values).length, 200)
})

test('of 20 concurrent requests that renew one session, one wins and the others get an error', async () => {
  await ours.set('renewed', { cookie: new Cookie(), visits: 1 })
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const data = (await ours.get('renewed')) as SessionData
      const req = { sessionID: 'renewed', sessionStore: ours } as never as Parameters<typeof ours.renew>[0]
      ours.createSession(req, data)
      return await ours.renew(req).then(
        () => req.sessionID,
        (error) => error.code,
      )
    }),
  )
  const [winner, ...more] = outcomes.filter((outcome) => outcome !== 'gone')
  assert.is(more.length, 0)
  assert.is((await ours.get(winner as string))?.visits, 1)
})

test.run()
