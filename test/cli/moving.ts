// Moving a site from another store: visitors sign in on the old one, the command of docs/migrating.md runs, and they visit the new one.
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import session from 'express-session'
import * as assert from 'uvu/assert'
import { ExpressSessionStore } from '../../src/adapters/express-session.ts'
import { clientUrl, row } from '../support/harness.ts'
import { importCounts, type Report } from './reports.ts'

declare module 'express-session' {
  interface SessionData {
    passport?: { user: string }
  }
}

const guide = fs.readFileSync(new URL('../../docs/migrating.md', import.meta.url), 'utf8')

/** The command that docs/migrating.md prints for a store, without `npx pgstore import`. */
export function documented(store: string): string[] {
  const [, command] = new RegExp(`^\\| ${store} +\\| \`npx pgstore import (.*?)\` +\\|$`, 'm').exec(guide) ?? []
  if (!command) throw new Error(`docs/migrating.md has no command for ${store}.`)
  return command.split(' ')
}

/** A site with sessions: /in signs in, /out signs out, / tells the user. */
export async function site(
  store: session.Store,
  visit: (get: (path: string, cookie?: string) => Promise<{ text: string; cookie: string }>) => Promise<void>,
): Promise<void> {
  const app = express()
  const cookie = { maxAge: 3_600_000 }
  app.use(session({ store, secret: 'an example secret', resave: false, saveUninitialized: false, cookie }))
  app.get('/', (req, res) => void res.send(req.session.passport?.user ?? 'nobody'))
  app.get('/in', (req, res) => {
    req.session.passport = { user: 'ann' }
    req.session.save((error) => void res.status(error ? 500 : 200).send(String(error ?? 'in')))
  })
  app.get('/out', (req, res) => req.session.destroy((error) => void res.status(error ? 500 : 200).send('out')))
  const server = http.createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    await visit(async (path, sent) => {
      const headers: Record<string, string> = sent ? { cookie: sent } : {}
      const signal = AbortSignal.timeout(20_000)
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers, signal })
      const text = await response.text()
      assert.is(response.status, 200, text)
      return { text, cookie: response.headers.getSetCookie()[0]?.split(';')[0] ?? sent ?? '' }
    })
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** One visitor signs in and another signs in and out on the old store; after the command, the first is signed in here. */
export async function move(old: session.Store, run: () => Promise<Partial<Report>>): Promise<Partial<Report>> {
  let [ann, gone] = ['', '']
  await site(old, async (get) => {
    ann = (await get('/in')).cookie
    gone = (await get('/in')).cookie
    await get('/out', gone)
    assert.is((await get('/', ann)).text, 'ann')
  })
  const report = await run()
  const { user_id, left } = await row<{ user_id: string; left: number }>(
    'select user_id, extract(epoch from expires_at - now())::float8 as left from pgstore.sessions',
  )
  assert.is(user_id, 'ann')
  assert.ok(left > 3400 && left < 3700, `${left} s left`)
  const store = new ExpressSessionStore({ connectionString: clientUrl })
  await site(store, async (get) => {
    assert.is((await get('/', ann)).text, 'ann')
    assert.is((await get('/', gone)).text, 'nobody')
  })
  await store.close()
  return report
}

/** Moves by the command that the documentation prints for this store. */
export async function moveByGuide(
  old: session.Store,
  name: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Partial<Report>> {
  return await move(old, () => importCounts(documented(name), env))
}
