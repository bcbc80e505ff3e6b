// Caps and lifetimes set by an application, and its responses' cache headers.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { closeAll, databaseUrl, hashKey, row, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'

test.after(closeAll)

async function lifeOf(id: string | undefined): Promise<number> {
  const { seconds } = await row<{ seconds: string }>(
    'select extract(epoch from expires_at - now()) as seconds from pgstore.sessions where id = $1',
    id,
  )
  return Number(seconds)
}

// Sessions a user may have

test('a sign-in beyond the cap ends the session that signed in first', async () => {
  const store = testStore({ sessionsPerUser: 2 })
  const visitors = [new Visitor(), new Visitor(), new Visitor()]
  for (const visitor of visitors) {
    await visitor.visit(store, async (session, req, res) => {
      session.userId = 'capped'
      await store.regenerate(req, res, session)
    })
  }
  const isNew = await Promise.all(visitors.map(async (visitor) => (await store.new(visitor.request(), 'sid')).isNew))
  assert.equal(isNew, [true, false, false])
})

test('of 20 sign-ins at once no more than the cap are left', async () => {
  const store = testStore({ sessionsPerUser: 5 })
  const visitors = Array.from({ length: 20 }, () => new Visitor())
  for (const visitor of visitors) {
    await visitor.visit(store, ({ values }) => {
      values['seen'] = true
    })
  }
  await Promise.all(
    visitors.map((visitor) =>
      visitor.visit(store, async (session, req, res) => {
        session.userId = 'crowd'
        await store.regenerate(req, res, session)
      }),
    ),
  )
  assert.is((await store.list('crowd')).length, 5)
})

test('a save that signs nobody in does not check the cap', async () => {
  const store = testStore({ sessionsPerUser: 1 })
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.userId = 'single'
  })
  await new Visitor().visit(testStore(), (session) => {
    session.userId = 'single' // by a store without the cap
  })
  await visitor.visit(store, ({ values }) => {
    values['a'] = 1
  })
  assert.is((await store.list('single')).length, 2)
})

// Anonymous visitors

test('an anonymous session lives shorter, cookie and row', async () => {
  const store = testStore({ anonymousMaxAge: 3600 })
  const { session, res } = await new Visitor().visit(store, ({ values }) => {
    values['cart'] = []
  })
  const life = await lifeOf(session.id)
  assert.ok(life > 3950 && life <= 3960, String(life))
  assert.match(res.cookies[0] ?? '', /; Max-Age=39\d\d;/)
})

test('once its visitor signs in, it lives as long as the others', async () => {
  const store = testStore({ anonymousMaxAge: 3600 })
  const visitor = new Visitor()
  await visitor.visit(store, ({ values }) => {
    values['cart'] = []
  })
  const { session } = await visitor.visit(store, async (loaded, req, res) => {
    loaded.userId = '42'
    await store.regenerate(req, res, loaded)
  })
  assert.ok((await lifeOf(session.id)) > 29 * 86400)
})

test('a session whose own maxAge is shorter keeps to it', async () => {
  const store = testStore({ anonymousMaxAge: 3600, options: { maxAge: 60 } })
  const { session } = await new Visitor().visit(store, ({ values }) => {
    values['a'] = 1
  })
  assert.ok((await lifeOf(session.id)) <= 66)
})

test('an anonymous session is touched after a tenth of its own life', async () => {
  const store = testStore({ anonymousMaxAge: 3600 })
  const visitor = new Visitor()
  const { session } = await visitor.visit(store, ({ values }) => {
    values['a'] = 1
  })
  await sql(`update pgstore.sessions set seen_at = seen_at - interval '6 minutes' where id = $1`, session.id)
  await visitor.visit(store)
  assert.ok((await lifeOf(session.id)) > 3950)
})

// Caches

for (const [what, work] of Object.entries({
  'was only read': () => {},
  'does not exist': () => {},
  'is written': ({ values }: { values: Record<string, unknown> }) => {
    values['a'] = Math.random()
  },
})) {
  test(`S18: a response to which a session was saved that ${what} is kept out of caches`, async () => {
    const store = testStore()
    const visitor = new Visitor()
    if (what !== 'does not exist') {
      await visitor.visit(store, ({ values }) => {
        values['b'] = 1
      })
    }
    const { res } = await visitor.visit(store, work)
    assert.is(res.getHeader('vary'), 'Cookie')
    assert.is(res.getHeader('cache-control'), 'no-store')
  })
}

for (const [given, after] of [
  ['Accept-Encoding', 'Accept-Encoding, Cookie'],
  ['Accept, cookie', 'Accept, cookie'],
  ['*', '*'],
  ['Cookie2', 'Cookie2, Cookie'],
] as const) {
  test(`S18: Vary: ${given} becomes ${after}`, async () => {
    const { res } = await new Visitor().visit(testStore(), (_, __, response) => response.setHeader('vary', given))
    assert.is(res.getHeader('vary'), after)
  })
}

for (const [given, after] of [
  ['public, max-age=60', 'no-store'],
  ['max-age=60', 'no-store'],
  ['no-cache="Set-Cookie"', 'no-store'],
  ['private, max-age=60', 'private, max-age=60'],
  ['no-cache', 'no-cache'],
  ['No-Store', 'No-Store'],
] as const) {
  test(`S18: Cache-Control: ${given} becomes ${after}`, async () => {
    const { res } = await new Visitor().visit(testStore(), (_, __, response) =>
      response.setHeader('cache-control', given),
    )
    assert.is(res.getHeader('cache-control'), after)
  })
}

test('S18: a fetch response says the same', async () => {
  const store = testStore()
  const req = new Request('http://localhost/')
  const res = new Response('hello', { headers: { 'cache-control': 'public' } })
  const session = await store.get(req, 'sid')
  session.values['a'] = 1
  await store.save(req, res, session)
  assert.is(res.headers.get('vary'), 'Cookie')
  assert.is(res.headers.get('cache-control'), 'no-store')
})

test('with cacheHeaders: false the response is left alone', async () => {
  const { res } = await new Visitor().visit(testStore({ cacheHeaders: false }), ({ values }) => {
    values['a'] = 1
  })
  assert.is(res.getHeader('vary'), undefined)
  assert.is(res.getHeader('cache-control'), undefined)
})

test('no headers are set on a response that was already sent', async () => {
  const store = testStore()
  const res = new TestResponse()
  const session = await store.get({ headers: {} }, 'sid')
  res.headersSent = true
  await store.save({ headers: {} }, res, session).catch(() => {})
  assert.is(res.getHeader('vary'), undefined)
})

// Options

for (const [options, problem] of [
  [{ anonymousMaxAge: 0 }, /anonymousMaxAge/],
  [{ anonymousMaxAge: Number.NaN }, /anonymousMaxAge/],
  [{ sessionsPerUser: 0 }, /sessionsPerUser/],
  [{ sessionsPerUser: 1.5 }, /sessionsPerUser/],
  [{ seal: 'yes' }, /seal/],
  [{ cacheHeaders: 1 }, /cacheHeaders/],
] as const) {
  test(`${JSON.stringify(options)} is refused`, () => {
    const given = { connectionString: databaseUrl, keyPairs: [hashKey], ...options } as never
    assert.throws(() => new PGStore(given), problem)
  })
}

test.run()
