import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Codec, codecsFromPairs } from '../../src/cookie/codec.ts'
import { closeEverything } from '../sql/calls.ts'
import { hashKey, sql, testStore } from '../support/harness.ts'
import { areInstalled, requireVersion } from '../versions.ts'
import { documented } from './moving.ts'
import { importCounts } from './reports.ts'

test.before.each(async () => {
  await sql('drop table if exists koa_sessions; create table koa_sessions (key text primary key, value jsonb)')
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

if (!areInstalled) console.log('Skipped: a move from koa-session. It is not installed: npm ci --prefix test/versions.')
const peerTest = (name: string, run: () => Promise<void>) => (areInstalled ? test(name, run) : test.skip(name))

/** An external store for koa-session, as its README describes one. */
const table = {
  get: async (key: string) =>
    (await sql<{ value: object }>('select value from koa_sessions where key = $1', key))[0]?.value,
  set: (key: string, value: object) =>
    sql('insert into koa_sessions values ($1, $2) on conflict (key) do update set value = excluded.value', key, value),
  destroy: (key: string) => sql('delete from koa_sessions where key = $1', key),
}

const koaSession: Codec = {
  encode: () => '',
  decode: (_name, cookie) => (/^[0-9a-f-]{36}$/.test(cookie) ? cookie : undefined),
}

peerTest('a visitor of koa-session stays signed in, by the key in the cookie', async () => {
  const app = new Koa()
  app.keys = ['an example secret']
  const { createSession } = requireVersion('koa-session')
  app.use(createSession({ store: table, maxAge: 7_200_000 }, app))
  app.use((ctx) => {
    Object.assign((ctx as unknown as { session: object }).session, { user: 'ann' })
    ctx.body = 'in'
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  server.close()
  const cookie = response.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ')

  assert.equal(await importCounts(documented('koa-session in a table')), { read: 1, taken: 1, users: 1 })

  const store = testStore({ codecs: [...codecsFromPairs(hashKey, null), koaSession] })
  const session = await store.get({ headers: { cookie } }, 'koa.sess')
  assert.is(session.isNew, false)
  assert.equal(session.values, { user: 'ann' })
  assert.is(session.userId, 'ann')
  const [row] = await sql<{ left: number }>(
    'select extract(epoch from expires_at - now())::float8 as left from pgstore.sessions',
  )
  assert.ok(row && row.left > 7000 && row.left < 7300, String(row?.left))
  await store.close()
})

test('a session whose own expiry has passed has expired, and one without it lives for a day', async () => {
  await sql(`insert into koa_sessions values ('over', '{"_expire": 1000, "user": 1}'), ('day', '{"_session": true}')`)
  const args = ['koa-session', '--table', 'koa_sessions', '--id', 'key', '--data', 'value']
  assert.equal(await importCounts(args), { read: 2, taken: 1, expired: 1 })
  const [row] = await sql<{ data: object; hours: number }>(
    'select data, round(extract(epoch from expires_at - now()) / 3600)::integer as hours from pgstore.sessions',
  )
  assert.equal(row, { data: {}, hours: 24 })
})

test.run()
