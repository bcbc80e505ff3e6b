// What visitors share: a cache in front of the site, and the number of sessions that one user may have.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, row, TestResponse, testStore } from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { type Answer, closeSites, fetchSite, nodeSite, type Pages, pairOf, type Site, type Values } from './site.ts'

const pages: Pages = {
  '/look': async ({ store, session, req, res }) => {
    await store.save(req, res, session)
    return session.values['user'] ?? 'nobody'
  },
  '/sign-in': async ({ store, session, req, res, query }) => {
    session.userId = query.get('user') ?? ''
    session.values['user'] = session.userId
    await store.regenerate(req, res, session)
    return session.userId
  },
  '/change': async ({ store, session, req, res }) => {
    session.values['changes'] = Number(session.values['changes'] ?? 0) + 1
    await store.save(req, res, session)
    return session.values['user'] ?? 'nobody'
  },
}

test.after(async () => {
  await closeSites()
  await closeAll()
})

/** A cache that stores whatever RFC 9111 allows, including Set-Cookie, and gives it to every visitor it may. */
function behindCache(site: Site): Site {
  const kept = new Map<string, { answer: Answer; cookie: string }[]>()
  const header = ({ headers }: Answer, name: string) =>
    headers.flatMap(([key, value]) => (key.toLowerCase() === name ? [value.toLowerCase()] : [])).join(', ')
  return {
    async get(path, cookie = '') {
      const hit = kept.get(path)?.find(({ answer, cookie: given }) => {
        const vary = header(answer, 'vary')
        return vary !== '*' && (!/\bcookie\b/.test(vary) || given === cookie)
      })
      if (hit) return hit.answer
      const answer = await site.get(path, cookie)
      if (!/no-store|private(?!=)|no-cache(?!=)/.test(header(answer, 'cache-control'))) {
        kept.set(path, [...(kept.get(path) ?? []), { answer, cookie }])
      }
      return answer
    },
  }
}

/** How often one of two visitors was shown the other, or handed a cookie of the other's, in `rounds` of visits. */
async function mixUps(site: Site, rounds: number): Promise<number> {
  const cookies = new Map<string, string>()
  const owners = new Map<string, string>()
  let count = 0
  const visit = async (user: string, path: string) => {
    const { setCookies, body } = await site.get(path, cookies.get(user))
    const cookie = pairOf(setCookies[0])
    if (cookie && (owners.get(cookie) ?? user) !== user) count++
    if (cookie) {
      owners.set(cookie, user)
      cookies.set(user, cookie)
    }
    if (body !== user) count++
  }
  for (const user of ['alice', 'bob']) await visit(user, `/sign-in?user=${user}`)
  for (let round = 0; round < rounds; round++) {
    for (const user of ['alice', 'bob']) await visit(user, round % 3 ? '/look' : '/change')
  }
  return count
}

requirement(
  'S18',
  'through a cache that keeps all it may, nobody is shown or handed another’s session in 1,000 visits',
  async () => {
    const store = testStore<Values>()
    for (const site of [await nodeSite(store, pages), fetchSite(store, pages)]) {
      assert.is(await mixUps(behindCache(site), 250), 0)
    }
  },
)

requirement('S18', 'the same cache mixes visitors up if the application took over the cache headers', async () => {
  const site = fetchSite(testStore<Values>({ cacheHeaders: false }), pages)
  assert.ok((await mixUps(behindCache(site), 5)) > 0)
})

requirement('S18', 'a Cache-Control that withholds one header, and not the response, is replaced', async () => {
  const store = testStore<Values>()
  for (const given of ['private="x-secret"', 'no-cache="set-cookie"', 'public', 'max-age=60']) {
    const res = new TestResponse().setHeader('Cache-Control', given)
    await store.save({ headers: {} }, res, await store.get({ headers: {} }, 'sid'))
    assert.is(res.getHeader('cache-control'), 'no-store', given)
  }
})

requirement('S29', 'with a cap of 5, twenty sign-ins at once leave 5 sessions, over node and fetch', async () => {
  const store = testStore<Values>({ sessionsPerUser: 5 })
  for (const [index, site] of [await nodeSite(store, pages), fetchSite(store, pages)].entries()) {
    const user = `user-${index}`
    const answers = await Promise.all(Array.from({ length: 20 }, () => site.get(`/sign-in?user=${user}`)))
    assert.ok(answers.every(({ status }) => status === 200))
    const { count } = await row<{ count: string }>('select count(*) from pgstore.sessions where user_id = $1', user)
    assert.is(count, '5')
    const looks = await Promise.all(answers.map(({ setCookies }) => site.get('/look', pairOf(setCookies[0]))))
    assert.is(looks.filter(({ body }) => body === user).length, 5)
  }
})

test.run()
