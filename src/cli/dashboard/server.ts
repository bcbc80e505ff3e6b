// The page's server: on 127.0.0.1 only, for those who have the address with the token.
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Database } from '../../database/session-functions.ts'
import { messageOf, PGStoreError } from '../../errors.ts'
import { headers, isOurHost, isSameOrigin, isToken, newToken } from './guard.ts'
import type { Monitor } from './monitor.ts'
import { listSessions, revokeSessions } from './users.ts'

export interface Served {
  readonly monitor: Monitor
  readonly database: Database
  /** Whether sessions are listed with their data. */
  readonly showsData: boolean
  /** 0 for a free one. */
  readonly port: number
}

export interface Serving {
  /** With the token. */
  readonly url: string
  /** Ends requests under way too. */
  close(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
}

type Route = (query: URLSearchParams, req: http.IncomingMessage) => Promise<Answer> | Answer

/** No body of ours is longer. */
const mostBytes = 10_000

/** @throws {PGStoreError} `invalid_option` if the port is taken */
export async function serve(served: Served): Promise<Serving> {
  const token = newToken()
  const routes = routesOf(served)
  const server = http.createServer({ requestTimeout: 30_000 }, (req, res) => {
    void answer(req, token, routes).then(({ status, type, body, headers: more }) => {
      res.writeHead(status, { ...headers, 'content-type': type, ...more })
      res.end(body)
    })
  })
  server.maxConnections = 100
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new PGStoreError('invalid_option', `port: ${messageOf(error)}`)))
    server.listen(served.port, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/${token}/`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

/** Never rejects. */
async function answer(
  req: http.IncomingMessage,
  token: string,
  routes: ReadonlyMap<string, Readonly<Record<string, Route>>>,
): Promise<Answer> {
  const [path = '', query = ''] = (req.url ?? '').split('?', 2)
  const [, given = '', name] = path.split('/', 3)
  if (!isOurHost(req.headers, req.socket.localPort ?? 0)) {
    return plain(403, 'Open the dashboard as 127.0.0.1 or localhost, with the port that it printed.')
  }
  if (!isToken(given, token)) return plain(403, 'Open the dashboard with the whole address that it printed.')
  // Links on the page are relative to this.
  if (name === undefined) return { ...plain(308, ''), headers: { location: `/${token}/` } }
  const methods = routes.get(path.slice(token.length + 2))
  if (!methods) return plain(404, 'There is no such page.')
  const route = methods[req.method === 'HEAD' ? 'GET' : (req.method ?? '')]
  if (!route) return { ...plain(405, 'Not by this method.'), headers: { allow: Object.keys(methods).join(', ') } }
  if (req.method === 'POST' && !isSameOrigin(req.headers))
    return plain(403, 'Only the dashboard’s own page may do this.')
  try {
    return await route(new URLSearchParams(query), req)
  } catch (error) {
    return failure(error)
  }
}

function routesOf({ monitor, database, showsData }: Served): Map<string, Record<string, Route>> {
  const routes = new Map<string, Record<string, Route>>()
  for (const [name, asset] of assets()) routes.set(name, { GET: () => asset })
  routes.set('overview', {
    // The page asks often: it is told only what it has not seen.
    GET: (query) => {
      const overview = monitor.overview()
      return query.get('seen') === String(overview.revision) ? { ...plain(204, '') } : json(overview)
    },
  })
  routes.set('sessions', {
    GET: async (query) => json(await listSessions(database, query.get('user') ?? '', showsData)),
  })
  routes.set('diagnose', {
    POST: async () => {
      await monitor.diagnose()
      return json(monitor.overview())
    },
  })
  routes.set('revoke', {
    POST: async (_query, req) => {
      const { user, id } = await body(req)
      if (typeof user !== 'string' || (typeof id !== 'string' && id !== null)) throw badRequest
      const revoked = await revokeSessions(database, user, id)
      monitor.sampleSoon()
      return json(revoked)
    },
  })
  return routes
}

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}

/** The files of the page, by the path that it asks for them; read once, so that no path of a request reaches the disk. */
function assets(): Map<string, Answer> {
  const folder = new URL('page/', import.meta.url)
  const found = new Map<string, Answer>()
  for (const name of fs.readdirSync(folder)) {
    const type = types[name.split('.').at(-1) ?? '']
    if (type === undefined) continue
    found.set(name === 'page.html' ? '' : name, { status: 200, type, body: fs.readFileSync(new URL(name, folder)) })
  }
  return found
}

const badRequest = new PGStoreError('invalid_value', 'The request is not one of the dashboard’s page.')

async function body(req: http.IncomingMessage): Promise<Record<string, unknown>> {
  if (Number(req.headers['content-length'] ?? Number.POSITIVE_INFINITY) > mostBytes) throw badRequest
  try {
    const parsed: unknown = JSON.parse(await text(req))
    if (typeof parsed === 'object' && parsed !== null) return parsed as Record<string, unknown>
  } catch {
    // said below
  }
  throw badRequest
}

function json(value: unknown): Answer {
  return { status: 200, type: 'application/json', body: JSON.stringify(value) }
}

function plain(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body }
}

/** A `PGStoreError`'s message holds no data; of another error nothing is told. */
function failure(error: unknown): Answer {
  const { code, statusCode, message } =
    error instanceof PGStoreError ? error : new PGStoreError('database', 'The dashboard failed to answer.')
  const status = code === 'invalid_value' || code === 'invalid_option' ? 400 : statusCode
  return { ...json({ error: code, message }), status }
}
