// npx tsx examples/fastify/main.ts
import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import { PGStore } from 'pgstore'
import { sessions } from 'pgstore/fastify'
import { databaseUrl } from '../postgres.ts'

declare module 'pgstore/fastify' {
  interface SessionValues {
    visits?: number
    theme?: string
    language?: string
  }
}

const store = await PGStore.open({
  connectionString: databaseUrl,
  keys: [randomBytes(32)], // a real site keeps its key across restarts: npx pgstore key
  options: { secure: false }, // this example uses plain http; leave this out on HTTPS
})
const app = Fastify()
app.register(sessions, { store })

app.get('/', async (request) => {
  const { userId, values } = await request.session()
  values.visits = (values.visits ?? 0) + 1
  return { userId, ...values }
})

app.post<{ Body: { user: string } }>('/sign-in', async (request) => {
  const session = await request.session()
  session.userId = request.body.user // whose password you have checked
  await request.session.regenerate()
  return { signedIn: session.userId }
})

app.post<{ Body: { theme: string } }>('/theme', async (request) => {
  const { values } = await request.session()
  values.theme = request.body.theme
  return { theme: values.theme }
})

app.post<{ Body: { language: string } }>('/language', async (request) => {
  const { values } = await request.session()
  values.language = request.body.language
  return { language: values.language }
})

app.post('/sign-out-elsewhere', async (request, reply) => {
  const session = await request.session()
  if (session.userId === undefined) return reply.code(401).send({ error: 'Sign in first.' })
  return { ended: await store.revoke(session.userId, { except: session }) }
})

app.post('/sign-out', async (request) => {
  await request.session.destroy()
  return { signedOut: true }
})

console.log(await app.listen({ port: Number(process.env['PORT'] ?? 3000) }))
