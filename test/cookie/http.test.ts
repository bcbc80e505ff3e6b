import http from 'node:http'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readCookies } from '../../src/cookie/cookie-header.ts'
import {
  type CookieOptions,
  cookieAttributes,
  cookieNameProblems,
  cookieOptionProblems,
  defaultCookieOptions,
  setCookieLine,
} from '../../src/cookie/cookie-options.ts'
import { checkHeadersOpen, writeCookie } from '../../src/cookie/response.ts'
import { closeAll, TestResponse, testStore } from '../support/harness.ts'

test.after(closeAll)

const withCookie = (cookie: string) => ({ headers: { cookie } })
const sid = { name: 'sid', value: 'v' }
const options = (given: CookieOptions) => ({ ...defaultCookieOptions, ...given })

test('cookies are read from node and from fetch requests', () => {
  assert.equal(readCookies(withCookie('a=1; sid=x; b=2'), 'sid'), ['x'])
  assert.equal(readCookies(new Request('http://localhost/', { headers: { cookie: 'a=1; sid=x' } }), 'sid'), ['x'])
  assert.equal(readCookies({ headers: {} }, 'sid'), [])
  assert.equal(readCookies(new Request('http://localhost/'), 'sid'), [])
})

test('a header called get does not turn a Node request into a fetch one', () => {
  assert.equal(readCookies({ headers: { get: 'x', cookie: 'sid=y' } as never }, 'sid'), ['y'])
})

test('names are compared exactly: no decoding, no case folding, no trimming except space and tab', () => {
  for (const cookie of [
    '%73id=x',
    'SID=x',
    '\u2000sid=x',
    'sid\u00a0=x',
    'xsid=x',
    'sid x=y',
    '"sid"=x',
    'sid',
    ';;=x',
  ]) {
    assert.equal(readCookies(withCookie(cookie), 'sid'), [], cookie)
  }
  assert.equal(readCookies(withCookie('\t sid\t=\t x \t;'), 'sid'), ['x'])
})

test('of cookies with one name the first four are read', () => {
  assert.equal(readCookies(withCookie('sid=1;sid=2; sid=3;sid=4;sid=5'), 'sid'), ['1', '2', '3', '4'])
})

test('a cookie’s value that comes again counts once', () => {
  assert.equal(readCookies(withCookie('sid=1; sid=1; sid="1"; sid=2; sid=1; sid=3; sid=4; sid=5'), 'sid'), [
    '1',
    '2',
    '3',
    '4',
  ])
})

test('E10: one pair of quotes around a value is not part of it; a lone one is, and names take none', () => {
  for (const [value, expected] of [
    ['"x="', 'x='],
    ['" x "', ' x '],
    ['""', ''],
    ['""x""', '"x"'],
    ['"', '"'],
    ['"x', '"x'],
    ['x"', 'x"'],
    ['x"y"', 'x"y"'],
    ["'x'", "'x'"],
    ['"a;b"', '"a'],
  ]) {
    assert.equal(readCookies(withCookie(`a=1; sid= ${value} ; b="2"`), 'sid'), [expected], value)
  }
  assert.equal(readCookies(withCookie('"sid"=x; "sid=x"'), 'sid'), [])
})

test('a header of a megabyte is read in linear time', () => {
  const part = 'a=b; sid;'.repeat(50_000)
  const time = (repeat: number) => {
    const started = process.hrtime.bigint()
    readCookies(withCookie(part.repeat(repeat)), 'sid')
    return Number(process.hrtime.bigint() - started)
  }
  time(1)
  const ratio = time(8) / time(2)
  assert.ok(ratio < 16, `4 times the text took ${ratio.toFixed(1)} times as long`)
})

test('a cookie has its attributes in order, and none that are off', () => {
  assert.is(
    setCookieLine({ ...sid, options: defaultCookieOptions, maxAge: 60 }),
    'sid=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax',
  )
  assert.is(
    setCookieLine({
      ...sid,
      options: options({ domain: 'a.example', httpOnly: false, secure: false, sameSite: 'strict' }),
      maxAge: undefined,
    }),
    'sid=v; Path=/; Domain=a.example; SameSite=Strict',
  )
  assert.is(
    setCookieLine({ ...sid, options: options({ sameSite: 'none', partitioned: true }), maxAge: 60 }),
    'sid=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned',
  )
})

test('Max-Age is at most 400 days', () => {
  const cookie = { ...sid, options: defaultCookieOptions, maxAge: 500 * 86400 }
  assert.match(setCookieLine(cookie), 'Max-Age=34560000;')
  assert.is(cookieAttributes(cookie).maxAge, 34560000)
})

test('a response keeps other cookies and has one of ours', () => {
  const node = new TestResponse()
  node.setHeader('Set-Cookie', 'other=1')
  const headers = new Headers([['set-cookie', 'other=1']])
  const response = new Response(null, { headers: [['set-cookie', 'other=1']] })
  for (const res of [node, headers, response]) {
    for (const value of ['a', 'b']) {
      writeCookie(res, { name: 'sid', value, options: defaultCookieOptions, maxAge: undefined })
    }
  }
  const expected = ['other=1', 'sid=b; Path=/; HttpOnly; Secure; SameSite=Lax']
  assert.equal(node.cookies, expected)
  assert.equal(headers.getSetCookie(), expected)
  assert.equal(response.headers.getSetCookie(), expected)
})

test('a response that cannot take a cookie is detected beforehand', () => {
  const sent = Object.assign(new TestResponse(), { headersSent: true })
  for (const res of [sent, Response.redirect('http://localhost/', 302), Response.error()]) {
    assert.throws(
      () => checkHeadersOpen(res),
      (error: { code: string }) => error.code === 'headers_sent',
    )
  }
  checkHeadersOpen(new Response(null))
})

test('options that a browser or the header’s grammar refuses are problems', () => {
  const bad: CookieOptions[] = [
    { path: 'app' },
    { path: '/;Domain=evil.example' },
    { path: '/\r\nSet-Cookie: x=1' },
    { path: '/ü' },
    { domain: 'a;b' },
    { domain: 'exa mple.com' },
    { domain: '' },
    { maxAge: Number.NaN },
    { maxAge: '60' as never },
    { secure: 1 as never },
    { sameSite: 'LAX' as never },
    { sameSite: 'none', secure: false },
    { partitioned: true, secure: false },
  ]
  for (const given of bad) assert.is.not(cookieOptionProblems(options(given)).length, 0, JSON.stringify(given))
  const good: CookieOptions[] = [
    {},
    { path: '/a b' },
    { domain: 'example.com' },
    { domain: '.example.com' },
    { maxAge: 0.5 },
  ]
  for (const given of good) assert.equal(cookieOptionProblems(options(given)), [], JSON.stringify(given))
})

test('a cookie’s name is a token and keeps its prefix’s rules, in any case of letters', () => {
  const bad: [string, CookieOptions][] = [
    ['', {}],
    ['a b', {}],
    ['a=b', {}],
    ['a;b', {}],
    ['ä', {}],
    ['__Secure-sid', { secure: false }],
    ['__Host-sid', { path: '/app' }],
    ['__host-sid', { domain: 'example.com' }],
    ['__Host-sid', { secure: false }],
    ['__Http-sid', { httpOnly: false }],
    ['__Host-Http-sid', { httpOnly: false }],
    ['__Host-Http-sid', { path: '/x' }],
  ]
  for (const [name, given] of bad) assert.is.not(cookieNameProblems(name, options(given)).length, 0, name)
  for (const name of ['sid', '__Host-sid', '__Secure-sid', '__Http-sid', '__Host-Http-sid', 'connect.sid']) {
    assert.equal(cookieNameProblems(name, defaultCookieOptions), [])
  }
})

test('a real node server and fetch carry a session to and fro', async () => {
  const store = testStore<{ visits?: number }>({ options: { secure: false } })
  const answer = async (req: http.IncomingMessage, res: http.ServerResponse) => {
    const session = await store.get(req, 'sid')
    session.values.visits = (session.values.visits ?? 0) + 1
    await store.save(req, res, session)
    res.end(String(session.values.visits))
  }
  const server = http.createServer((req, res) => void answer(req, res))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  let cookie = ''
  for (const expected of ['1', '2', '3']) {
    const res = await fetch(`http://127.0.0.1:${port}/`, { headers: { cookie } })
    assert.is(await res.text(), expected)
    cookie = res.headers.getSetCookie()[0]?.split(';')[0] ?? cookie
  }
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

test('fetch requests and responses carry a session to and fro', async () => {
  const store = testStore<{ visits?: number }>()
  const handler = async (req: Request): Promise<Response> => {
    const session = await store.get(req, 'sid')
    session.values.visits = (session.values.visits ?? 0) + 1
    const res = new Response(`${session.values.visits}`)
    await store.save(req, res, session)
    return res
  }
  const first = await handler(new Request('http://localhost/'))
  const cookie = first.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  const second = await handler(new Request('http://localhost/', { headers: { cookie } }))
  assert.is(await second.text(), '2')
})

test.run()
