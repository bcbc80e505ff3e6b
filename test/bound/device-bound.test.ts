// Sessions bound to a device, with a key in software.
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, hashKey, rejection, row, sql, testStore, until } from '../support/harness.ts'
import { startProxy } from '../support/proxy.ts'
import { type Answer, cookieName, Device, later, proofOf } from './device.ts'

const store = testStore({ deviceBound: true })
test.after(closeAll)

async function bound(at = store, userId = 'ann'): Promise<Device> {
  const device = new Device(at)
  const { status } = await device.register(await device.signIn(userId))
  assert.is(status, 200)
  return device
}

/** Bound, and come back once: from here on it is missed. */
async function confirmed(at = store, userId = 'ann'): Promise<Device> {
  const device = await bound(at, userId)
  assert.is((await device.refresh()).status, 200)
  return device
}

test('a sign-in asks for a registration, which gives the second cookie and what the browser has to know', async () => {
  const device = new Device(store)
  const challenge = await device.signIn()
  const { status, body, cookies, challenge: next } = await device.register(challenge)
  const { id } = await device.session()
  assert.is(status, 200)
  assert.equal(body, {
    session_identifier: id,
    refresh_url: '/device-bound',
    scope: { include_site: false, scope_specification: [] },
    credentials: [{ type: 'cookie', name: cookieName, attributes: 'Path=/; HttpOnly; Secure; SameSite=Lax' }],
  } as never)
  assert.match(cookies[0] ?? '', /^__Host-sid-b=[\w-]{43}; Path=\/; Max-Age=120; HttpOnly; Secure; SameSite=Lax$/)
  assert.ok(next.startsWith(`${id}.`))
  assert.ok((await device.session()).isBound)
  await later(device.id, 121)
  assert.equal([(await device.session()).userId, (await device.session()).isBound], ['ann', false])
})

test('a refresh gives another cookie of five minutes and another challenge, with one asked for or without', async () => {
  const device = await bound()
  const [cookie, challenge] = [device.boundCookie, device.challenge]
  const { status, cookies } = await device.refresh()
  assert.is(status, 200)
  assert.match(cookies[0] ?? '', /Max-Age=300;/)
  assert.is.not(device.boundCookie, cookie)
  assert.is.not(device.challenge, challenge)
  await later(device.id, 400)
  device.challenge = ''
  assert.is((await device.refresh()).status, 200)
  assert.ok((await device.session()).isBound)
})

test('who never registers goes on as before, and is not bound', async () => {
  const device = new Device(store)
  await device.signIn()
  const session = await device.session()
  assert.equal([session.userId, session.isBound], ['ann', false])
})

test("bound: 'require' gives the session with its proof alone, and otherwise one of which a save keeps nothing", async () => {
  const [device, plain] = [await bound(), new Device(store)]
  await plain.signIn()
  const required = async (request: ReturnType<Device['request']>) =>
    await store.get(request, 'sid', { bound: 'require' })
  for (const fresh of [true, false]) {
    const session = await store.get(device.request(), 'sid', { bound: 'require', fresh })
    assert.equal([session.id, session.userId, session.isBound], [device.id, 'ann', true])
  }
  const request = device.request()
  assert.is(await required(request), await store.get(request, 'sid', { bound: 'prefer' }), 'the session of the request')
  assert.is((await required(plain.request())).userId, undefined)
  assert.is((await store.get(plain.request(), 'sid', { bound: 'prefer' })).userId, 'ann')

  const { id } = await plain.session()
  const { res } = await plain.visit(store, async (_, req, res) => {
    const other = await required(req)
    assert.equal([other.isNew, other.userId, other.values], [true, undefined, {}])
    other.values['lost'] = true
    await store.save(req, res, other)
    assert.is((await store.get(req, 'sid')).userId, 'ann', 'of the request it is still there')
  })
  assert.is(res.getHeader('set-cookie'), undefined)
  assert.equal([(await plain.session()).id, (await plain.session()).values], [id, {}])
})

test("bound: 'require' is refused where no session could be bound, and so is any other word", async () => {
  const ask = async (at: PGStore, name: string, bound: unknown) =>
    (await rejection(at.get(new Device(at).request(), name, { bound: bound as 'require' }))).message
  assert.match(await ask(testStore(), 'sid', 'require'), /needs the option deviceBound/)
  assert.match(await ask(store, 'other', 'require'), /"sid"/)
  assert.match(await ask(store, 'sid', 'always'), /'prefer' or 'require'/)
  assert.match(await ask(store, 'sid', null), /'prefer' or 'require'/)
})

test('a stolen cookie is refused once its device came back, counted and noted; the owner goes on', async () => {
  const owner = await confirmed()
  const thief = owner.thief()
  thief.jar.delete(cookieName)
  const before = store.stats().refused.unbound
  const session = await thief.session()
  assert.equal([session.isNew, session.userId], [true, undefined])
  assert.is(store.stats().refused.unbound, before + 1)
  assert.is((await store.get(thief.request(), 'sid')).isNew, true)
  assert.equal(
    await sql('select noted_at is not null as noted from pgstore.bindings where session_id = $1', owner.id),
    [{ noted: true }],
  )
  assert.is((await owner.session()).userId, 'ann')
})

test('both cookies stolen work until the device has renewed them, and end the session when they come back later', async () => {
  const owner = await confirmed()
  const thief = owner.thief()
  assert.is((await thief.session()).userId, 'ann', 'the two cookies are the same')
  await later(owner.id, 280)
  await owner.refresh()
  assert.is((await thief.session()).userId, 'ann', 'requests of the owner may be under way with it')
  await later(owner.id, 130)
  assert.is((await thief.session()).userId, undefined)
  assert.is((await owner.session()).userId, 'ann')
  await later(owner.id, 60)
  assert.is((await thief.session()).userId, undefined)
  assert.is((await owner.session()).userId, undefined, 'two had the cookie: the session has ended')
})

test('a proof under another key ends the session as stolen, and the browser is told to stop', async () => {
  const owner = await confirmed()
  const ended = store.events()
  await ended.ready
  const { status, body } = await owner.thief().refresh()
  assert.equal([status, body], [200, { session_identifier: owner.id, continue: false }])
  assert.is((await owner.session()).isNew, true)
  for (;;) {
    const { value } = await ended.next()
    if (value?.type !== 'destroyed') continue
    assert.equal([value.ids, value.reason], [[owner.id], 'stolen'])
    break
  }
  await ended.return?.()
})

test('a wrong challenge under the right key is a race: it is told the right one', async () => {
  const device = await confirmed()
  const proof = proofOf(device.key, `${device.id}.${Date.now().toString(36)}.${'A'.repeat(43)}`)
  const id = { 'sec-secure-session-id': device.id }
  const { status, challenge } = await device.post({ ...id, 'secure-session-response': proof })
  assert.is(status, 403)
  assert.ok(challenge.length > 43)
  assert.is((await device.refresh()).status, 200)
})

test('a lost answer: the same proof again brings the same cookie, within ten seconds or long after', async () => {
  const device = await confirmed()
  await later(device.id, 200)
  const lost = await device.refresh({ keep: false })
  const again = await device.refresh()
  assert.equal([again.status, again.cookies], [200, lost.cookies])
  await later(device.id, 400)
  const { challenge } = device
  const forgotten = await device.refresh({ keep: false })
  await later(device.id, 100)
  assert.equal((await device.refresh({ challenge })).cookies, forgotten.cookies)
  assert.ok((await device.session()).isBound)
})

test('an answer lost when the cookie before had run out: a save in the refused request leaves the cookie alone', async () => {
  const device = await confirmed()
  await later(device.id, 700)
  device.jar.delete(cookieName)
  await device.refresh({ keep: false })
  const { res, session } = await device.visit(store, async (session, req, res) => {
    session.values['seen'] = true
    await store.save(req, res, session)
  })
  assert.equal([session.isNew, session.userId, res.getHeader('set-cookie')], [true, undefined, undefined])
  assert.is((await device.refresh()).status, 200)
  const { id, values, isBound } = await device.session()
  assert.equal([id, values, isBound], [device.id, {}, true])
})

test('a refused visitor who signs in gets a session', async () => {
  const device = await confirmed()
  device.jar.delete(cookieName)
  await device.signIn('bea')
  const { userId, id } = await device.session()
  assert.is(userId, 'bea')
  assert.not.equal(id, device.id)
})

test('a lost answer to a registration: after half a minute another is taken, and nobody was refused', async () => {
  const device = new Device(store)
  await device.register(await device.signIn(), false)
  assert.is((await device.session()).userId, 'ann')
  const { id = '' } = await device.session()
  await later(id, 31)
  const page = async () => {
    const { res } = await device.visit(store)
    return res
  }
  assert.is((await page()).getHeader('secure-session-registration'), undefined, 'no page')
  await row(
    "update pgstore.sessions set signed_in_at = signed_in_at - interval '1 minute' where id = $1 returning id",
    id,
  )
  const req = { headers: { ...device.request().headers, 'sec-fetch-dest': 'document' } }
  const [session, headers] = [await store.get(req, 'sid'), new Headers()]
  await store.save(req, headers, session)
  const challenge = /challenge="([^"]+)"/.exec(headers.get('secure-session-registration') ?? '')?.[1] ?? ''
  const other = device.thief() // the browser made another key
  assert.is((await other.register(challenge)).status, 200)
  assert.is((await other.refresh()).status, 200)
  assert.ok((await other.session()).isBound)
})

test('a second registration of one sign-in is refused, so that no two keys stand for one cookie', async () => {
  const device = new Device(store)
  const challenge = await device.signIn()
  const [one, two] = [device, device.thief()]
  const answers = await Promise.all([one.register(challenge), two.register(challenge)])
  assert.equal(
    answers.map(({ status }) => status).sort((a, b) => a - b),
    [200, 409],
  )
})

test('a second sign-in of the same session keeps its device; of another session, the former device is told to stop', async () => {
  const device = await confirmed()
  const { id } = device
  assert.is(await device.signIn(), '', 'no registration is asked for')
  assert.is((await device.refresh()).status, 200)
  assert.is((await device.session()).id, id)
  const before = device.thief()
  await device.visit(store, async (session, req, res) => await store.destroy(req, res, session))
  const challenge = await device.signIn('bob')
  assert.is((await device.register(challenge)).status, 200)
  assert.is.not(device.id, id)
  const { body } = await device.post({ 'sec-secure-session-id': before.id }, false)
  assert.equal(body, { session_identifier: id, continue: false })
})

test('after a revocation elsewhere both cookies are dead at once, and the browser stops', async () => {
  const device = await confirmed(store, 'carol')
  await store.revoke('carol')
  assert.is((await device.session()).isNew, true)
  const { id } = device
  assert.equal((await device.refresh()).body, { session_identifier: id, continue: false })
})

test('a request that a regenerate overtakes is sent again: its token is on the way', async () => {
  const device = await confirmed()
  const old = device.thief()
  await device.visit(store, async (session, req, res) => await store.regenerate(req, res, session))
  assert.is((await old.post({ 'sec-secure-session-id': device.id }, false)).status, 503)
  assert.is((await device.refresh()).status, 200)
})

test('a device that was away too long is refused after the grace, until it has proved itself', async () => {
  const device = await confirmed()
  const away = device.thief()
  away.jar.delete(cookieName)
  await later(device.id, 300 + 290)
  assert.equal([(await away.session()).userId, (await away.session()).isBound], ['ann', false], 'within the grace')
  const late = await device.session()
  assert.equal([late.userId, late.isBound], ['ann', false], 'a cookie that ran out proves nothing')
  await later(device.id, 20)
  assert.is((await away.session()).userId, undefined)
  assert.is((await device.session()).userId, undefined, 'nor with the old cookie')
  assert.is((await device.refresh()).status, 200)
  assert.ok((await device.session()).isBound)
})

test('a transaction works for nobody where the device is missing', async () => {
  const owner = await confirmed()
  const thief = owner.thief()
  thief.jar.delete(cookieName)
  const who = async (device: Device) =>
    await store.transaction(device.request(), 'sid', (_client, entered) => entered.userId ?? null)
  assert.is(await who(owner), 'ann')
  assert.is(await who(thief), null)
})

test('a cached session is judged as one that is read, and a new cookie is believed at once', async () => {
  const cached = testStore({ deviceBound: true, cache: { maxStale: 60 } })
  const device = await bound(cached)
  await until(async () => {
    await device.session()
    return (cached.stats().cache?.hits ?? 0) > 0
  })
  assert.ok((await device.session()).isBound)
  await device.refresh()
  assert.ok((await device.session()).isBound)
  const thief = device.thief()
  thief.jar.delete(cookieName)
  assert.is((await thief.session()).userId, undefined)
})

test('sealed values and several cookies: the same verdicts', async () => {
  const sealed = testStore({ deviceBound: true, seal: true })
  const device = await confirmed(sealed)
  assert.ok((await device.session()).isBound)
  const other = new Device(sealed)
  await other.signIn('dora')
  const { cookie = '' } = device.request().headers
  const both = { headers: { cookie: `${cookie}; sid=${other.jar.get('sid')}` } }
  assert.ok((await sealed.get(both, 'sid')).isBound)
  const thief = { headers: { cookie: `sid=${device.jar.get('sid')}; sid=${other.jar.get('sid')}` } }
  assert.is((await sealed.get(thief, 'sid')).userId, undefined)
})

test('what is no ES256 proof is refused, and binds and ends nothing', async () => {
  const device = await confirmed()
  const fresh = new Device(store)
  const challenge = await fresh.signIn()
  const good = proofOf(fresh.key, challenge, { jwk: fresh.jwk })
  const [head = '', body = '', signature = ''] = good.split('.')
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const bad = [
    '',
    '.',
    '..',
    'a.b.c',
    head,
    `${head}.${body}.`,
    `${head}.${body}.${'A'.repeat(86)}`,
    `${good}.x`,
    good.replace(/[AQgw]$/, (last) => String.fromCharCode(last.charCodeAt(0) + 1)), // the same signature, written otherwise
    `x${good}`,
    `${part({ alg: 'none', typ: 'dbsc+jwt', jwk: fresh.jwk })}.${body}.${signature}`,
    `${part({ alg: 'none', typ: 'dbsc+jwt', jwk: fresh.jwk })}.${body}.`,
    ...['HS256', 'RS256', 'ES384', 'es256', null, ['ES256']].map((alg) =>
      proofOf(fresh.key, challenge, { jwk: fresh.jwk, alg }),
    ),
    proofOf(fresh.key, challenge, { jwk: fresh.jwk, typ: 'JWT' }),
    proofOf(fresh.key, challenge, { jwk: fresh.jwk, crit: ['b64'], b64: false }),
    proofOf(fresh.key, challenge, { jwk: { ...fresh.jwk, crv: 'P-384' } }),
    proofOf(fresh.key, challenge, { jwk: { ...fresh.jwk, x: 'A'.repeat(43), y: 'A'.repeat(43) } }),
    proofOf(fresh.key, challenge, { jwk: device.jwk }),
    proofOf(fresh.key, challenge),
    ...[1, null, {}, 'x', `${challenge}x`, challenge.replace(/^\d+/, device.id)].map((jti) =>
      proofOf(fresh.key, jti, { jwk: fresh.jwk }),
    ),
  ]
  for (const proof of bad) assert.is((await fresh.post({ 'secure-session-response': proof }, false)).status, 400, proof)
  const bytes = randomBytes(counts(200, 20_000))
  for (let i = 0; i + 4 <= bytes.length; i += 4) {
    const at = bytes.readUInt16LE(i) % good.length
    const text = good.slice(0, at) + String.fromCharCode(33 + ((bytes[i + 2] ?? 0) % 90)) + good.slice(at + 1)
    const cut = (bytes[i + 3] ?? 0) % 8 === 0 ? text.slice(0, at) : text
    if (cut === good) continue
    assert.is((await fresh.post({ 'secure-session-response': cut }, false)).status, 400, cut)
  }
  assert.is((await fresh.session()).isBound, false)
  for (const id of ['x', '-1', '1'.repeat(30), "1'", '{}'])
    assert.is((await device.post({ 'sec-secure-session-id': id }, false)).status, 400)
  assert.is(
    (await device.post({ 'sec-secure-session-id': device.id, 'secure-session-response': 'x.y.z' }, false)).status,
    400,
  )
  assert.is(
    (await device.post({ 'sec-secure-session-id': device.id, 'sec-fetch-site': 'cross-site' }, false)).status,
    400,
  )
  assert.ok((await device.session()).isBound)
})

test('keys that were rotated: the device goes on', async () => {
  const device = await confirmed()
  const rotated = testStore({ deviceBound: true, keys: ['another hash key of 32 bytes!!!!', hashKey] })
  await later(device.id, 200)
  const moved = new Device(rotated)
  Object.assign(moved, { id: device.id, challenge: device.challenge })
  for (const [name, value] of device.jar) moved.jar.set(name, value)
  assert.ok((await moved.session()).isBound)
  const proof = proofOf(device.key, device.challenge)
  const { status, cookies } = await moved.post({ 'sec-secure-session-id': device.id, 'secure-session-response': proof })
  assert.is(status, 200)
  assert.is(cookies.length, 1)
  assert.ok((await moved.session()).isBound)
})

test('other paths, methods and stores without the option are not answered, and at once', async () => {
  const at = 'https://example.org/device-bound'
  assert.is(store.deviceBound(new Request(at)), undefined)
  assert.is(store.deviceBound(new Request(`${at}/x`, { method: 'POST' })), undefined)
  assert.is(store.deviceBound(new Request('https://example.org/?/device-bound', { method: 'POST' })), undefined)
  assert.is(testStore().deviceBound(new Request(at, { method: 'POST' })), undefined)
})

test('options that cannot be meant are refused', async () => {
  const refused = async (deviceBound: unknown, more: object = {}) =>
    (await rejection((async () => testStore({ deviceBound: deviceBound as true, ...more }))())).message
  assert.match(await refused(1), /deviceBound must be true, false or an object/)
  assert.match(await refused({ maxage: 300 }), /deviceBound: unknown option "maxage"/)
  assert.match(await refused({ maxAge: 299 }), /deviceBound.maxAge must be a whole number of seconds from 300 to 86400/)
  assert.match(await refused({ grace: 0 }), /deviceBound.grace/)
  assert.match(await refused({ path: 'x' }), /deviceBound.path/)
  assert.match(await refused({ name: 'a b' }), /deviceBound.name/)
  assert.match(await refused(true, { options: { secure: false } }), /deviceBound needs a session cookie with secure/)
  for (const path of ['/app', '/device-boun', '/device-bound/']) {
    assert.match(await refused(true, { options: { path } }), /deviceBound.path must lie within/)
  }
  testStore({ deviceBound: { path: '/app/bound' }, options: { path: '/app' } })
})

test('over Node a database that is down closes the connection, and the browser is bound again when it is back', async () => {
  const proxy = await startProxy({ url: clientUrl })
  const far = testStore({ deviceBound: true, connectionString: proxy.url })
  const device = await confirmed(far)
  const server = http.createServer((req, res) => {
    if (!far.deviceBound(req, res)) res.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}/device-bound?x`
  const { cookie = '' } = device.request().headers
  const headers = { cookie, 'sec-secure-session-id': device.id }
  const ask = async () => await fetch(at, { method: 'POST', headers })
  assert.is((await ask()).status, 403)
  await proxy.close()
  await rejection(ask())
  assert.is((await device.post({ 'sec-secure-session-id': device.id }, false)).status, 503)
  server.close()
  server.closeAllConnections()
})

test('registrations that race a regenerate and two saves: none that was answered is lost', async () => {
  const total = counts(50, 1000)
  await inGroups(total, 4, async (n) => {
    const device = new Device(store)
    const challenge = await device.signIn(`racer-${n}`)
    const old = device.thief()
    const save = async (name: string) => {
      const [req, res] = [old.request(), new Headers()]
      const session = await store.get(req, 'sid')
      session.values[name] = n
      await store.save(req, res, session).catch((error: { code?: string }) => {
        if (error.code !== 'gone') throw error
      })
    }
    const moving = device.visit(store, async (session, req, res) => await store.regenerate(req, res, session))
    const [{ status }] = await Promise.all([old.register(challenge), moving, save('a'), save('b')])
    if (status === 200) {
      device.jar.set(cookieName, old.jar.get(cookieName) ?? '')
      assert.ok((await device.session()).isBound, `${n}`)
    } else {
      // The token had moved: the answer with the new one asks again.
      assert.is(status, 400)
      const { id = '' } = await device.session()
      assert.is((await device.register(await offered(device, id))).status, 200)
    }
  })
  const [left] = await sql<{ n: string }>(
    `select count(*) as n from pgstore.bindings as b join pgstore.sessions as s on s.id = b.session_id
     where s.user_id like 'racer-%' and s.bound_hash is not null`,
  )
  assert.is(Number(left?.n), total)
})

/** What a page a minute after the sign-in asks for. */
async function offered(device: Device, id: string): Promise<string> {
  await row(
    "update pgstore.sessions set signed_in_at = signed_in_at - interval '1 minute' where id = $1 returning id",
    id,
  )
  const req = { headers: { ...device.request().headers, 'sec-fetch-dest': 'document' } }
  const headers = new Headers()
  await store.save(req, headers, await store.get(req, 'sid'))
  return /challenge="([^"]+)"/.exec(headers.get('secure-session-registration') ?? '')?.[1] ?? ''
}

test('refreshes of many sessions at once: each challenge is used once, and everybody is served', async () => {
  const [sessions, each] = [counts(20, 100), counts(25, 100)]
  const devices: Device[] = []
  await inGroups(sessions, 4, async (n) => {
    devices.push(await confirmed(store, `many-${n}`))
  })
  for (const { id } of devices) await later(id, 200)
  const before = new Map(devices.map((device) => [device, device.boundCookie]))
  const all = devices.flatMap((device) => Array.from({ length: each }, () => device))
  const given = new Map<Device, Set<string>>(devices.map((device) => [device, new Set()]))
  await inGroups(all.length, counts(20, 200), async (n) => {
    const device = all[(n * 7919) % all.length] as Device
    // A busy server answers 503, and a browser comes again.
    let answer: Answer | undefined
    await until(async () => {
      answer = await device.refresh({ keep: false, challenge: device.challenge })
      return answer.status !== 503
    }, 120)
    assert.is(answer?.status, 200)
    const cookies = answer?.cookies ?? []
    given.get(device)?.add(cookies[0] ?? '')
  })
  for (const device of devices) {
    const cookies = [...(given.get(device) ?? [])]
    assert.is(cookies.length, 1, 'one challenge, one cookie, however many asked')
    assert.is.not(/=([^;]+)/.exec(cookies[0] ?? '')?.[1], before.get(device))
  }
})

async function inGroups(total: number, size: number, work: (n: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < total; from += size) {
    await Promise.all(Array.from({ length: Math.min(size, total - from) }, (_, index) => work(from + index)))
  }
}

test.run()
