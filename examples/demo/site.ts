// The site: for each request the session is read, and an action changes it, saves it and responds.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type pg from 'pg'
import { type PGStore, PGStoreError, type Session } from 'pgstore'
import type { Html } from './html.ts'
import { contentSecurityPolicy, errorPage, homePage, type SessionRow } from './pages.ts'

/** What this site keeps in a session. Whose session it is, `session.userId`, is stored separately. */
export interface Visit {
  visits?: number
  userAgent?: string
  signedInAt?: string
}

interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly session: Session<Visit>
  readonly form: URLSearchParams
}

type Action = (exchange: Exchange) => Promise<void>

/** Ends a request with this status and sentence. */
class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const cookieName = 'pgstore-demo'
const maxBodyBytes = 10_000

/** @param owner reads the sessions table, to show visitors their row */
export function createSite(store: PGStore<Visit>, owner: pg.Pool): RequestListener {
  const routes = new Map<string, Readonly<Record<string, Action>>>([
    ['/', { GET: showHome, HEAD: showHome }],
    ['/sign-in', { POST: signIn }],
    ['/sign-out', { POST: signOut }],
    ['/devices/end', { POST: endDevice }],
    ['/devices/end-others', { POST: endOtherDevices }],
  ])

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { method = '', url = '' } = req
    const actions = routes.get(url.split('?', 1)[0] ?? '')
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

  async function showHome(exchange: Exchange): Promise<void> {
    const { req, res, session } = exchange
    const flashes = await countVisit(exchange)
    const devices = session.userId === undefined ? [] : await store.list(session.userId)
    const { rows } = await owner.query<SessionRow>(
      `select id, user_id, data, version, created_at, updated_at, expires_at, left(encode(key, 'hex'), 16) as key
       from pgstore.sessions
       where id = $1`,
      [session.id],
    )
    send(res, 200, homePage({ session, flashes, devices, row: rows[0], port: req.socket.localPort }))
  }

  /** Counts this visit and takes the messages left for it. If another tab was faster, again with the values it saved. */
  async function countVisit({ req, res, session }: Exchange): Promise<string[]> {
    for (let attempt = 1; ; attempt++) {
      session.values.visits = (session.values.visits ?? 0) + 1
      const flashes = session.flashes<string>()
      try {
        await store.save(req, res, session, { ifUnchanged: true })
        return flashes
      } catch (error) {
        if (!(error instanceof PGStoreError && error.code === 'conflict') || attempt === 20) throw error
      }
    }
  }

  async function signIn({ req, res, session, form }: Exchange): Promise<void> {
    const name = (form.get('name') ?? '').replace(/\p{Cc}/gu, '').trim()
    if (name === '' || name.length > 50) {
      session.addFlash('Sign in with a name of 1 to 50 characters.')
      await store.save(req, res, session)
    } else {
      session.userId = name
      session.values.userAgent = (req.headers['user-agent'] ?? '').slice(0, 200)
      session.values.signedInAt = new Date().toISOString()
      session.addFlash(`Signed in as ${name}, with a new cookie: the old one no longer works.`)
      // A new token, now that the session is worth more: an attacker who knew the old one (session fixation) is locked out.
      await store.regenerate(req, res, session)
    }
    goHome(res)
  }

  async function signOut({ req, res, session }: Exchange): Promise<void> {
    await store.destroy(req, res, session) // and `session` is a new one from here on
    session.addFlash('Signed out. Your session is gone from the database; this is a new one.')
    await store.save(req, res, session)
    goHome(res)
  }

  async function endDevice({ req, res, session, form }: Exchange): Promise<void> {
    const id = form.get('id')
    if (session.userId === undefined || id === null) throw new Refusal(400, 'Sign in and choose a device first.')
    const ended = await store.revoke(session.userId, { id })
    session.addFlash(ended > 0 ? 'That device is signed out.' : 'That device had been signed out already.')
    await store.save(req, res, session)
    goHome(res)
  }

  async function endOtherDevices({ req, res, session }: Exchange): Promise<void> {
    if (session.userId === undefined) throw new Refusal(400, 'Sign in first.')
    const ended = await store.revoke(session.userId, { except: session })
    session.addFlash(`Signed out everywhere else: ${ended} ${ended === 1 ? 'device' : 'devices'}.`)
    await store.save(req, res, session)
    goHome(res)
  }

  return (req, res) => {
    setCommonHeaders(res)
    answer(req, res).catch((error: unknown) => answerError(res, error))
  }
}

function answerError(res: ServerResponse, error: unknown): void {
  if (res.destroyed) return // the visitor has left
  if (error instanceof Refusal) {
    send(res, error.status, errorPage(error.message))
  } else if (error instanceof PGStoreError && error.code === 'gone') {
    goHome(res) // ended on another device since this request began: the store has set its cookie's deletion
  } else {
    console.error(error)
    send(res, 500, errorPage('Something went wrong. See the terminal for details.'))
  }
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

function send(res: ServerResponse, status: number, page: Html): void {
  // The rest of a refused body is not read: the connection ends with the response.
  if (status === 413) res.setHeader('Connection', 'close')
  res.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' }).end(page.text)
}

/** After a form, so that reloading the page does not send it again. */
function goHome(res: ServerResponse): void {
  res.writeHead(303, { Location: '/' }).end()
}
