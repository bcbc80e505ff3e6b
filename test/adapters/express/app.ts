// An Express app whose sessions are kept by a store under test, and browsers that visit it.
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import session from 'express-session'
import type { ExpressSessionStore } from '../../../src/adapters/express-session.ts'

declare module 'express-session' {
  interface SessionData {
    user?: string
    cart?: string[]
    visits?: number
  }
}

/** What a request waits for between reading the session and answering. */
export interface Gate {
  /** Resolves when the request has read its session. */
  readonly arrived: Promise<void>
  open(): void
}

export interface Answer {
  readonly status: number
  readonly text: string
  /** The Set-Cookie line. */
  readonly cookie: string | undefined
}

export class Browser {
  readonly #url: string
  cookie: string | undefined

  constructor(url: string, cookie?: string) {
    this.#url = url
    this.cookie = cookie
  }

  async get(path: string): Promise<Answer> {
    const response = await fetch(this.#url + path, this.cookie ? { headers: { cookie: this.cookie } } : {})
    const [line] = response.headers.getSetCookie()
    if (line) this.cookie = line.split(';')[0]
    return { status: response.status, text: await response.text(), cookie: line }
  }

  /** The session that the server sees, without its cookie. */
  async session(): Promise<Record<string, unknown>> {
    const { cookie: _, ...values } = JSON.parse((await this.get('/')).text)
    return values
  }

  /** Another browser with the same cookie: an attacker, or a concurrent request. */
  copy(): Browser {
    return new Browser(this.#url, this.cookie)
  }

  get sid(): string {
    const value = decodeURIComponent(this.cookie?.split('=')[1] ?? '')
    return value.slice(2, value.lastIndexOf('.'))
  }
}

function param(req: express.Request, name: string): string {
  const value = req.query[name]
  return typeof value === 'string' ? value : ''
}

export class App {
  readonly #server: http.Server
  readonly #gates = new Map<string, { arrive(): void; wait: Promise<void> }>()
  /** What reached Express's error handling. */
  readonly errors: unknown[] = []
  url = ''

  constructor(store: session.Store, options: Partial<session.SessionOptions> = {}) {
    const app = express()
    app.set('env', 'test') // or Express prints every error
    app.use(session({ store, secret: 'an example secret', resave: false, saveUninitialized: false, ...options }))
    app.use(async (req, _res, next) => {
      const gate = this.#gates.get(param(req, 'gate'))
      gate?.arrive()
      await gate?.wait
      next()
    })
    app.get('/', (req, res) => void res.json(req.session))
    app.get('/id', (req, res) => void res.send((store as ExpressSessionStore).idOf(req.session)))
    app.get('/set', (req, res) => {
      const { gate: _, ...values } = req.query
      Object.assign(req.session, values)
      res.send('set')
    })
    app.get('/unset', (req, res) => {
      delete (req.session as unknown as Record<string, unknown>)[param(req, 'key')]
      res.send('unset')
    })
    app.get('/set-and-save', (req, res) => {
      req.session.visits = 1
      req.session.save((error?: { code?: string }) => res.send(error?.code ?? 'saved'))
    })
    app.get('/sign-in', (req, res, next) => {
      req.session.regenerate((error) => {
        if (error) return next(error)
        req.session.user = param(req, 'user')
        res.send('signed in')
      })
    })
    app.get('/renew', async (req, res) => {
      req.session.user = param(req, 'user')
      await (store as ExpressSessionStore).renew(req)
      res.send('signed in')
    })
    app.get('/sign-out', (req, res, next) => {
      req.session.destroy((error) => (error ? next(error) : res.send('signed out')))
    })
    app.get('/remember', (req, res) => {
      req.session.cookie.maxAge = Number(req.query['ms'])
      res.send('remembered')
    })
    app.use(((error, _req, _res, next) => {
      this.errors.push(error)
      next(error)
    }) as express.ErrorRequestHandler)
    this.#server = http.createServer(app)
  }

  async listen(): Promise<this> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    return this
  }

  /** For the request that asks for `?gate=name`. */
  gate(name: string): Gate {
    let open = () => {}
    let arrive = () => {}
    const wait = new Promise<void>((resolve) => {
      open = resolve
    })
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve
    })
    this.#gates.set(name, { arrive, wait })
    return { arrived, open }
  }

  browser(): Browser {
    return new Browser(this.url)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
