// npx tsx examples/node-http/main.ts
import { randomBytes } from 'node:crypto'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { PGStore } from 'pgstore'
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

/** The response's content; the session is saved before it is sent. */
async function answer(req: IncomingMessage, res: ServerResponse): Promise<object> {
  const session = await store.get(req, 'sid')
  const { values } = session
  switch (`${req.method} ${req.url}`) {
    case 'GET /':
      values.visits = (values.visits ?? 0) + 1
      break
    case 'POST /sign-in':
      session.userId = (await body(req)).user // whose password you have checked
      await store.regenerate(req, res, session)
      return { signedIn: session.userId }
    case 'POST /theme':
      values.theme = (await body(req)).theme
      break
    case 'POST /language':
      values.language = (await body(req)).language
      break
    case 'POST /sign-out-elsewhere':
      if (session.userId === undefined) return { error: 'Sign in first.' }
      return { ended: await store.revoke(session.userId, { except: session }) }
    case 'POST /sign-out':
      await store.destroy(req, res, session)
      return { signedOut: true }
  }
  await store.save(req, res, session)
  return { userId: session.userId, ...values }
}

async function body(req: IncomingMessage): Promise<{ user: string; theme: string; language: string }> {
  return (await json(req)) as { user: string; theme: string; language: string }
}

const server = http.createServer((req, res) => {
  answer(req, res).then(
    (page) => res.setHeader('Content-Type', 'application/json').end(JSON.stringify(page)),
    (error: unknown) => {
      console.error(error)
      res.writeHead(500).end()
    },
  )
})
const port = Number(process.env['PORT'] ?? 3000)
server.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}`))
