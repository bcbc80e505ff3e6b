// A database outage does not look like a visitor without a session.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { terminate } from '../support/crowd.ts'
import { closeAll, row, testStore } from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { CountingPool, closeSites, fetchSite, nodeSite, type Pages, pairOf, type Values } from './site.ts'

const pages: Pages = {
  '/look': ({ session }) => session.values['user'] ?? 'nobody',
  '/sign-in': async ({ store, session, req, res }) => {
    session.values['user'] = 'alice'
    await store.regenerate(req, res, session)
  },
  '/change': async ({ store, session, req, res }) => {
    session.values['changed'] = true
    await store.save(req, res, session)
  },
  '/sign-out': async ({ store, session, req, res }) => await store.destroy(req, res, session),
}

const failures: readonly [string, Error][] = [
  ['the server is down', Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })],
  ['the connection breaks', new Error('Connection terminated unexpectedly')],
  ['the server is shutting down', Object.assign(new Error('terminating connection'), { code: '57P01' })],
  ['too many connections', Object.assign(new Error('sorry, too many clients already'), { code: '53300' })],
  ['no answer in time', new Error('Query read timeout')],
  ['the disk is full', Object.assign(new Error('could not extend file'), { code: '53100' })],
  ['the function is missing', Object.assign(new Error('function does not exist'), { code: '42883' })],
  ['the role may not', Object.assign(new Error('permission denied for function session_get'), { code: '42501' })],
]

const count = async () => Number((await row('select count(*) from pgstore.sessions'))['count'])

test.after(async () => {
  await closeSites()
  await closeAll()
})

for (const [what, failure] of failures) {
  requirement(
    'S53',
    `when ${what}, get, save and sign-out reject, the cookie stays and no session is made`,
    async () => {
      const pool = new CountingPool()
      const store = testStore<Values>({ pool })
      for (const site of [await nodeSite(store, pages), fetchSite(store, pages)]) {
        const cookie = pairOf((await site.get('/sign-in')).setCookies[0])
        const before = await count()
        pool.failure = failure
        for (const path of ['/look', '/change', '/sign-in', '/sign-out']) {
          const { status, setCookies } = await site.get(path, cookie)
          assert.equal([status, setCookies], [503, []], path)
        }
        assert.equal((await site.get('/change')).setCookies, []) // a new visitor
        assert.is((await site.get('/look')).body, 'nobody') // makes no query
        pool.failure = undefined
        assert.is(await count(), before)
        assert.is((await site.get('/look', cookie)).body, 'alice')
      }
    },
  )
}

requirement('S53', 'a failure in the middle of a request leaves the session as read', async () => {
  const pool = new CountingPool()
  const store = testStore<Values>({ pool })
  const failing: Pages = {
    ...pages,
    '/half': async ({ store, session, req, res }) => {
      session.values['changed'] = true
      pool.failure = failures[0]?.[1]
      await store.save(req, res, session).catch(() => {})
      await store.regenerate(req, res, session).catch(() => {})
      await store.destroy(req, res, session).catch(() => {})
      pool.failure = undefined
      return [session.isNew, session.values['user']]
    },
  }
  for (const site of [await nodeSite(store, failing), fetchSite(store, failing)]) {
    const cookie = pairOf((await site.get('/sign-in')).setCookies[0])
    const answer = await site.get('/half', cookie)
    assert.equal([answer.body, answer.setCookies], ['[false,"alice"]', []])
    assert.is((await site.get('/look', cookie)).body, 'alice')
  }
})

requirement(
  'S53',
  'with a pool whose server ended its connections under it, the next request is served or is an error',
  async () => {
    const pool = new pg.Pool({ connectionString: process.env['PGSTORE_TEST_DATABASE_URL'], application_name: 'outage' })
    pool.on('error', () => {})
    const store = testStore<Values>({ pool })
    const site = fetchSite(store, pages)
    const cookie = pairOf((await site.get('/sign-in')).setCookies[0])
    for (let i = 0; i < 5; i++) {
      await terminate('outage')
      const answers = await Promise.all(Array.from({ length: 8 }, () => site.get('/look', cookie)))
      for (const { status, body, setCookies } of answers) {
        assert.ok(status === 503 || body === 'alice', `${status} ${body}`)
        assert.equal(setCookies, [])
      }
    }
    assert.is((await site.get('/look', cookie)).body, 'alice')
    await pool.end()
  },
)

test.run()
