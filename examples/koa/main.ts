// npx tsx examples/koa/main.ts
import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import Koa from 'koa'
import { PGStore } from 'pgstore'
import { sessions } from 'pgstore/koa'
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
const app = new Koa()

app.use(sessions(store)).use(async (ctx) => {
  switch (`${ctx.method} ${ctx.path}`) {
    case 'GET /': {
      const { userId, values } = await ctx.session()
      values.visits = (values.visits ?? 0) + 1
      ctx.body = { userId, ...values }
      break
    }
    case 'POST /sign-in': {
      const session = await ctx.session()
      session.userId = (await body(ctx.req)).user // whose password you have checked
      await ctx.session.regenerate()
      ctx.body = { signedIn: session.userId }
      break
    }
    case 'POST /theme': {
      const { values } = await ctx.session()
      values.theme = (await body(ctx.req)).theme
      ctx.body = { theme: values.theme }
      break
    }
    case 'POST /language': {
      const { values } = await ctx.session()
      values.language = (await body(ctx.req)).language
      ctx.body = { language: values.language }
      break
    }
    case 'POST /sign-out-elsewhere': {
      const session = await ctx.session()
      if (session.userId === undefined) return ctx.throw(401, 'Sign in first.')
      ctx.body = { ended: await store.revoke(session.userId, { except: session }) }
      break
    }
    case 'POST /sign-out':
      await ctx.session.destroy()
      ctx.body = { signedOut: true }
  }
})

async function body(req: IncomingMessage): Promise<{ user: string; theme: string; language: string }> {
  return (await json(req)) as { user: string; theme: string; language: string }
}

const port = Number(process.env['PORT'] ?? 3000)
app.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}`))
