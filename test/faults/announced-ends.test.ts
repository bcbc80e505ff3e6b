// An end that is announced while a read of the session is under way: whichever comes first, once a server has heard of the end it
// shows the session no more.
import * as assert from 'uvu/assert'
import { type PGStore, PGStoreError } from '../../src/index.ts'
import { randomFrom } from '../cache/world.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, testStore, until, Visitor } from '../support/harness.ts'
import { startProxy } from '../support/proxy.ts'
import { report, test } from './faults.ts'

const proxy = await startProxy({ url: clientUrl }) // answers arrive later than announcements, and earlier

test.after(async () => {
  await closeAll()
  await proxy.close()
})

const races = counts(2000, 100_000)
const atOnce = 50

const userOf = (race: number) => `user ${race}`

test('F49: of races between a read and an end that is announced, none leaves the ended session in the cache', async () => {
  const reader = testStore({
    connectionString: proxy.url,
    directConnectionString: clientUrl,
    cache: { maxStale: 60, sessions: 2 * atOnce },
  })
  const other = testStore()
  const heard = new Set<string>()
  const events = reader.events()
  await events.ready
  void (async () => {
    // The cache hears before every consumer.
    for await (const event of events) if ('ids' in event) for (const id of event.ids) heard.add(id)
  })()
  const random = randomFrom(49)
  await until(async () => {
    await reader.get({ headers: {} }, 'sid')
    await reader.get(new Visitor().request(), 'sid')
    const visitor = await signedIn(other, -1)
    await reader.get(visitor.request(), 'sid')
    return reader.stats().cache?.state === 'listening'
  })
  let [shown, during, held] = [0, 0, 0]
  for (let done = 0; done < races; done += atOnce) {
    const visitors = await Promise.all(Array.from({ length: atOnce }, (_, n) => signedIn(other, done + n)))
    const ids = new Map<Visitor, string>()
    for (const visitor of visitors) {
      const { id } = await patiently(() => other.new(visitor.request(), 'sid'))
      ids.set(visitor, id ?? '')
    }
    // Some are in the cache already.
    for (const visitor of visitors) if (random() < 0.3) void reader.get(visitor.request(), 'sid').catch(() => {})
    if (random() < 0.5) {
      held++
      proxy.hold()
    }
    const reads = visitors.map(async (visitor) => {
      await turns(random() * 8)
      return await reader.get(visitor.request(), 'sid').catch(() => undefined)
    })
    const answered = Promise.all(reads)
    const ends = visitors.map(async (_visitor, n) => {
      await turns(random() * 8)
      await patiently(() => other.revoke(userOf(done + n)))
    })
    await Promise.all(ends)
    await until(() => visitors.every((visitor) => heard.has(ids.get(visitor) ?? '')), 60)
    proxy.release()
    during += (await answered).filter((session) => session?.isNew === false).length
    const after = await Promise.all(visitors.map((visitor) => patiently(() => reader.get(visitor.request(), 'sid'))))
    shown += after.filter(({ isNew }) => !isNew).length
    heard.clear()
  }
  const { hits = 0 } = reader.stats().cache ?? {}
  await events.return?.()
  await reader.close()
  assert.is(shown, 0)
  assert.ok(hits > 0, 'nothing came from the cache')
  report(
    'F49',
    'an end announced while a read is under way',
    `${races} races, ${during} reads saw the session, ${held} times the answers came after the announcements, ${hits} hits; shown afterwards: 0`,
  )
})

async function signedIn(store: PGStore, race: number): Promise<Visitor> {
  const visitor = new Visitor()
  await patiently(() =>
    visitor.visit(store, (session) => {
      session.userId = userOf(race)
      session.values['n'] = race
    }),
  )
  return visitor
}

/** A busy machine may need more time than a call has. */
async function patiently<Result>(call: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof PGStoreError && error.isRetryable) || tries === 30) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

async function turns(many: number): Promise<void> {
  for (let turn = 1; turn < many; turn++) await new Promise(setImmediate)
}

test.run()
