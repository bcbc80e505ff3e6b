// `pgstore dashboard` over HTTP, as a process. Its page in a browser: dashboard-browser.test.ts.
import http from 'node:http'
import net from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Runs, Samples } from '../../src/cli/dashboard/history.ts'
import type { Overview, Revoked, Run, Sample, UserSessionList } from '../../src/cli/dashboard/overview.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { closeClients, connect, create, present } from '../sql/calls.ts'
import { addExpired, addLive, countSessions, startOver, terminate } from '../support/crowd.ts'
import { clientUrl, closeAll, databaseUrl, sql, until } from '../support/harness.ts'
import { endPrograms, type Program, pgstore, soon } from '../support/program.ts'

const database = new URL(databaseUrl).pathname.slice(1)
const cleaner = `${database}_cleaner`

test.before.each(startOver)
test.after.each(closeClients)
test.after(async () => {
  await endPrograms()
  await sql(`drop owned by ${cleaner}`)
  await sql(`drop role ${cleaner}`)
  await closeAll()
})

/** The number of a new session of this user. */
async function sessionOf(user: string): Promise<string> {
  return (await present(await create({}, { user_id: user }))).id
}

async function alive(): Promise<number> {
  return (await countSessions()).live
}

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
}

/** A request as any program can make it: `fetch` lets nobody choose Host. */
async function send(url: string, options: http.RequestOptions = {}, body?: string): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const request = http.request(url, { agent: false, ...options }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
    })
    request.on('error', reject)
    request.end(body)
  })
}

interface Dashboard {
  readonly program: Program
  /** With the token. */
  readonly url: string
  readonly origin: string
  readonly port: string
  readonly overview: () => Promise<Overview>
  readonly sessions: (user: string) => Promise<UserSessionList>
  /** As its page would, but for these headers. */
  readonly post: (path: string, body: unknown, headers?: http.OutgoingHttpHeaders) => Promise<Answer>
}

async function dashboard(...args: string[]): Promise<Dashboard> {
  const program = pgstore('dashboard', '--json', ...args)
  const { url } = JSON.parse(await program.line(/url/)) as { url: string }
  const { origin, port } = new URL(url)
  const json = async (path: string) => {
    const { status, text } = await send(url + path)
    assert.is(status, 200, text)
    return JSON.parse(text)
  }
  return {
    program,
    url,
    origin,
    port,
    overview: async () => await json('overview'),
    sessions: async (user) => await json(`sessions?user=${encodeURIComponent(user)}`),
    post: async (path, body, headers = {}) => {
      const text = JSON.stringify(body)
      const length = { 'content-length': String(Buffer.byteLength(text)) }
      return await send(url + path, { method: 'POST', headers: { origin, ...length, ...headers } }, text)
    },
  }
}

let started: Promise<Dashboard> | undefined

/** One for all tests that need no other: starting it takes most of a test's time. */
async function anyDashboard(): Promise<Dashboard> {
  started ??= dashboard()
  return await started
}

// Who is answered

test('the page and its files are served under the token, with headers that let it load nothing else', async () => {
  const { url } = await anyDashboard()
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/)
  const page = await send(url)
  const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name = '']) => name)
  assert.equal(files.sort(), ['icon.svg', 'page.css', 'page.js', 'uPlot.iife.min.js', 'uPlot.min.css'])
  for (const name of ['', ...files]) {
    const { status, headers } = await send(url + name)
    assert.is(status, 200, name)
    assert.is(headers['cache-control'], 'no-store')
    assert.is(headers['referrer-policy'], 'no-referrer')
    assert.is(headers['x-content-type-options'], 'nosniff')
    const policy = String(headers['content-security-policy'])
    assert.match(policy, /^default-src 'none'; /)
    assert.not.match(policy, /unsafe|http|data:|\*/)
  }
  assert.not.match(page.text, /https?:|<style|\sstyle=|\son\w+=|<script(?![^>]* src=)/)
})

test('without its token nothing is answered, whatever is asked for', async () => {
  const { url, origin, post } = await anyDashboard()
  const token = new URL(url).pathname.slice(1, -1)
  const wrong = [`/${token.slice(1)}/`, `/${token}A/`, `/${token.toLowerCase()}/`, `//${token}/`, `/x/${token}/`]
  const names = ['', 'page.js', 'overview', 'sessions?user=1', 'nothing']
  for (const place of [...wrong, '/', `/${'A'.repeat(32)}/`]) {
    for (const name of names) {
      const { status, headers, text } = await send(`${origin}${place}${name}`)
      assert.is(status, 403, place + name)
      assert.is(headers['cache-control'], 'no-store')
      assert.not.match(text, token)
    }
  }
  const id = await sessionOf('a')
  const revoke = await send(`${origin}/revoke`, { method: 'POST', headers: { origin } })
  assert.is(revoke.status, 403)
  assert.is((await post('../revoke', { user: 'a', id })).status, 403)
  assert.is(await alive(), 1)
})

test('the address without its last slash leads to the page', async () => {
  const { url } = await anyDashboard()
  const { status, headers } = await send(url.slice(0, -1))
  assert.equal([status, headers.location], [308, new URL(url).pathname])
})

test('under another name it answers nothing: DNS rebinding', async () => {
  const { url, port } = await anyDashboard()
  const status = async (host: string) => (await send(url, { headers: { host } })).status
  assert.is(await status(`localhost:${port}`), 200)
  assert.is(await status(`127.0.0.1:${port}`), 200)
  const others = ['evil.example', `evil.example:${port}`, 'localhost', '127.0.0.1:80', `localhost.evil.example:${port}`]
  for (const host of others) assert.is(await status(host), 403, host)
})

test('it listens on 127.0.0.1 and nowhere else', async () => {
  const { port } = await anyDashboard()
  // A server on all addresses would be on this one too; some systems do not have it.
  const outcome = await new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.2', port: Number(port), timeout: 2000 })
    socket.once('connect', () => resolve('connected'))
    socket.once('error', () => resolve('refused'))
    socket.once('timeout', () => resolve('refused'))
    socket.once('connect', () => socket.destroy())
  })
  assert.is(outcome, 'refused')
})

test('a method that a path has not is refused, and so is a path that there is not', async () => {
  const { url, post } = await anyDashboard()
  for (const [name, method, allow] of [
    ['overview', 'POST', 'GET'],
    ['revoke', 'GET', 'POST'],
    ['', 'DELETE', 'GET'],
    ['sessions?user=1', 'PUT', 'GET'],
  ] as const) {
    const { status, headers } = await send(url + name, { method })
    assert.equal([status, headers.allow], [405, allow], name)
  }
  assert.equal((await send(url, { method: 'HEAD' })).text, '')
  for (const name of ['guard.js', '../guard.js', '..%2fguard.js', 'page/page.js', 'toString', '__proto__']) {
    const { status } = await send(`${url.slice(0, -1)}/${name}`, { path: new URL(url).pathname + name })
    assert.is(status, 404, name)
  }
  assert.is((await post('page.js', {})).status, 405)
})

// What it shows

test('the overview counts sessions, and says where it looks without a password', async () => {
  await addLive(3)
  await create({}, { user_id: '1' })
  await addExpired(2)
  const { overview, program } = await dashboard()
  const { figures, samples, place, schema, showsData, problem, purging } = await overview()
  assert.equal([figures.live, figures.anonymous, figures.expired, figures.isEstimate], [4, 3, 2, false])
  assert.ok(figures.tableBytes > 0 && figures.indexBytes > 0 && figures.totalBytes >= figures.tableBytes)
  const [first] = samples
  assert.equal([first?.live, first?.expired], [4, 2])
  const { hostname, port, password } = new URL(databaseUrl)
  assert.is(place, `${database} on ${hostname}:${port}`)
  assert.equal([schema, showsData, problem, purging.enabled], ['pgstore', false, null, false])
  if (password) assert.not.match(program.output + JSON.stringify(await overview()), password)
})

test('samples go on by themselves, and who has seen the newest is told nothing', async () => {
  const { overview, url } = await anyDashboard()
  await addLive(5)
  await until(async () => (await overview()).samples.at(-1)?.live === 5, 60)
  assert.is((await overview()).figures.live, 5)
  await until(async () => (await send(`${url}overview?seen=${(await overview()).revision}`)).status === 204, 60)
})

test('runs of the purge are shown once, as they are announced; the last before the start too', async () => {
  await sql('select pgstore.cleanup_end_run(7, 50)')
  const { overview } = await dashboard()
  const runs = async () => (await overview()).runs.map(({ purged, ms, code }) => [purged, ms, code])
  assert.equal(await runs(), [[7, 50, null]])
  // LISTEN may not be in force yet: then the last is found in the schedule's row.
  await sql('select pgstore.cleanup_end_run(1234, 56)')
  await until(async () => (await runs()).length === 2, 60)
  await sql(`select pgstore.cleanup_end_run(1, 2500, '57014')`)
  await until(async () => (await runs()).length === 3, 60)
  const { samples } = await overview()
  await until(async () => (await overview()).samples.length >= samples.length + 2, 60) // they read it again
  assert.equal(await runs(), [
    [7, 50, null],
    [1234, 56, null],
    [1, 2500, '57014'],
  ])
  await sql(`select pgstore.cleanup_start('90 s')`)
  await until(async () => (await overview()).purging.enabled, 60)
  assert.is((await overview()).purging.every, '00:01:30')
})

test('it shows what the doctor finds, each with the command that mends it, and looks again when asked', async () => {
  await sql(
    `insert into pgstore.sessions (id, created_at, updated_at, seen_at, expires_at, purge_at, version, key, data)
     values (1, now(), now(), now(), now() - interval '2 days', now() - interval '2 days', 1, sha256('old'), '{}')`,
  )
  const { overview, post } = await anyDashboard()
  await until(async () => (await overview()).doctor !== null, 60) // looked for by itself
  const findings = async () => {
    const { status, text } = await post('diagnose', {})
    assert.is(status, 200, text)
    return (JSON.parse(text) as Overview).doctor?.findings ?? []
  }
  const found = (await findings()).find(({ id }) => id === 'cleanup_off')
  assert.match(found?.says ?? '', /1 expired sessions have piled up/)
  assert.is(found?.mend, 'npx pgstore cleanup start')
  await sql('truncate pgstore.sessions')
  assert.is(
    (await findings()).some(({ id }) => id === 'cleanup_off'),
    false,
  )
})

test('it goes on after its connections were lost', async () => {
  const { overview } = await anyDashboard()
  await addLive(2)
  await terminate('pgstore command', 'pgstore listen')
  await until(async () => {
    const { problem, figures } = await overview()
    return problem === null && figures.live === 2
  }, 60)
  await until(async () => {
    await sql('select pgstore.cleanup_end_run(987, 6)') // until it listens again
    return (await overview()).runs.some(({ purged, remaining }) => purged === 987 && remaining !== null)
  }, 60)
})

// The sessions of a user

test('a user’s sessions are listed newest first, without keys and without data', async () => {
  await create({ secret: 'of the session' }, { user_id: 'a b/c', label: '{"device":"phone"}', tags: ['web'] })
  await create({}, { user_id: 'other' })
  const { sessions, url } = await anyDashboard()
  const found = await sessions('a b/c')
  assert.equal([found.user, found.count, found.sessions.length], ['a b/c', 1, 1])
  const [{ label, tags, data, ...times } = {} as UserSessionList['sessions'][number]] = found.sessions
  assert.equal([label, tags, data], [{ device: 'phone' }, ['web'], null])
  assert.ok(Math.abs(times.createdAt - Date.now()) < 600_000 && times.expiresAt > Date.now())
  assert.equal(Object.keys(times).sort(), ['createdAt', 'expiresAt', 'id', 'seenAt', 'signedInAt'])
  assert.not.match((await send(`${url}sessions?user=a+b%2Fc`)).text, 'of the session')
  assert.equal((await sessions('nobody')).sessions, [])
  assert.is((await send(`${url}sessions`)).status, 400)
  assert.is((await send(`${url}sessions?user=%00`)).status, 400)
})

test('--show-data shows the data', async () => {
  await create({ cart: ['shoes'] }, { user_id: 'a' })
  const { sessions, overview } = await dashboard('--show-data')
  assert.is((await overview()).showsData, true)
  assert.equal(JSON.parse((await sessions('a')).sessions[0]?.data ?? ''), { cart: ['shoes'] })
})

test('of a user with very many sessions it lists the newest, and counts all', async () => {
  await addLive(250)
  await sql(`update pgstore.sessions set user_id = 'busy'`)
  const { count, sessions } = await (await anyDashboard()).sessions('busy')
  assert.equal([count, sessions.length], [250, 200])
})

test('a session is ended by its page, alone or with all of the user’s, and listeners are told who did it', async () => {
  const listener = await connect()
  const heard: string[] = []
  listener.on('notification', ({ payload = '' }) => heard.push(payload))
  await listener.query('listen pgstore_sessions')
  const id = await sessionOf('a')
  await create({}, { user_id: 'a' })
  await create({}, { user_id: 'a' })
  await create({}, { user_id: 'b' })
  const { post, sessions } = await anyDashboard()
  const one = await post('revoke', { user: 'a', id })
  assert.equal(JSON.parse(one.text) as Revoked, { ended: 1 })
  assert.is(JSON.parse((await post('revoke', { user: 'a', id })).text).ended, 0)
  assert.is((await sessions('a')).count, 2)
  await until(() => heard.some((payload) => JSON.parse(payload).reason === 'operator'))
  assert.equal(JSON.parse((await post('revoke', { user: 'b', id: null })).text), { ended: 1 })
  assert.equal(JSON.parse((await post('revoke', { user: 'a', id: null })).text), { ended: 2 })
  assert.is(await alive(), 0)
})

test('nobody but its own page can end a session: Origin, and Sec-Fetch-Site', async () => {
  const id = await sessionOf('a')
  const { post, url, port } = await anyDashboard()
  const body = { user: 'a', id }
  for (const headers of [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `http://localhost:${port}` },
    { origin: `http://127.0.0.1:${port}/` },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'none' },
  ]) {
    assert.is((await post('revoke', body, headers)).status, 403, JSON.stringify(headers))
    assert.is((await post('diagnose', {}, headers)).status, 403, JSON.stringify(headers))
  }
  assert.is((await send(`${url}revoke`, { method: 'POST' }, JSON.stringify(body))).status, 403)
  assert.is(await alive(), 1)
  assert.is((await post('revoke', body, { 'sec-fetch-site': 'same-origin' })).status, 200)
  assert.is(await alive(), 0)
})

test('a request to end sessions that is not as the page makes it ends none', async () => {
  await create({}, { user_id: 'a' })
  const { post } = await anyDashboard()
  const bodies = [
    {},
    { user: 'a' },
    { user: 'a', id: 1 },
    { user: '', id: null },
    { user: 'a', id: '1 or true' },
    [],
    null,
    'a',
  ]
  for (const body of [...bodies, { user: ['a'], id: null }, { user: 'a', id: null, more: 'x'.repeat(20_000) }]) {
    assert.is((await post('revoke', body)).status, 400, JSON.stringify(body)?.slice(0, 100))
  }
  assert.is(await alive(), 1)
})

// Rights and usage

test('the right "cleanup" is enough for all but the sessions of a user; for those it says what is missing', async () => {
  const password = 'a password of this test'
  await sql(`create role ${cleaner} login password '${password}'`)
  await sql(`grant connect on database ${database} to ${cleaner}`)
  for (const statement of grantStatements(cleaner, ['cleanup'], 'pgstore')) await sql(statement)
  const id = await sessionOf('a')
  const url = Object.assign(new URL(databaseUrl), { username: cleaner, password }).href
  const { overview, url: page, post } = await dashboard('--database-url', url)
  assert.is((await overview()).figures.live, 1)
  for (const { status, text } of [await send(`${page}sessions?user=a`), await post('revoke', { user: 'a', id })]) {
    assert.is(status, 500)
    assert.match(
      JSON.parse(text).message,
      /^This role may not see or end .*: run "npx pgstore grant ROLE --as account"/,
    )
  }
})

test('a role without that right, a missing schema and a missing database are errors that say what to do', async () => {
  const ended = async (...args: string[]) => {
    const program = pgstore('dashboard', ...args)
    const { code } = await program.ended
    assert.is(program.output, '')
    return { code, errors: program.errors }
  }
  const forbidden = await ended('--database-url', clientUrl)
  assert.is(forbidden.code, 1)
  assert.match(forbidden.errors, /^This role may not do that in schema pgstore: .* "npx pgstore grant ROLE --as admin"/)
  const missing = await ended('--schema', 'nowhere')
  assert.is(missing.code, 1)
  assert.match(missing.errors, /run "npx pgstore migrate --schema nowhere"/)
  const nobody = await ended('--database-url', 'postgres://nobody:secret@127.0.0.1:1/none')
  assert.is(nobody.code, 1)
  assert.match(nobody.errors, 'ECONNREFUSED')
  assert.not.match(nobody.errors, 'secret')
})

test('--port chooses the port; one that is taken or is none is a usage error', async () => {
  const { port } = await anyDashboard()
  for (const given of [port, '70000']) {
    const program = pgstore('dashboard', `--port=${given}`)
    assert.is((await program.ended).code, 2, given)
    assert.match(program.errors, /port/)
    assert.is(program.output, '')
  }
})

test('for people it prints the address on a line alone, and ends with 0 on a signal, with a page open', async () => {
  const program = pgstore('dashboard')
  const url = await program.line(/^http:\/\/127\.0\.0\.1:/)
  assert.match(program.lines[0] ?? '', /^pgstore dashboard of .*, until Ctrl-C/)
  const agent = new http.Agent({ keepAlive: true })
  assert.is((await send(url, { agent })).status, 200)
  const { code, signal, ms } = await program.end('SIGINT')
  agent.destroy()
  assert.equal([code, signal, program.errors], [0, null, ''])
  assert.ok(ms < soon, `${ms} ms`)
})

// What it remembers

test('samples are bounded: the recent ones are all there, the older ones thinned out, the first is kept', () => {
  const samples = new Samples()
  const sample = (at: number): Sample => ({ at, live: 0, expired: 0, tableBytes: 0, indexBytes: 0 })
  for (let at = 0; at < 100_000; at++) samples.add(sample(at))
  const times = samples.all.map(({ at }) => at)
  assert.ok(times.length <= 1000 && times.length > 700, String(times.length))
  assert.equal([times[0], times.at(-1)], [0, 99_999])
  const recent = times.slice(-400)
  assert.is((recent.at(-1) ?? 0) - (recent[0] ?? 0), 399)
})

test('runs are bounded, and one that was heard and read is one', () => {
  const runs = new Runs()
  const run = (at: number, purged: number): Run => ({ at, purged, ms: 1, remaining: null, code: null })
  const times = () => runs.all.map(({ at }) => at)
  runs.read(run(1000, 5), 1)
  runs.read(run(1002, 5), 1)
  runs.heard({ ...run(1900, 5), remaining: 3 })
  assert.equal(runs.all, [{ ...run(1000, 5), remaining: 3 }])
  runs.heard(run(2000, 0))
  runs.heard(run(3000, 0))
  runs.read(run(2999, 0), 2)
  assert.equal(times(), [1000, 2000, 3000])
  runs.read(run(4000, 0), 3)
  runs.read(run(5000, 0), 4)
  assert.equal(times(), [1000, 2000, 3000, 5000])
  for (let at = 10_000; at < 12_000; at++) runs.heard(run(at, at))
  assert.is(runs.all.length, 500)
  assert.is(runs.all.at(-1)?.purged, 11_999)
})

test.run()
