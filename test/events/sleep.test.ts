import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CleanupEvent } from '../../src/index.ts'
import { cacheOf, hit, server } from '../cache/servers.ts'
import { admin, closeAll, databaseUrl, rejection, row, sql, testStore, until, Visitor } from '../support/harness.ts'

test.after(closeAll)

/** Connections beside the pool, which closes its own after half a minute. */
async function connections(): Promise<number> {
  const { count } = await row(
    "select count(*) from pg_stat_activity where datname = current_database() and application_name in ('pgstore listen', 'pgstore worker')",
  )
  return Number(count)
}

const asleep = () => until(async () => (await connections()) === 0)

test('a store that nobody calls keeps no connection for events, cache, watchers and worker; the next call opens them', async () => {
  const store = server({ maxStale: 60 }, { connectionString: databaseUrl, sleepAfter: 4 })
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.userId = 'ann'
  })
  const cleanup = await store.startCleanup('100 milliseconds')
  const events = store.events()
  const watch = store.watchCleanup()
  await Promise.all([events.ready, watch.ready])
  await hit(store, visitor)
  assert.ok((await connections()) > 0)
  await asleep()
  assert.is.not(cacheOf(store).state, 'listening')

  // Nobody hears of what happens meanwhile, and nobody purges.
  const key = 'pgstore.session_key($1)'
  await sql(`select * from pgstore.session_save(${key}, p_version => 0)`, 'expired')
  await sql(
    `update pgstore.sessions set expires_at = now() - interval '1 s', purge_at = now() - interval '1 s' where key = ${key}`,
    'expired',
  )
  await sql("select pgstore.session_revoke('ann', null, null, null)")

  assert.ok((await store.get(visitor.request(), 'sid')).isNew)
  assert.equal((await events.next()).value, { type: 'missed', ids: [] })
  await sql('select pgstore.session_announce($1, $2)', 'revoked', [7])
  const heard = (await events.next()).value
  assert.equal([heard.type, heard.ids], ['revoked', ['7']])
  let event: CleanupEvent | undefined
  while (event?.type !== 'purged' || event.purged === 0) event = (await watch.next()).value
  assert.is(event.purged, 1)
  const again = new Visitor()
  await again.visit(store, (session) => {
    session.values.n = 1
  })
  await hit(store, again)

  // Again, and while it sleeps somebody begins to listen.
  await asleep()
  const late = store.events()
  await late.ready
  await sql('select pgstore.session_announce($1, $2)', 'revoked', [8])
  let last = (await late.next()).value
  if (last.type === 'missed') last = (await late.next()).value
  assert.equal(last.ids, ['8'])
  await cleanup.stop()
  await store.stopCleanup()
  await store.close()
  await asleep()
})

test('a worker that stops while the store sleeps does not come back', async () => {
  const store = testStore({ connectionString: databaseUrl, sleepAfter: 1 })
  const cleanup = await store.startCleanup('1 hour')
  await asleep()
  await cleanup.stop()
  await cleanup.done
  await store.cleanupStatus()
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.is(await connections(), 0)
  await store.stopCleanup()
})

test('it closes while it sleeps', async () => {
  const store = testStore({ pool: admin, sleepAfter: 1 })
  const cleanup = await store.startCleanup('1 hour')
  const events = store.events()
  await events.ready
  await asleep()
  await store.stopCleanup()
  await store.close()
  await cleanup.done
  assert.ok((await events.next()).done)
  await asleep()
})

test('sleepAfter is a number of seconds', async () => {
  for (const sleepAfter of [0, 0.5, 86_401, Number.NaN, '60' as unknown as number, null as unknown as number]) {
    const error = await rejection(Promise.resolve().then(() => testStore({ sleepAfter })))
    assert.is(error.code, 'invalid_option')
    assert.match(error.message, /sleepAfter/)
  }
})

test.run()
