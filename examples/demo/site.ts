// The site: for each request the session is read, and an action changes it, saves it and responds.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type pg from 'pg'
import { type PGStore, PGStoreError } from 'pgstore'
import { cartRoutes } from './cart.ts'
import { cookieFacts } from './cookie.ts'
import { Counter } from './counts.ts'
import {
  type Action,
  cookieName,
  type Demo,
  goHome,
  Refusal,
  type Routes,
  sendMessage,
  sendPage,
  type Visit,
} from './exchange.ts'
import { contentSecurityPolicy, files } from './files.ts'
import { Live } from './live.ts'
import { OverwritingStore } from './overwriting.ts'
import { errorPage, homePage } from './page.ts'
import { renderParts } from './parts.ts'
import { Purge } from './purge.ts'
import { Rows, type SessionRow } from './rows.ts'
import { signInRoutes } from './sign-in.ts'
import { slowRoutes } from './slow.ts'

const maxBodyBytes = 10_000

export interface Site {
  readonly listener: RequestListener
  /** Ends the open pages' streams, and what the site has started. */
  close(): Promise<void>
}

/**
 * @param pool the store's
 * @param owner reads the sessions table, to show visitors their row
 */
export function createSite(store: PGStore<Visit>, pool: pg.Pool, owner: pg.Pool): Site {
  const rows = new Rows(owner)
  const others = new OverwritingStore(store)
  const render = (row: SessionRow) => renderParts(demo, () => counter.counts, row)
  const live = new Live(store, rows, render)
  const demo: Demo = { store, others, rows, live }
  const counter = new Counter(demo, pool)
  const purge = new Purge(demo)

  const showHome: Action = async ({ req, res, session }) => {
    const { port } = new URL(`http://${req.headers.host ?? 'localhost'}`)
    const flashes = await session.takeFlashes<string>() // each is shown once, however many pages load at once
    if (session.isNew) session.values.startedAt = new Date().toISOString()
    await store.save(req, res, session)
    const row = (await rows.find([session.id ?? '0'])).get(session.id ?? '0')
    if (!row) return goHome(res) // ended a moment ago: the next read finds no session and begins one
    const parts = await render(row)
    sendPage(res, 200, homePage({ session, cookie: cookieFacts(store, req, res), flashes, parts, port: Number(port) }))
  }

  const watch: Action = async ({ res, session }) => {
    live.watch(res, session.id)
  }

  const routes = new Map(
    Object.entries<Routes[string]>({
      '/': { GET: showHome, HEAD: showHome },
      '/live': { GET: watch },
      ...signInRoutes(demo),
      ...cartRoutes(demo),
      ...slowRoutes(demo),
      ...purge.routes,
      ...counter.routes,
    }),
  )

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { method = '', url = '' } = req
    const path = url.split('?', 1)[0] ?? ''
    const actions = routes.get(path)
    if (!actions) throw new Refusal(404, 'There is no such page.')
    const action = Object.hasOwn(actions, method) ? actions[method] : undefined
    if (!action) {
      res.setHeader('Allow', Object.keys(actions).join(', '))
      throw new Refusal(405, 'This page does not support that method.')
    }
    if (method === 'POST' && isCrossSite(req)) throw new Refusal(403, 'This form was sent from another site.')
    const form = method === 'POST' ? await readForm(req) : new URLSearchParams()
    const session = await store.get(req, cookieName)
    await action({ req, res, session, form })
  }

  return {
    listener: (req, res) => {
      setCommonHeaders(res)
      const file = files.get(req.url ?? '')
      if (file) res.writeHead(200, { 'Content-Type': file.type, 'Cache-Control': 'no-cache' }).end(file.content)
      else answer(req, res).catch((error: unknown) => answerError(req, res, error))
    },
    close: async () => {
      live.close()
      await purge.close()
    },
  }
}

function answerError({ headers }: IncomingMessage, res: ServerResponse, error: unknown): void {
  if (res.destroyed) return // the visitor has left
  const isGone = error instanceof PGStoreError && error.code === 'gone' // ended on another device since this request began
  const isRefused = error instanceof Refusal
  if (!isGone && !isRefused) console.error(error)
  const status = isGone ? 409 : isRefused ? error.status : 500
  const message = isGone
    ? 'This session has ended.'
    : isRefused
      ? error.message
      : 'Something went wrong. See the terminal for details.'
  if (headers.accept === 'application/json') sendMessage(res, status, message)
  else if (isGone) goHome(res)
  else sendPage(res, status, errorPage(message))
}

/**
 * Browsers say where a request comes from; a client that does not is not a browser, and has no visitor's cookie. The same check
 * as CrossOriginProtection in Go's net/http. SameSite=Lax alone would admit other ports of this machine: they are the same site.
 */
function isCrossSite({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  return headers.origin !== undefined && !headers.origin.endsWith(`://${headers.host}`)
}

async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = []
  let length = 0
  // Not destroyed on return: the refusal is still to be sent on this connection.
  for await (const chunk of req.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length
    if (length > maxBodyBytes) throw new Refusal(413, 'The form is too large.')
    chunks.push(chunk as Buffer)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString())
}

function setCommonHeaders(res: ServerResponse): void {
  res.setHeader('Content-Security-Policy', contentSecurityPolicy)
  res.setHeader('X-Content-Type-Options', 'nosniff')
  res.setHeader('Referrer-Policy', 'same-origin')
  // Every page belongs to one visitor.
  res.setHeader('Cache-Control', 'no-store')
  res.setHeader('Vary', 'Cookie')
}
