// Express with its sessions in Postgres. `npm run example examples/express/main.ts`, then open the address that it prints.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type NextFunction, type Request, type Response } from 'express'
import session from 'express-session'
import { ExpressSessionStore } from 'pgstore/express-session'
import { startPostgres } from '../../scripts/postgres.ts'

declare module 'express-session' {
  interface SessionData {
    user?: string
    cart?: string[]
    theme?: string
  }
}

// Starts its own Postgres, gone when it ends, unless DATABASE_URL is set.
const database = process.env['DATABASE_URL'] ? undefined : await startPostgres()

const store = await ExpressSessionStore.open({
  connectionString: process.env['DATABASE_URL'] || database?.url(),
  userId: ({ user }) => user,
})
await store.pgstore.startCleanup('5 minutes')

const app = express()
app.use(
  session({
    store,
    name: 'example.sid',
    secret: process.env['SESSION_SECRET'] ?? randomBytes(32).toString('base64url'), // a real site keeps its secret across restarts
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 30 * 86_400_000, sameSite: 'lax' }, // on HTTPS, also secure: true
  }),
)
app.use(express.urlencoded({ extended: false }))

app.get('/', async (req, res) => {
  const { user, cart = [], theme = 'light' } = req.session
  const sessions = user === undefined ? [] : await store.list(user)
  const own = store.idOf(req.session)
  res.send(`<!doctype html><title>Express and pgstore</title><meta name="color-scheme" content="${escapeHtml(theme)}">
<p>${user === undefined ? 'Nobody is signed in.' : `Signed in as <b>${escapeHtml(user)}</b>.`} Cart: ${escapeHtml(cart.join(', ')) || 'empty'}.</p>
${form('sign-in', 'Sign in', '<input name="user" placeholder="name" required>')}
${form('cart', 'Put into the cart', '<input name="item" placeholder="tea" required>')}
${form('theme', 'Change the theme', '<select name="theme"><option>light<option>dark</select>')}
<ul>${sessions.map(({ id, createdAt }) => `<li>session ${id}, ${createdAt.toISOString()}${id === own ? ' (this one)' : ''}`).join('')}</ul>
${form('sign-out-elsewhere', 'Sign out everywhere else')}
${form('sign-out', 'Sign out')}`)
})

app.post('/sign-in', async (req, res) => {
  req.session.user = field(req, 'user')
  await store.renew(req) // saved under a new sid, with what was in the cart
  res.redirect('/')
})

// Two concurrent requests, one to /cart and one to /theme, both keep their changes.
app.post('/cart', (req, res, next) => {
  req.session.cart = [...(req.session.cart ?? []), field(req, 'item')]
  req.session.save(returnHome(res, next))
})

app.post('/theme', (req, res, next) => {
  req.session.theme = field(req, 'theme')
  req.session.save(returnHome(res, next))
})

app.post('/sign-out-elsewhere', async (req, res) => {
  if (req.session.user !== undefined) await store.revoke(req.session.user, { except: req.sessionID })
  res.redirect('/')
})

app.post('/sign-out', (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.clearCookie('example.sid').redirect('/')))
})

/** After the save, or the next request could arrive first. If the session was signed out meanwhile, there is nothing to save. */
function returnHome(res: Response, next: NextFunction): (error?: { code?: string }) => void {
  return (error) => (error && error.code !== 'gone' ? next(error) : res.redirect('/'))
}

function field(req: Request, name: string): string {
  const value: unknown = req.body?.[name]
  return typeof value === 'string' ? value.slice(0, 100) : ''
}

function form(action: string, label: string, fields = ''): string {
  return `<form method="post" action="/${action}">${fields}<button>${label}</button></form>`
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1')
await once(server, 'listening')
console.log(`Express: http://127.0.0.1:${(server.address() as AddressInfo).port}`)

async function end(): Promise<void> {
  server.close()
  server.closeAllConnections()
  await store.close()
  await database?.stop()
  process.exit()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end())
