import { spawn, spawnSync } from 'node:child_process'
import net from 'node:net'
import { createClient } from 'redis'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { connectRedis } from '../../src/cli/import/connect-redis.ts'
import { sessionKey } from '../../src/session/token.ts'
import { closeEverything, present } from '../sql/calls.ts'
import { rejection, sql, until } from '../support/harness.ts'
import { areInstalled, requireVersion } from '../versions.ts'
import { moveByGuide } from './moving.ts'
import { pgstore } from './pgstore.ts'
import { importCounts, take } from './reports.ts'

const isInstalled = spawnSync('redis-server', ['--version']).status === 0
if (!isInstalled) console.log('Skipped: redis-server is not installed.')
// oxlint-disable-next-line typescript/unbound-method -- uvu's functions use no this
const redisTest = isInstalled ? test : test.skip

/** A server of our own, with nothing in it and nothing on disk. */
async function startRedis(): Promise<{ url: string; stop(): void }> {
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const server = spawn('redis-server', args, { stdio: 'ignore' })
  process.on('exit', () => server.kill('SIGKILL'))
  return { url: `redis://127.0.0.1:${port}`, stop: () => server.kill('SIGKILL') }
}

async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const redis = isInstalled ? await startRedis() : { url: '', stop() {} }
const client = createClient({ url: redis.url, socket: { reconnectStrategy: 50 } })
client.on('error', () => {})

test.before(async () => {
  if (!isInstalled) return
  await client.connect()
  await until(async () => (await client.ping()) === 'PONG')
})
test.before.each(async () => {
  if (isInstalled) await client.flushAll()
  await sql('truncate pgstore.sessions')
})
test.after(async () => {
  if (isInstalled) client.destroy()
  redis.stop()
  await closeEverything()
})

function sess(more: object = {}): string {
  return JSON.stringify({ cookie: { originalMaxAge: null, expires: null, path: '/' }, ...more })
}

async function secondsLeft(sid: string): Promise<number> {
  const { expires_at } = await present(sessionKey(sid))
  return (expires_at.getTime() - Date.now()) / 1000
}

redisTest('a session is imported with its id, its data, its user and its remaining life', async () => {
  await client.set('sess:its sid', sess({ passport: { user: 'reese' } }), { PX: 3_600_000 })
  const args = ['connect-redis', '--user-key', 'passport.user']
  assert.equal(await importCounts(args, { REDIS_URL: redis.url }), { read: 1, taken: 1, users: 1 })
  const session = await present(sessionKey('its sid'))
  assert.equal(session.data, JSON.parse(sess({ passport: { user: 'reese' } })))
  assert.is(session.user_id, 'reese')
  const left = await secondsLeft('its sid')
  assert.ok(left > 3500 && left < 3637, String(left))
})

// oxlint-disable-next-line typescript/unbound-method -- uvu's functions use no this
const peerTest = areInstalled ? redisTest : test.skip
if (!areInstalled)
  console.log('Skipped: a move from connect-redis. It is not installed: npm ci --prefix test/versions.')
peerTest('a visitor of connect-redis stays signed in', async () => {
  const { RedisStore } = requireVersion('connect-redis')
  const report = await moveByGuide(new RedisStore({ client }), 'connect-redis', { REDIS_URL: redis.url })
  assert.equal(report, { read: 1, taken: 1, users: 1 })
})

redisTest(
  'a session that Redis keeps for ever lives as long as its cookie, or a day if the cookie has no expiry',
  async () => {
    const expires = new Date(Date.now() + 7_200_000).toISOString()
    await client.set('sess:cookie', JSON.stringify({ cookie: { expires } }))
    await client.set('sess:browser', sess())
    await client.set('sess:over', JSON.stringify({ cookie: { expires: '2020-01-01T00:00:00.000Z' } }))
    assert.equal(await take(await connectRedis(redis.url)), { read: 3, taken: 2, expired: 1 })
    assert.ok(Math.abs((await secondsLeft('cookie')) - 7200) < 100)
    assert.ok(Math.abs((await secondsLeft('browser')) - 86400) < 1000)
  },
)

redisTest('keys that are not sessions are skipped, and counted with the reason', async () => {
  await client.set('sess:text', 'no JSON')
  await client.set('sess:list', '[]')
  await client.set('sess:', sess())
  await client.set('sess:NUL', '{"a": "\\u0000"}')
  await client.set('sess:large', sess({ text: 'x'.repeat(5_000_000) }))
  await client.lPush('sess:other type', 'x')
  await client.set('other:1', sess())
  await client.set('sess:good', sess())
  assert.equal(await take(await connectRedis(redis.url)), {
    read: 7,
    taken: 1,
    too_large: 1,
    unreadable: 5,
    problems: { 'not a JSON object': 4, 'a value that a session cannot store': 1 },
  })
})

redisTest('a prefix is taken literally, special characters included', async () => {
  for (const key of ['a*[b]?\\:1', 'a*[b]?\\:2', 'aXbY\\:3', 'sess:4']) await client.set(key, sess())
  const args = ['connect-redis', '--from', redis.url, '--prefix', 'a*[b]?\\:']
  assert.equal(await importCounts(args), { read: 2, taken: 2 })
  assert.ok(await present(sessionKey('1')))
  assert.equal(await take(await connectRedis(redis.url, '')), { read: 4, taken: 4 })
})

redisTest('thousands are read to the end, the import may run again, and a dry run writes nothing', async () => {
  await client.mSet(Array.from({ length: 3000 }, (_, i): [string, string] => [`sess:${i}`, sess()]))
  const args = ['connect-redis', '--from', redis.url]
  assert.equal(await importCounts([...args, '--dry-run']), { read: 3000, taken: 3000, dry_run: true })
  assert.equal(await sql('select count(*) from pgstore.sessions'), [{ count: '0' }])
  assert.equal(await importCounts(args), { read: 3000, taken: 3000 })
  assert.equal(await importCounts(args), { read: 3000, already_there: 3000 })
})

redisTest('the old store receives no command that writes', async () => {
  await client.set('sess:1', sess())
  await client.configResetStat()
  await take(await connectRedis(redis.url))
  const commands = [...(await client.info('commandstats')).matchAll(/^cmdstat_([\w|]+)/gm)].map(([, name]) => name)
  const reading = new Set(['scan', 'getrange', 'strlen', 'pttl', 'dbsize'])
  const known = /^(hello|client.*|config.*|info|auth|select)$/
  assert.equal(
    commands.filter((name) => name !== undefined && !reading.has(name) && !known.test(name)),
    [],
  )
  assert.ok(commands.includes('scan'))
})

test('an unreachable Redis, or something else at its address, is reported in a sentence without address and password', async () => {
  const port = await freePort()
  const failure = await rejection(connectRedis(`redis://user:secret@127.0.0.1:${port}`))
  assert.is(failure.code, 'unavailable')
  assert.match(failure.message, /^Redis: .*ECONNREFUSED/)
  assert.not.match(failure.message, /secret/)
  for (const url of ['nonsense secret', 'http://secret@127.0.0.1']) {
    const { code, stderr } = await pgstore(['import', 'connect-redis', '--from', url])
    assert.is(code, 2)
    assert.not.match(stderr, /secret/)
  }
  const { code, stderr } = await pgstore(['import', 'connect-redis'], { REDIS_URL: '' })
  assert.is(code, 2)
  assert.match(stderr, /^Redis URL missing/)
})

test.run()
