// @fastify/session takes stores made for express-session. It copies the result of `get` into its own session object.
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import fastify, { type FastifyInstance } from 'fastify'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../../src/adapters/express-session.ts'
import { closeAll, databaseUrl, row, sql } from '../../support/harness.ts'

const store = new ExpressSessionStore({ connectionString: databaseUrl })
const servers: FastifyInstance[] = []

test.after(async () => {
  for (const server of servers) await server.close()
  await store.close()
  await closeAll()
})

test.before.each(async () => {
  await sql('delete from pgstore.sessions')
})

let arrive = () => {}
let gate: Promise<void> | undefined

/** A server, and a visitor to it with a session. */
async function visited(maxAge = 3_600_000) {
  const server = fastify()
  servers.push(server)
  await server.register(fastifyCookie)
  await server.register(fastifySession, {
    secret: 'an example secret of more than 32 bytes',
    cookie: { secure: false, maxAge },
    saveUninitialized: false,
    // Its types and express-session's differ in "number | undefined", which exactOptionalPropertyTypes minds.
    store: store as never,
  })
  server.get('/', (request) => JSON.stringify(request.session))
  server.get('/set', async (request) => {
    if ('wait' in (request.query as object)) {
      arrive()
      await gate
    }
    Object.assign(request.session, request.query)
    return 'set'
  })
  server.post('/set', async (request) => {
    Object.assign(request.session, request.body)
    return 'set'
  })
  server.get('/sign-in', async (request) => {
    await request.session.regenerate()
    Object.assign(request.session, { user: 'ann' })
    return 'signed in'
  })
  server.get('/sign-out', async (request) => {
    await request.session.destroy()
    return 'signed out'
  })
  let cookie = ''
  const visit = async (url: string, body?: object, sent = cookie) => {
    const answer = await server.inject({
      url,
      headers: { cookie: sent },
      ...(body ? { method: 'POST', payload: body } : {}),
    })
    const [line] = [answer.headers['set-cookie']].flat()
    if (line) cookie = line.split(';')[0] ?? ''
    return answer
  }
  const session = async (sent = cookie) => {
    const { cookie: _, ...values } = JSON.parse((await visit('/', undefined, sent)).payload)
    return values
  }
  await visit('/set?a=1')
  return { visit, session, cookie: () => cookie }
}

/** A request that has read its session and waits: open the gate, then await it. */
function slowly(visit: (url: string) => Promise<{ statusCode: number }>) {
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  let open = () => {}
  gate = new Promise((resolve) => {
    open = resolve
  })
  const answer = visit('/set?wait=1&b=2')
  return { arrived, open: () => open(), answer }
}

test('what a request sets is there at the next', async () => {
  const { visit, session } = await visited()
  await visit('/set', { c: { d: [1] } })
  assert.equal(await session(), { a: '1', c: { d: [1] } })
})

test('two concurrent requests that change different keys both keep their changes', async () => {
  const { visit, session } = await visited()
  const slow = slowly(visit)
  await slow.arrived
  await visit('/set', { c: 3 })
  slow.open()
  assert.is((await slow.answer).statusCode, 200)
  assert.equal(await session(), { a: '1', b: '2', wait: '1', c: 3 })
})

test('a late save does not bring back a session that was signed out', async () => {
  const { visit } = await visited()
  const slow = slowly(visit)
  await slow.arrived
  await visit('/sign-out')
  slow.open()
  assert.is((await slow.answer).statusCode, 409)
  assert.equal(await sql('select from pgstore.sessions'), [])
})

test('visits that change nothing write nothing until a tenth of the ttl has passed, though it saves at each visit', async () => {
  const { visit } = await visited()
  const state = async () => await row('select xmin::text, version, expires_at from pgstore.sessions')
  const before = await state()
  await visit('/')
  await visit('/')
  assert.equal(await state(), before)
  await sql("update pgstore.sessions set expires_at = expires_at - interval '10 minutes'")
  await visit('/')
  const after = await state()
  assert.is(after['version'], before['version'])
  assert.ok(Number(after['expires_at']) >= Number(before['expires_at']))
})

test('regenerate ends the old session', async () => {
  const { visit, session, cookie } = await visited()
  const stolen = cookie()
  await visit('/sign-in')
  const fresh = cookie()
  assert.equal(await session(), { user: 'ann' })
  assert.equal(await session(stolen), {})
  assert.is.not(fresh, stolen)
})

test('a session expires by its cookie', async () => {
  const { session } = await visited()
  await sql('update pgstore.sessions set expires_at = now()')
  assert.equal(await session(), {})
})

test.run()
