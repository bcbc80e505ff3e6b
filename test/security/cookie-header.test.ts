// The Set-Cookie header and what browsers make of it.
import { spawn } from 'node:child_process'
import type { ServerResponse } from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type CookieOptions, PGStore, PGStoreError, SecureCookie } from '../../src/index.ts'
import { sessionKey } from '../../src/session/token.ts'
import { closeAll, databaseUrl, hashKey, rejection, sql, testStore } from '../support/harness.ts'
import { Jar } from './jar.ts'
import { answered, requirement } from './requirement.ts'
import {
  type Answer,
  CountingPool,
  closeSites,
  fetchSite,
  nodeSite,
  type Pages,
  pairOf,
  rawRequest,
  type Values,
} from './site.ts'

const store = testStore<Values>()
const codec = new SecureCookie(hashKey)

test.after(async () => {
  await closeSites()
  await closeAll()
})

const pages: Pages = {
  '/look': ({ session }) => session.values['user'] ?? 'nobody',
  '/sign-in': async ({ store, session, req, res, query }) => {
    session.userId = query.get('user') ?? 'alice'
    session.values['user'] = session.userId
    await store.regenerate(req, res, session)
    return 'welcome'
  },
  '/change': async ({ store, session, req, res }) => {
    session.values['changes'] = Number(session.values['changes'] ?? 0) + 1
    await store.save(req, res, session)
  },
  '/everything': async ({ store, session, req, res }) => {
    session.values['a'] = 1
    await store.save(req, res, session)
    await store.regenerate(req, res, session)
    session.values['b'] = 2
    await Promise.all([store.save(req, res, session), session.save(req, res)])
    session.options.maxAge = 60
    await store.save(req, res, session)
    await store.regenerate(req, res, session)
  },
  '/renew-and-leave': async ({ store, session, req, res }) => {
    session.values['a'] = 1
    await store.regenerate(req, res, session)
    await store.destroy(req, res, session)
    session.values['goodbye'] = true
    await store.save(req, res, session)
  },
  '/sign-out': async ({ store, session, req, res }) => await store.destroy(req, res, session),
  '/list': async ({ store, session }) => JSON.stringify(await store.list(session.userId ?? '')),
  '/self': ({ session }) => JSON.stringify(session),
  '/bad-value': ({ store, session, req, res }) => {
    session.values['bad'] = Number.NaN
    return store.save(req, res, session)
  },
}

/** The store under both kinds of site. */
async function bothSites(at: PGStore<Values>, name = 'sid') {
  return [await nodeSite(at, pages, name), fetchSite(at, pages, name)]
}

requirement('S12', 'neither a token nor what opens a session is in any response but in Set-Cookie', async () => {
  for (const site of await bothSites(store)) {
    const answers: Answer[] = []
    const secrets = new Set<string>()
    let cookie = ''
    const paths = [
      '/look',
      '/sign-in',
      '/change',
      '/self',
      '/list',
      '/look?x=1',
      '/bad-value',
      '/none',
      '/everything',
      '/sign-out',
    ]
    for (const path of paths) {
      const answer = await site.get(path, cookie)
      answers.push(answer)
      if (answer.setCookies[0]) cookie = pairOf(answer.setCookies[0])
      const value = cookie.slice('sid='.length)
      const token = codec.decode('sid', value)
      if (token === undefined) continue
      const key = sessionKey(token)
      for (const secret of [value, token, key.toString('hex'), key.toString('base64'), key.toString('base64url')]) {
        secrets.add(secret)
      }
    }
    assert.ok(secrets.size >= 10)
    for (const { headers, body } of answers) {
      const others = headers.filter(([name]) => name.toLowerCase() !== 'set-cookie')
      const text = `${others.map((pair) => pair.join(': ')).join('\n')}\n${body}`
      for (const secret of secrets) assert.not.ok(text.includes(secret), text)
    }
  }
})

requirement('S13', 'under the name that SECURITY.md recommends, the defaults are those of OWASP and NIST', async () => {
  for (const site of await bothSites(store, '__Host-sid')) {
    const { setCookies } = await site.get('/sign-in')
    assert.equal(
      setCookies.map((line) => line.replace(/=[\w-]+=*;/, '=VALUE;')),
      ['__Host-sid=VALUE; Path=/; Max-Age=2595600; HttpOnly; Secure; SameSite=Lax'],
    )
    const jar = new Jar()
    jar.receive('https://app.example.com/sign-in', setCookies)
    assert.equal([jar.size, jar.refused], [1, []])
    assert.is(jar.header('https://sub.app.example.com/'), '')
    assert.is(jar.header('http://app.example.com/'), '')
  }
})

answered('S13', 'the caller chooses the cookie’s name, as documented: SECURITY.md recommends a __Host- name')

const options = (given: object) => ({ connectionString: databaseUrl, keyPairs: [hashKey], options: given })

requirement('S14', 'options that browsers would not obey are refused when the store is made', () => {
  const illegal: [CookieOptions, RegExp][] = [
    [{ sameSite: 'none', secure: false }, /sameSite "none" needs secure/],
    [{ partitioned: true, secure: false }, /partitioned needs secure/],
    [{ sameSite: 'Lax' as never }, /sameSite must be/],
    [{ secure: 'auto' as never }, /secure must be true or false/],
    [{ httpOnly: 0 as never }, /httpOnly must be true or false/],
    [{ maxAge: Number.POSITIVE_INFINITY }, /maxAge must be a number/],
    [{ expires: new Date() } as never, /unknown option "expires"/],
  ]
  for (const [given, message] of illegal) {
    assert.throws(
      () => new PGStore(options(given)),
      (error: unknown) =>
        error instanceof PGStoreError && error.code === 'invalid_option' && message.test(error.message),
    )
  }
})

requirement(
  'S14',
  'a name whose prefix the options contradict is refused by the first get: no query, no header',
  async () => {
    const illegal: [string, CookieOptions][] = [
      ['__Host-sid', { secure: false }],
      ['__Host-sid', { path: '/app' }],
      ['__Host-sid', { domain: 'example.com' }],
      ['__host-sid', { domain: 'example.com' }],
      ['__HOST-sid', { path: '/app' }],
      ['__Secure-sid', { secure: false }],
      ['__SECURE-sid', { secure: false }],
      ['__Http-sid', { httpOnly: false }],
      ['__Http-sid', { secure: false }],
      ['__Host-Http-sid', { httpOnly: false }],
      ['__Host-Http-sid', { path: '/app' }],
      ['__Host-Http-sid', { domain: 'example.com' }],
    ]
    for (const [name, given] of illegal) {
      const pool = new CountingPool()
      const error = await rejection(testStore({ pool, options: given }).get({ headers: {} }, name))
      assert.is(error.code, 'invalid_option', name)
      assert.is(pool.queries, 0)
    }
    const lawful: [string, CookieOptions][] = [
      ['__Host-sid', {}],
      ['__Host-Http-sid', { sameSite: 'none', partitioned: true }],
      ['__Secure-sid', { domain: 'example.com', path: '/app', httpOnly: false }],
      ['__Http-sid', { domain: 'example.com' }],
    ]
    for (const [name, given] of lawful) {
      const jar = new Jar()
      const { setCookies } = await fetchSite(testStore<Values>({ options: given }), pages, name).get('/sign-in')
      jar.receive('https://www.example.com/app', setCookies)
      assert.equal([jar.size, jar.refused], [1, []], name)
    }
  },
)

requirement('S14', 'a session whose own options contradict its cookie’s name is not saved', async () => {
  const req = { headers: {} }
  const session = await store.get(req, '__Host-sid')
  session.values['a'] = 1
  for (const change of [
    { secure: false },
    { path: '/x' },
    { domain: 'example.com' },
    { path: '/;Domain=evil.example' },
  ]) {
    const before = { ...session.options }
    Object.assign(session.options, change)
    const headers = new Headers()
    assert.is((await rejection(store.save(req, headers, session))).code, 'invalid_option')
    assert.equal([...headers], [])
    Object.assign(session.options, before)
  }
  assert.is(session.isNew, true)
})

const injections = [
  'a;b',
  'a; Domain=evil.example',
  'a\r\nSet-Cookie: x=1',
  'a\nb',
  'a\rb',
  'a\0b',
  'a\x7fb',
  'a\tb',
  'a\u2028b',
  'aé',
  'a\u560d\u560a', // its low bytes are CR and LF
]

requirement('S15', 'no name, path or domain adds an attribute or a line to the header', async () => {
  for (const text of injections) {
    for (const given of [{ path: `/${text}` }, { path: text }, { domain: text }, { domain: `${text}.example` }]) {
      assert.throws(
        () => new PGStore(options(given)),
        (error: { code?: string }) => error.code === 'invalid_option',
        JSON.stringify(given),
      )
    }
    assert.is((await rejection(store.get({ headers: {} }, text))).code, 'invalid_option', text)
  }
  for (const name of [
    '',
    ' ',
    'a b',
    'a=b',
    '=',
    '"a"',
    'a,b',
    'a/b',
    '(a)',
    'ä',
    5,
    null,
    ['sid'],
    { toString: () => 'sid' },
  ]) {
    assert.is((await rejection(store.get({ headers: {} }, name as string))).code, 'invalid_option', String(name))
  }
  assert.throws(() => new PGStore(options({ path: `/${'a'.repeat(1024)}` })), /path must/) // browsers drop the attribute
})

requirement('S15', 'whatever visitors send, the response contains no header line of theirs', async () => {
  const { port } = await nodeSite(store, pages)
  for (const cookie of [
    'sid=a%0d%0aSet-Cookie:%20x=1',
    'sid=x; Path=/; Domain=evil',
    'sid=a\u010d\u010aX-Evil: 1',
    'sid=\x0bX-Evil: 1',
  ]) {
    const answer = await rawRequest(port, cookie)
    assert.not.ok(/^(x-evil|set-cookie)/im.test(answer), answer)
  }
})

requirement('S16', 'a name is compared byte by byte: what decodes, folds or trims to it is another', async () => {
  const pool = new CountingPool()
  const spied = testStore<Values>({ pool })
  const [line] = (await fetchSite(store, pages, '__Host-sid').get('/sign-in')).setCookies
  const value = pairOf(line).slice('__Host-sid='.length)
  const planted = [
    '%5F_Host-sid',
    '_%5FHost-sid',
    '__Host%2Dsid',
    '__HOST-sid',
    '__host-sid',
    '\u2000__Host-sid',
    '\u00a0__Host-sid',
    '\u0085__Host-sid',
    '\ufeff__Host-sid',
    '\u000b__Host-sid',
    '\u000c__Host-sid',
    '__Host-sid\u2000',
    '__Host-sid\u0000',
    '__Host-s\u0131d',
    '__Host-si\u0501',
    '__Host-sid[]',
    '__Host-sid[0]',
    '_.Host-sid',
    '.._Host-sid',
    '$Version=1; "__Host-sid"',
    '=__Host-sid', // a nameless cookie
  ]
  for (const name of planted) {
    const session = await spied.get({ headers: { cookie: `${name}=${value}` } }, '__Host-sid')
    assert.is(session.isNew, true, name)
  }
  // Quotes do not enclose other cookies: what is inside them is a separate cookie, as in every browser.
  const sandwich = `$Version=1; other="a; __Host-sid=${value}; b="`
  assert.is((await spied.get({ headers: { cookie: sandwich } }, '__Host-sid')).isNew, false)
  assert.is(pool.queries, 1)
})

/** The Set-Cookie line that a server makes whose clock is off by this many minutes. */
async function lineOfClock(minutes: number, cookie: string): Promise<string> {
  const program = fileURLToPath(new URL('late.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', program, String(minutes), cookie], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  for await (const chunk of child.stdout) text += String(chunk)
  return text.trim()
}

requirement(
  'S17',
  'a server whose clock is ten minutes off sets the same cookie: Max-Age, counted by the database',
  async () => {
    const site = fetchSite(store, pages)
    const cookie = pairOf((await site.get('/sign-in?user=clock')).setCookies[0])
    // So that the rest of the absolute lifetime decides, not the constant maxAge.
    await sql(
      `update pgstore.sessions
       set created_at = created_at - interval '90 days' + interval '3 hours',
         signed_in_at = signed_in_at - interval '90 days' + interval '3 hours'
       where user_id = 'clock'`,
    )
    const lines = await Promise.all([0, -10, 10].map((minutes) => lineOfClock(minutes, cookie)))
    const ages = lines.map((line) => Number(/; Max-Age=(\d+)/.exec(line)?.[1]))
    for (const [index, line] of lines.entries()) {
      assert.match(line, /^sid=[\w-]+=*; Path=\/; Max-Age=\d+; HttpOnly; Secure; SameSite=Lax$/)
      const age = ages[index] as number
      // The children come to it one after the other.
      assert.ok(age <= 3 * 3600 && age > 3 * 3600 - 240, `${age} seconds left`)
    }
  },
)

requirement('S17', 'Max-Age is at most 400 days, and no Expires is sent with it', async () => {
  const long = testStore<Values>({ options: { maxAge: 500 * 86400 }, lifetime: null })
  const { setCookies } = await fetchSite(long, pages).get('/sign-in')
  assert.match(setCookies[0] ?? '', `; Max-Age=${400 * 86400};`)
  assert.not.match(setCookies[0] ?? '', 'Expires')
})

requirement('S17', 'after signing out a browser’s jar is empty, whatever the attributes', async () => {
  const variants: [string, CookieOptions][] = [
    ['sid', {}],
    ['__Host-sid', {}],
    ['__Host-Http-sid', { sameSite: 'strict' }],
    ['sid', { path: '/app' }],
    ['sid', { domain: 'example.com' }],
    ['sid', { domain: '.example.com', path: '/app' }],
    ['__Secure-sid', { domain: 'www.example.com' }],
    ['sid', { sameSite: 'none', partitioned: true }],
    ['sid', { maxAge: 0 }],
    ['sid', { httpOnly: false }],
  ]
  for (const [name, given] of variants) {
    for (const site of await bothSites(testStore<Values>({ options: given }), name)) {
      const jar = new Jar()
      const visit = async (path: string) => {
        const url = 'https://www.example.com/app/page'
        const answer = await site.get(path, jar.header(url))
        jar.receive(url, answer.setCookies)
        return answer.body
      }
      await visit('/sign-in')
      assert.is(await visit('/look'), 'alice')
      await visit('/change')
      assert.equal([jar.size, jar.refused], [1, []], JSON.stringify(given))
      await visit('/sign-out')
      assert.equal([jar.size, jar.refused], [0, []], JSON.stringify(given))
      assert.is(await visit('/look'), 'nobody')
    }
  }
})

requirement(
  'S17',
  'the cookie’s lifetime is not what ends a session: a jar that fails to drop it opens nothing',
  async () => {
    const site = fetchSite(store, pages)
    const cookie = pairOf((await site.get('/sign-in?user=late')).setCookies[0])
    await sql("update pgstore.sessions set expires_at = now() - interval '1 second' where user_id = 'late'")
    assert.is((await site.get('/look', cookie)).body, 'nobody')
  },
)

requirement(
  'S19',
  'however often a request saves, renews and ends its session, one Set-Cookie of its name is sent',
  async () => {
    for (const site of await bothSites(store)) {
      for (const path of ['/everything', '/renew-and-leave']) {
        const { status, setCookies } = await site.get(path)
        assert.equal([status, setCookies.length], [200, 1])
        const again = await site.get(path, pairOf(setCookies[0]))
        assert.equal([again.status, again.setCookies.length], [200, 1])
      }
    }
  },
)

requirement('S19', 'the last one is sent, and other cookies stay', async () => {
  const setting: Pages = {
    '/': async (visit) => {
      const { res } = visit
      if ('setHeader' in res) res.setHeader('Set-Cookie', ['other=1', 'sidx=2'])
      else for (const line of ['other=1', 'sidx=2']) (res as Headers).append('set-cookie', line)
      await pages['/everything']?.(visit)
    },
    '/look': ({ session }) => JSON.stringify(session.values),
  }
  for (const site of [await nodeSite(store, setting), fetchSite(store, setting)]) {
    const { setCookies } = await site.get('/')
    assert.equal(setCookies.slice(0, 2), ['other=1', 'sidx=2'])
    assert.is(setCookies.length, 3)
    assert.equal(JSON.parse((await site.get('/look', pairOf(setCookies[2]))).body), { a: 1, b: 2 })
  }
})

requirement(
  'S19',
  'a response that is sent while its session is saved is an error with a code, and takes no second cookie',
  async () => {
    let saving: Promise<{ code?: string }> | undefined
    const early: Pages = {
      '/': ({ store, session, req, res }) => {
        session.values['a'] = 1
        saving = rejection(store.save(req, res, session))
        ;(res as ServerResponse).end('early')
      },
    }
    const { setCookies, body } = await (await nodeSite(store, early)).get('/')
    assert.equal([setCookies, body], [[], 'early'])
    assert.is((await saving)?.code, 'headers_sent')
  },
)

requirement(
  'S19',
  'over HTTP/2, whose clients send cookies in crumbs, a session is read and one Set-Cookie sent',
  async () => {
    const server = http2.createServer((req, res) => {
      void (async () => {
        const session = await store.get(req, 'sid')
        session.values['visits'] = Number(session.values['visits'] ?? 0) + 1
        await store.save(req, res, session)
        await store.save(req, res, session)
        res.end(String(session.values['visits']))
      })()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const visit = async (...crumbs: string[]) => {
      const stream = client.request({ ':path': '/', ...(crumbs.length > 0 ? { cookie: crumbs } : {}) })
      const headers = await new Promise<http2.IncomingHttpHeaders>((resolve) => stream.on('response', resolve))
      let body = ''
      for await (const chunk of stream) body += String(chunk)
      return { body, lines: headers['set-cookie'] ?? [] }
    }
    const first = await visit()
    assert.equal([first.body, first.lines.length], ['1', 1])
    const second = await visit('a=b', pairOf(first.lines[0]), 'c=d')
    assert.equal([second.body, second.lines.length], ['2', 0]) // the browser has it
    client.close()
    await new Promise((resolve) => server.close(resolve))
  },
)

test.run()
