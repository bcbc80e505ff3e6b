// npx tsx examples/nextjs/main.ts
//
// The route handlers in app/ are written for Next.js, a fetch Request in and a Response out; this serves them without it.
import fs from 'node:fs'
import { serve } from '@hono/node-server'

type Handler = (request: Request) => Promise<Response>

const app = new URL('app/', import.meta.url)
const routes = fs.readdirSync(app, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('route.ts'))
const handlers = new Map<string, Handler>()
for (const route of routes) {
  const exported: Record<string, Handler> = await import(new URL(route, app).href)
  const path = `/${route.replace(/\/?route\.ts$/, '')}`
  for (const [method, handler] of Object.entries(exported)) handlers.set(`${method} ${path}`, handler)
}

async function fetch(request: Request): Promise<Response> {
  const handler = handlers.get(`${request.method} ${new URL(request.url).pathname}`)
  return (await handler?.(request)) ?? new Response('There is no such page.', { status: 404 })
}

const port = Number(process.env['PORT'] ?? 3000)
serve({ fetch, hostname: '127.0.0.1', port }, () => console.log(`http://127.0.0.1:${port}`))
