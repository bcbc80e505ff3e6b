// The methods of express-session's store interface for all sessions; MemoryStore and connect-redis have them, connect-pg-simple
// does not.
import { Cookie } from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../../src/adapters/express-session.ts'
import { closeAll, databaseUrl, row, sql } from '../../support/harness.ts'

const store = new ExpressSessionStore({ connectionString: databaseUrl })

test.after(async () => {
  await store.close()
  await closeAll()
})

const { found } = await row<{ found: boolean }>(
  "select to_regprocedure('pgstore.session_all(bytea, integer)') is not null as found",
)
if (!found)
  console.log('Skipped: all, ids, length and clear. This schema has no session_all, session_clear, count_live.')
function allTest(name: string, run: () => Promise<void>): void {
  if (found) test(name, run)
  else test.skip(name)
}

test.before.each(async () => {
  await sql('delete from pgstore.sessions')
})

async function fill(count: number): Promise<void> {
  const sids = Array.from({ length: count }, (_, index) => `sid ${index}`)
  const save = async (sid: string, visits: number) => await store.set(sid, { cookie: new Cookie(), visits })
  // Not all at once: on a machine at its limit, those that waited for more than four seconds would be refused.
  for (let from = 0; from < count; from += 250) {
    await Promise.all(sids.slice(from, from + 250).map((sid, place) => save(sid, from + place)))
  }
}

allTest('all shows every live session with its number, and ids only the numbers', async () => {
  await fill(2)
  await store.set('expired', { cookie: new Cookie() })
  await sql("update pgstore.sessions set expires_at = now() where not data ? 'visits'")
  const sessions = (await store.all()).sort((one, other) => Number(one.visits) - Number(other.visits))
  assert.equal(
    sessions.map(({ visits }) => visits),
    [0, 1],
  )
  assert.equal(sessions[0]?.cookie as object, (await store.get('sid 0'))?.cookie)
  const numbers = (
    await sql<{ id: string }>("select id::text from pgstore.sessions where data ? 'visits' order by data")
  ).map(({ id }) => id)
  assert.equal(
    sessions.map(({ id }) => id),
    numbers,
  )
  assert.equal((await store.ids()).sort(), numbers.sort())
  assert.is(await store.length(), 2)
})

allTest('length counts beyond a page, all reads them and clear ends them', async () => {
  await fill(2500)
  assert.is(await store.length(), 2500)
  assert.is(new Set((await store.all()).map(({ visits }) => visits)).size, 2500)
  await store.clear()
  assert.is(await store.length(), 0)
  assert.equal(await store.all(), [])
  assert.equal(await sql('select from pgstore.sessions'), [])
})

allTest('clear of an empty store succeeds, with a callback too', async () => {
  await store.clear()
  const count = await new Promise((resolve) => void store.length((_error, count) => resolve(count)))
  assert.is(count, 0)
})

test('a function that is not installed is named in the error', async () => {
  const code = await store.length().then(
    () => undefined,
    (error) => error.code,
  )
  assert.is(code, found ? undefined : 'not_installed')
})

allTest('a number from all or ids is not a sid: destroy ends nothing, revoke ends the session', async () => {
  const owned = new ExpressSessionStore({ connectionString: databaseUrl, userId: () => 'ann' })
  await owned.set('sid', { cookie: new Cookie() })
  const [id = ''] = await owned.ids()
  await owned.destroy(id)
  assert.equal(await owned.ids(), [id])
  assert.is(await owned.get(id), undefined)
  assert.is(await owned.revoke('ann', { id }), 1)
  assert.equal(await owned.ids(), [])
  await owned.close()
})

test('nested keys come back shortest first, and text that jsonb cannot hold is refused with its path', async () => {
  const cookie = new Cookie()
  const nested = { long: 1, b: 2, a: 3, kept: [3, 1, 2], when: new Date(0), none: undefined, number: Number.NaN }
  await store.set('nested', Object.assign({ cookie }, { nested }))
  const read = (await store.get('nested')) as unknown as { nested: object }
  const text = '{"a":3,"b":2,"kept":[3,1,2],"long":1,"when":"1970-01-01T00:00:00.000Z","number":null}'
  assert.is(JSON.stringify(read.nested), text)
  for (const bio of ['a\0b', '\ud83d']) {
    const refused = await store
      .set('bad', Object.assign({ cookie }, { profile: { bio } }))
      .catch((error: unknown) => error)
    assert.is((refused as { code?: string }).code, 'invalid_value')
    assert.match((refused as Error).message, 'profile.bio')
  }
})

test.run()
