import http from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type CookieSerializeOptions,
  createSession,
  createStaticHandler,
  isSession,
  type LoaderFunctionArgs,
  RouterContextProvider,
  redirect,
} from 'react-router'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  createPGSessionStorage,
  type PGSession,
  type RequestSession,
  sessions,
} from '../../src/adapters/react-router.ts'
import { Browser } from '../support/browser.ts'
import { countingPool } from '../support/frameworks.ts'
import { closeAll, rejection, sql, testStore } from '../support/harness.ts'

interface Data {
  visits: number
  theme: string
  language: string
}

interface Flash {
  message: string
}

type Session = PGSession<Data, Flash>

const counter = countingPool()
const storage = createPGSessionStorage<Data, Flash>(testStore({ pool: counter.pool }))
const { getSession, commitSession, destroySession, regenerateSession } = storage

/** Loaders and actions, as React Router calls them: what they return is the response. */
const routes: Record<string, (session: Session) => Promise<{ text?: string; cookie?: string }>> = {
  async '/visit'(session) {
    session.set('visits', (session.get('visits') ?? 0) + 1)
    return { text: String(session.get('visits')), cookie: await commitSession(session) }
  },
  async '/read'(session) {
    return { text: JSON.stringify({ id: session.id, userId: session.userId, data: session.data }) }
  },
  async '/commit'(session) {
    return { cookie: await commitSession(session) }
  },
  async '/flash'(session) {
    session.flash('message', 'Saved.')
    return { cookie: await commitSession(session) }
  },
  async '/message'(session) {
    const had = session.has('message')
    return { text: `${had} ${session.get('message')} ${session.has('message')}`, cookie: await commitSession(session) }
  },
  async '/sign-in'(session) {
    session.userId = 'ada'
    await regenerateSession(session)
    session.set('theme', 'dark')
    return { cookie: await commitSession(session, { maxAge: 3600 }) }
  },
  async '/sign-out'(session) {
    return { cookie: await destroySession(session) }
  },
  async '/ended-meanwhile'(session) {
    session.set('visits', 99)
    await sql('delete from pgstore.sessions where id = $1', session.id)
    return { text: 'the page', cookie: await commitSession(session) }
  },
}

// React Router's own handler of requests, whose loaders set the header whether there is a cookie or not, as its documentation does.
const handler = createStaticHandler(
  Object.entries(routes).map(([path, load]) => ({
    path,
    async loader({ request }: LoaderFunctionArgs) {
      const { text = '', cookie } = await load(await getSession(request.headers.get('Cookie')))
      return new Response(text, cookie === undefined ? {} : { headers: { 'Set-Cookie': cookie } })
    },
  })),
)
const server = http.createServer((req, res) => {
  const answer = async () => {
    const request = new Request(`http://localhost${req.url}`, { headers: { cookie: req.headers.cookie ?? '' } })
    const response: Response = await handler.queryRoute(request)
    res.writeHead(response.status, [...response.headers].flat()).end(await response.text())
  }
  answer().catch((error: unknown) => res.writeHead(500).end(String(error)))
})
let browser: Browser

test.before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
test.before.each(() => {
  browser = new Browser(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
test.after(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await closeAll()
})

const read = async (at = browser) => JSON.parse((await at.get('/read')).text)
const isStored = async (id: string) => (await sql('select from pgstore.sessions where id = $1', id)).length > 0
const headerOf = (at: Browser) => [...at.jar].map(([name, value]) => `${name}=${value}`).join('; ')

test('a committed session is there at the next request, under a cookie signed by the store', async () => {
  const texts = [await browser.get('/visit'), await browser.get('/visit')].map(({ text }) => text)
  assert.equal(texts, ['1', '2'])
  assert.ok((browser.jar.get('sid') ?? '').length > 100)
  assert.equal((await read()).data, { visits: 2 })
})

test('React Router’s isSession accepts a session', async () => {
  assert.is(isSession(await getSession()), true)
  assert.is(isSession(await getSession(null)), true)
})

test('get, set, has, unset and flash do what those of React Router do', async () => {
  const sessions = [createSession<Data, Flash>({ theme: 'dark' } as Data), await getSession()] as const
  sessions[1].set('theme', 'dark')
  const steps = sessions.map((session) => {
    const seen: unknown[] = [session.has('theme'), session.get('theme'), session.has('visits'), session.get('visits')]
    session.flash('message', 'one')
    seen.push(session.has('message'), session.data, session.get('message'), session.get('message'), session.data)
    session.unset('theme')
    session.set('visits', 0)
    seen.push(session.get('visits'), session.has('theme'), session.data)
    Object.assign(session.data, { visits: 9 })
    return [...seen, session.get('visits'), session.id]
  })
  assert.equal(steps[1], steps[0])
})

test('committing an unchanged session costs no query and sets no cookie', async () => {
  await browser.get('/visit')
  const [cookie, before] = [browser.jar.get('sid'), counter.queries]
  const { cookies } = await browser.get('/commit')
  assert.equal(cookies, [''])
  assert.is(browser.jar.get('sid'), cookie)
  assert.is(counter.queries - before, 1)
})

test('a flash message is shown once', async () => {
  await browser.get('/flash')
  assert.is((await browser.get('/message')).text, 'true Saved. false')
  assert.is((await browser.get('/message')).text, 'false undefined false')
})

test('two commits of one session that change different keys both keep their changes', async () => {
  await browser.get('/visit')
  const [one, two] = [await getSession(headerOf(browser)), await getSession(headerOf(browser))]
  one.set('theme', 'dark')
  two.set('language', 'fr')
  await Promise.all([commitSession(one), commitSession(two)])
  assert.equal((await read()).data, { visits: 1, theme: 'dark', language: 'fr' })
})

test('a commit after a sign-out revives nothing, and the next visit is new', async () => {
  await browser.get('/visit')
  const { id } = await read()
  const late = await getSession(headerOf(browser))
  late.set('visits', 99)
  await destroySession(await getSession(headerOf(browser)))
  await commitSession(late)
  assert.is(late.id, '')
  assert.is(await isStored(id), false)
  assert.is((await browser.get('/visit')).text, '1')
})

test('if a session ends while its page is made, the page is sent', async () => {
  await browser.get('/visit')
  const { status, text } = await browser.get('/ended-meanwhile')
  assert.equal([status, text], [200, 'the page'])
  assert.is((await browser.get('/visit')).text, '1')
})

test('regenerating at sign-in changes the cookie, keeps the session, and the old cookie opens nothing', async () => {
  await browser.get('/visit')
  const { id } = await read()
  const old = browser.twin()
  const { cookies } = await browser.get('/sign-in')
  assert.is(cookies.length, 1)
  assert.match(cookies[0] ?? '', /; Max-Age=3960;/)
  assert.equal(await read(), { id, userId: 'ada', data: { visits: 1, theme: 'dark' } })
  assert.equal(await read(old), { id: '', data: {} })
})

test('of two requests that regenerate one session, one finds it gone', async () => {
  await browser.get('/visit')
  const both = [await getSession(headerOf(browser)), await getSession(headerOf(browser))] as const
  const codes = await Promise.all(
    both.map((session) =>
      regenerateSession(session).then(
        () => 'saved',
        ({ code }) => code,
      ),
    ),
  )
  assert.equal(new Set(codes), new Set(['gone', 'saved']))
})

test('destroying deletes row and cookie, and does nothing for a visitor without either', async () => {
  assert.equal((await browser.get('/sign-out')).cookies, [''])
  await browser.get('/visit')
  const { id } = await read()
  await browser.get('/sign-out')
  assert.equal([...browser.jar], [])
  assert.is(await isStored(id), false)
})

test('attributes of the cookie that would change it are refused, and so is a session from elsewhere', async () => {
  const session = await getSession()
  session.set('visits', 1)
  for (const options of [{ secure: false }, { domain: 'example.com' }, { sameSite: true }, { path: '/app' }] as const) {
    assert.is((await rejection(commitSession(session, options))).code, 'invalid_option')
  }
  assert.is((await rejection(commitSession(session, { expires: new Date('never') }))).code, 'invalid_option')
  assert.is((await rejection(commitSession(createSession<Data, Flash>()))).code, 'invalid_option')
})

test('E8: attributes that change nothing are accepted, and expires as the maxAge until then', async () => {
  const commit = async (options: CookieSerializeOptions, session?: Session) => {
    const mine = session ?? (await getSession())
    mine.set('visits', 1)
    return await commitSession(mine, options)
  }
  const same = { path: '/', httpOnly: true, secure: true, sameSite: 'lax' } as const
  assert.match(await commit(same), /; Max-Age=2595600;/)
  assert.match(await commit({ expires: new Date(Date.now() + 3600_000) }), /; Max-Age=3960;/)
  assert.match(await commit({ expires: new Date(Date.now() + 3600_000), maxAge: 7200 }), /; Max-Age=7920;/)
  const session = await getSession(/^[^;]*/.exec(await commit({}))?.[0])
  assert.match(await commit({ expires: new Date(0) }, session), /; Max-Age=0;/)
  assert.is(await isStored(session.id || '0'), false)
})

test('a middleware gives loaders the session, and saves it with the response, whatever that is', async () => {
  const store = testStore<{ visits?: number; text?: string }>({ deviceBound: true })
  const visitor = sessions(store)
  const loaders: Record<string, (session: RequestSession<{ visits?: number; text?: string }>) => unknown> = {
    '/plain': () => 'plain',
    '/device-bound': () => 'for its action',
    '/visit': async (session) => {
      const { values } = await session()
      values.visits = (values.visits ?? 0) + 1
      return String(values.visits)
    },
    '/sign-in': async (session) => {
      ;(await session()).userId = 'bob'
      await session.regenerate()
      throw redirect('/who') // oxlint-disable-line typescript/only-throw-error
    },
    '/who': async (session) => (await session()).userId ?? 'nobody',
    '/sign-out': async (session) => {
      await session.destroy()
      return redirect('/who')
    },
    '/fetched': async (session) => {
      ;(await session()).values.visits = 10
      return await fetch('data:text/plain,fetched')
    },
    '/too-large': async (session) => {
      ;(await session()).values.text = 'x'.repeat(5000)
      return 'too large'
    },
  }
  const site = createStaticHandler(
    Object.entries(loaders).map(([path, load]) => ({
      path,
      middleware: [visitor],
      action: () => new Response('the action'),
      loader: async ({ context }: LoaderFunctionArgs) => {
        const answer = await load((context as Readonly<RouterContextProvider>).get(visitor.context))
        return answer instanceof Response ? answer : new Response(String(answer))
      },
    })),
  )
  let jar: string | undefined
  const get = async (path: string, cookie = jar, method = 'GET') => {
    const request = new Request(`http://localhost${path}`, { method, headers: cookie ? { cookie } : {} })
    const response: Response = await site.queryRoute(request, {
      requestContext: new RouterContextProvider(),
      generateMiddlewareResponse: async (query: (request: Request) => Promise<Response>) => {
        try {
          return await query(request)
        } catch (thrown) {
          if (thrown instanceof Response) return thrown
          throw thrown
        }
      },
    })
    const [line] = response.headers.getSetCookie()
    if (line !== undefined) jar = /; Max-Age=0/.test(line) ? undefined : /^[^;]*/.exec(line)?.[0]
    return response
  }
  const plain = await get('/plain')
  assert.equal([await plain.text(), plain.headers.get('vary'), jar], ['plain', null, undefined])
  assert.is(await (await get('/visit')).text(), '1')
  const second = await get('/visit')
  assert.equal([await second.text(), second.headers.get('cache-control')], ['2', 'no-store'])
  const before = jar
  const signedIn = await get('/sign-in')
  assert.is(signedIn.status, 302)
  assert.match(signedIn.headers.get('secure-session-registration') ?? '', /path="\/device-bound"/)
  assert.is((await get('/device-bound', jar, 'POST')).status, 400, 'no action, but the store: this is no proof')
  assert.is.not(jar, before)
  assert.is(await (await get('/who')).text(), 'bob')
  assert.is(await (await get('/who', before)).text(), 'nobody')
  assert.is(await (await get('/fetched')).text(), 'fetched')
  assert.is(await (await get('/visit')).text(), '11')
  assert.is((await rejection(get('/too-large'))).code, 'too_large')
  await get('/sign-out')
  assert.is(jar, undefined)
})

test.run()
