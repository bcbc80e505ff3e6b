// What docs/frameworks.md promises for every framework: the same pages and the same tests, over real HTTP.
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { RequestSession } from '../../src/adapters/request-session.ts'
import type { PGStore, PGStoreOptions } from '../../src/index.ts'
import { cookieName, proofOf } from '../bound/device.ts'
import { Browser, cookieNames } from './browser.ts'
import { admin, sql, testStore, until } from './harness.ts'

export interface Values {
  visits?: number
  [name: string]: unknown
}

/** A page as every framework can mount it: no more than a session and a query in, an answer out. */
export type Page = (
  session: RequestSession<Values>,
  query: URLSearchParams,
) => Promise<string | { readonly status?: number; readonly body: string | ReadableStream<Uint8Array> }>

/** An error that asks for a status. */
export class Refusal extends Error {
  readonly status: number

  constructor(status: number) {
    super(`refused with ${status}`)
    this.status = status
  }
}

export interface Site {
  readonly url: string
  close(): Promise<void>
}

/** Requests that wait for each other. */
class Meeting {
  #waiting: (() => void)[] = []
  #size = 0

  /** A barrier: each waits until this many have arrived. */
  of(size: number): void {
    this.#size = size
  }

  get present(): number {
    return this.#waiting.length
  }

  async join(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve)
      if (this.#waiting.length === this.#size) this.end()
    })
  }

  end(): void {
    for (const go of this.#waiting.splice(0)) go()
  }
}

const meeting = new Meeting()

function change(values: Values, query: URLSearchParams): void {
  for (const [name, value] of query) if (name !== 'status') values[name] = value
}

const end = async (id: string | undefined) => await sql('delete from pgstore.sessions where id = $1', id)

export const pages: Readonly<Record<string, Page>> = {
  '/plain': async () => 'plain',
  async '/visit'(session) {
    const { values } = await session()
    values.visits = (values.visits ?? 0) + 1
    return String(values.visits)
  },
  async '/read'(session) {
    const { id, userId, isNew, values } = await session()
    return JSON.stringify({ id, userId, isNew, values })
  },
  async '/bound'(session) {
    return (await session({ bound: 'require' })).userId ?? 'nobody'
  },
  async '/twice'(session) {
    const [one, two] = await Promise.all([session(), session()])
    return String(one === two && one === (await session()))
  },
  async '/set'(session, query) {
    change((await session()).values, query)
    return 'set'
  },
  async '/meet'(session, query) {
    const { values } = await session()
    await meeting.join()
    change(values, query)
    return 'met'
  },
  async '/sign-in'(session, query) {
    const mine = await session()
    mine.userId = query.get('user') ?? undefined
    await session.regenerate()
    return mine.id ?? ''
  },
  async '/sign-out'(session) {
    await session.destroy()
    return 'signed out'
  },
  async '/sign-out-and-throw'(session) {
    await session.destroy()
    throw new Refusal(409)
  },
  async '/answer'(session, query) {
    change((await session()).values, query)
    return { status: Number(query.get('status')), body: 'answered' }
  },
  async '/throw'(session, query) {
    change((await session()).values, query)
    throw new Refusal(Number(query.get('status')))
  },
  async '/save-and-throw'(session, query) {
    change((await session()).values, new URLSearchParams('saved=1'))
    await session.save()
    throw new Refusal(Number(query.get('status')))
  },
  async '/regenerate-and-throw'(session, query) {
    await session.regenerate()
    throw new Refusal(Number(query.get('status')))
  },
  async '/ended-meanwhile'(session) {
    const { id, values } = await session()
    values.visits = 99
    await end(id)
    return 'the page'
  },
  async '/ended-before-save'(session) {
    const { id, values } = await session()
    values.visits = 99
    await end(id)
    await session.save()
    return 'never'
  },
  async '/saved-meanwhile'(session) {
    const { id, values } = await session()
    values.visits = (values.visits ?? 0) + 1
    await sql('update pgstore.sessions set version = version + 1 where id = $1', id)
    await session.save({ ifUnchanged: true })
    return 'never'
  },
  async '/too-large'(session) {
    const { values } = await session()
    values['text'] = 'x'.repeat(5000)
    return 'too large'
  },
  async '/stream'(session) {
    const { values } = await session()
    values.visits = (values.visits ?? 0) + 1
    const text = new TextEncoder()
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(text.encode('first, ')),
      async pull(controller) {
        await meeting.join()
        controller.enqueue(text.encode('last'))
        controller.close()
      },
    })
    return { body }
  },
  async '/save-in-stream'(session, query) {
    if (query.has('early')) await session()
    const text = new TextEncoder()
    const save = async () => {
      const { values } = await session()
      values['inStream'] = query.get('mark')
      return await (query.has('regenerate') ? session.regenerate() : session.save()).then(
        () => 'saved',
        (error: { code?: string }) => error.code ?? 'failed',
      )
    }
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          if (query.has('first')) {
            controller.enqueue(text.encode('first, '))
            await meeting.join()
          }
          controller.enqueue(text.encode(await save()))
          controller.close()
        },
      },
      { highWaterMark: 0 },
    )
    return { body }
  },
}

/** A pool that counts the queries that go through it. */
export function countingPool(): { pool: NonNullable<PGStoreOptions['pool']>; readonly queries: number } {
  let queries = 0
  return {
    pool: {
      connect: () => admin.connect(),
      query: (query) => {
        queries++
        return admin.query(query as never) as never
      },
    },
    get queries() {
      return queries
    },
  }
}

/** @param unavailable the status of an answer whose session could not be read */
export function frameworkTests(start: (store: PGStore<Values>) => Promise<Site>, unavailable: 500 | 503): void {
  const counter = countingPool()
  const store = testStore<Values>({ pool: counter.pool })
  const sites: Site[] = []
  let url = ''

  test.before(async () => {
    url = await startSite(store)
  })
  test.after(async () => {
    meeting.end()
    await Promise.all(sites.map((site) => site.close()))
  })

  async function startSite(at: PGStore<Values>): Promise<string> {
    const site = await start(at)
    sites.push(site)
    return site.url
  }

  /** A browser whose visitor has a session, and the session's number. */
  async function visitor(at = url): Promise<{ browser: Browser; id: string }> {
    const browser = new Browser(at)
    await browser.get('/visit')
    return { browser, id: (await read(browser)).id ?? '' }
  }

  async function read(browser: Browser) {
    const { status, text } = await browser.get('/read')
    assert.is(status, 200)
    return JSON.parse(text) as { id?: string; userId?: string; isNew: boolean; values: Values }
  }

  const countMarked = async (mark: string) =>
    (await sql("select from pgstore.sessions where data ->> 'inStream' = $1", mark)).length
  const isStored = async (id: string) => (await sql('select 1 from pgstore.sessions where id = $1', id)).length > 0

  test('a page that asks for no session makes no query and sets no cookie and no header, whatever cookie it is sent', async () => {
    const { browser } = await visitor()
    const before = counter.queries
    for (const path of ['/plain', '/nowhere']) {
      const { cookies, headers } = await browser.get(path)
      assert.equal([cookies, headers.get('vary'), headers.get('cache-control')], [[], null, null])
    }
    assert.is(counter.queries, before)
  })

  test('each visitor’s session is kept from one visit to the next', async () => {
    const [one, other] = [new Browser(url), new Browser(url)]
    const texts = []
    for (const browser of [one, one, other, one]) texts.push((await browser.get('/visit')).text)
    assert.equal(texts, ['1', '2', '1', '3'])
  })

  test('a visit costs a read and a save, one that changes nothing a read and no cookie', async () => {
    const { browser } = await visitor()
    const before = counter.queries
    await browser.get('/visit')
    assert.is(counter.queries - before, 2)
    assert.equal((await browser.get('/read')).cookies, [])
    assert.is(counter.queries - before, 3)
  })

  test('a new visitor whose page stores nothing gets no cookie, and costs no query', async () => {
    const before = counter.queries
    assert.equal((await new Browser(url).get('/read')).cookies, [])
    assert.is(counter.queries, before)
  })

  test('within a request the session is read once and is the same object', async () => {
    const { browser } = await visitor()
    const before = counter.queries
    assert.is((await browser.get('/twice')).text, 'true')
    assert.is(counter.queries - before, 1)
  })

  test('two concurrent requests that change different keys both keep their changes', async () => {
    const { browser } = await visitor()
    meeting.of(2)
    await Promise.all([browser.get('/meet?theme=dark'), browser.get('/meet?language=fr')])
    assert.equal((await read(browser)).values, { visits: 1, theme: 'dark', language: 'fr' })
  })

  test('regenerating at sign-in changes the cookie once, keeps the session, and the old cookie opens nothing', async () => {
    const { browser, id } = await visitor()
    const old = browser.twin()
    const { cookies } = await browser.get('/sign-in?user=ada')
    assert.is(cookies.length, 1)
    assert.is.not(browser.jar.get('sid'), old.jar.get('sid'))
    assert.equal(await read(browser), { id, userId: 'ada', isNew: false, values: { visits: 1 } })
    assert.equal(await read(old), { isNew: true, values: {} })
  })

  test('a request in progress at sign-in, which answers afterwards, does not sign its visitor out again', async () => {
    const { browser, id } = await visitor()
    meeting.of(0)
    const slow = browser.get('/meet?theme=dark') // with the cookie of before
    await until(() => meeting.present === 1)
    await browser.get('/sign-in?user=ada')
    meeting.end()
    assert.is((await slow).status, 200)
    assert.equal(await read(browser), { id, userId: 'ada', isNew: false, values: { visits: 1 } })
  })

  test('a sign-in asks for a key, its path is answered, and a page that requires the device has a user only with the proof', async () => {
    const at = await startSite(testStore<Values>({ deviceBound: true }))
    const browser = new Browser(at)
    const { headers } = await browser.get('/sign-in?user=ada')
    const registration = headers.get('secure-session-registration') ?? ''
    assert.is((await browser.get('/bound')).text, 'nobody')
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const challenge = /challenge="([^"]+)"/.exec(registration)?.[1]
    const proof = proofOf(privateKey, challenge, { jwk: publicKey.export({ format: 'jwk' }) })
    const { status, cookies } = await browser.get('/device-bound', {
      method: 'POST',
      headers: { 'secure-session-response': proof },
    })
    assert.equal([status, cookieNames(cookies)], [200, [cookieName]])
    assert.is((await browser.get('/bound')).text, 'ada')
    browser.jar.delete(cookieName)
    assert.equal([(await browser.get('/bound')).text, (await read(browser)).userId], ['nobody', 'ada'])
  })

  test('destroying at sign-out deletes row and cookie', async () => {
    const { browser, id } = await visitor()
    const old = browser.twin()
    const { cookies } = await browser.get('/sign-out')
    assert.is(cookies.length, 1)
    assert.equal([...browser.jar], [])
    assert.is(await isStored(id), false)
    assert.is((await read(old)).isNew, true)
  })

  test('signing out clears the site where the option says so, also if the page fails after it', async () => {
    const at = await startSite(testStore<Values>({ clearSiteData: true }))
    for (const path of ['/sign-out', '/sign-out-and-throw']) {
      const { browser } = await visitor(at)
      const { headers } = await browser.get(path)
      assert.is(headers.get('clear-site-data'), '"cache", "storage"', path)
      assert.equal([...browser.jar], [], path)
      assert.is((await browser.get('/read')).headers.get('clear-site-data'), null)
    }
  })

  test('a hint beside the session’s cookie stays with it if the page fails', async () => {
    const at = await startSite(testStore<Values>({ cache: true }))
    const { browser } = await visitor(at)
    const { cookies } = await browser.get('/save-and-throw?status=409')
    assert.equal(cookieNames(cookies), ['sid-v'])
  })

  test('a request that finishes after a sign-out revives nothing', async () => {
    for (let round = 0; round < 25; round++) {
      const { browser, id } = await visitor()
      await Promise.all([browser.get('/set?late=1'), browser.get('/sign-out'), browser.get('/visit')])
      assert.is(await isStored(id), false, `round ${round}`)
    }
  })

  test('if a session ends while its page is made, the page is sent, nothing revives, and the next visit is new', async () => {
    const { browser, id } = await visitor()
    const { status, text } = await browser.get('/ended-meanwhile')
    assert.equal([status, text], [200, 'the page'])
    assert.is(await isStored(id), false)
    assert.is((await browser.get('/visit')).text, '1')
  })

  test('a page that saves a session that has ended by then is a 409', async () => {
    const { browser, id } = await visitor()
    assert.is((await browser.get('/ended-before-save')).status, 409)
    assert.is(await isStored(id), false)
    assert.is((await browser.get('/visit')).text, '1')
  })

  test('a page that asks for an unchanged session is a 409 if another request saved', async () => {
    const { browser } = await visitor()
    assert.is((await browser.get('/saved-meanwhile')).status, 409)
    assert.equal((await read(browser)).values, { visits: 1 })
  })

  for (const path of ['/answer', '/throw']) {
    test(`a change is kept below status 500 and dropped from there on: ${path}`, async () => {
      const { browser } = await visitor()
      for (const status of [200, 404, 500, 503]) {
        if (path === '/throw' && status === 200) continue
        const answer = await browser.get(`${path}?status=${status}&last=${status}`)
        assert.is(answer.status, status)
        assert.is((await read(browser)).values['last'], status < 500 ? String(status) : '404')
      }
    })

    test(`a new visitor's session survives a refusal: ${path}`, async () => {
      const browser = new Browser(url)
      const { cookies } = await browser.get(`${path}?status=403&attempts=1`)
      assert.is(cookies.length, 1)
      assert.is((await read(browser)).values['attempts'], '1')
    })
  }

  test('a new token reaches the visitor though the page fails after that', async () => {
    for (const status of [403, 500]) {
      const { browser, id } = await visitor()
      const old = browser.jar.get('sid')
      const answer = await browser.get(`/regenerate-and-throw?status=${status}`)
      assert.is(answer.status, status)
      assert.is(answer.cookies.length, 1)
      assert.is.not(browser.jar.get('sid'), old)
      assert.is((await read(browser)).id, id)
    }
  })

  test('a session that cannot be saved is a 500, and the stored one is not changed', async () => {
    const { browser } = await visitor()
    const { status, text } = await browser.get('/too-large')
    assert.is(status, 500)
    assert.is.not(text, 'too large')
    assert.equal((await read(browser)).values, { visits: 1 })
  })

  test('a stream sends the cookie before its first chunk, and is not held back', async () => {
    const browser = new Browser(url)
    meeting.of(0)
    const response = await browser.open('/stream')
    assert.is(browser.jar.size, 1)
    const pieces = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader()
    assert.is((await pieces.read()).value, 'first, ')
    await until(() => meeting.present === 1)
    meeting.end()
    assert.is((await pieces.read()).value, 'last')
    assert.is((await pieces.read()).done, true)
    assert.is((await browser.get('/visit')).text, '2')
  })

  for (const how of ['', '&early']) {
    test(`A17: a new session that a stream saves after the headers have left is headers_sent, and no row${how}`, async () => {
      const browser = new Browser(url)
      meeting.of(0)
      const mark = `late${how}`
      const response = await browser.open(`/save-in-stream?first&mark=${encodeURIComponent(mark)}${how}`)
      await until(() => meeting.present === 1)
      meeting.end()
      assert.is(await response.text(), 'first, headers_sent')
      assert.equal([...browser.jar], [])
      assert.is(await countMarked(mark), 0)
    })
  }

  test('A17: a new session that a stream saves before its first chunk has its cookie, or no row', async () => {
    const browser = new Browser(url)
    const { text } = await browser.get('/save-in-stream?mark=before')
    assert.match(text, /^(saved|headers_sent)$/)
    assert.is(browser.jar.size, text === 'saved' ? 1 : 0)
    assert.is(await countMarked('before'), browser.jar.size)
  })

  test('A17: a session that a stream regenerates after the headers have left keeps its token', async () => {
    const { browser, id } = await visitor()
    meeting.of(0)
    const response = await browser.open('/save-in-stream?first&regenerate&mark=moved')
    await until(() => meeting.present === 1)
    meeting.end()
    assert.is(await response.text(), 'first, headers_sent')
    assert.is((await read(browser)).id, id)
  })

  test('HEAD is answered as GET, without the body', async () => {
    const browser = new Browser(url)
    const { status, cookies, text } = await browser.get('/visit', { method: 'HEAD' })
    assert.equal([status, cookies.length, text], [200, 1, ''])
    assert.is((await browser.get('/visit')).text, '2')
  })

  test(`without a database a visitor keeps the cookie, and gets a ${unavailable} where the session is asked for`, async () => {
    const { browser } = await visitor()
    const nowhere = testStore<Values>({ connectionString: 'postgres://127.0.0.1:1/nowhere' })
    const other = new Browser(await startSite(nowhere), browser.jar)
    const answer = await other.get('/visit')
    assert.equal([answer.status, answer.cookies], [unavailable, []])
    assert.is((await other.get('/plain')).status, 200)
  })
}
