// What the compiler must accept and reject: `npx tsc` checks this file, nothing runs it. An unused @ts-expect-error is an
// error.
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import type { SessionStorage } from 'react-router'
import { sessions as expressSessions, type SessionRequest } from '../../src/adapters/express.ts'
import { sessions as fastifySessions } from '../../src/adapters/fastify.ts'
import { sessions as honoSessions, type SessionVariables } from '../../src/adapters/hono.ts'
import { sessions as koaSessions, type SessionContext } from '../../src/adapters/koa.ts'
import { createPGSessionStorage } from '../../src/adapters/react-router.ts'
import type { PGStore, Session } from '../../src/index.ts'

interface Visit {
  visits?: number
  cart?: readonly string[]
}

export async function core(store: PGStore<Visit>, untyped: PGStore, req: Request): Promise<void> {
  const session: Session<Visit> = await store.get(req, 'sid')
  session.values.visits = 1
  session.values = { cart: ['tea'] }
  session.userId = undefined
  // @ts-expect-error -- not a number
  session.values.visits = 'one'
  // @ts-expect-error -- no such value
  session.values.visit = 1
  // @ts-expect-error -- the store's to give
  session.id = '1'
  // @ts-expect-error -- a promise
  void store.get(req, 'sid').values
  const visits: number | undefined = await session.take('visits')
  // @ts-expect-error -- no such value
  await session.take('visit')
  session.expire('cart', visits ?? 60)
  // @ts-expect-error -- seconds or null
  session.expire('cart', '1 hour')
  const taken: Record<string, unknown> | undefined = await store.byToken.take('token')
  const one: unknown = await store.byToken.take('token', 'name')
  await store.byToken.put('token', { taken, one }, { ttl: 60 })
  // @ts-expect-error -- how long it lives must be said
  await store.byToken.increment('token', 'name', 1)
  const { values } = await untyped.get(req, 'sid')
  values['anything'] = [1]
  // @ts-expect-error -- unknown until it is looked at
  void values['anything'].length
  const [listed] = await store.list('42')
  void listed?.values.cart?.length
  await store.revoke('42', { except: session })
}

export async function fastify(store: PGStore<Visit>, name: string): Promise<void> {
  const app = Fastify()
  await app.register(fastifySessions, { store, name })
  // @ts-expect-error -- a store is needed
  await app.register(fastifySessions, {})
  app.get('/', async (request) => {
    const session = await request.session()
    session.values['anything'] = 1
    // @ts-expect-error -- a promise
    void request.session().values
    await request.session.save({ ifUnchanged: true })
    // @ts-expect-error -- no such option
    await request.session.save({ ifChanged: true })
    await request.session.regenerate()
    await request.session.destroy()
    return session.values
  })
}

export function koa(store: PGStore<Visit>): unknown {
  new Koa().use(koaSessions(store)).use(async (ctx) => {
    const session = await ctx.session()
    session.values.visits = 1
    // @ts-expect-error -- no such value
    session.values.visit = 1
  })
  const app = new Koa<Koa.DefaultState, SessionContext<Visit>>()
  app.use(koaSessions(store))
  app.use(async (ctx) => {
    const session = await ctx.session()
    // @ts-expect-error -- not a number
    session.values.visits = 'one'
  })
  new Koa().use(koaSessions(store, { compatible: true })).use(async (ctx) => {
    ctx.session.visits = 1
    ctx.session = null
    ctx.session = { visits: 2 }
    ctx.session.set('visits', undefined)
    void ctx.session.regenerate((error: unknown) => error)
    await ctx.session.save()
    ctx.session.pgstore.userId = '42'
    // @ts-expect-error -- not a number
    ctx.session.visits = 'one'
    // @ts-expect-error -- no such value
    ctx.session.get('visit')
  })
  // @ts-expect-error -- no such option
  return koaSessions(store, { cookie: 'sid' })
}

export function hono(store: PGStore<Visit>): unknown {
  new Hono().use(honoSessions(store)).get('/', async (c) => {
    const session = await c.var.session()
    session.values.visits = 1
    // @ts-expect-error -- no such value
    session.values.visit = 1
    await c.get('session').regenerate()
    return c.json(session.values)
  })
  const app = new Hono<{ Variables: SessionVariables<Visit> }>()
  app.use(honoSessions(store))
  app.get('/', async (c) => {
    const session = await c.get('session')()
    // @ts-expect-error -- not a number
    session.values.visits = 'one'
    return c.json(session.values)
  })
  return new Hono().get('/', async (c) => {
    // @ts-expect-error -- no such variable without the middleware
    return c.json(await c.var.session())
  })
}

/** Cookies as data: each framework's own, without a cast. */
export async function cookies(
  store: PGStore<Visit>,
  jar: { get(name: string): string | undefined; set(name: string, value: string, options: { maxAge?: number }): void },
): Promise<void> {
  const req = { getCookie: (name: string) => jar.get(name) }
  const session = await store.get(req, 'sid')
  await session.save(req, {
    setCookie: (name: string, value: string, options: object) => jar.set(name, value, options),
  })
  await store.destroy({ getCookie: () => ['one', 'two'] }, { setCookie: () => {}, headersSent: false }, session)
  // @ts-expect-error -- by name
  await store.get({ getCookie: () => 1 }, 'sid')
  // @ts-expect-error -- neither a response nor what sets cookies
  await session.save(req, { cookie: () => undefined })
}

export function express(store: PGStore<Visit>, req: SessionRequest<Visit>): unknown {
  // @ts-expect-error -- a promise
  void req.session().values
  return expressSessions(store, { name: 'visit' })
}

export async function reactRouter(store: PGStore): Promise<SessionStorage<{ visits: number }, { message: string }>> {
  const storage = createPGSessionStorage<{ visits: number }, { message: string }>(store, { name: '__session' })
  const session = await storage.getSession(null)
  session.set('visits', 1)
  session.flash('message', 'Saved.')
  session.userId = '42'
  // @ts-expect-error -- not a number
  session.set('visits', 'one')
  // @ts-expect-error -- no such value
  session.get('visit')
  return storage
}
