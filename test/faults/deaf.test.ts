// A listener that is connected and hears nothing: nothing is believed that only it could tell, and what it would have told is found
// by asking. Without any LISTEN at all the same holds.

import pg from 'pg'
import * as assert from 'uvu/assert'
import { type CacheStats, migrate } from '../../src/index.ts'
import { addExpired, countSessions } from '../support/crowd.ts'
import { clientUrl, closeAll, databaseUrl, emptyDatabase, sql, testStore, until, Visitor } from '../support/harness.ts'
import { endPrograms, Program } from '../support/program.ts'
import { startProxy } from '../support/proxy.ts'
import { report, test } from './faults.ts'

const proxies: { close(): Promise<void> }[] = []

test.before(async () => {
  await sql('select pgstore.audit_set(true)')
})
test.after.each(endPrograms)
test.after(async () => {
  await closeAll()
  for (const proxy of proxies) await proxy.close()
})

/** Ways to be deaf: where the listening connection leads, and what happens to it once it listens. */
const ways: Record<string, () => Promise<{ url: string; deafen?: () => void }>> = {
  'half-open TCP': async () => {
    const proxy = await startProxy({ url: databaseUrl })
    proxies.push(proxy)
    return {
      url: proxy.url,
      deafen: () => {
        proxy.isSilent = true
      },
    }
  },
  'the URL of another database': async () => {
    const url = await emptyDatabase()
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    await migrate(pool)
    await pool.end()
    return { url }
  },
  'a pooler that swallows NOTIFY': async () => {
    const proxy = await startProxy({ url: databaseUrl, isDeaf: true })
    proxies.push(proxy)
    return { url: proxy.url }
  },
}

async function signedIn(userId: string): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(testStore(), (session) => {
    session.userId = userId
    session.values['n'] = 1
  })
  return visitor
}

for (const [name, deaf] of Object.entries(ways)) {
  test(`F48: with ${name} the cache serves nothing that has ended, and endings come all the same`, async () => {
    const other = testStore()
    const { url, deafen } = await deaf()
    const store = testStore({ directConnectionString: url, cache: { maxStale: 60 } })
    const consumer = `deaf to ${name}`
    await sql('select pgstore.endings_take($1, p_limit => 0)', consumer)
    const had: string[] = []
    const consuming = (async () => {
      for await (const { sessionId } of store.endings({ consumer, poll: 0.2 })) had.push(sessionId)
    })()
    const visitor = await signedIn(name)
    const cache = () => store.stats().cache as CacheStats
    const asks = async () => await store.get(visitor.request(), 'sid')
    if (deafen) {
      await until(async () => {
        assert.is((await asks()).userId, name)
        return cache().hits > 0
      })
      deafen()
    } else {
      await until(async () => {
        assert.is((await asks()).userId, name)
        return cache().bypasses.not_listening > 100 && cache().state === 'proving'
      })
      assert.is(cache().hits, 0)
    }
    const { id } = await other.new(visitor.request(), 'sid')
    assert.is(await other.revoke(name), 1)
    // Half-open, it takes up to docs/cache.md's three seconds, and less than maxStale in any case.
    const started = performance.now()
    await until(async () => (await asks()).isNew)
    const ms = performance.now() - started
    if (!deafen) assert.is(cache().hits, 0)
    await until(() => had.includes(id ?? ''))
    await until(() => cache().state !== 'listening')
    const { hits } = cache()
    const later = await signedIn(`later ${name}`)
    for (let n = 0; n < 20; n++) assert.is((await store.get(later.request(), 'sid')).userId, `later ${name}`)
    assert.is(cache().hits, hits, 'served from the cache while it is deaf')
    await store.close()
    await consuming
    report('F48', `a deaf listener: ${name}`, 'no ended session served by the cache, the ending delivered by polling', {
      'the end seen after': { is: ms, most: 3000 },
    })
  })
}

test('F48: a worker that hears nothing says so, and purges at its times', async () => {
  const proxy = await startProxy({ url: databaseUrl, isDeaf: true })
  proxies.push(proxy)
  await sql('truncate pgstore.sessions')
  await sql(`select pgstore.cleanup_start('1 second')`)
  const worker = new Program(['dist/cli/main.js', 'worker'], { DATABASE_URL: proxy.url })
  await worker.line(/waiting/)
  for (let run = 0; run < 3; run++) {
    await addExpired(10)
    await until(async () => (await countSessions()).due === 0, 60)
  }
  await until(() => /announcements/i.test(worker.output + worker.errors), 60)
  await worker.end()
  await sql('select pgstore.cleanup_stop()')
  report('F48', 'a deaf worker', 'warned, 3 runs at their times')
})

test('F48: with no LISTEN at all, endings and purges come by polling', async () => {
  const pool = {
    query: async (query: pg.QueryArrayConfig) => await direct.query(query),
    connect: async () => await direct.connect(),
  }
  const direct = new pg.Pool({ connectionString: clientUrl, max: 4 }).on('error', () => {})
  const store = testStore({ pool: pool as never })
  assert.throws(() => store.events(), /separate connection/)
  const consumer = 'no listen'
  await sql('select pgstore.endings_take($1, p_limit => 0)', consumer)
  const visitor = await signedIn('no listen')
  const { id } = await testStore().new(visitor.request(), 'sid')
  await testStore().revoke('no listen')
  for await (const { sessionId } of store.endings({ consumer, poll: 0.2 })) {
    assert.is(sessionId, id)
    break
  }
  await store.close()
  await direct.end()
  report('F48', 'no LISTEN at all', 'events() says so, the ending was delivered by polling')
})

test.run()
