// The tests' fixtures: this file's database, stores on it, and visitors whose browser keeps its cookies.
import pg from 'pg'
import { PGStore, type PGStoreOptions, type Session } from '../../src/index.ts'

/** A database that the runner created for this file. */
export const databaseUrl: string = process.env['PGSTORE_TEST_DATABASE_URL'] ?? ''
if (!databaseUrl) throw new Error('Run the tests with npm test: each file gets its own database.')

/**
 * The same database as the role of an application, which has *client* and *account*. Stores work as this one, so that no test
 * passes by a right that an application has not got; `{ connectionString: databaseUrl }` is for those that need more.
 */
export const clientUrl: string = process.env['PGSTORE_TEST_CLIENT_URL'] ?? ''

/** Where stores LISTEN, in a run behind a pooler (test/poolers.ts) or a proxy, where `clientUrl` leads through that. */
const directUrls = process.env['PGSTORE_TEST_DIRECT_URLS']?.split(' ')

/** Folder of the server's programs, to start another; '' if the tests run on a server that is not ours. */
export const serverBin: string = process.env['PGSTORE_TEST_BIN'] ?? ''

/** As the database's owner, to set up data and to inspect what is stored. */
export const admin: pg.Pool = new pg.Pool({ connectionString: databaseUrl })
admin.on('error', () => {})

export const hashKey = 'an example hash key of 32 bytes!'

const open: { close(): Promise<void> }[] = []

/** A store on this file's database, as the application's role; closed at the end by `closeAll`. */
export function testStore<Values extends object = Record<string, unknown>>(
  options: Partial<PGStoreOptions> = {},
): PGStore<Values> {
  const keys = options.codecs || options.keyPairs || options.keys ? {} : { keys: [hashKey] }
  const direct = directUrls ? { directConnectionString: directUrls } : {}
  const connection = options.pool ? {} : { connectionString: clientUrl, ...direct }
  const store = new PGStore<Values>({ ...connection, ...keys, ...options })
  open.push(store)
  return store
}

export async function closeAll(): Promise<void> {
  await Promise.all(open.map((store) => store.close()))
  for (const name of databases) await admin.query(`drop database ${name} with (force)`)
  await admin.end()
}

/** A new empty database on the same server; dropped by `closeAll`. */
export async function emptyDatabase(): Promise<string> {
  const url = new URL(databaseUrl)
  const name = `${url.pathname.slice(1)}_${databases.length}`
  databases.push(name)
  await admin.query(`create database ${name} template template0`)
  url.pathname = `/${name}`
  return url.href
}

const databases: string[] = []

/** Rows of a query as the owner. */
export async function sql<Row extends object = Record<string, unknown>>(
  text: string,
  ...values: unknown[]
): Promise<Row[]> {
  return (await admin.query<Row>(text, values)).rows
}

/** The first row of a query as the owner. */
export async function row<Row extends object = Record<string, unknown>>(
  text: string,
  ...values: unknown[]
): Promise<Row> {
  const [first] = await sql<Row>(text, ...values)
  if (!first) throw new Error(`No row: ${text}`)
  return first
}

/** A node response, as far as the store looks at one. */
export class TestResponse {
  headersSent = false
  readonly #headers = new Map<string, number | string | readonly string[]>()

  getHeader(name: string): number | string | readonly string[] | undefined {
    return this.#headers.get(name.toLowerCase())
  }

  setHeader(name: string, value: number | string | readonly string[]): this {
    this.#headers.set(name.toLowerCase(), value)
    return this
  }

  get cookies(): readonly string[] {
    const value = this.getHeader('set-cookie') ?? []
    return typeof value === 'object' ? value : [String(value)]
  }
}

/** A browser: keeps the cookies it is sent and sends them back. Each request is a new one. */
export class Visitor {
  readonly jar: Map<string, string> = new Map()

  request(): { headers: { cookie?: string } } {
    const cookie = [...this.jar].map(([name, value]) => `${name}=${value}`).join('; ')
    return { headers: cookie ? { cookie } : {} }
  }

  /** Takes the cookies of a response, and drops those it deletes. */
  receive(res: TestResponse): void {
    for (const line of res.cookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (/; Max-Age=0\b/.test(line)) this.jar.delete(name)
      else this.jar.set(name, value)
    }
  }

  /** One request and its response: reads the session, lets `work` change it, saves it. */
  async visit<Values extends object>(
    store: PGStore<Values>,
    work: (session: Session<Values>, req: { headers: { cookie?: string } }, res: TestResponse) => unknown = () => {},
  ): Promise<{ session: Session<Values>; res: TestResponse }> {
    const req = this.request()
    const res = new TestResponse()
    const session = await store.get(req, 'sid')
    try {
      await work(session, req, res)
      await store.save(req, res, session)
    } finally {
      this.receive(res)
    }
    return { session, res }
  }
}

/**
 * Waits until `condition` holds, and fails after `seconds`. A busy machine may take long; but by default it is less than the half
 * minute after which a worker finds by itself what it should have heard.
 */
export async function until(condition: () => unknown, seconds = 25): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`Not so within ${seconds} seconds: ${String(condition)}`)
}

/** The error that a promise is rejected with; fails when it is not. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return await promise.then(
    () => {
      throw new Error('It was not rejected.')
    },
    (error) => error,
  )
}
