// The site that the security tests attack: on Node's own server, and as a fetch handler.
import http from 'node:http'
import net from 'node:net'
import type { PGStore, RequestLike, ResponseLike, Session } from '../../src/index.ts'
import { PGStoreError, type Pool } from '../../src/index.ts'
import { admin } from '../support/harness.ts'

export type Values = Record<string, unknown>

export interface Visit {
  readonly store: PGStore<Values>
  readonly session: Session<Values>
  readonly req: RequestLike
  readonly res: ResponseLike
  /** Of the request's address. */
  readonly query: URLSearchParams
}

/** What a page does with the session; what it returns is the body. */
export type Page = (visit: Visit) => unknown

/** Pages by path; the session is theirs to save. */
export type Pages = Readonly<Record<string, Page>>

export interface Answer {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly setCookies: readonly string[]
  readonly body: string
}

export interface Site {
  /** One GET; `cookie` goes as it is. */
  readonly get: (path: string, cookie?: string) => Promise<Answer>
}

export interface NodeSite extends Site {
  readonly port: number
  readonly url: string
}

const servers: http.Server[] = []

/** Ends the servers. */
export async function closeSites(): Promise<void> {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

async function answer(pages: Pages, store: PGStore<Values>, name: string, req: RequestLike, res: ResponseLike) {
  const url = new URL((req as { url?: string }).url ?? '/', 'http://site.example')
  const page = pages[url.pathname]
  if (!page) return { status: 404, body: 'no such page' }
  try {
    const session = await store.get(req, name)
    const body = await page({ store, session, req, res, query: url.searchParams })
    return { status: 200, body: typeof body === 'string' ? body : (JSON.stringify(body) ?? '') }
  } catch (error) {
    // As a careful application would: the reader's fault, or ours.
    const code = error instanceof PGStoreError ? error.code : 'exception'
    const isTheirs = ['invalid_value', 'too_large', 'gone', 'conflict'].includes(code)
    return { status: isTheirs ? 422 : code === 'exception' ? 500 : 503, body: code }
  }
}

/** The site on a port of 127.0.0.1. */
export async function nodeSite(store: PGStore<Values>, pages: Pages, name = 'sid'): Promise<NodeSite> {
  const server = http.createServer({ maxHeaderSize: 1024 * 1024 }, (req, res) => {
    void answer(pages, store, name, req, res).then(({ status, body }) => {
      res.statusCode = status
      res.end(body)
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
  const get = async (path: string, cookie?: string) =>
    await new Promise<Answer>((resolve, reject) => {
      const headers = cookie === undefined ? {} : { cookie }
      const req = http.get({ host: '127.0.0.1', port, path, headers, agent }, (res) => {
        res.setEncoding('utf8')
        let body = ''
        res.on('data', (chunk: string) => {
          body += chunk
        })
        res.on('error', reject)
        res.on('end', () => {
          const raw = res.rawHeaders
          const pairs = raw.flatMap((value, index) => (index % 2 ? [[raw[index - 1] as string, value] as const] : []))
          resolve({
            status: res.statusCode as number,
            headers: pairs,
            setCookies: res.headers['set-cookie'] ?? [],
            body,
          })
        })
      })
      req.on('error', reject)
    })
  return { port, url: `http://127.0.0.1:${port}`, get }
}

/** The same as a function from Request to Response. */
export function fetchSite(store: PGStore<Values>, pages: Pages, name = 'sid'): Site {
  return {
    async get(path, cookie) {
      const headers = new Headers(cookie === undefined ? [] : [['cookie', cookie]])
      const req = new Request(`http://site.example${path}`, { headers })
      const sent = new Headers()
      const { status, body } = await answer(pages, store, name, req, sent)
      const res = new Response(body, { status, headers: sent })
      return { status, headers: [...res.headers], setCookies: res.headers.getSetCookie(), body: await res.text() }
    },
  }
}

/** The bytes of the server's response to one request, whose header is sent unchanged: for headers that no client would send. */
export async function rawRequest(port: number, cookie: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.setEncoding('latin1')
  socket.end(`GET /look HTTP/1.1\r\nHost: site.example\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`, 'latin1')
  let text = ''
  for await (const chunk of socket) text += chunk as string
  return text
}

/** A pool that counts what is sent through it, and fails while `failure` is set. */
export class CountingPool implements Pool {
  queries = 0
  failure: Error | undefined
  /** Text of each query, and its parameters. */
  readonly seen: { readonly text: string; readonly values: readonly unknown[] }[] = []

  async connect(): Promise<never> {
    this.queries++
    return (await admin.connect()) as never
  }

  async query(query: { readonly text: string; readonly values: unknown[] }): Promise<never> {
    this.queries++
    this.seen.push({ text: query.text, values: query.values })
    if (this.failure) throw this.failure
    return (await admin.query(query)) as never
  }
}

/** The cookie's name and value, of a Set-Cookie line. */
export function pairOf(line: string | undefined): string {
  return line?.split(';')[0] ?? ''
}
