// Acknowledged writes survive a crash of the server, and those in progress are either done or not done.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, until, type Visitor } from '../support/harness.ts'
import { type RequirementNumber, requirement, skipped } from './requirement.ts'
import {
  canStart,
  kill,
  newHome,
  removeHomes,
  type StrictServer,
  startAgain,
  startReason,
  startStrict,
} from './server.ts'
import { inWaves, newVisitor, signIn, signOut, thief } from './visitors.ts'

test.after(closeAll)
test.after(removeHomes)

const needsServer = (number: RequirementNumber, sentence: string, body: () => Promise<void>) =>
  canStart ? requirement(number, sentence, body) : skipped(number, sentence, startReason)

const pools: pg.Pool[] = []
test.after(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
})

/** It waits longer for a connection than a site should: these tests are not about recovery or a busy machine. */
function patientStore({ clientUrl }: StrictServer): PGStore {
  const pool = new pg.Pool({ connectionString: clientUrl, connectionTimeoutMillis: 30_000 })
  pool.on('error', () => {})
  pools.push(pool)
  return new PGStore({ pool, keyPairs: [hashKey], batch: false })
}

const crashes = counts(1, 5)

needsServer(
  'S25',
  `in ${crashes} crashes right after 200 sign-outs each were acknowledged, none of the sessions revived`,
  async () => {
    const home = newHome()
    let ended: Visitor[] = []
    let alive: Visitor[] = []
    for (let crash = 0; crash <= crashes; crash++) {
      const server = await startAgain(home)
      const store = patientStore(server)
      try {
        for (const visitor of ended) assert.is((await store.get(visitor.request(), 'sid')).isNew, true)
        for (const visitor of alive) assert.is((await store.get(visitor.request(), 'sid')).isNew, false)
        if (crash === crashes) break
        const visitors = await inWaves(210, (index) => newVisitor(store, { index }))
        ended = visitors.slice(10).map(thief)
        alive = visitors.slice(0, 10)
        await inWaves(200, (index) => signOut(store, visitors[index + 10] as Visitor))
      } finally {
        await (crash === crashes ? server.end() : kill(server))
        await store.close()
      }
    }
  },
)

needsServer(
  'S22',
  'a crash in the midst of 100 sign-ins leaves of each the old token alive or the new one, never both, and never neither',
  async () => {
    const home = newHome()
    const first = await startStrict({}, home)
    const store = patientStore(first)
    const visitors = await inWaves(100, (index) => newVisitor(store, { index }))
    const old = visitors.map(thief)
    let acknowledged = 0
    const signingIn = visitors.map(async (visitor, index) => {
      await signIn(store, visitor, `user ${index}`)
      acknowledged++
      return true
    })
    const settled = Promise.allSettled(signingIn)
    await until(() => acknowledged >= 20)
    await kill(first)
    const results = await settled
    await store.close()
    const second = await startAgain(home)
    const again = patientStore(second)
    try {
      for (const [index, visitor] of visitors.entries()) {
        const oldLives = !(await again.get((old[index] as Visitor).request(), 'sid')).isNew
        const userLives = (await again.list(`user ${index}`)).length === 1
        assert.is(oldLives, !userLives, `visitor ${index}`)
        // An acknowledged one has the new cookie, and it opens.
        if (results[index]?.status === 'fulfilled') {
          assert.is((await again.get(visitor.request(), 'sid')).userId, `user ${index}`)
        }
      }
    } finally {
      await again.close()
      await second.end()
    }
  },
)

test.run()
