// What can be put into a session. test/store/property.test.ts shows for any value of the domain that get(save(x)) is x, and
// test/sql/session_save.test.ts that SQL refuses the same without an exception.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStore } from '../../src/index.ts'
import { closeAll, row, sql, TestResponse, testStore, Visitor } from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { CountingPool, closeSites, fetchSite, nodeSite, type Pages, type Values } from './site.ts'

const store = testStore<Values>()
const large = testStore<Values>({ maxLength: 65_536 })

test.after(async () => {
  await closeSites()
  await closeAll()
})

/** A visitor with a saved session. */
async function visitorWith(values: Values, at: PGStore<Values> = store): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(at, (session) => {
    session.values = values
    session.userId = 'somebody'
  })
  return visitor
}

/** What the session's next request reads. */
async function stored(visitor: Visitor, at: PGStore<Values> = store): Promise<Values> {
  return (await at.get(visitor.request(), 'sid')).values
}

/** The message of the error that saving these values ends with; it must be ours, before any query. */
async function refusal(change: (values: Values) => unknown): Promise<string> {
  const pool = new CountingPool()
  const spied = testStore<Values>({ pool })
  const visitor = await visitorWith({ kept: true })
  const req = visitor.request()
  const res = new TestResponse()
  const session = await spied.get(req, 'sid')
  const replaced = change(session.values)
  if (replaced !== undefined) session.values = replaced as Values
  const before = pool.queries
  const error = await spied.save(req, res, session).then(
    () => undefined,
    (error: Error & { code?: string }) => error,
  )
  if (!error) return 'accepted'
  assert.is(error.code, 'invalid_value', String(error))
  assert.is(pool.queries, before)
  assert.equal(res.cookies, [])
  assert.equal(await stored(visitor), { kept: true })
  return error.message
}

requirement(
  'S37',
  'anything but a plain object is refused as a session’s values, and the row is not changed',
  async () => {
    class Cart {}
    for (const root of [
      [],
      [1],
      'text',
      5,
      true,
      null,
      () => {},
      new Map(),
      new Date(0),
      new Cart(),
      Object.create({ a: 1 }),
    ]) {
      assert.match(await refusal(() => root), 'values', String(root))
    }
  },
)

requirement(
  'S37',
  'a root that SQL turned into an array is merged with nothing: save answers, the store does not read such a row',
  async () => {
    for (const root of ['[1]', '"text"', '5', 'null']) {
      const [result] = await sql<{ status: string }>(
        'select status from pgstore.session_save(sha256($1::bytea), $2::jsonb, p_version => 0)',
        `root ${root}`,
        root,
      )
      assert.is(result?.status, 'invalid', root)
    }
  },
)

requirement('S38', 'a NUL is refused before the query, with its path, wherever it is', async () => {
  assert.match(await refusal(() => ({ a: 'x\0' })), 'values.a contains a NUL character')
  assert.match(await refusal(() => ({ a: [{ b: '\0' }] })), 'values.a[0].b contains a NUL')
  assert.match(await refusal(() => ({ a: { 'k\0': 1 } })), 'values.a["k\\u0000"] contains a NUL')
  assert.match(await refusal(() => ({ 'k\0': 1 })), 'values["k\\u0000"] contains a NUL')
})

requirement('S39', 'a lone surrogate is refused before the query, with its path', async () => {
  assert.match(await refusal(() => ({ a: '\ud800' })), 'values.a contains a lone surrogate')
  assert.match(await refusal(() => ({ '\udfff': 1 })), 'values["\\udfff"] contains a lone')
  assert.match(await refusal(() => ({ a: [['x\ude00\ud83dx']] })), 'values.a[0][0] contains a lone')
})

requirement(
  'S38',
  'a visitor who sends a NUL or a lone surrogate gets an error of the application’s choice, and the store keeps working',
  async () => {
    const pages: Pages = {
      '/keep': async ({ store, session, req, res, query }) => {
        const text: unknown = JSON.parse(`"${query.get('text')}"`)
        session.userId = query.has('user') ? String(text) : 'somebody'
        session.values['text'] = text
        await store.save(req, res, session)
        return 'kept'
      },
    }
    const pool = new CountingPool()
    const own = testStore<Values>({ pool })
    for (const site of [await nodeSite(own, pages), fetchSite(own, pages)]) {
      for (const text of ['\\u0000', '\\ud800', 'a\\udc00b']) {
        for (const more of ['', '&user']) {
          const { status, body, setCookies } = await site.get(`/keep?text=${text}${more}`)
          assert.equal([status, body, setCookies], [422, 'invalid_value', []])
        }
      }
      assert.is(pool.queries, 0)
      assert.is((await site.get('/keep?text=\\ud83d\\ude42')).body, 'kept')
      pool.queries = 0
    }
  },
)

requirement('S40', 'what JSON would drop or alter is refused with its path, before the query', async () => {
  const cases: [unknown, string][] = [
    [() => {}, 'is a function'],
    [Symbol('x'), 'is a symbol'],
    [1n, 'is a bigint'],
    [Number.NaN, 'is NaN'],
    [Number.POSITIVE_INFINITY, 'is Infinity'],
    [Number.NEGATIVE_INFINITY, 'is -Infinity'],
    [new Map(), 'is a Map'],
    [new Set(), 'is a Set'],
    [/x/, 'is a RegExp'],
    [new Error('x'), 'is a Error'],
    [new Date(Number.NaN), 'is an invalid Date'],
    [Promise.resolve(), 'is a Promise'],
    [new Uint8Array(2), 'is a Uint8Array'],
    [Object('boxed'), 'is a String'],
  ]
  for (const [value, problem] of cases) {
    assert.match(await refusal(() => ({ a: { b: [value] } })), `values.a.b[0] ${problem}`)
  }
  assert.match(await refusal(() => ({ a: [undefined] })), 'values.a[0] is undefined')
})

requirement('S40', 'values change as documented: undefined is left out, toJSON is called, -0 becomes 0', async () => {
  const at = new Date(1_700_000_000_123)
  const visitor = await visitorWith({
    gone: undefined,
    in: { gone: undefined, at },
    url: new URL('http://a.example/'),
    zero: -0,
  })
  assert.equal(await stored(visitor), { in: { at: at.toJSON() }, url: 'http://a.example/', zero: 0 })
  assert.is((await stored(await visitorWith({ n: Number('9007199254740993') })))['n'], 9007199254740992)
})

const nested = (levels: number, leaf: unknown = 1): unknown => {
  let value = leaf
  for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { a: value }
  return value
}

requirement('S40', 'toJSON is called once, as by JSON.stringify: its result must itself be plain', async () => {
  const once = (value: unknown) => ({ toJSON: () => value })
  assert.match(await refusal(() => ({ a: once(new Date(0)) })), 'values.a is a Date') // JSON.stringify makes {} of it
  assert.match(await refusal(() => ({ a: [once(once(1))] })), 'values.a[0].toJSON is a function')
  const endless = (): object => ({ toJSON: endless })
  assert.match(await refusal(() => ({ a: endless() })), 'values.a.toJSON is a function')
  const visitor = await visitorWith({ a: once({ b: new Date(0) }) })
  assert.equal(await stored(visitor), { a: { b: '1970-01-01T00:00:00.000Z' } })
})

requirement('S41', '64 levels come back, 65 are an error with a path, and so are a million', async () => {
  const visitor = await visitorWith({ deep: nested(64) })
  assert.equal((await stored(visitor))['deep'], nested(64))
  for (const levels of [65, 5000, 1_000_000]) {
    assert.match(await refusal(() => ({ deep: nested(levels) })), 'is more than 64 levels deep')
  }
  const cycle: Values = {}
  cycle['self'] = [cycle]
  assert.match(await refusal(() => ({ a: cycle })), 'contains itself')
})

requirement('S41', 'a session that SQL has filled deeper than that is read, changed and saved', async () => {
  for (const levels of [500, 5000]) {
    const visitor = await visitorWith({ a: 1 })
    const text = `{"deep":${'['.repeat(levels)}${']'.repeat(levels)}}`
    await sql(
      'update pgstore.sessions set data = data || $1::jsonb where created_at = (select max(created_at) from pgstore.sessions)',
      text,
    )
    await visitor.visit(testStore<Values>({ maxLength: 0 }), (session) => {
      session.values['a'] = 2
    })
    const values = await stored(visitor)
    assert.is(values['a'], 2)
    let depth = 0
    for (let inner = values['deep']; Array.isArray(inner); inner = inner[0]) depth++
    assert.is(depth, levels)
  }
})

/** A text that makes `{"a": "…"}` this long. */
const filling = (bytes: number) => 'x'.repeat(bytes - '{"a": ""}'.length)

requirement(
  'S42',
  'the limit is exact, in bytes of the merged data: 4096 by default, or what maxLength says',
  async () => {
    for (const [at, limit] of [
      [store, 4096],
      [large, 65_536],
    ] as const) {
      const visitor = await visitorWith({ a: filling(limit) }, at)
      const { length } = await row<{ length: number }>(
        'select octet_length(data::text) as length from pgstore.sessions order by created_at desc limit 1',
      )
      assert.is(length, limit)
      for (const change of [{ a: filling(limit + 1) }, { a: `${filling(limit - 1)}é` }, { b: 1 }]) {
        const error = await visitor
          .visit(at, (session) => Object.assign(session.values, change))
          .then(
            () => undefined,
            (error: { code: string }) => error.code,
          )
        assert.is(error, 'too_large')
        assert.is(String((await stored(visitor, at))['a']).length, filling(limit).length)
      }
    }
  },
)

requirement('S42', 'numbers count as Postgres stores them: 9,000 times 1e300 is too large for a megabyte', async () => {
  const visitor = await visitorWith({}, large)
  const megabyte = testStore<Values>({ maxLength: 1024 * 1024 })
  const numbers = Array(9000).fill(1e300)
  assert.ok(JSON.stringify(numbers).length < 65_536)
  for (const at of [large, megabyte]) {
    const saved = visitor.visit(at, (session) => Object.assign(session.values, { numbers }))
    assert.is(
      await saved.then(
        () => 'saved',
        (error: { code: string }) => error.code,
      ),
      'too_large',
    )
  }
})

requirement('S42', 'a thousand small merges do not creep past the limit', async () => {
  const visitor = await visitorWith({})
  const codes = new Map<string, number>()
  for (let i = 0; i < 1000; i++) {
    const saved = visitor.visit(store, (session) => {
      session.values[`key ${i}`] = i
    })
    const code = await saved.then(
      () => 'saved',
      (error: { code: string }) => error.code,
    )
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  assert.equal([...codes.keys()].sort(), ['saved', 'too_large'])
  const { length } = await row<{ length: number }>(
    'select octet_length(data::text) as length from pgstore.sessions order by created_at desc limit 1',
  )
  assert.ok(length <= 4096 && length > 4000, `${length} bytes`)
})

const hostile = '{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}},"prototype":{"admin":true}}'

requirement(
  'S43',
  'keys named like the prototype’s are own properties after save, merge, get and clone, and do not affect other objects',
  async () => {
    const visitor = await visitorWith(JSON.parse(hostile))
    await visitor.visit(store, (session) => {
      session.values['more'] = JSON.parse(hostile)
    })
    const values = await stored(visitor)
    for (const object of [values, values['more'] as Values, structuredClone(values)]) {
      assert.is(Object.hasOwn(object, '__proto__'), true)
      assert.is(Object.getPrototypeOf(object), Object.prototype)
      assert.is(object['admin'], undefined)
    }
    const [listed] = await store.list('somebody')
    assert.is(listed?.values['admin'], undefined)
    assert.is(({} as Values)['admin'], undefined)
    assert.equal(Object.keys(Object.prototype), [])
  },
)

requirement('S43', 'a key that a visitor chose is never the way to a prototype: flashes included', async () => {
  for (const key of ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']) {
    const visitor = new Visitor()
    const { session } = await visitor.visit(store, (session) => {
      session.addFlash('hello', key)
      session.addFlash({ admin: true }, key)
    })
    assert.is(Object.getPrototypeOf(session.values), Object.prototype, key)
    await visitor.visit(store, (session) => {
      assert.equal(session.flashes(key), ['hello', { admin: true }], key)
      assert.equal(session.flashes(key), [])
    })
    assert.equal(Object.keys(await stored(visitor)), [])
  }
})

requirement('S43', 'a prototype that was polluted elsewhere plants no cookie and saves no value', async () => {
  const visitor = await visitorWith({ user: 'mallory' })
  const planted = `sid=${visitor.jar.get('sid')}`
  const polluted = Object.prototype as unknown as Values
  polluted['cookie'] = planted
  polluted['admin'] = true
  try {
    assert.is((await store.get({ headers: {} }, 'sid')).isNew, true)
    const other = new Visitor()
    await other.visit(store, (session) => {
      session.values['a'] = { b: 1 }
    })
  } finally {
    delete polluted['cookie']
    delete polluted['admin']
  }
  const { data } = await row<{ data: Values }>('select data from pgstore.sessions order by created_at desc limit 1')
  assert.equal(data, { a: { b: 1 } })
})

requirement(
  'S44',
  'odd keys come back as they are: empty, long, dotted, quoted, in any script, in either case',
  async () => {
    const keys = [
      '',
      ' ',
      '.',
      'a.b',
      'a[0]',
      '"',
      "'",
      '\\',
      '\\u0000',
      '{',
      '}',
      '{a,b}',
      '$1',
      '%',
      '\n',
      '\x01',
      '\x7f',
    ]
    keys.push(
      'a',
      'A',
      'é',
      'e\u0301',
      '🙂',
      'ا',
      '\u202e',
      '\ufeff',
      '\uffff',
      'k'.repeat(10_240),
      'null',
      '0',
      '-1',
      'NULL',
    )
    const visitor = await visitorWith({}, large)
    // One by one and together: as a merge, as a change, as a removal.
    for (const key of keys) await visitor.visit(large, (session) => Object.assign(session.values, { [key]: key }))
    assert.equal(await stored(visitor, large), Object.fromEntries(keys.map((key) => [key, key])))
    await visitor.visit(large, (session) => {
      for (const key of keys) session.values[key] = { [key]: [key] }
    })
    assert.equal(await stored(visitor, large), Object.fromEntries(keys.map((key) => [key, { [key]: [key] }])))
    await visitor.visit(large, (session) => {
      for (const key of keys) if (key !== 'a') delete session.values[key]
    })
    assert.equal(await stored(visitor, large), { a: { a: ['a'] } })
  },
)

requirement(
  'S45',
  'values go to Postgres as JSON text: node-postgres makes no array literal of them and calls no toPostgres',
  async () => {
    let asked = 0
    const toPostgres = { toJSON: () => 'text', toPostgres: () => `${++asked}` }
    const plain = Object.defineProperty({ a: 1 }, 'toPostgres', { value: () => `${++asked}` })
    const pool = new CountingPool()
    const spied = testStore<Values>({ pool })
    const values = {
      list: [1, 'two', ['{3}', null], {}],
      empty: [],
      toPostgres,
      plain,
      date: new Date(0),
      bytes: Buffer.from('x'),
    }
    const visitor = await visitorWith(values, spied)
    assert.equal(await stored(visitor), JSON.parse(JSON.stringify(values)))
    assert.is(asked, 0)
    for (const value of pool.seen.flatMap(({ values }) => values)) {
      assert.ok(value === null || typeof value === 'string' || typeof value === 'number' || Buffer.isBuffer(value))
    }
  },
)

requirement('S46', 'only own enumerable keys are saved: what is inherited, hidden or a symbol’s is not', async () => {
  const nameless: Values = Object.create(null)
  nameless['own'] = 1
  Object.defineProperty(nameless, 'hidden', { value: 2, enumerable: false })
  Object.assign(nameless, { [Symbol('s')]: 3 })
  assert.equal(await stored(await visitorWith(nameless)), { own: 1 })
  assert.equal(await stored(await visitorWith({ deep: nameless })), { deep: { own: 1 } })
  class Account {
    balance = 5
  }
  assert.match(await refusal(() => Object.create({ inherited: 1 })), 'values')
  assert.match(await refusal(() => ({ a: new Account() })), 'values.a is a Account')
  assert.match(await refusal(() => ({ a: Object.create({ inherited: 1 }) })), 'values.a is not a plain object')
})

requirement('S46', 'what a visitor’s JSON assigns as __proto__ is refused or an own key, never inherited', async () => {
  const body = JSON.parse('{"__proto__":{"admin":true},"name":"x"}')
  // Object.assign calls the setter: the target inherits `admin`, and would lose it in JSON.
  assert.match(await refusal((values) => Object.assign(values, body)), 'is not a plain object')
  const visitor = await visitorWith({ form: { ...body } })
  assert.equal(Object.keys((await stored(visitor))['form'] as object).sort(), ['__proto__', 'name'])
})

requirement('S49', 'an error about a key names it in a single line of bounded length', async () => {
  const message = await refusal(() => ({ [`${'k'.repeat(1_000_000)}\n\0`]: 1 }))
  assert.ok(message.length < 500, `${message.length} characters`)
  assert.not.match(message, '\n')
})

test.run()
