// Calls of the SQL functions by the names of their parameters, and sessions to call them on.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { admin, closeAll, databaseUrl, row, sql, until } from '../support/harness.ts'

/** The result of session_save and session_regenerate. */
export interface Saved {
  key: Buffer | null
  status: string
  id: string | null
  version: number | null
  expires_at: Date | null
  data: unknown
}

/** Parameters of session_save after the key, without their `p_`. */
export interface SaveArguments {
  /** JSON text. */
  set?: string | null
  unset?: unknown[] | null
  ttl?: string | null
  version?: number | null
  user_id?: string | null
  max_length?: number | null
  lifetime?: string | null
  /** JSON text. */
  label?: string | null
  tags?: (string | null)[] | null
  announce?: boolean
  relaxed?: boolean
}

/** A row of the table, as its owner reads it. */
export interface Stored {
  id: string
  user_id: string | null
  data: Record<string, unknown>
  version: number
  created_at: Date
  updated_at: Date
  expires_at: Date
  seen_at: Date
  signed_in_at: Date | null
  label: unknown
  tags: string[] | null
  /** Changes with every write to the row. */
  place: string
}

export type Client = Pick<pg.ClientBase, 'query'>

const clients: pg.Client[] = []

/** A separate connection, closed by `closeClients`, or at the end by `closeEverything`. */
export async function connect(connectionString: string = databaseUrl): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  clients.push(client)
  await client.connect()
  return client
}

/** After each test, if many tests connect: what one left open or locked must not affect the next. */
export async function closeClients(): Promise<void> {
  await Promise.allSettled(clients.splice(0).map((client) => client.end()))
}

export async function closeEverything(): Promise<void> {
  await closeClients()
  await closeAll()
}

/** @param like a key to share the first byte with, as a session that is regenerated stays on its partition */
export function newKey(like?: Buffer): Buffer {
  const key = randomBytes(32)
  const first = like?.[0] ?? process.env['PGSTORE_TEST_FIRST_BYTE']
  if (first !== undefined) key[0] = Number(first)
  return key
}

/** The rows of one call in named notation: `call('session_get', { key })` is `session_get(p_key => …)`. */
export async function call<Row extends object = Record<string, unknown>>(
  name: string,
  args: object = {},
  client: Client = admin,
): Promise<Row[]> {
  const names = Object.keys(args).map((argument, index) => `p_${argument} => $${index + 1}`)
  const result = await client.query<Row>(`select * from pgstore.${name}(${names.join(', ')})`, Object.values(args))
  return result.rows
}

/** The number that a call counts to. */
export async function count(name: string, args: object = {}, client: Client = admin): Promise<number> {
  const [first] = await call<Record<string, string>>(name, args, client)
  return Number(first?.[name])
}

export async function save(key: Buffer | null, args: SaveArguments = {}, client: Client = admin): Promise<Saved> {
  const rows = await call<Saved>('session_save', { key, ...args }, client)
  const [first] = rows
  if (!first || rows.length > 1) throw new Error(`session_save returned ${rows.length} rows.`)
  return first
}

/** The key of a new session with this data. */
export async function create(data: object = {}, args: SaveArguments = {}, key: Buffer = newKey()): Promise<Buffer> {
  const { status } = await save(key, { set: JSON.stringify(data), version: 0, max_length: 0, ...args })
  if (status !== 'saved') throw new Error(`Not created: ${status}.`)
  return key
}

/** The row under this key, live or not. */
export async function stored(key: Buffer): Promise<Stored | undefined> {
  const [found] = await sql<Stored>(
    `select id, user_id, data, version, created_at, updated_at, expires_at, seen_at, signed_in_at, label, tags, xmin || ' ' || ctid as place
     from pgstore.sessions where key = $1`,
    key,
  )
  return found
}

/** The row under this key, which the test knows to be there. */
export async function present(key: Buffer): Promise<Stored> {
  const found = await stored(key)
  if (!found) throw new Error('No such session.')
  return found
}

/** An object without some of its properties. */
export function without<Whole extends object, Name extends keyof Whole>(
  whole: Whole,
  ...names: Name[]
): Omit<Whole, Name> {
  return Object.fromEntries(Object.entries(whole).filter(([name]) => !names.includes(name as Name))) as Omit<
    Whole,
    Name
  >
}

/** Lets the time of a session run out, and makes it due for purging. */
export async function expire(key: Buffer): Promise<void> {
  await row(
    `update pgstore.sessions set (expires_at, purge_at) = (select t, t from (select now() - interval '1 second') as past (t))
     where key = $1 returning id`,
    key,
  )
}

/** Lets a session begin earlier; a user's sign-in stays when it was. */
export async function age(key: Buffer, by: string): Promise<void> {
  await row('update pgstore.sessions set created_at = now() - $2::interval where key = $1 returning id', key, by)
}

/** Whether this client's running statement waits for a lock. */
export async function isBlocked(client: pg.Client): Promise<boolean> {
  const { processID } = client as unknown as { processID: number }
  const found = await sql(`select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'`, processID)
  return found.length === 1
}

export async function untilBlocked(client: pg.Client): Promise<void> {
  await until(() => isBlocked(client))
}
