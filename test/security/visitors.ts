// Visitors of a store for the security tests, with their secrets: tokens, keys and cookies.
import { createHash } from 'node:crypto'
import type { PGStore } from '../../src/index.ts'
import { TestResponse, Visitor } from '../support/harness.ts'

/** The token in a visitor's cookie, as the store's codecs read it. */
export function tokenOf(store: PGStore, visitor: Visitor): string {
  for (const codec of store.codecs) {
    const token = codec.decode('sid', visitor.jar.get('sid') ?? '')
    if (token) return token
  }
  throw new Error('This visitor has no session.')
}

/** The session's primary key, computed as any program would. */
export function keyOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/** A visitor with a saved session. */
export async function newVisitor(
  store: PGStore,
  values: Record<string, unknown> = { visits: 1 },
  userId?: string,
): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    Object.assign(session.values, values)
    session.userId = userId
  })
  return visitor
}

/** A visitor who presents this one's cookie as it is now. */
export function thief(visitor: Visitor): Visitor {
  const other = new Visitor()
  for (const [name, value] of visitor.jar) other.jar.set(name, value)
  return other
}

/** Ten at a time: a busy machine would refuse calls that have waited for two seconds. */
export async function inWaves<Result>(count: number, work: (index: number) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  while (results.length < count) {
    const wave = Array.from({ length: Math.min(10, count - results.length) }, (_, n) => work(results.length + n))
    results.push(...(await Promise.all(wave)))
  }
  return results
}

/** Signs in: a new token and a user id. */
export async function signIn(store: PGStore, visitor: Visitor, userId: string): Promise<void> {
  const req = visitor.request()
  const res = new TestResponse()
  const session = await store.get(req, 'sid')
  session.userId = userId
  await store.regenerate(req, res, session)
  visitor.receive(res)
}

export async function signOut(store: PGStore, visitor: Visitor): Promise<void> {
  const req = visitor.request()
  const res = new TestResponse()
  await store.destroy(req, res, await store.get(req, 'sid'))
  visitor.receive(res)
}

/**
 * Everything an application does with its store, many visitors at once: creating, merging, touching, listing, signing in,
 * revoking, destroying, and forged, planted and stale cookies. Returns every token and every cookie value that was ever issued.
 */
export async function fullWorkload(store: PGStore, secret: string): Promise<{ tokens: string[]; cookies: string[] }> {
  const [tokens, cookies] = [new Set<string>(), new Set<string>()]
  const note = (visitor: Visitor) => {
    if (!visitor.jar.has('sid')) return
    tokens.add(tokenOf(store, visitor))
    cookies.add(visitor.jar.get('sid') ?? '')
  }
  const live = async (index: number) => {
    const visitor = await newVisitor(store, { secret, index })
    note(visitor)
    const planted = thief(visitor)
    await visitor.visit(store, (session) => {
      session.values['cart'] = [secret]
      session.addFlash(secret)
    })
    await visitor.visit(store, (session) => session.flashes())
    await visitor.visit(store, async (session, req, res) => {
      session.values['counter'] = 1
      await store.save(req, res, session, { ifUnchanged: true })
    })
    await signIn(store, visitor, `user ${index}`)
    note(visitor)
    await planted.visit(store)
    await visitor.visit(store, (session) => {
      session.options.maxAge = 86400
    })
    const devices = await store.list(`user ${index}`)
    if (index % 3 === 0) await store.revoke(`user ${index}`, { id: devices[0]?.id ?? '1' })
    if (index % 3 === 1) await signOut(store, visitor)
    await visitor.visit(store, (session) => {
      delete session.values['cart']
      session.values['last'] = secret
    })
    note(visitor)
  }
  for (let done = 0; done < 40; done += 8)
    await Promise.all(Array.from({ length: 8 }, (_, index) => live(done + index)))
  await store.revoke('user 0')
  return { tokens: [...tokens], cookies: [...cookies] }
}
