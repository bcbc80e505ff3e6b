// Tens of thousands of unsigned Cookie headers.
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, testStore, Visitor } from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { CountingPool, closeSites, fetchSite, nodeSite, type Pages, rawRequest, type Values } from './site.ts'

const keyPairs = [hashKey, null, hashKey, Buffer.alloc(32, 'block'), randomBytes(32), Buffer.alloc(16, 'other')]
const pages: Pages = { '/look': ({ session }) => (session.isNew ? 'nobody' : 'somebody') }

test.after(async () => {
  await closeSites()
  await closeAll()
})

/** Live sessions' cookies, signed with and without encryption: the best that a forger can begin from. */
async function liveCookies(): Promise<string[]> {
  return await Promise.all(
    [keyPairs.slice(0, 2), keyPairs.slice(2, 4)].map(async (pairs) => {
      const visitor = new Visitor()
      await visitor.visit(testStore<Values>({ keyPairs: pairs }), (session) => {
        session.values['user'] = 'alice'
      })
      return visitor.jar.get('sid') as string
    }),
  )
}

const random = (below: number) => Math.floor(Math.random() * below)
const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T

/** Each makes one change to a cookie's value. */
const mutations: readonly ((value: string, other: string) => string)[] = [
  (value) => flipBit(value, random(value.length * 8)),
  (value) => value.slice(0, random(value.length)),
  (value) => value.slice(random(value.length) + 1),
  (value) =>
    insert(
      value,
      pick(['\0', '\r\n', '\t', '"', '%00', ',', '\\', ' ', '=', '|', 'A', '-', '+', '/', 'é', '\u2028', '🙂']),
    ),
  (value) => value.replace(/.(=*)$/, (_, padding: string) => `${pick(Array.from('ABCDwxyz0123-_'))}${padding}`),
  (value) => value.replace(/=*$/, pick(['', '=', '==', '===', '%3D', '.'])),
  (value) => value.replaceAll('-', '+').replaceAll('_', '/'),
  (value) =>
    encodeURIComponent(value.toWellFormed()).replace(/[a-z]/i, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  (value) => value.toUpperCase(),
  (value) => Array.from(value).reverse().join(''),
  (value, other) => value.slice(0, random(value.length)) + other.slice(random(other.length)),
  (value) => value + value,
  (value) => rewrap(value, (raw) => raw.replace(/^\d+/, (time) => String(Number(time) + 1 + random(1e6)))),
  (value) => rewrap(value, (raw) => raw.slice(0, -32) + randomBytes(32).toString('latin1')),
  (value) => rewrap(value, (raw) => raw.slice(0, -32) + raw.slice(-32, -random(32) - 1)),
  (value) => rewrap(value, (raw) => `sid|${raw}`),
  (value) => rewrap(value, (raw) => raw.replace('|', '||')),
  (value) => rewrap(value, () => randomBytes(random(200)).toString('latin1')),
  () => randomBytes(random(300)).toString(pick(['base64', 'base64url', 'hex', 'latin1', 'utf16le'])),
  () => '',
]

/** Each puts a value into a header. */
const frames: readonly ((value: string) => string)[] = [
  (value) => `sid=${value}`,
  (value) => `a=b; sid=${value}; c=d`,
  (value) => `sid="${value}"`,
  (value) => `sid=${value}; sid=${value}; sid=${value}; sid=${value}; sid=${value}`,
  (value) => `$Version=1; sid="x; other=${value}; $Path="/"`,
  (value) => `sid==${value}`,
  (value) => `sid =\t${value}`,
  (value) => `sid;${value}`,
  (value) => value,
]

/** Each names a live cookie otherwise than it was set. */
const misnamings: readonly ((value: string) => string)[] = [
  (value) => `SID=${value}`,
  (value) => `%73id=${value}`,
  (value) => `\u2000sid=${value}`,
  (value) => `sid\u00a0=${value}`,
  (value) => `\u000bsid=${value}`,
  (value) => `sid.0=${value}`,
  (value) => `sid[]=${value}`,
  (value) => `other=sid=${value}`,
  (value) => `sid=${value},x`,
  (value) => `sid=${value}\n`,
  (value) => `x="; sid=${value}"`,
]

function flipBit(value: string, bit: number): string {
  const bytes = Buffer.from(value, 'latin1')
  bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
  return bytes.toString('latin1')
}

function insert(value: string, text: string): string {
  const at = random(value.length + 1)
  return value.slice(0, at) + text + value.slice(at + random(2))
}

/** The same change inside of the base64, which stays canonical. */
function rewrap(value: string, change: (raw: string) => string): string {
  const text = Buffer.from(change(Buffer.from(value, 'base64url').toString('latin1')), 'latin1').toString('base64url')
  return text + '='.repeat((4 - (text.length % 4)) % 4)
}

/** Whether the header contains a signed cookie after all: a mutation may have undone itself, or changed something irrelevant. */
function isGenuine(header: string, live: readonly string[]): boolean {
  const parts = header.split(';').map((part) => part.replace(/^[ \t]+|[ \t]+$/g, ''))
  const pairs = parts.map((part) => part.replace(/[ \t]*=[ \t]*/, '=').replace(/^sid="(.*)"$/, 'sid=$1'))
  return pairs.some((pair) => live.some((value) => pair === `sid=${value}`))
}

function mutatedHeader(live: readonly string[]): string {
  for (;;) {
    let value = pick(live)
    const changes = random(3)
    for (let i = 0; i <= changes; i++) value = pick(mutations)(value, pick(live))
    const header = random(12) === 0 ? pick(misnamings)(pick(live)) : pick(frames)(value)
    if (!isGenuine(header, live)) return header
  }
}

const forgeries = counts(10_000, 100_000)

requirement(
  'S7',
  `of ${forgeries} forged Cookie headers none is accepted, none throws and none costs a query`,
  async () => {
    const live = await liveCookies()
    const pool = new CountingPool()
    const store = testStore<Values>({ keyPairs, pool })
    for (const value of live) assert.is((await store.get({ headers: { cookie: `sid=${value}` } }, 'sid')).isNew, false)
    const honest = pool.queries
    const times: number[] = []
    const accepted: string[] = []
    const ask = async (cookie: string) => {
      const started = performance.now()
      const session = await store.get({ headers: { cookie } }, 'sid')
      times.push(performance.now() - started)
      if (!session.isNew) accepted.push(cookie)
    }
    for (let i = 0; i < 0.7 * forgeries; i++) await ask(mutatedHeader(live))
    // As fast-check's unit 'binary', whose tables take more than a second to build.
    const anything = fc.array(fc.nat(0xffff), { maxLength: 60 }).map((units) => String.fromCharCode(...units))
    const value = fc.oneof(
      anything,
      fc.string({ unit: 'grapheme-ascii' }),
      fc.base64String(),
      fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('base64url')),
      fc.json(),
      fc.constantFrom(...live).chain((text) => fc.string().map((end) => text + end)),
    )
    const name = fc.oneof(fc.constant('sid'), fc.constantFrom('Sid', ' sid', 'sid ', '__proto__', ''), fc.string())
    const header = fc
      .array(fc.tuple(name, value), { maxLength: 6 })
      .map((pairs) => pairs.map((p) => p.join('=')).join('; '))
    const forged = header.filter((text) => !isGenuine(text, live))
    await fc.assert(fc.asyncProperty(fc.oneof(forged, anything), ask), { numRuns: 0.3 * forgeries })
    assert.equal(accepted, [])
    assert.is(pool.queries, honest)
    times.sort((a, b) => a - b)
    assert.ok(times.length >= forgeries)
    console.log(
      `${times.length} headers, 99 of 100 within ${(times[Math.floor(times.length * 0.99)] as number).toFixed(3)} ms`,
    )
  },
)

requirement(
  'S7',
  'over HTTP and through fetch, forged headers are answered as nobody, and the server stays up',
  async () => {
    const live = await liveCookies()
    const pool = new CountingPool()
    const store = testStore<Values>({ keyPairs, pool })
    const node = await nodeSite(store, pages)
    const fetched = fetchSite(store, pages)
    let sent = 0
    while (sent < 1000) {
      // What the clients of Node and of fetch agree to send.
      const header = mutatedHeader(live).replace(/[^\t\x20-\x7e\x80-\xff]/g, '')
      if (isGenuine(header, live)) continue
      sent++
      for (const site of [node, fetched]) {
        const answer = await site.get('/look', header)
        assert.equal([answer.status, answer.body, answer.setCookies], [200, 'nobody', []], header)
      }
    }
    assert.is(pool.queries, 0)
    assert.is((await node.get('/look', `sid=${live[0]}`)).body, 'somebody')
  },
)

requirement('S7', 'bytes that no client would send are refused by node or are nobody', async () => {
  const live = await liveCookies()
  const { port, get } = await nodeSite(testStore<Values>({ keyPairs }), pages)
  for (const bytes of ['\0', '\x01', '\x7f', '\x80', '\xff', '\x0b', '\x0c', '\r', '\t\0', '\r\nX-Other: sid']) {
    for (const cookie of [`sid=${bytes}${live[0]}`, `${bytes}sid=x${live[0]}`, `sid=${live[0]}${bytes}A`]) {
      const answer = await rawRequest(port, cookie)
      assert.ok(
        answer.startsWith('HTTP/1.1 400 ') || /\r\n\r\n.*(nobody)/s.test(answer) || bytes.includes('X-Other'),
        answer,
      )
    }
  }
  assert.is((await get('/look', `sid=${live[1]}`)).body, 'somebody')
})

requirement(
  'S7',
  'whatever a framework makes of the headers, anything but text is no cookie and no exception',
  async () => {
    const [live = ''] = await liveCookies()
    const pool = new CountingPool()
    const store = testStore<Values>({ keyPairs, pool })
    const cookie = `sid=${live}`
    const inherited: unknown = Object.create({ cookie })
    const odd: unknown[] = [
      {},
      Object.create(null),
      inherited,
      { cookie: undefined },
      { cookie: null },
      { cookie: '' },
      { cookie: 5 },
      { cookie: [cookie] },
      { cookie: { sid: live } },
      { cookie: Buffer.from(cookie) },
      { Cookie: cookie },
      { get: cookie },
      { get: () => undefined },
      { get: () => [cookie] },
      new Map(),
      new Headers(),
      [],
      [['cookie', cookie]],
      JSON.parse(`{"__proto__":{"cookie":${JSON.stringify(cookie)}}}`),
    ]
    for (const [index, headers] of odd.entries()) {
      assert.is((await store.get({ headers } as never, 'sid')).isNew, true, `headers ${index}`)
    }
    assert.is(pool.queries, 0)
    const two = new Headers([
      ['cookie', 'a=b'],
      ['cookie', cookie],
    ])
    assert.is((await store.get({ headers: two }, 'sid')).isNew, false)
  },
)

test.run()
