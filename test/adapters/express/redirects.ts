// A site whose pages sign in and out and redirect, and a client that follows at the headers, as browsers do. Run as a program it
// is a second server on the same database: `redirects.ts DATABASE_URL` prints its address.
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import express from 'express'
import session from 'express-session'
import { ExpressSessionStore } from '../../../src/adapters/express-session.ts'

declare module 'express-session' {
  interface SessionData {
    user?: string
  }
}

function userOf(req: express.Request): string {
  const { user } = req.query
  return typeof user === 'string' ? user : ''
}

export async function startSite(store: session.Store): Promise<{ url: string; close(): Promise<void> }> {
  const app = express()
  app.set('env', 'test')
  app.use(
    session({
      store,
      secret: 'an example secret',
      resave: false,
      saveUninitialized: false,
      unset: 'destroy',
      cookie: { maxAge: 3_600_000 },
    }),
  )
  app.get('/', (req, res) => void res.send(req.session.user ?? 'nobody'))
  app.get('/sign-in', (req, res) => {
    req.session.user = userOf(req)
    res.redirect('/')
  })
  app.get('/regenerate', (req, res, next) => {
    req.session.regenerate((error) => {
      if (error) return next(error)
      req.session.user = userOf(req)
      res.redirect('/')
    })
  })
  app.get('/save', (req, res) => {
    req.session.user = userOf(req)
    req.session.save() // and not waited for
    res.redirect('/')
  })
  app.get('/large', (req, res) => {
    req.session.user = userOf(req)
    res.status(303).location('/').send(Buffer.alloc(3_000_000, 'x'))
  })
  app.get('/unset', (req, res) => {
    delete (req as { session?: unknown }).session
    res.redirect('/')
  })
  app.get('/forget', (req, res) => {
    req.session.cookie.maxAge = 0
    res.redirect('/')
  })
  app.get('/destroy', (req, res) => {
    req.session.destroy(() => {}) // and not waited for
    res.redirect('/')
  })
  const server = http.createServer(app)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Redirects are followed as soon as their headers are there. */
export class HastyBrowser {
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 2 })
  cookie: string | undefined

  /** @param next the server that is asked for the page that the redirect leads to */
  async get(url: string, path: string, next: string = url): Promise<string> {
    const response = await this.#ask(url + path)
    const { location } = response.headers
    if (location === undefined) return await text(response)
    const page = this.#ask(next + location)
    const [, body] = await Promise.all([text(response), page.then(text)])
    return body
  }

  close(): void {
    this.#agent.destroy()
  }

  async #ask(url: string): Promise<http.IncomingMessage> {
    const headers = this.cookie ? { cookie: this.cookie } : {}
    const [response] = (await once(http.get(url, { agent: this.#agent, headers }), 'response')) as [
      http.IncomingMessage,
    ]
    const [line] = response.headers['set-cookie'] ?? []
    if (line) this.cookie = line.split(';')[0]
    return response
  }
}

async function text(response: http.IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of response.setEncoding('latin1')) text += chunk
  return text
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const connectionString = process.argv[2] ?? ''
  console.log((await startSite(new ExpressSessionStore({ connectionString }))).url)
}
