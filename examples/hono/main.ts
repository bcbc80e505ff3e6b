// npx tsx examples/hono/main.ts
import { randomBytes } from 'node:crypto'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { PGStore } from 'pgstore'
import { sessions } from 'pgstore/hono'
import { databaseUrl } from '../postgres.ts'

interface Visit {
  visits?: number
  theme?: string
  language?: string
}

const store = await PGStore.open<Visit>({
  connectionString: databaseUrl,
  keys: [randomBytes(32)], // a real site keeps its key across restarts: npx pgstore key
  options: { secure: false }, // this example uses plain http; leave this out on HTTPS
})
const app = new Hono().use(sessions(store))

app.get('/', async (c) => {
  const { userId, values } = await c.var.session()
  values.visits = (values.visits ?? 0) + 1
  return c.json({ userId, ...values })
})

app.post('/sign-in', async (c) => {
  const session = await c.var.session()
  session.userId = (await c.req.json<{ user: string }>()).user // whose password you have checked
  await c.var.session.regenerate()
  return c.json({ signedIn: session.userId })
})

app.post('/theme', async (c) => {
  const { values } = await c.var.session()
  values.theme = (await c.req.json<{ theme: string }>()).theme
  return c.json({ theme: values.theme })
})

app.post('/language', async (c) => {
  const { values } = await c.var.session()
  values.language = (await c.req.json<{ language: string }>()).language
  return c.json({ language: values.language })
})

app.post('/sign-out-elsewhere', async (c) => {
  const session = await c.var.session()
  if (session.userId === undefined) return c.json({ error: 'Sign in first.' }, 401)
  return c.json({ ended: await store.revoke(session.userId, { except: session }) })
})

app.post('/sign-out', async (c) => {
  await c.var.session.destroy()
  return c.json({ signedOut: true })
})

// On Bun or Deno: `export default app`.
const port = Number(process.env['PORT'] ?? 3000)
serve({ fetch: app.fetch, hostname: '127.0.0.1', port }, () => console.log(`http://127.0.0.1:${port}`))
