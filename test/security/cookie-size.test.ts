// What a long name, a long value or a long header can do.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readCookies } from '../../src/cookie/cookie-header.ts'
import { type PGStoreError, SecureCookie } from '../../src/index.ts'
import { closeAll, hashKey, rejection, row, TestResponse, testStore } from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { CountingPool, closeSites, fetchSite, nodeSite, type Values } from './site.ts'

test.after(async () => {
  await closeSites()
  await closeAll()
})

const pages = { '/look': ({ session }) => session.isNew } satisfies Parameters<typeof nodeSite>[1]

/** Headers of about `size` characters that make a careless parser go back and forth. */
const shapes: Record<string, (size: number) => string> = {
  'semicolons alone': (size) => `sid${';'.repeat(size)}`,
  'semicolons, one equals sign at the end': (size) => `sid${';'.repeat(size)}a=b`,
  'equals signs alone': (size) => `sid${'='.repeat(size)}`,
  'our name without a value': (size) => 'sid;'.repeat(size / 4),
  'other cookies': (size) => `${'a=b; '.repeat(size / 5)}sid`,
  spaces: (size) => `sid=${' '.repeat(size)}x`,
  'spaces between': (size) => `${' '.repeat(size / 2)}sid${' '.repeat(size / 2)}`,
  'one long value': (size) => `sid=${'A'.repeat(size)}`,
  'long values of ours': (size) => `sid=${'A'.repeat(4000)}; `.repeat(size / 4006),
  'one long name': (size) => `${'sid'.repeat(size / 3)}=x`,
}

/** Processor time of one round: other programs on this machine do not count. */
function cost(work: () => unknown): number {
  const started = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(started)
  return user + system
}

for (const [shape, header] of Object.entries(shapes)) {
  requirement('S9', `a header is read in time that grows with its length: ${shape}`, () => {
    const codec = new SecureCookie(hashKey)
    const read = (text: string) => {
      for (const cookie of readCookies({ headers: { cookie: text } }, 'sid')) codec.decode('sid', cookie)
    }
    const [short, long] = [header(16 * 1024), header(16 * 16 * 1024)]
    for (let i = 0; i < 20; i++) read(short)
    let best = Number.POSITIVE_INFINITY
    for (let attempt = 0; attempt < 5 && best >= 64; attempt++) {
      // Linear is 16, quadratic 256; below a tenth of a millisecond the clock says little.
      best = Math.min(
        best,
        cost(() => read(long)) /
          Math.max(
            cost(() => read(short)),
            100,
          ),
      )
    }
    assert.ok(best < 64, `16 times the length took ${best.toFixed(1)} times as long`)
  })
}

requirement(
  'S9',
  'headers of 8 KB, 64 KB and a thousand cookies are no session and cost no query, over node and fetch',
  async () => {
    const pool = new CountingPool()
    const store = testStore<Values>({ pool })
    for (const site of [await nodeSite(store, pages), fetchSite(store, pages)]) {
      for (const header of Object.values(shapes)) {
        for (const size of [8 * 1024, 64 * 1024]) assert.is((await site.get('/look', header(size))).body, 'true')
      }
      const thousand = Array.from({ length: 1000 }, (_, i) => `sid=${i}`).join('; ')
      assert.is((await site.get('/look', thousand)).body, 'true')
    }
    assert.is(pool.queries, 0)
  },
)

requirement(
  'S9',
  'a name that leaves no room for the value in 4096 bytes is refused before anything is sent or stored',
  async () => {
    const pool = new CountingPool()
    const store = testStore<Values>({ pool })
    const req = { headers: {} }
    for (const length of [4097, 5000, 1_000_000]) {
      assert.is((await rejection(store.get(req, 'n'.repeat(length)))).code, 'invalid_option')
    }
    // Whatever the length of the name: a cookie that browsers keep, or an error before the query.
    let kept = 0
    for (let length = 3; length < 4096; length += 31) {
      const name = 'n'.repeat(length)
      const res = new TestResponse()
      const outcome = await save(store, res, name).catch((error: PGStoreError) => error.code)
      const [line] = res.cookies
      if (line) {
        kept++
        assert.ok((line.split(';')[0] as string).length - 1 <= 4096, `${length} characters`)
      } else assert.is(outcome, 'invalid_option')
    }
    const { count } = await row<{ count: string }>('select count(*) from pgstore.sessions')
    assert.is(Number(count), kept) // none was stored whose cookie could not be sent
    assert.ok(kept > 100)
  },
)

requirement(
  'S9',
  'a codec whose value a browser would not keep, or would read as something else, is found out before the query',
  async () => {
    for (const value of [
      'x'.repeat(4094),
      'a;b',
      'a b',
      'a,b',
      'a"b',
      'a\\b',
      'é',
      'a\r\nSet-Cookie: x=1',
      'a\0',
      'a\x7f',
    ]) {
      const pool = new CountingPool()
      const store = testStore<Values>({ pool, codecs: [{ encode: () => value, decode: () => undefined }] })
      const res = new TestResponse()
      assert.is(
        await save(store, res, 'sid').catch((error: PGStoreError) => error.code),
        'invalid_option',
        value.slice(0, 9),
      )
      assert.equal([res.cookies, pool.queries], [[], 0])
    }
  },
)

async function save(store: ReturnType<typeof testStore<Values>>, res: TestResponse, name: string): Promise<void> {
  const req = { headers: {} }
  const session = await store.get(req, name)
  session.values['a'] = 1
  await store.save(req, res, session)
}

test.run()
