// Racing ends: a caller that is told that a session ended can rely on it, and a cap spares the newest session.
import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sql, TestResponse, testStore, Visitor } from '../support/harness.ts'
import {
  call,
  closeClients,
  closeEverything,
  connect,
  count,
  create,
  expire,
  newKey,
  save,
  stored,
  untilBlocked,
} from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

const ends: readonly (readonly [string, (key: Buffer, client: pg.Client) => Promise<number>])[] = [
  ['session_destroy', (key, client) => count('session_destroy', { key }, client)],
  ['session_destroy of several', (key, client) => count('session_destroy', { keys: [newKey(), key] }, client)],
  [
    'session_try_destroy',
    async (key, client) => {
      for (;;) {
        const rows = await call<{ key: Buffer; status: string }>('session_try_destroy', { keys: [key] }, client)
        if (rows[0]?.status === 'destroyed') return 1
        if (rows[0]?.status === 'gone') return 0
      }
    },
  ],
]

for (const [name, end] of ends) {
  test(`A11: in 200 races of ${name} with a regenerate nobody is told "ended" about a session that lives on`, async () => {
    const pairs = await Promise.all(Array.from({ length: 8 }, async () => [await connect(), await connect()] as const))
    let ended = 0
    await Promise.all(
      pairs.map(async ([destroyer, mover]) => {
        for (let n = 0; n < 25; n++) {
          const [key, new_key] = [await create(), newKey()]
          const [told, [moved]] = await Promise.all([
            end(key, destroyer),
            call<{ status: string }>('session_regenerate', { key, new_key }, mover),
          ])
          const isAlive = (await call('session_get', { keys: [key, new_key] })).length > 0
          assert.is(isAlive, told === 0, `told ${told}, ${moved?.status}`)
          if (moved?.status === 'gone') assert.not(isAlive)
          ended += told
        }
      }),
    )
    // It was there all the time, so each of them ended it.
    assert.is(ended, 200)
  })

  test(`A11: ${name} with the old key after the regenerate ends the session that it became`, async () => {
    const [key, new_key, other] = [await create(), newKey(), await create()]
    const client = await connect()
    await call('session_regenerate', { key, new_key })
    assert.is(await end(key, client), 1)
    assert.is(await stored(new_key), undefined)
    assert.ok(await stored(other))
    assert.is(await end(key, client), 0)
  })
}

for (const [name, end] of ends) {
  test(`A11: in 100 races of ${name} with two regenerates in a row it ends the session too`, async () => {
    const [destroyer, mover] = [await connect(), await connect()]
    for (let n = 0; n < 100; n++) {
      const keys = [await create(), newKey(), newKey()] as const
      const move = async (from: number) =>
        await call('session_regenerate', { key: keys[from], new_key: keys[from + 1] }, mover)
      const [told] = await Promise.all([end(keys[0], destroyer), move(0).then(() => move(1))])
      assert.equal([told, await call('session_get', { keys })], [1, []])
    }
  })
}

test('A11: a destroy that waits for a regenerate ends the session under its new key', async () => {
  for (const key of [await create(), await create()]) {
    const [early, late, new_key] = [await connect(), await connect(), newKey()]
    await early.query('begin')
    await call('session_regenerate', { key, new_key }, early)
    const told = count('session_destroy', { key }, late)
    await untilBlocked(late)
    await early.query('commit')
    assert.is(await told, 1)
    assert.is(await stored(new_key), undefined)
  }
})

test('A11: a session_try_destroy during a regenerate is told locked, not gone', async () => {
  const [key, new_key, mover] = [await create(), newKey(), await connect()]
  await mover.query('begin')
  await call('session_regenerate', { key, new_key }, mover)
  assert.equal(await call('session_try_destroy', { keys: [key] }), [{ key, status: 'locked' }])
  await mover.query('commit')
  assert.equal(await call('session_try_destroy', { keys: [key] }), [{ key, status: 'destroyed' }])
})

/** Regenerates the session so often; its keys, the last one first. */
async function regenerated(times: number, client?: pg.Client): Promise<Buffer[]> {
  const keys = [await create()]
  for (let n = 0; n < times; n++) {
    const new_key = newKey()
    await call('session_regenerate', { key: keys[0], new_key }, client)
    keys.unshift(new_key)
  }
  return keys
}

for (const [name, end] of ends) {
  test(`A11: ${name} ends a session by each of its last eight keys, and by no older one`, async () => {
    const client = await connect()
    for (let age = 0; age <= 8; age++) {
      const keys = await regenerated(9)
      assert.is(await end(keys[9] as Buffer, client), 0)
      assert.is(await end(keys[age] as Buffer, client), 1, `${age} keys ago`)
      assert.is(await stored(keys[0] as Buffer), undefined)
    }
  })
}

test('A11: former keys open nothing, move nothing, save nothing, and end no expired session', async () => {
  const [last, ...former] = (await regenerated(3)) as [Buffer, ...Buffer[]]
  assert.equal(await call('session_get', { keys: former }), [])
  for (const key of former) {
    assert.is((await save(key, { set: '{"a":1}' })).status, 'gone')
    assert.is((await call<{ status: string }>('session_regenerate', { key, new_key: newKey() }))[0]?.status, 'gone')
  }
  await expire(last)
  for (const key of former) assert.is(await count('session_destroy', { key }), 0)
  assert.is(await count('session_destroy', { keys: former }), 0)
})

test('A11: a session named by several of its keys ends once, and each of them is told', async () => {
  const keys = await regenerated(3)
  assert.is(await count('session_destroy', { keys }), 1)
  const others = await regenerated(3)
  const verdicts = await call<{ key: Buffer; status: string }>('session_try_destroy', { keys: others.slice(1) })
  assert.equal(
    verdicts.map(({ status }) => status),
    ['destroyed', 'destroyed', 'destroyed'],
  )
})

test('A11: a new session under the key of an ended one has no former keys', async () => {
  const [last, former] = (await regenerated(1)) as [Buffer, Buffer]
  await expire(last)
  assert.is((await save(last, { version: 0 })).status, 'saved')
  assert.is(await count('session_destroy', { key: former }), 0)
  assert.ok(await stored(last))
})

test('A11: through the store, a request that read the session before two regenerates signs it out', async () => {
  const store = testStore()
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
  const leaving = visitor.request()
  const read = await store.get(leaving, 'sid')
  for (let n = 0; n < 2; n++) await visitor.visit(store, async (one, req, res) => await store.regenerate(req, res, one))
  await store.destroy(leaving, new TestResponse(), read)
  assert.equal(await sql('select from pgstore.sessions where id = $1', session.id), [])
})

test('A11: through two stores, in 200 races a sign-out that was told well ends the session, renewed or not', async () => {
  const [here, there] = [testStore(), testStore()]
  const race = async () => {
    const visitor = new Visitor()
    const { session } = await visitor.visit(here, ({ values }) => Object.assign(values, { a: 1 }))
    const [leaving, renewing] = [visitor.request(), visitor.request()]
    const [one, two] = [await here.get(leaving, 'sid'), await there.get(renewing, 'sid')]
    const renewed = there.regenerate(renewing, new TestResponse(), two).then(
      () => 'saved',
      (error) => error.code,
    )
    await Promise.all([here.destroy(leaving, new TestResponse(), one), renewed])
    assert.ok(['saved', 'gone'].includes(await renewed))
    return session.id as string
  }
  const ids: string[] = []
  for (let round = 0; round < 10; round++) ids.push(...(await Promise.all(Array.from({ length: 20 }, race))))
  assert.is(ids.length, 200)
  assert.equal(await sql('select id from pgstore.sessions where id = any ($1::bigint[])', ids), [])
})

// Clocks

test('A16: where the clock stepped back the session that signs in stays, and the one from the future ends', async () => {
  const [ahead, newcomer] = [await create({}, { user_id: 'ann' }), await create({}, { user_id: 'ann' })]
  await sql(`update pgstore.sessions set signed_in_at = now() + interval '1 hour' where key = $1`, ahead)
  assert.is(await count('session_limit', { user_id: 'ann', max: 1, except: newcomer }), 1)
  assert.equal([await stored(ahead), (await stored(newcomer))?.user_id], [undefined, 'ann'])
})

test('A16: through the store the new session stays too, created or regenerated', async () => {
  const store = testStore({ sessionsPerUser: 2 })
  const signIn = async (regenerate: boolean) => {
    const visitor = new Visitor()
    if (regenerate) await visitor.visit(store, ({ values }) => Object.assign(values, { a: 1 }))
    await visitor.visit(store, async (session, req, res) => {
      session.userId = 'bea'
      if (regenerate) await store.regenerate(req, res, session)
    })
    return visitor
  }
  const isIn = async (visitor: Visitor) => (await store.get(visitor.request(), 'sid')).userId === 'bea'
  const others = [await signIn(true), await signIn(false)]
  await sql(`update pgstore.sessions set signed_in_at = now() + interval '1 hour' where user_id = 'bea'`)
  for (const regenerate of [true, false]) {
    const newcomer = await signIn(regenerate)
    assert.ok(await isIn(newcomer))
    assert.is((await store.list('bea')).length, 2)
    others.push(newcomer)
  }
})

test('A16: 20 sign-ins at once under a cap leave exactly the cap, whatever the clocks were', async () => {
  for (const [max, ahead] of [
    [1, 0],
    [3, 2],
    [5, 5],
  ] as const) {
    const user_id = `crowd of ${max}`
    for (let n = 0; n < ahead; n++) await create({}, { user_id })
    await sql(`update pgstore.sessions set signed_in_at = now() + interval '1 hour' where user_id = $1`, user_id)
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect()))
    await Promise.all(
      clients.map(async (client) => {
        const key = newKey()
        await save(key, { version: 0, user_id }, client)
        await count('session_limit', { user_id, max, except: key }, client)
      }),
    )
    assert.is((await call('session_list', { user_id })).length, max)
    await closeClients()
  }
})

test('A16: the store agrees: never more than the cap, and never none', async () => {
  const store = testStore({ sessionsPerUser: 2 })
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      await new Visitor().visit(store, (session) => {
        session.userId = 'cid'
      })
    }),
  )
  assert.is((await store.list('cid')).length, 2)
})

test.run()
