// A framework's cookies in place of a request and a response: values by name in, name, value and options out.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type CookieAttributes, type CookieSink, type PGStore, SecureCookie } from '../../src/index.ts'
import { newToken } from '../../src/session/token.ts'
import { admin, clientUrl, closeAll, hashKey, rejection, sql, TestResponse, testStore } from '../support/harness.ts'

test.after(closeAll)

type Values = { n?: number; who?: string }

const store = testStore<Values>()

/** A framework that parses and writes the cookies: a jar of what it was told to set. */
class Cookies implements CookieSink {
  readonly jar = new Map<string, string | readonly string[]>()
  readonly set: [name: string, value: string, options: CookieAttributes][] = []
  headersSent = false

  /** A request with the cookies of now, as a new one each time. */
  get request(): { getCookie(name: string): string | readonly string[] | undefined } {
    return { getCookie: (name) => this.jar.get(name) }
  }

  setCookie(name: string, value: string, options: CookieAttributes): void {
    this.set.push([name, value, options])
    if (options.maxAge === 0) this.jar.delete(name)
    else this.jar.set(name, value)
  }

  get names(): string[] {
    return this.set.map(([name]) => name)
  }
}

async function visitor(at: PGStore<Values> = store, who = 'ann'): Promise<Cookies> {
  const cookies = new Cookies()
  const req = cookies.request
  const session = await at.get(req, 'sid')
  session.values.who = who
  await at.save(req, cookies, session)
  cookies.set.length = 0
  return cookies
}

const count = async () => (await sql('select from pgstore.sessions')).length

test('E3: a session is read from a cookie by its name and saved with name, value and options', async () => {
  const cookies = new Cookies()
  const req = cookies.request
  const session = await store.get(req, 'sid')
  assert.is(session.isNew, true)
  session.values.n = 1
  await session.save(req, cookies)
  const [[name, value, options] = [], ...others] = cookies.set
  assert.equal(others, [])
  assert.is(name, 'sid')
  assert.ok(new SecureCookie(hashKey).decode('sid', value ?? ''))
  const seconds = 30 * 86400 + 3600
  assert.equal(options, { path: '/', httpOnly: true, secure: true, sameSite: 'lax', maxAge: seconds })
  const again = cookies.request
  assert.equal((await store.get(again, 'sid')).values, { n: 1 })
  assert.is(await store.get(again, 'sid'), await store.get(again, 'sid'))
})

test('options are given under their usual names, and only those that are on', async () => {
  const attributes = {
    path: '/app',
    domain: 'example.com',
    httpOnly: false,
    sameSite: 'none',
    partitioned: true,
  } as const
  const at = testStore<Values>({ options: { ...attributes, maxAge: 0 } })
  const cookies = new Cookies()
  const req = cookies.request
  const session = await at.get(req, 'sid')
  session.values.n = 1
  await at.save(req, cookies, session)
  await at.destroy(req, cookies, session)
  const [saved, ended] = cookies.set.map(([, , options]) => options)
  assert.equal(saved, { ...attributes, secure: true })
  assert.equal(ended, { ...attributes, secure: true, maxAge: 0, expires: new Date(1000) })
})

test('a merge sets no cookie; a regenerate and a destroy do', async () => {
  const cookies = await visitor()
  const old = cookies.jar.get('sid')
  const req = cookies.request
  const session = await store.get(req, 'sid')
  session.values.n = 1
  await store.save(req, cookies, session)
  assert.equal(cookies.set, [])
  session.userId = 'ann'
  await store.regenerate(req, cookies, session)
  assert.equal(cookies.names, ['sid'])
  assert.is.not(cookies.jar.get('sid'), old)
  await store.destroy(req, cookies, session)
  assert.is(cookies.jar.size, 0)
})

test('of several cookies that a framework lists, the first whose session lives counts, and four at most', async () => {
  const cookies = await visitor()
  const live = cookies.jar.get('sid') as string
  const dead = () => new SecureCookie(hashKey).encode('sid', newToken())
  const who = async (values: unknown) =>
    (await store.get({ getCookie: () => values as readonly string[] }, 'sid')).values.who
  assert.is(await who([dead(), dead(), 'forged', live]), 'ann')
  assert.is(await who([dead(), dead(), dead(), dead(), live]), undefined)
  assert.is(await who([live, dead()]), 'ann')
  assert.is(await who(`"${live}"`), 'ann')
  for (const none of [undefined, null, [], '', [undefined], [7, {}], 'forged']) assert.is(await who(none), undefined)
})

test('where it is too late for a cookie, what would need one is headers_sent, and nothing is written', async () => {
  const cookies = await visitor()
  const before = await count()
  cookies.headersSent = true
  const refused = async (work: (req: Cookies['request']) => Promise<unknown>, from = cookies) => {
    assert.is((await rejection(work(from.request))).code, 'headers_sent')
  }
  const fresh = Object.assign(new Cookies(), { headersSent: true })
  await refused(async (req) => {
    const session = await store.get(req, 'sid')
    session.values.n = 1
    await store.save(req, fresh, session)
  }, fresh)
  await refused(async (req) => await store.regenerate(req, cookies, await store.get(req, 'sid')))
  await refused(async (req) => await store.destroy(req, cookies, await store.get(req, 'sid')))
  await refused(async (req) => {
    const session = await store.get(req, 'sid')
    session.options.maxAge = 3600
    await store.save(req, cookies, session)
  })
  assert.equal([await count(), cookies.set, fresh.set], [before, [], []])
  assert.equal((await store.get(cookies.request, 'sid')).values, { who: 'ann' })
})

test('where it is too late for a cookie, what needs none is saved', async () => {
  const cookies = await visitor()
  cookies.headersSent = true
  const req = cookies.request
  const session = await store.get(req, 'sid')
  await store.save(req, cookies, session)
  session.values.n = 1
  await store.save(req, cookies, session)
  assert.equal((await store.get(cookies.request, 'sid')).values, { who: 'ann', n: 1 })
  const nobody = Object.assign(new Cookies(), { headersSent: true })
  await store.save(nobody.request, nobody, await store.get(nobody.request, 'sid'))
  await store.destroy(nobody.request, nobody, await store.get(nobody.request, 'sid'))
})

test('a hint is set beside the session’s cookie and read again', async () => {
  const servers = [1, 2].map(() => testStore<Values>({ cache: true, directConnectionString: clientUrl }))
  const [one, other] = servers as [PGStore<Values>, PGStore<Values>]
  const cookies = await visitor(one)
  const seen = async (at: PGStore<Values>) => (await at.get(cookies.request, 'sid')).values.n
  for (const at of servers) await seen(at)
  for (let n = 1; n <= 5; n++) {
    const req = cookies.request
    const at = n % 2 ? one : other
    const session = await at.get(req, 'sid')
    session.values.n = n
    await at.save(req, cookies, session)
    assert.equal(cookies.names, ['sid-v'])
    cookies.set.length = 0
    assert.equal([await seen(one), await seen(other)], [n, n])
  }
  cookies.headersSent = true
  const req = cookies.request
  const session = await one.get(req, 'sid')
  session.values.n = 99
  assert.is((await rejection(one.save(req, cookies, session))).code, 'headers_sent')
  assert.is(await seen(other), 5)
})

test('headers, where a framework gives them, take what keeps a response out of caches and clears the site', async () => {
  const at = testStore<Values>({ clearSiteData: true })
  const cookies = Object.assign(await visitor(at), { headers: new Headers() })
  const req = cookies.request
  await at.destroy(req, cookies, await at.get(req, 'sid'))
  const { headers } = cookies
  assert.equal(
    ['vary', 'cache-control', 'clear-site-data', 'set-cookie'].map((name) => headers.get(name)),
    ['Cookie', 'no-store', '"cache", "storage"', null],
  )
  assert.equal(cookies.names, ['sid'])
})

test('a Node response that a framework gave a setCookie of its own stays one of Node', async () => {
  const res = Object.assign(new TestResponse(), { setCookie: () => assert.unreachable() })
  const req = { headers: {} }
  const session = await store.get(req, 'sid')
  session.values.n = 1
  await store.save(req, res, session)
  assert.is(res.cookies.length, 1)
})

test('inside a transaction it is the same', async () => {
  const cookies = await visitor()
  const client = await admin.connect()
  try {
    await client.query('begin')
    const req = cookies.request
    const tx = store.withClient(client)
    await tx.regenerate(req, cookies, await tx.get(req, 'sid'))
    assert.equal(cookies.names, ['sid'])
    await client.query('commit')
  } finally {
    client.release()
  }
  assert.equal((await store.get(cookies.request, 'sid')).values, { who: 'ann' })
})

test.run()
