// Rules that chance hardly meets, one by one in virtual time; each with what would go wrong where the rule were off.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Doubts } from '../../src/cache/doubts.ts'
import { Entries } from '../../src/cache/entries.ts'
import { Entry } from '../../src/cache/entry.ts'
import { NotedSessions } from '../../src/cache/noted-sessions.ts'
import type { Filled } from '../../src/cache/session-cache.ts'
import { type SessionRow, timeText } from '../../src/database/row.ts'
import { type Arrangement, arrange, live, stored } from './arranged.ts'

test('what was deleted by hand is served until maxStale after its query was sent, and no longer', async () => {
  const shown = async (isStampedLate: boolean) => {
    const arranged = await arrange({ isStampedLate, answerMs: 3000 })
    arranged.database.create('token', 'user')
    await live(arranged, 100)
    const answer = arranged.cache.read({
      digest: 'token',
      key: Buffer.from('token'),
      hint: undefined,
      codec: undefined,
      signedAt: 0,
    })
    await live(arranged, 10)
    arranged.database.end('token', true)
    await live(arranged, 4900)
    await answer
    assert.ok(arranged.cache.find('token', undefined))
    await live(arranged, 200)
    return arranged.cache.find('token', undefined) !== undefined
  }
  assert.is(await shown(false), false)
  assert.is(await shown(true), true) // counted from the answer it would be older than maxStale
})

test('what waited in a queue for longer than maxStale is stored all the same: its age counts from when it was sent', async () => {
  const arranged = await arrange({ queueMs: 6000 })
  arranged.database.create('token', 'user')
  await live(arranged, 100)
  const asked = { digest: 'token', key: Buffer.from('token'), hint: undefined, codec: undefined, signedAt: 0 }
  const answer = arranged.cache.read(asked)
  await live(arranged, 6100)
  await answer
  assert.ok(arranged.cache.find('token', undefined))
})

test('after a process stood still, as one does whose turns are long under load, reads are served from the cache again', async () => {
  for (const isEnded of [false, true]) {
    const arranged = await stored()
    const { bypasses } = arranged.cache.stats
    for (let turn = 0; turn < 5; turn++) {
      arranged.process.standStill(120)
      if (isEnded) arranged.database.end('token')
      await arranged.world.pass(120)
      const { row, isHit } = await arranged.read('token')
      assert.equal([row !== undefined, isHit], [!isEnded, !isEnded])
    }
    assert.equal(arranged.cache.stats.bypasses, bypasses)
  }
})

test('while a machine sleeps its monotonic clock stands still: the wall clock tells', async () => {
  const shown = async (clocks?: Arrangement['clocks']) => {
    const arranged = await stored(clocks ? { clocks } : {})
    arranged.process.sleptMs = 600_000
    return arranged.cache.find('token', undefined) !== undefined
  }
  assert.is(await shown(), false)
  assert.is(await shown((clocks) => ({ ...clocks, wall: () => clocks.monotonic() })), true)
})

test('clocks that have drifted apart empty the cache', async () => {
  const arranged = await stored()
  arranged.process.sleptMs = 200
  assert.ok(arranged.cache.find('token', undefined))
  arranged.process.sleptMs = -300 // the wall clock was set back
  assert.is(arranged.cache.find('token', undefined), undefined)
  assert.is(arranged.cache.stats.entries, 0)
  assert.match(arranged.cache.stats.reason ?? '', /clocks/)
})

test('a session is not served beyond its own life', async () => {
  const shown = async (lifeMs: number) => {
    const arranged = await stored({ row: (row) => ({ ...row, expiresAt: timeText(1.8e12 + 1000 + lifeMs) }) })
    await live(arranged, 1500)
    return arranged.cache.find('token', undefined) !== undefined
  }
  assert.is(await shown(1200), false)
  assert.is(await shown(10_000), true)
})

for (const [what, message] of Object.entries({
  'of a later version': { type: 'renamed', ids: [1], n: 1 },
  'with ids that are none': { type: 'revoked', ids: ['x'], n: 1 },
  'without a number': { type: 'revoked', ids: [1] },
  'that is a list': [],
})) {
  test(`an announcement ${what} ends all belief in the same tick`, async () => {
    const shown = async (isHeard: boolean) => {
      const arranged = await stored({ alter: (heard) => (isHeard || 'echo' in heard ? heard : undefined) })
      arranged.ear.hear(message)
      await arranged.world.pass(45)
      return arranged.cache.find('token', undefined) !== undefined
    }
    assert.is(await shown(true), false)
    assert.is(await shown(false), true)
  })
}

test('what a transaction writes is kept out for a minute: it is committed later than it is acknowledged, or never', async () => {
  const shown = async (isUncommitted: boolean) => {
    const arranged = await stored()
    const { cache, world, database } = arranged
    // Acknowledged inside the transaction; nobody else sees it yet.
    const sessions = new NotedSessions(
      {
        get: async () => undefined,
        save: async () => ({ status: 'saved', id: '1', version: 2, expiresAt: null, data: null, now: '' }),
        regenerate: async () => ({ status: 'gone', id: null, version: 0, expiresAt: null, data: null, now: '' }),
        destroy: async () => 0,
        limit: async () => 0,
        put: async () => ({ status: 'gone', id: null, version: 0, expiresAt: null, data: null, now: '' }),
        take: async () => undefined,
        increment: async () => ({ status: 'invalid', value: Number.NaN }),
      },
      cache,
      isUncommitted,
    )
    await sessions.save({ key: Buffer.from('token'), version: null } as never)
    const before = await arranged.read('token')
    assert.is(before.row?.version, 1)
    database.save('token', null) // the commit
    await world.pass(1)
    return (await arranged.read('token')).row?.version
  }
  assert.is(await shown(true), 2)
  assert.is(await shown(false), 1) // read before the commit, and stored
})

test('held sessions are cached again after a minute', async () => {
  const arranged = await stored()
  arranged.cache.written(Buffer.from('token'), true)
  await live(arranged, 61_000 + 2 * 5000)
  await arranged.read('token')
  assert.ok((await arranged.read('token')).isHit)
})

test('a hint other than the one that a session was read under is a read, and then the one that counts', async () => {
  const arranged = await stored()
  assert.not((await arranged.read('token', 'one')).isHit)
  assert.ok((await arranged.read('token', 'one')).isHit)
  assert.ok((await arranged.read('token')).isHit)
  assert.not((await arranged.read('token', 'two')).isHit)
  assert.ok((await arranged.read('token', 'two')).isHit)
})

test('a read with another hint is not shared', async () => {
  const arranged = await arrange({ answerMs: 50 })
  arranged.database.create('token', 'user')
  await live(arranged, 100)
  void arranged.cache.read({ digest: 'token', key: Buffer.from('token'), hint: 'old', codec: undefined, signedAt: 0 })
  assert.is(arranged.cache.join('token', 'new'), undefined)
  assert.ok(arranged.cache.join('token', 'old'))
  assert.ok(arranged.cache.join('token', undefined))
  await arranged.world.pass(100)
})

const row = (id: string, userId: string | null = null, tags: string | null = null) => ({ id, userId, tags })

test('many doubts are a flood: all belief ends, and what transactions hold ends it for a minute', async () => {
  const floods: number[] = []
  const doubts = new Doubts((ms) => floods.push(ms))
  for (let n = 0; n <= 100_000; n++) doubts.session(String(n))
  assert.equal(floods, [0])
  assert.ok(doubts.isEmpty)
  assert.ok(doubts.isDoubted({ key: 'any', count: 100_000 }, row('any')))
  for (let n = 0; n <= 100_000; n++) doubts.hold(`id ${n}`, 0)
  assert.is(floods.at(-1), 60_000)
})

test('a doubt is remembered for maxStale at the least, and forgotten in the end', () => {
  const doubts = new Doubts(() => {})
  const asked = { key: 'key', count: doubts.count }
  doubts.session('1')
  doubts.turn(0)
  assert.ok(doubts.isDoubted(asked, row('1')))
  doubts.turn(0)
  assert.ok(doubts.isEmpty)
  doubts.key('key')
  assert.ok(doubts.isDoubted({ key: 'key', count: doubts.count - 1 }, row('1')))
  assert.not(doubts.isDoubted({ key: 'key', count: doubts.count }, row('1')))
  for (const [held, whose] of [
    ['all', row('1')],
    ['id 1', row('1')],
    ['key key', row('1')],
    ['user ann', row('1', 'ann')],
    ['tags', row('1', null, '["any"]')],
  ] as const) {
    const some = new Doubts(() => {})
    some.hold(held, 0)
    assert.ok(some.isDoubted({ key: 'key', count: some.count }, whose), held)
    assert.is(some.isDoubted({ key: 'other', count: some.count }, row('2', 'bob')), held === 'all', held)
    some.turn(59_999)
    assert.not(some.isEmpty)
    some.turn(60_000)
    assert.ok(some.isEmpty)
  }
  doubts.all()
  assert.ok(doubts.isDoubted({ key: 'other', count: doubts.count - 1 }, row('2')))
})

function entry(digest: string, data = '{}'): Filled {
  const row = { data, userId: null, label: null, tags: null } as unknown as SessionRow
  return Object.assign(new Entry(digest, digest, undefined, undefined, 0), { row })
}

test('what was filled first goes first, by number and by size, however often it is filled anew', () => {
  const entries = new Entries(3, 1e6)
  for (const digest of ['a', 'b', 'c']) entries.set(entry(digest), entry(digest).row)
  entries.set(entry('a'), entry('a').row)
  entries.set(entry('d'), entry('d').row)
  assert.equal(
    ['a', 'b', 'c', 'd'].map((digest) => entries.get(digest) !== undefined),
    [true, false, true, true],
  )
  assert.is(entries.evictions, 1)
  for (let n = 0; n < 1000; n++) entries.set(entry(`n${n}`), entry('x').row)
  assert.is(entries.size, 3)
  assert.ok(entries.get('n999') && entries.get('n997'))

  const small = new Entries(100, 5000)
  for (let n = 0; n < 50; n++) small.set(entry(`n${n}`, 'x'.repeat(1000)), entry('', 'x'.repeat(1000)).row)
  assert.is(small.size, 3)
  assert.ok(small.bytes <= 5000)
  small.set(entry('large', 'x'.repeat(6000)), entry('', 'x'.repeat(6000)).row)
  assert.is(small.get('large'), undefined)
  small.drop(() => true)
  assert.equal([small.size, small.bytes], [0, 0])

  const bytesOf = (data: string) => {
    const one = new Entries(1, 1e6)
    one.set(entry('n', data), entry('n', data).row)
    return one.bytes
  }
  // One character beyond Latin-1 makes V8 keep two bytes for each.
  assert.is(bytesOf(`${'x'.repeat(999)}—`) - bytesOf('x'.repeat(1000)), 1000)
  assert.is(bytesOf('é'.repeat(1000)), bytesOf('x'.repeat(1000)))
})

test('a failing pool does not end what is heard, and no more is asked than once a second', async () => {
  const arranged = await stored()
  let rings = 0
  const { pool } = arranged
  pool.ring = async () => {
    rings++
    throw new Error('no connection')
  }
  await live(arranged, 20_000)
  assert.is(arranged.cache.stats.state, 'listening')
  assert.ok(rings >= 1 && rings <= 20, `${rings} rings`)
})

test('while nothing is read, nothing is asked', async () => {
  const arranged = await stored()
  await arranged.world.pass(60_000)
  let pings = 0
  arranged.ear.isPingAnswered = () => {
    pings++
    return true
  }
  await arranged.world.pass(60_000)
  assert.is(pings, 0)
})

test('what stays in memory unasked is dropped within two sweeps', async () => {
  const arranged = await stored()
  await arranged.world.pass(10_100)
  assert.equal([arranged.cache.stats.entries, arranged.cache.stats.bytes], [0, 0])
})

test('a digest is that of the whole cookie, its name and a secret', async () => {
  const one = (await arrange()).cache
  const two = (await arrange()).cache
  const digests = [
    one.digest('sid', '=', 'cookie'),
    one.digest('sid', '=', 'cookie2'),
    one.digest('sid2', '=', 'cookie'),
    one.digest('sid', ':', 'cookie'),
    two.digest('sid', '=', 'cookie'),
  ]
  assert.is(new Set(digests).size, 5)
  for (const digest of digests) assert.is(digest.length, 32)
})

test.run()
