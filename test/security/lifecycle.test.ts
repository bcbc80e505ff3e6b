// Sessions begin when there is something to keep, change their token at sign-in, and end for good.
import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codecsFromPairs } from '../../src/index.ts'
import { newToken } from '../../src/session/token.ts'
import { call, closeClients, connect, newKey, save } from '../sql/calls.ts'
import { counts } from '../support/counts.ts'
import {
  admin,
  clientUrl,
  closeAll,
  hashKey,
  rejection,
  row,
  sql,
  TestResponse,
  testStore,
  Visitor,
} from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { inWaves, keyOf, newVisitor, signIn, signOut, thief, tokenOf } from './visitors.ts'

test.after.each(closeClients)
test.after(closeAll)

const store = testStore()
const role = new URL(clientUrl).username

async function countRows(): Promise<number> {
  return Number((await row('select count(*) as n from pgstore.sessions'))['n'])
}

/** Whether these cookies still open the session that they were issued for. */
async function opens(visitor: Visitor): Promise<boolean> {
  return !(await store.get(visitor.request(), 'sid')).isNew
}

/** A correctly signed cookie with a token that no visitor was given. */
function unknownCookie(): string {
  return codecsFromPairs(hashKey)[0]?.encode('sid', newToken()) ?? ''
}

// S20 and S21: beginning

const strangers = counts(300, 10_000)

requirement(
  'S20',
  `${strangers} requests with unknown but well-signed tokens make no row, and no token is adopted`,
  async () => {
    const before = await countRows()
    await inWaves(strangers, async () => {
      const req = { headers: { cookie: `sid=${unknownCookie()}` } }
      const res = new TestResponse()
      const session = await store.get(req, 'sid')
      assert.is(session.isNew, true)
      await store.save(req, res, session)
      assert.equal(res.cookies, [])
    })
    assert.is(await countRows(), before)
  },
)

requirement(
  'S20',
  'a visitor with an unknown, expired or forged token gets a new one as soon as there is something to keep',
  async () => {
    const expired = await newVisitor(store)
    await sql('update pgstore.sessions set expires_at = now() where key = $1', keyOf(tokenOf(store, expired)))
    const [unknown, forged] = [new Visitor(), thief(expired)]
    unknown.jar.set('sid', unknownCookie())
    forged.jar.set('sid', `${expired.jar.get('sid')?.slice(0, -6)}AAAAA=`)
    for (const visitor of [unknown, expired, forged]) {
      const presented = visitor.jar.get('sid')
      await visitor.visit(store, (session) => {
        session.values['a'] = 1
      })
      assert.is.not(visitor.jar.get('sid'), presented)
      const key = keyOf(tokenOf(store, visitor))
      assert.equal(await sql('select data from pgstore.sessions where key = $1', key), [{ data: { a: 1 } }])
    }
    assert.equal(await sql('select from pgstore.sessions where key = $1 and expires_at > now()', newKey()), [])
  },
)

requirement(
  'S21',
  'a visitor with nothing to keep has neither row nor cookie, and signing out creates none',
  async () => {
    const before = await countRows()
    for (let i = 0; i < 100; i++) {
      const visitor = new Visitor()
      await visitor.visit(store, (session) => session.flashes())
      const { res } = await visitor.visit(store, async (session, req, res) => await store.destroy(req, res, session))
      assert.equal(res.cookies, [])
    }
    assert.is(await countRows(), before)
  },
)

// S22 and S23: signing in. What a crash leaves is in crash.test.ts.

const signIns = counts(80, 1000)

requirement('S22', `in ${signIns} of ${signIns} sign-ins the old token is dead at once and the data kept`, async () => {
  await inWaves(signIns, async () => {
    const visitor = await newVisitor(store, { cart: ['apple'] })
    const old = thief(visitor)
    await signIn(store, visitor, 'ada')
    assert.is(await opens(old), false)
    const session = await store.get(visitor.request(), 'sid')
    assert.equal([session.values, session.userId], [{ cart: ['apple'] }, 'ada'])
  })
})

requirement('S23', 'a session that an attacker plants before sign-in is useless to them afterwards', async () => {
  for (let i = 0; i < 50; i++) {
    const attacker = await newVisitor(store, { planted: true })
    const victim = thief(attacker) // by a script, a sibling subdomain, a link
    await signIn(store, victim, 'victim')
    const { session } = await attacker.visit(store)
    assert.equal([session.isNew, session.userId, session.values], [true, undefined, {}])
    await attacker.visit(store, (session) => {
      session.values['more'] = true
    })
    assert.equal((await store.get(victim.request(), 'sid')).values, { planted: true })
    const error = await rejection(plantedSave(attacker, victim))
    assert.is(error.code, 'gone')
  }
})

/** The attacker has a request in progress, begun with the planted token, when the victim signs in. */
async function plantedSave(attacker: Visitor, victim: Visitor): Promise<void> {
  const planted = thief(victim)
  const req = planted.request()
  const session = await store.get(req, 'sid')
  session.values['attack'] = attacker.jar.size
  await signIn(store, victim, 'victim')
  await store.save(req, new TestResponse(), session)
}

// S24: timeouts, at the edge itself: statements that come in one message to the server have one time.

const several = (key: string, lifetime = 'null') =>
  `(select status as answer from pgstore.session_save(array[${key}], array['{"a":2}']::jsonb[], array[null]::jsonb[],
    array['1 day']::interval[], array[null]::integer[], array[null]::text[], 0, ${lifetime}))`
const status = (call: string) => `(select status as answer from pgstore.${call})`
const rows = (call: string) => `(select count(*)::integer as answer from pgstore.${call})`
const ended = (call: string) => `(select pgstore.${call}::integer as answer)`

type Calls = Readonly<Record<string, (key: string, otherKey: string) => string>>

const callsOfLive: Calls = {
  session_get: (key) => rows(`session_get(${key})`),
  'session_get of several': (key, otherKey) => rows(`session_get(array[${key}, ${otherKey}])`),
  session_list: () => rows(`session_list('edge')`),
  'session_save, a merge': (key) => status(`session_save(${key}, '{"a":2}')`),
  'session_save at a version': (key) => status(`session_save(${key}, '{"a":2}', p_version => 1)`),
  'session_save, a touch': (key) => status(`session_save(${key})`),
  'session_save of several': (key) => several(key),
  session_regenerate: (key, otherKey) => status(`session_regenerate(${key}, ${otherKey})`),
  session_destroy: (key) => ended(`session_destroy(${key})`),
  'session_destroy of several': (key) => ended(`session_destroy(array[${key}])`),
  session_revoke: () => ended(`session_revoke('edge')`),
  session_revoke_tag: () => ended(`session_revoke_tag('edge')`),
}

const hour = `interval '1 hour'`

const callsThatExtend: Calls = {
  merge: (key) => status(`session_save(${key}, '{"a":2}', p_lifetime => ${hour})`),
  touch: (key) => status(`session_save(${key}, p_lifetime => ${hour})`),
  'merge of several': (key) => several(key, hour),
  regenerate: (key, otherKey) => status(`session_regenerate(${key}, ${otherKey}, p_lifetime => ${hour})`),
}

/**
 * The result of each call as the application's role, with the session's columns set like this, and then of `look`, as its owner.
 */
async function answersAt(columns: string, calls: Calls, look?: string): Promise<Record<string, unknown>> {
  const client = await connect()
  const answers: Record<string, unknown> = {}
  for (const [name, work] of Object.entries(calls)) {
    const [key, otherKey] = [newKey(), newKey()].map((one) => `'\\x${one.toString('hex')}'::bytea`) as [string, string]
    const results = (await client.query(`
      begin;
      select from pgstore.session_save(${key}, '{"a":1}', p_version => 0, p_user_id => 'edge', p_tags => '{edge}');
      update pgstore.sessions set ${columns} where key = ${key};
      set local role ${role};
      select answer from ${work(key, otherKey)} as called;
      reset role;
      select ${look ?? 'null'} as look from pgstore.sessions where user_id = 'edge';
      rollback`)) as unknown as pg.QueryResult[]
    answers[name] = results[look === undefined ? 4 : 6]?.rows[0]?.[look === undefined ? 'answer' : 'look']
  }
  return answers
}

/** The same answer to each call. */
const all = (calls: Calls, answer: (name: string) => unknown) =>
  Object.fromEntries(Object.keys(calls).map((name) => [name, answer(name)]))

const now = 'statement_timestamp()'
const begun = (time: string) => `created_at = ${time}, signed_in_at = ${time}`

requirement(
  'S24',
  'every function finds a session alive a microsecond before its expiry, and gone at it and after',
  async () => {
    const alive = all(callsOfLive, (name) => (/save|regenerate/.test(name) ? 'saved' : 1))
    const gone = all(callsOfLive, (name) => (/save|regenerate/.test(name) ? 'gone' : 0))
    assert.equal(await answersAt(`expires_at = ${now} + interval '1 second'`, callsOfLive), alive)
    assert.equal(await answersAt(`expires_at = ${now} + interval '1 microsecond'`, callsOfLive), alive)
    assert.equal(await answersAt(`expires_at = ${now}`, callsOfLive), gone)
    assert.equal(await answersAt(`expires_at = ${now} - interval '1 second'`, callsOfLive), gone)
  },
)

requirement(
  'S24',
  'a session ends at its absolute timeout in whatever would extend it, and no touch passes it',
  async () => {
    const [alive, gone] = ['saved', 'gone'].map((answer) => all(callsThatExtend, () => answer))
    assert.equal(await answersAt(begun(`${now} - ${hour} + interval '1 microsecond'`), callsThatExtend), alive)
    assert.equal(await answersAt(begun(`${now} - ${hour}`), callsThatExtend), gone)
    const late = `${begun(`${now} - interval '59 minutes'`)}, expires_at = ${now} + interval '1 second'`
    const capped = `expires_at = greatest(created_at, signed_in_at) + ${hour}`
    assert.equal(
      await answersAt(late, callsThatExtend, capped),
      all(callsThatExtend, () => true),
    )
  },
)

requirement('S24', 'whatever Max-Age a visitor’s browser makes of the cookie, the row decides', async () => {
  const visitor = await newVisitor(store)
  await sql('update pgstore.sessions set expires_at = now() where key = $1', keyOf(tokenOf(store, visitor)))
  for (const cookie of [`sid=${visitor.jar.get('sid')}; Max-Age=9999999`, `sid=${visitor.jar.get('sid')}`]) {
    assert.is((await store.get({ headers: { cookie } }, 'sid')).isNew, true)
  }
})

// S26: ending. That an acknowledged end outlives a crash (S25) is in crash.test.ts.

requirement('S26', 'in 1,000 requests that save while another one signs out, no session comes back', async () => {
  const outcomes = { saved: 0, gone: 0 }
  await inWaves(1000, async (i) => {
    const visitor = await newVisitor(store, { i })
    const other = thief(visitor)
    const key = keyOf(tokenOf(store, visitor))
    const req = other.request()
    const session = await store.get(req, 'sid')
    session.values['late'] = true
    const saving = store.save(req, new TestResponse(), session).then(
      () => outcomes.saved++,
      (error) => (error.code === 'gone' ? outcomes.gone++ : Promise.reject(error)),
    )
    await Promise.all(i % 2 ? [saving, signOut(store, visitor)] : [signOut(store, visitor), saving])
    if (await opens(other)) throw new Error('It came back.')
    if ((await sql('select from pgstore.sessions where key = $1', key)).length > 0) throw new Error('The row is there.')
  })
  assert.is(outcomes.saved + outcomes.gone, 1000)
})

// S27 and S28: a user's sessions

requirement(
  'S27',
  'once a revoke is acknowledged, none of the user’s sessions opens, though 8 clients go on saving',
  async () => {
    const visitors = await Promise.all(Array.from({ length: 8 }, () => newVisitor(store, { n: 0 }, 'revoked')))
    const old = visitors.map(thief)
    const bystander = await newVisitor(store, { n: 0 }, 'bystander')
    let isOver = false
    const saving = visitors.map(async (visitor) => {
      for (let n = 1; !isOver; n++) {
        await visitor
          .visit(store, (session) => {
            if (session.isNew) isOver = true
            else session.values['n'] = n
          })
          .catch((error) => {
            if (error.code !== 'gone') throw error
          })
      }
    })
    await Promise.all(visitors.map((visitor) => visitor.visit(store)))
    assert.is(await store.revoke('revoked'), 8)
    for (const visitor of old) assert.is(await opens(visitor), false)
    assert.equal(await store.list('revoked'), [])
    isOver = true
    await Promise.all(saving)
    assert.equal(await sql(`select from pgstore.sessions where user_id = 'revoked'`), [])
    assert.is(await opens(bystander), true)
  },
)

requirement('S27', 'one, all but one, or all of a user’s sessions end, and by SQL as well', async () => {
  const [one, two, three] = await Promise.all([0, 1, 2].map((n) => newVisitor(store, { n }, 'parts')))
  if (!one || !two || !three) throw new Error('no visitors')
  const { id = '' } = await store.get(one.request(), 'sid')
  assert.is(await store.revoke('parts', { id }), 1)
  assert.equal(await Promise.all([one, two, three].map(opens)), [false, true, true])
  assert.is(await store.revoke('parts', { except: await store.get(two.request(), 'sid') }), 1)
  assert.equal(await Promise.all([two, three].map(opens)), [true, false])
  assert.equal(await sql(`select pgstore.session_revoke('parts') as n`), [{ n: '1' }])
  assert.is(await opens(two), false)
})

requirement(
  'S27',
  'a session whose sign-in commits after a revoke is not ended by the revoke, and is listed',
  async () => {
    const signingIn = await admin.connect()
    try {
      await signingIn.query('begin')
      await save(newKey(), { set: '{}', version: 0, user_id: 'racing' }, signingIn)
      assert.is(await store.revoke('racing'), 0)
      await signingIn.query('commit')
    } finally {
      signingIn.release()
    }
    // So an application disables the account first and revokes second: SECURITY.md.
    assert.is((await store.list('racing')).length, 1)
    assert.is(await store.revoke('racing'), 1)
  },
)

requirement('S27', 'removing the signing key ends all sessions', async () => {
  const visitor = await newVisitor(store)
  const rekeyed = testStore({ keyPairs: ['another hash key, of 32 bytes...'] })
  assert.is((await rekeyed.get(visitor.request(), 'sid')).isNew, true)
})

requirement('S28', 'a list shows numbers that open nothing, and no key', async () => {
  const visitor = await newVisitor(store, { device: 'phone' }, 'lister')
  const key = keyOf(tokenOf(store, visitor))
  const devices = await store.list('lister')
  const rows = await call('session_list', { user_id: 'lister' })
  assert.equal(Object.keys(rows[0] ?? {}).includes('key'), false)
  const shown = JSON.stringify([devices, rows])
  for (const form of [
    key.toString('hex'),
    key.toString('base64'),
    key.toString('base64url'),
    tokenOf(store, visitor),
  ]) {
    assert.is(shown.includes(form), false)
  }
  const id = devices[0]?.id ?? ''
  const [codec] = codecsFromPairs(hashKey)
  const digest = keyOf(id)
  const forms = [id, Buffer.from(id).toString('base64url'), digest.toString('hex'), digest.toString('base64url')]
  for (const value of [...forms, ...forms.map((form) => codec?.encode('sid', form) ?? '')]) {
    assert.is((await store.get({ headers: { cookie: `sid=${value}` } }, 'sid')).isNew, true)
  }
})

test.run()
