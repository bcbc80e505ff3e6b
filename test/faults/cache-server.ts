// A server of the checker: a store with a cache, which does for visitors what it is asked, and beside it a client of node-postgres
// that listens too and knows nothing of ours.
import pg from 'pg'
import { SessionCache } from '../../src/cache/session-cache.ts'
import { BatchedDatabase } from '../../src/database/batched-sessions.ts'
import { PGStore } from '../../src/index.ts'
import { hashKey, TestResponse } from '../support/harness.ts'
import { type Answer, type Call, type Kept, now, type Rule, type ServerSettings } from './cache-calls.ts'

/** Without these it believes for a minute what it has read: on a busy machine a bare client may hear later than a second. */
const believesLonger = new Set<Rule | undefined>(['announcements', 'fence'])

let settings: ServerSettings
let store: PGStore<Kept> | undefined

/** Puts a method in place of another. Returns what puts that back. */
function replace<Target extends object, Name extends keyof Target>(
  target: Target,
  name: Name,
  by: (original: Target[Name]) => Target[Name],
): () => void {
  const original = target[name]
  target[name] = by(original)
  return () => {
    target[name] = original
  }
}

interface Judge {
  isUsable(entry: { readonly hint: string }, hint: string): boolean
}

/** Takes a rule out of the cache that ships. Returns what puts it back. */
const takeOut: Record<Rule, () => () => void> = {
  announcements: () => replace(SessionCache.prototype, 'session', () => () => {}),
  fence: () =>
    replace(
      BatchedDatabase.prototype,
      'get',
      (get) =>
        async function (this: BatchedDatabase, key, sent) {
          const row = await get.call(this, key, () => {})
          sent?.()
          return row
        },
    ),
  ownWrites: () => replace(SessionCache.prototype, 'written', () => () => {}),
  hint: () =>
    replace(
      SessionCache.prototype as unknown as Judge,
      'isUsable',
      (isUsable) =>
        function (this: Judge, entry) {
          return isUsable.call(this, entry, entry.hint)
        },
    ),
}
let putBack = () => {}

async function open(given: ServerSettings): Promise<void> {
  await store?.close()
  putBack()
  const { pool, listen, without, maxStale } = given
  putBack = without ? takeOut[without]() : () => {}
  store = new PGStore<Kept>({
    connectionString: pool,
    directConnectionString: listen,
    keys: [hashKey],
    sessionsPerUser: 1,
    cache: { maxStale: believesLonger.has(without) ? 60 : maxStale },
  })
  const isFirst = settings === undefined
  settings = given
  if (isFirst) void listenBare()
  sent.length = 0
  heard.length = 0
}

function theStore(): PGStore<Kept> {
  if (!store) throw new Error('It has no store yet.')
  return store
}

async function work(call: Call): Promise<Omit<Answer, 'began'>> {
  if (call.op === 'open') {
    await open(call.settings)
    return { done: now() }
  }
  const store = theStore()
  if (call.op === 'report') return { done: now(), report: report() }
  const req = { headers: call.cookie === '' ? {} : { cookie: call.cookie } }
  if (call.op === 'revoke') {
    if (call.userId !== undefined) await store.revoke(call.userId)
    if (call.tag !== undefined) await store.revokeTag(call.tag)
    return await ended(call.cookie)
  }
  const session = await store.get(req, 'sid')
  const kept = { ...session.values }
  const shown = { isLive: !session.isNew, kept, userId: session.userId }
  if (call.op === 'read' || (session.isNew && call.cookie !== '')) return { done: now(), ...shown }
  const res = new TestResponse()
  if (call.op === 'save') {
    Object.assign(session.values, call.set)
    if (call.userId !== undefined) session.userId = call.userId
    if (call.tag !== undefined) session.tags = [call.tag]
    await store.save(req, res, session)
    return { done: now(), ...shown, cookies: res.cookies }
  }
  await store[call.op](req, res, session)
  return { ...shown, cookies: res.cookies, ...(await ended(call.cookie)) }
}

/** The end is acknowledged; what comes after it, to this server, is refused. */
async function ended(cookie: string): Promise<{ readonly done: number; readonly isLiveAfterEnd?: boolean }> {
  const done = now()
  const after = await theStore()
    .get({ headers: { cookie } }, 'sid')
    .catch(() => undefined)
  return { done, ...(after && { isLiveAfterEnd: !after.isNew }) }
}

process.on('message', ({ id, call }: { id: number; call: Call }) => {
  const began = now()
  void work(call)
    .catch((error) => ({ done: now(), error: error.code ?? String(error) }))
    .then((answer) => process.send?.({ id, answer: { began, ...answer } satisfies Answer }))
})
process.once('disconnect', () => process.exit())

// The client that is not ours

const pause = async (ms: number) => await new Promise((resolve) => setTimeout(resolve, ms))
const sent: [string, number][] = []
const heard: [string, number][] = []

async function listenBare(): Promise<void> {
  const client = new pg.Client(settings.bare)
  let isOver = false
  const over = new Promise<void>((resolve) => {
    client.on('error', () => resolve()).on('end', () => resolve())
  }).then(() => {
    isOver = true
  })
  client.on('notification', ({ payload = '' }) => heard.push([payload, now()]))
  try {
    await client.connect()
    await client.query('listen bare')
    while (!isOver) {
      const name = `${settings.name} ${now()}`
      await Promise.race([over, client.query(`select pg_notify('bare', $1)`, [name])])
      if (!isOver) sent.push([name, now()])
      await pause(40)
    }
  } catch {
    await client.end().catch(() => {})
  }
  await pause(50)
  void listenBare()
}

function report(): NonNullable<Answer['report']> {
  const { cache } = theStore().stats()
  if (!cache) throw new Error('It has no cache.')
  const { state, reason, hits, misses, joins, bypasses } = cache
  const reads = Object.values(bypasses).reduce((sum, many) => sum + many, hits + misses + joins)
  return { reads, hits, state, reason, sent, heard }
}
