// server.ts
import 'reflect-metadata'
import { Body, Controller, Get, HttpCode, Inject, Module, type OnApplicationShutdown, Post, Req } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { NestExpressApplication } from '@nestjs/platform-express'
import type { Request } from 'express'
import session from 'express-session'
import { ExpressSessionStore } from 'pgstore/express-session'

declare module 'express-session' {
  interface SessionData {
    user?: string
    visits?: number
  }
}

const store = await ExpressSessionStore.open({
  connectionString: process.env['DATABASE_URL'],
  userId: ({ user }) => user,
})

@Controller()
class Visits {
  constructor(@Inject(ExpressSessionStore) private readonly sessions: ExpressSessionStore) {}

  @Get()
  count(@Req() { session }: Request) {
    session.visits = (session.visits ?? 0) + 1
    return { user: session.user, visits: session.visits }
  }

  @Post('sign-in')
  @HttpCode(200)
  async signIn(@Req() req: Request, @Body() { user }: { user: string }) {
    req.session.user = user // whose password you have checked
    await this.sessions.renew(req) // a new sid, with what was in the session
    return { user }
  }

  @Post('sign-out')
  @HttpCode(200)
  async signOut(@Req() { session }: Request) {
    await new Promise<void>((resolve, reject) => session.destroy((error) => (error ? reject(error) : resolve())))
    return { signedOut: true }
  }
}

@Module({ controllers: [Visits], providers: [{ provide: ExpressSessionStore, useValue: store }] })
class Site implements OnApplicationShutdown {
  async onApplicationShutdown() {
    await store.close()
  }
}

const app = await NestFactory.create<NestExpressApplication>(Site)
app.set('trust proxy', 'loopback') // behind nginx on the same machine, so that secure cookies are set
app.use(
  session({
    store,
    secret: process.env['SESSION_SECRET'] as string,
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 30 * 86_400_000, sameSite: 'lax', secure: 'auto' },
  }),
)
app.enableShutdownHooks()
await app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1')
console.log('listening')
