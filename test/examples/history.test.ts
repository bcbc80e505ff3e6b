// The program of docs/history.md as printed: applications are told of each end, in tokens that they can verify.
import { createPublicKey, type JsonWebKey, verify } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate } from '../../src/index.ts'
import { Browser } from '../support/browser.ts'
import { admin, closeAll, sql, until } from '../support/harness.ts'
import { PageFolder } from '../support/page.ts'
import { endPrograms } from '../support/program.ts'

test.after(async () => {
  await endPrograms()
  await closeAll()
})

interface Told {
  readonly path: string
  readonly type: string
  readonly body: string
}

test('docs/history.md compiles and runs as printed: an application that is down at first is told too', async () => {
  await migrate(admin)
  await sql('select pgstore.audit_set(true)')
  const told: Told[] = []
  let isDown = true
  const receiver = http.createServer((req, res) => {
    let body = ''
    req.on('data', (chunk) => {
      body += chunk
    })
    req.on('end', () => {
      if (isDown) res.statusCode = 503
      else told.push({ path: req.url ?? '', type: req.headers['content-type'] ?? '', body })
      isDown = false
      res.end()
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const address = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  const folder = new PageFolder('history')
  try {
    assert.is(folder.compile(), '')
    const env = { SHOP_LOGOUT_URI: `${address}/logout`, SIGNALS_URI: `${address}/signals` }
    const { url, program } = await folder.start(env)
    await until(async () => (await sql(`select from pgstore.ending_consumers where name = 'logout'`)).length === 1)
    const browser = new Browser(url)
    await browser.get('/sign-in')
    await browser.get('/sign-out')
    await until(() => told.length >= 2)
    const { keys } = (await (await fetch(`${url}/jwks.json`)).json()) as { keys: JsonWebKey[] }
    const key = createPublicKey({ key: keys[0] as JsonWebKey, format: 'jwk' })
    const claimsOf = (text: string, typ: string) => {
      const [header = '', claims = '', signature = ''] = text.split('.')
      const parsed = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
      assert.is(parsed(header).typ, typ)
      const bytes = Buffer.from(signature, 'base64url')
      assert.ok(verify('sha256', Buffer.from(`${header}.${claims}`), { key, dsaEncoding: 'ieee-p1363' }, bytes))
      return parsed(claims)
    }
    const [logout, signal] = told as [Told, Told]
    assert.equal([logout.path, logout.type], ['/logout', 'application/x-www-form-urlencoded'])
    const claims = claimsOf(new URLSearchParams(logout.body).get('logout_token') ?? '', 'logout+jwt')
    const [ending] = await sql<{ id: string; session_id: string }>(
      `select id, session_id from pgstore.history where type = 'ended'`,
    )
    assert.equal(
      [claims.iss, claims.aud, claims.sub, claims.sid, claims.jti, claims.nonce],
      [url, 'shop', 'ada', ending?.session_id, `${ending?.id}-shop`, undefined],
    )
    assert.equal(claims.events, { 'http://schemas.openid.net/event/backchannel-logout': {} })
    assert.ok(claims.exp - claims.iat <= 120)
    assert.equal([signal.path, signal.type], ['/signals', 'application/secevent+jwt'])
    const event = claimsOf(signal.body, 'secevent+jwt')
    assert.equal(event.sub_id.session, { format: 'opaque', id: ending?.session_id })
    const [revoked] = Object.values(event.events) as [{ reason_admin: unknown; initiating_entity: string }]
    assert.equal([revoked.reason_admin, revoked.initiating_entity], [{ en: 'signed_out' }, 'user'])
    const { code, signal: killedBy } = await program.end()
    assert.ok(code === 0 || killedBy === 'SIGTERM', `it ended with ${code}: ${program.errors}`)
  } finally {
    folder.remove()
    receiver.close()
  }
})

test.run()
