// The same attacks on pgstore and on connect-pg-simple under express-session, each over HTTP: `npx tsx bench/security.ts`
// prints the table of SECURITY.md, and test/security/peer.test.ts checks the table. Both sites are set up as their
// documentation advises; express-session with resave and saveUninitialized off.
import { createHmac, randomBytes } from 'node:crypto'
import http from 'node:http'
import { fileURLToPath } from 'node:url'
import connectPgSimple from 'connect-pg-simple'
import express from 'express'
import session from 'express-session'
import pg from 'pg'
import { startPostgres } from '../scripts/postgres.ts'
import { migrate, PGStore, SecureCookie } from '../src/index.ts'

export interface Comparison {
  readonly attack: string
  readonly pgstore: string
  readonly peer: string
}

interface Answer {
  readonly body: string
  /** The cookie it sets, as a browser sends it back; '' for none. */
  readonly cookie: string
}

/** A site with sessions. Pages: /look, /sign-in?user=, /renew, /sign-out, /set?key=&value=. */
interface Subject {
  readonly table: string
  get(path: string, cookie?: string): Promise<Answer>
  /** A get of /set that has read its session and waits before it saves. */
  slowSet(key: string, cookie: string): Promise<{ finish(): Promise<Answer> }>
  /** The parameters that were sent to Postgres. */
  readonly parameters: unknown[]
  /** What a cookie's value contains without its signature. */
  secretOf(cookie: string): string
  /** Cookies that can be made from the table's rows, and perhaps the signing key. */
  forge(row: Record<string, unknown>, withKey: boolean): string[]
  /** Time passes: all times of all rows move back. */
  age(days: number): Promise<unknown>
}

const signingKey = 'a signing key that both of them use'
const userId = 'alice'

/** Requests to /set in progress, by the key they set: each waits to be released. */
const waiting = new Map<string, { arrived(): void; readonly go: Promise<void> }>()

async function pause(key: string): Promise<void> {
  const gate = waiting.get(key)
  gate?.arrived()
  await gate?.go
}

function listen(handler: http.RequestListener): Promise<number> {
  const server = http.createServer(handler)
  servers.push(server)
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
  )
}

const servers: http.Server[] = []

/** What both subjects share: requests, and a pool that remembers what it sends. */
function client(port: number): Pick<Subject, 'get' | 'slowSet'> {
  const get = async (path: string, cookie = ''): Promise<Answer> => {
    const res = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie } })
    return { body: await res.text(), cookie: res.headers.getSetCookie()[0]?.split(';')[0] ?? '' }
  }
  return {
    get,
    async slowSet(key, cookie) {
      let letGo = () => {}
      const go = new Promise<void>((resolve) => {
        letGo = resolve
      })
      let answer: Promise<Answer> | undefined
      await new Promise<void>((arrived) => {
        waiting.set(key, { arrived, go })
        answer = get(`/set?key=${key}&value=1`, cookie)
      })
      return {
        async finish() {
          waiting.delete(key)
          letGo()
          return (await answer) as Answer
        },
      }
    },
  }
}

function seeing(pool: pg.Pool, parameters: unknown[]) {
  return {
    connect: () => pool.connect(),
    query: (query: { values: unknown[] } | string, values: unknown[] = []) => {
      parameters.push(...(typeof query === 'string' ? values : query.values))
      return typeof query === 'string' ? pool.query(query, values) : pool.query(query as never)
    },
  }
}

async function pgstoreSubject(pool: pg.Pool, name: string): Promise<Subject> {
  const parameters: unknown[] = []
  const store = new PGStore({
    pool: seeing(pool, parameters) as never,
    keys: [signingKey],
    options: { secure: false },
  })
  const port = await listen((req, res) => {
    void (async () => {
      const url = new URL(req.url ?? '/', 'http://site.example')
      const found = await store.get(req, name)
      let body = (found.values['user'] ?? 'nobody') as string
      try {
        if (url.pathname === '/sign-in') {
          found.values['user'] = url.searchParams.get('user')
          await store.regenerate(req, res, found)
        } else if (url.pathname === '/renew') await store.regenerate(req, res, found)
        else if (url.pathname === '/sign-out') await store.destroy(req, res, found)
        else if (url.pathname === '/set') {
          const key = url.searchParams.get('key') ?? ''
          await pause(key)
          found.values[key] = url.searchParams.get('value')
          await store.save(req, res, found)
        } else {
          await store.save(req, res, found) // touches
          body = JSON.stringify(found.values)
        }
      } catch (error) {
        body = (error as { code: string }).code
      }
      res.end(body)
    })()
  })
  const codec = new SecureCookie(signingKey)
  return {
    ...client(port),
    table: 'pgstore.sessions',
    parameters,
    secretOf: (cookie) => codec.decode(name, cookie.slice(name.length + 1)) ?? '',
    forge(row, withKey) {
      const key = row['key'] as Buffer
      const tokens = [key.toString('hex'), key.toString('base64'), key.toString('base64url'), String(row['id'])]
      return tokens.map((token) => `${name}=${withKey ? codec.encode(name, token) : token}`)
    },
    age: (days) =>
      pool.query(
        `update pgstore.sessions set created_at = created_at - $1::interval, updated_at = updated_at - $1::interval,
           expires_at = expires_at - $1::interval`,
        [`${days} days`],
      ),
  }
}

type Data = session.SessionData & Record<string, unknown>

async function peerSubject(pool: pg.Pool, name: string, advised = true): Promise<Subject> {
  const parameters: unknown[] = []
  const PgStore = connectPgSimple(session)
  const app = express()
  const settings = advised ? { resave: false, saveUninitialized: false } : {}
  app.use(
    session({
      name,
      secret: signingKey,
      rolling: true,
      cookie: { maxAge: 30 * 86400_000 },
      store: new PgStore({ pool: seeing(pool, parameters) as never, pruneSessionInterval: false }),
      ...settings,
    } as session.SessionOptions),
  )
  const data = (req: express.Request) => req.session as unknown as Data & session.Session
  const user = (req: express.Request) => (data(req)['user'] ?? 'nobody') as string
  const { stringify } = JSON
  app.get('/look', (req, res) => void res.end(stringify(Object.assign({}, data(req), { cookie: undefined }))))
  app.get('/sign-in', (req, res) => {
    data(req).regenerate(() => {
      data(req)['user'] = req.query['user']
      res.end(user(req))
    })
  })
  app.get('/renew', (req, res) => {
    const before: object = Object.assign({}, data(req), { cookie: undefined })
    data(req).regenerate(() => {
      Object.assign(data(req), before, { cookie: data(req).cookie })
      res.end(user(req))
    })
  })
  app.get('/sign-out', (req, res) => data(req).destroy(() => res.end('nobody')))
  app.get('/set', (req, res) => {
    const key = req.query['key'] as string
    void pause(key).then(() => {
      data(req)[key] = req.query['value']
      res.end(user(req))
    })
  })
  const sign = (id: string) =>
    `s:${id}.${createHmac('sha256', signingKey).update(id).digest('base64').replace(/=+$/, '')}`
  return {
    ...client(await listen(app)),
    table: 'public.session',
    parameters,
    secretOf: (cookie) => /^s:([^.]+)\./.exec(decodeURIComponent(cookie.slice(name.length + 1)))?.[1] ?? '',
    forge(row, withKey) {
      const id = String(row['sid'])
      return withKey
        ? [`${name}=${encodeURIComponent(sign(id))}`]
        : [`${name}=${id}`, `${name}=s:${id}`, `${name}=s:${id}.`]
    },
    age: (days) => pool.query('update session set expire = expire - $1::interval', [`${days} days`]),
  }
}

/** One attack, and its result on a subject. */
interface Attack {
  readonly title: string
  readonly run: (subject: Subject, pool: pg.Pool) => Promise<string>
}

const signedIn = async (subject: Subject) => (await subject.get(`/sign-in?user=${userId}`)).cookie
const isAlice = async (subject: Subject, cookie: string) => (await subject.get('/look', cookie)).body.includes(userId)
const rowsOf = async (subject: Subject, pool: pg.Pool) =>
  (await pool.query<Record<string, unknown>>(`select * from ${subject.table}`)).rows

async function opened(subject: Subject, pool: pg.Pool, withKey: boolean): Promise<string> {
  for (let i = 0; i < 5; i++) await signedIn(subject)
  const rows = await rowsOf(subject, pool)
  let count = 0
  for (const row of rows) {
    for (const cookie of subject.forge(row, withKey)) if (await isAlice(subject, cookie)) count++
  }
  return count === 0 ? 'none opened' : count === rows.length ? 'every session opened' : `${count} sessions opened`
}

const attacks: readonly Attack[] = [
  {
    title: 'A stolen backup: its rows made into cookies',
    run: (subject, pool) => opened(subject, pool, false),
  },
  {
    title: 'A stolen backup and the signing key: its rows made into cookies',
    run: (subject, pool) => opened(subject, pool, true),
  },
  {
    title: 'What the index is searched for: is it what the cookie holds, for a timing attack or a query log to show?',
    async run(subject) {
      const cookie = await signedIn(subject)
      subject.parameters.length = 0
      await subject.get('/look', cookie)
      const secret = subject.secretOf(cookie)
      if (!secret) throw new Error('The cookie was not read.')
      return subject.parameters.some((value) => String(value).includes(secret)) ? 'the id itself' : 'its SHA-256'
    },
  },
  {
    title: 'Save after sign-out: a slow request saves what it read before',
    async run(subject) {
      const cookie = await signedIn(subject)
      const slow = await subject.slowSet('slow', cookie)
      await subject.get('/sign-out', cookie)
      await slow.finish()
      return (await isAlice(subject, cookie)) ? 'signed in again' : 'signed out'
    },
  },
  {
    title: 'Save after renewal: a stolen cookie’s slow request saves while its owner renews the session',
    async run(subject) {
      const cookie = await signedIn(subject)
      const slow = await subject.slowSet('slow', cookie)
      await subject.get('/renew', cookie)
      if (await isAlice(subject, cookie)) throw new Error('The old id was not ended.')
      await slow.finish()
      return (await isAlice(subject, cookie)) ? 'the stolen cookie works again' : 'the stolen cookie is dead'
    },
  },
  {
    title: 'Two requests change different keys at once',
    async run(subject) {
      const cookie = await signedIn(subject)
      const [one, two] = [await subject.slowSet('one', cookie), await subject.slowSet('two', cookie)]
      await one.finish()
      await two.finish()
      const { body } = await subject.get('/look', cookie)
      const kept = ['one', 'two'].filter((key) => body.includes(`"${key}"`)).length
      return `${kept} of 2 kept`
    },
  },
  {
    title: 'Visits on 100 days in a row: an absolute timeout',
    async run(subject) {
      const cookie = await signedIn(subject)
      let latest = cookie
      for (let day = 0; day < 100; day += 20) {
        await subject.age(20)
        latest = (await subject.get('/look', latest)).cookie || latest
      }
      return (await isAlice(subject, latest)) ? 'signed in for ever' : 'ended after 90 days'
    },
  },
]

async function rowsAfter(subject: Subject, pool: pg.Pool): Promise<string> {
  await pool.query(`delete from ${subject.table}`)
  for (let i = 0; i < 20; i++) await subject.get('/look')
  const stale = await signedIn(subject)
  await pool.query(`delete from ${subject.table}`)
  for (let i = 0; i < 20; i++) await subject.get('/look', stale)
  return `${(await rowsOf(subject, pool)).length} rows`
}

/** A cookie's value under the name of another site, which has the same key and the same table. */
async function renamed(one: Subject, other: Subject): Promise<string> {
  const value = (await signedIn(one)).replace(/^[^=]*=/, '')
  return (await isAlice(other, `admin=${value}`)) ? 'signed in' : 'refused'
}

/** What an injected query in the application can read from the table, as the store's role. */
async function injected(pool: pg.Pool, subject: Subject, grants: readonly string[]): Promise<string> {
  await signedIn(subject)
  const role = `app_${randomBytes(4).toString('hex')}`
  const connection = await pool.connect()
  try {
    await connection.query('begin')
    await connection.query(`create role ${role}`)
    for (const grant of grants) await connection.query(`grant ${grant} to ${role}`)
    await connection.query(`set local role ${role}`)
    const { rows } = await connection.query(`select * from ${subject.table}`)
    return rows.length > 0 ? 'every session' : 'no session'
  } catch (error) {
    if ((error as { code?: string }).code !== '42501') throw error
    return 'permission denied'
  } finally {
    await connection.query('rollback')
    connection.release()
  }
}

/** Runs every attack on both, in a separate database. */
export async function compare(connectionString: string): Promise<Comparison[]> {
  const pool = new pg.Pool({ connectionString, max: 8 })
  pool.on('error', () => {})
  try {
    await migrate(pool)
    await pool.query(`create table session (sid varchar primary key, sess json not null, expire timestamp(6) not null)`)
    await pool.query('create index on session (expire)')
    const pgstore = await pgstoreSubject(pool, 'sid')
    const peer = await peerSubject(pool, 'sid')
    const comparisons: Comparison[] = []
    const add = (attack: string, ours: string, theirs: string) =>
      void comparisons.push({ attack, pgstore: ours, peer: theirs })
    for (const { title, run } of attacks) {
      for (const { table } of [pgstore, peer]) await pool.query(`delete from ${table}`)
      add(title, await run(pgstore, pool), await run(peer, pool))
    }
    add(
      'A cookie signed for one name, sent under another that has the same key and table',
      await renamed(pgstore, await pgstoreSubject(pool, 'admin')),
      await renamed(peer, await peerSubject(pool, 'admin')),
    )
    const bots = '20 visits without a cookie and 20 with an id that no row has'
    const careless = await peerSubject(pool, 'sid', false)
    const theirs = `${await rowsAfter(peer, pool)}; ${await rowsAfter(careless, pool)} with express-session’s defaults`
    add(bots, await rowsAfter(pgstore, pool), theirs)
    add(
      'SQL injected into the application, as the role that the store runs as: the table of sessions',
      await injected(pool, pgstore, ['usage on schema pgstore', 'execute on all functions in schema pgstore']),
      await injected(pool, peer, ['select, insert, update, delete on public.session']),
    )
    return comparisons
  } finally {
    for (const server of servers.splice(0)) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
    await pool.end()
  }
}

/** The lines of a Markdown table. */
export function table(comparisons: readonly Comparison[]): string[] {
  return [
    '| attack | pgstore | connect-pg-simple |',
    '|---|---|---|',
    ...comparisons.map(({ attack, pgstore, peer }) => `| ${attack} | ${pgstore} | ${peer} |`),
  ]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await startPostgres({ settings: { fsync: 'off' } })
  try {
    console.log(table(await compare(server.url())).join('\n'))
  } finally {
    await server.stop()
  }
}
