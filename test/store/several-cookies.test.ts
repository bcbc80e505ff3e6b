// Several cookies of one name: what a browser sends after the cookie's path, domain or partition has changed.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CookieOptions, PGStoreOptions, Session } from '../../src/index.ts'
import { type PGStore, SecureCookie } from '../../src/index.ts'
import { newToken } from '../../src/session/token.ts'
import { Jar } from '../security/jar.ts'
import { CountingPool } from '../security/site.ts'
import {
  admin,
  clientUrl,
  closeAll,
  hashKey,
  rejection,
  sql,
  TestResponse,
  testStore,
  Visitor,
} from '../support/harness.ts'

test.after(closeAll)

type Values = { who?: string; n?: number }

const store = testStore<Values>()
const codec = new SecureCookie(hashKey)

/** The value of a cookie whose session contains `who`, which is also its user. */
async function cookieOf(who: string, at: PGStore<Values> = store): Promise<string> {
  const visitor = new Visitor()
  await visitor.visit(at, (session) => {
    session.values.who = who
    session.userId = who
  })
  return visitor.jar.get('sid') as string
}

const requestWith = (...values: string[]) => ({
  headers: { cookie: values.map((value) => `sid=${value}`).join('; ') },
})

const read = async (values: string[], at: PGStore<Values> = store): Promise<Session<Values>> =>
  await at.get(requestWith(...values), 'sid')

/** Ends the session of a cookie in each way there is. */
const ends: Record<string, (cookie: string, who: string) => Promise<unknown>> = {
  destroyed: async (cookie) => {
    const req = requestWith(cookie)
    await store.destroy(req, new TestResponse(), await store.get(req, 'sid'))
  },
  expired: async (_cookie, who) =>
    await sql("update pgstore.sessions set expires_at = now() - interval '1 second' where user_id = $1", who),
  revoked: async (_cookie, who) => await store.revoke(who),
  regenerated: async (cookie) => {
    const req = requestWith(cookie)
    await store.regenerate(req, new TestResponse(), await store.get(req, 'sid'))
  },
  purged: async (_cookie, who) => await sql('delete from pgstore.sessions where user_id = $1', who),
}

for (const [way, end] of Object.entries(ends)) {
  test(`A2: behind a cookie whose session was ${way}, the cookie of a live session counts`, async () => {
    const [old, fresh] = [await cookieOf(`old ${way}`), await cookieOf(`new ${way}`)]
    await end(old, `old ${way}`)
    assert.is((await read([old, fresh])).values.who, `new ${way}`)
    assert.is((await read([fresh, old])).values.who, `new ${way}`)
    assert.is((await read([old])).isNew, true)
  })
}

test('A2: of several live sessions the first counts', async () => {
  const [alice, bob] = [await cookieOf('alice'), await cookieOf('bob')]
  assert.is((await read([alice, bob])).values.who, 'alice')
  assert.is((await read([bob, alice])).values.who, 'bob')
})

test('A2: several cookies whose sessions have all ended are a new session', async () => {
  const cookies = [await cookieOf('gone'), codec.encode('sid', newToken()), codec.encode('sid', newToken())]
  await store.revoke('gone')
  const session = await read(cookies)
  assert.is(session.isNew, true)
  assert.equal(session.values, {})
})

test('A2: one call asks about several cookies, and a lone one is asked for as ever', async () => {
  const pool = new CountingPool()
  const counted = testStore<Values>({ pool })
  const cookie = await cookieOf('counted')
  const dead = () => codec.encode('sid', newToken())
  const ask = async (...values: string[]) => {
    pool.seen.length = 0
    const session = await read(values, counted)
    const isArray = pool.seen.map(({ text }) => text.includes('bytea[]'))
    return { who: session.values.who, isArray }
  }
  assert.equal(await ask(cookie), { who: 'counted', isArray: [false] })
  assert.equal(await ask(dead(), cookie), { who: 'counted', isArray: [true] })
  assert.equal(await ask(dead(), dead(), dead(), cookie), { who: 'counted', isArray: [true] })
  assert.equal(await ask(dead(), dead(), dead(), dead(), cookie), { who: undefined, isArray: [true] })
  assert.equal(await ask('forged', cookie), { who: 'counted', isArray: [false] })
})

test('A2: a value or a token that comes again counts once', async () => {
  const pool = new CountingPool()
  const counted = testStore<Values>({ pool })
  const cookie = await cookieOf('twice')
  const same = codec.encode('sid', codec.decode('sid', cookie) as string)
  assert.is((await read([cookie, cookie, same, cookie], counted)).values.who, 'twice')
  assert.is(pool.seen[0]?.text.includes('bytea[]'), false)
  const planted = Array.from({ length: 50 }, () => 'forged')
  assert.is((await read([...planted, cookie], counted)).values.who, 'twice')
})

test('A2: a forged cookie in front changes nothing', async () => {
  const [old, fresh] = [await cookieOf('forged old'), await cookieOf('forged new')]
  await store.revoke('forged old')
  const forged = new SecureCookie('k'.repeat(32)).encode('sid', newToken())
  assert.is((await read([forged, old, fresh])).values.who, 'forged new')
  assert.is((await read([old, forged, fresh])).values.who, 'forged new')
})

test('A2: a live session whose cookie an older key signed is found, and its cookie re-signed', async () => {
  const rotated = testStore<Values>({ keys: ['a newer hash key, of 32 bytes....', hashKey] })
  const [old, fresh] = [await cookieOf('rotated old'), await cookieOf('rotated new')]
  await store.revoke('rotated old')
  const req = requestWith(old, fresh)
  const session = await rotated.get(req, 'sid')
  assert.is(session.values.who, 'rotated new')
  const res = new TestResponse()
  await rotated.save(req, res, session)
  assert.is(res.cookies.length, 1)
  // The browser keeps the old-signed one of another path for good: it has the new one too, which needs no new signature.
  const signed = /^sid=([^;]*)/.exec(res.cookies[0] ?? '')?.[1] as string
  const again = requestWith(fresh, signed)
  const quiet = new TestResponse()
  await rotated.save(again, quiet, await rotated.get(again, 'sid'))
  assert.equal(quiet.cookies, [])
})

const changes: [what: string, before: CookieOptions, after: CookieOptions][] = [
  ['path', { path: '/app' }, { path: '/' }],
  ['domain', {}, { domain: 'example.com' }],
  ['partition', { partitioned: false }, { partitioned: true }],
]
for (const [what, before, after] of changes) {
  test(`A2: a visitor signs in, out and in again while the cookie’s ${what} changes`, async () => {
    const url = 'https://www.example.com/app/page'
    const jar = new Jar()
    const visit = async (at: PGStore<Values>, work: 'sign in' | 'sign out' | 'look') => {
      const cookie = jar.header(url)
      const req = { headers: cookie ? { cookie } : {} }
      const res = new TestResponse()
      const session = await at.get(req, 'sid')
      const { who } = session.values
      if (work === 'sign in') {
        session.values.who = session.userId = `ann ${what}`
        await at.regenerate(req, res, session)
      } else if (work === 'sign out') await at.destroy(req, res, session)
      else await at.save(req, res, session)
      jar.receive(url, res.cookies)
      return who
    }
    const [first, second] = [testStore<Values>({ options: before }), testStore<Values>({ options: after })]
    await visit(first, 'sign in')
    assert.is(await visit(second, 'look'), `ann ${what}`)
    await visit(second, 'sign out')
    assert.is(await visit(second, 'look'), undefined)
    await visit(second, 'sign in')
    assert.is(jar.size, 2)
    assert.is(await visit(second, 'look'), `ann ${what}`)
  })
}

test('A2: saving writes to the session that was found, whichever cookie it came with', async () => {
  const [old, fresh] = [await cookieOf('saved old'), await cookieOf('saved new')]
  await store.revoke('saved old')
  const req = requestWith(old, fresh)
  const session = await store.get(req, 'sid')
  session.values.n = 1
  await store.save(req, new TestResponse(), session)
  assert.equal((await read([fresh])).values, { who: 'saved new', n: 1 })
})

const stores: [name: string, options: Partial<PGStoreOptions>][] = [
  ['sealed', { seal: true }],
  ['unbatched', { batch: false }],
]
for (const [name, options] of stores) {
  test(`A2: it holds for a store that is ${name}`, async () => {
    const other = testStore<Values>(options)
    const [old, fresh] = [await cookieOf(`${name} old`, other), await cookieOf(`${name} new`, other)]
    assert.is((await read([old, fresh], other)).values.who, `${name} old`)
    await other.revoke(`${name} old`)
    assert.is((await read([old, fresh], other)).values.who, `${name} new`)
  })
}

test('A2: in a sealed store, a session behind the one that counts is not opened', async () => {
  const sealed = testStore<Values>({ seal: true })
  const [own, damaged] = [await cookieOf('own', sealed), await cookieOf('damaged', sealed)]
  await sql(`update pgstore.sessions set data = '{"who": "sealed:1:AAAA"}' where user_id = 'damaged'`)
  assert.is((await read([own, damaged], sealed)).values.who, 'own')
  assert.is((await rejection(read([damaged, own], sealed))).code, 'sealed')
})

test('A2: it holds in a transaction, which sees what it ended itself', async () => {
  const [old, fresh] = [await cookieOf('inside old'), await cookieOf('inside new')]
  const client = await admin.connect()
  try {
    await client.query('begin')
    const tx = store.withClient(client)
    assert.is((await read([old, fresh], tx)).values.who, 'inside old')
    await tx.revoke('inside old')
    assert.is((await read([old, fresh], tx)).values.who, 'inside new')
    assert.is((await read([old, fresh])).values.who, 'inside old')
    await client.query('rollback')
  } finally {
    client.release()
  }
})

test('E10: a cookie in quotes, as Python and Go write some, is read', async () => {
  const cookie = await cookieOf('quoted')
  assert.is((await read([`"${cookie}"`])).values.who, 'quoted')
  for (const other of [`"${cookie}`, `${cookie}"`, `""${cookie}""`, `'${cookie}'`, `" ${cookie} "`]) {
    assert.is((await read([other])).isNew, true, other)
  }
})

for (const [what, options] of [
  ['as they are', {}],
  ['with a seal', { seal: true }],
  ['with a cache', { cache: true, directConnectionString: clientUrl }],
] as const) {
  test(`two cookies are read by one query, ${what}`, async () => {
    const pool = new CountingPool()
    const at = testStore({ ...options, pool })
    const cookies: string[] = []
    for (const name of ['first', 'second']) {
      const visitor = new Visitor()
      await visitor.visit(at, ({ values }) => Object.assign(values, { name }))
      cookies.push(`sid=${visitor.jar.get('sid')}`)
    }
    const before = pool.queries
    const session = await at.get({ headers: { cookie: cookies.join('; ') } }, 'sid')
    assert.equal([session.values['name'], pool.queries - before], ['first', 1])
  })
}

test.run()
