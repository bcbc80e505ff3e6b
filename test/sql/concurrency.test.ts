// What holds when several connections work on the same sessions at once.

import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { counts } from '../support/counts.ts'
import { row, sql, until } from '../support/harness.ts'
import {
  call,
  closeClients,
  closeEverything,
  connect,
  count,
  create,
  isBlocked,
  newKey,
  present,
  type Saved,
  save,
  stored,
  untilBlocked,
} from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

async function connections(count: number): Promise<pg.Client[]> {
  return await Promise.all(Array.from({ length: count }, () => connect()))
}

/** Two connections, as far as the tests with a lock need them. */
async function pair(): Promise<[pg.Client, pg.Client]> {
  return [await connect(), await connect()]
}

/** What `second` answers when it came upon what `first` had done and not yet committed. */
async function meanwhile<Answer>(
  first: (client: pg.Client) => Promise<unknown>,
  second: (client: pg.Client) => Promise<Answer>,
): Promise<Answer> {
  const [early, late] = await pair()
  await early.query('begin')
  await first(early)
  const answer = second(late)
  await untilBlocked(late)
  await early.query('commit')
  return await answer
}

// Merging

const keysEach = counts(50, 500)

test(`8 connections that set ${keysEach} keys each in one session lose none`, async () => {
  const key = await create()
  const clients = await connections(8)
  await Promise.all(
    clients.map(async (client, who) => {
      for (let n = 0; n < keysEach; n++) {
        const { status } = await save(key, { set: `{"${who}.${n}":1}`, max_length: 0 }, client)
        if (status !== 'saved') throw new Error(status)
      }
    }),
  )
  const { data, version } = await present(key)
  assert.is(Object.keys(data).length, 8 * keysEach)
  assert.is(version, 8 * keysEach + 1)
})

test('setting one key and unsetting another at once both count', async () => {
  const key = await create({ a: 1, b: 1 })
  await meanwhile(
    (client) => save(key, { set: '{"c":1}' }, client),
    (client) => save(key, { unset: ['a'] }, client),
  )
  assert.equal((await present(key)).data, { b: 1, c: 1 })
})

test('of several saves at one version one goes through, and the others see what it wrote', async () => {
  const clients = await connections(8)
  const key = await create({ winner: null })
  const answers = await Promise.all(
    clients.map((client, who) => save(key, { set: `{"winner":${who}}`, version: 1 }, client)),
  )
  const statuses = answers.map(({ status }) => status).sort()
  assert.equal(statuses, [...Array(7).fill('conflict'), 'saved'])
  const { data } = await present(key)
  for (const answer of answers) if (answer.status === 'conflict') assert.equal(answer.data, data)
})

test('the limit holds for two saves at once that would each fit alone', async () => {
  const key = await create()
  const { status } = await meanwhile(
    (client) => save(key, { set: JSON.stringify({ a: 'x'.repeat(3000) }) }, client),
    (client) => save(key, { set: JSON.stringify({ b: 'x'.repeat(3000) }) }, client),
  )
  assert.is(status, 'too_large')
})

test('of several callers that create one session one creates it, and the others get a conflict', async () => {
  const clients = await connections(8)
  for (let round = 0; round < 20; round++) {
    const key = newKey()
    const answers = await Promise.all(
      clients.map((client, who) => save(key, { set: `{"by":${who}}`, version: 0 }, client)),
    )
    const statuses = answers.map(({ status }) => status).sort()
    assert.equal(statuses, [...Array(7).fill('conflict'), 'saved'])
    const { data } = await present(key)
    for (const answer of answers) if (answer.status === 'conflict') assert.equal(answer.data, data)
  }
})

test('a touch does not shorten what another touch extends meanwhile', async () => {
  const key = await create({}, { ttl: '1 minute' })
  await meanwhile(
    (client) => save(key, { ttl: '30 days' }, client),
    (client) => save(key, { ttl: '1 hour' }, client),
  )
  assert.ok((await present(key)).expires_at.getTime() > Date.now() + 29 * 86400_000)
})

// Ending

const races = counts(80, 1000)

test(`in ${races} races of a save against a destroy no session is revived`, async () => {
  const [saver, destroyer] = await pair()
  const [statuses, ended] = [new Set<string>(), new Set<number>()]
  for (let round = 0; round < races; round++) {
    const key = await create({ a: 1 })
    const saving = () => save(key, { set: '{"a":2}' }, saver)
    const destroying = () => count('session_destroy', { key }, destroyer)
    const [a, b] = round % 2 ? [saving(), destroying()] : [destroying(), saving()]
    for (const answer of await Promise.all([a, b])) {
      if (typeof answer === 'number') ended.add(answer)
      else statuses.add(answer.status)
    }
    const later = await save(key, { set: '{"a":3}' }, saver)
    if (later.status !== 'gone' || (await stored(key))) throw new Error(`Round ${round}: ${later.status}.`)
  }
  assert.equal([...ended], [1])
  assert.equal(
    [...statuses].filter((status) => status !== 'saved' && status !== 'gone'),
    [],
  )
})

for (const [kind, args] of [
  ['a merge', { set: '{"a":1}' }],
  ['a save at its version', { set: '{"a":1}', version: 1 }],
  ['a touch', { ttl: '90 days' }],
] as const) {
  test(`${kind} that waits for a destroy finds the session gone`, async () => {
    const key = await create()
    const { status } = await meanwhile(
      (client) => call('session_destroy', { key }, client),
      (client) => save(key, args, client),
    )
    assert.is(status, 'gone')
    assert.is(await stored(key), undefined)
  })

  test(`${kind} that waits for a regenerate finds the session gone, and the new key does not get it`, async () => {
    const [key, new_key] = [await create(), newKey()]
    const { status } = await meanwhile(
      (client) => call('session_regenerate', { key, new_key }, client),
      (client) => save(key, args, client),
    )
    assert.is(status, 'gone')
    assert.equal((await present(new_key)).data, {})
  })

  for (const [end, ending] of [
    ['destroy', (key: Buffer) => ({ name: 'session_destroy', args: { key } })],
    ['destroy of several', (key: Buffer) => ({ name: 'session_destroy', args: { keys: [key] } })],
    ['revoke', () => ({ name: 'session_revoke', args: { user_id: 'ada' } })],
  ] as const) {
    test(`a ${end} that waits for ${kind} ends the session it has changed`, async () => {
      const key = await create({}, { user_id: 'ada' })
      const { name, args: ended } = ending(key)
      const ends = await meanwhile(
        (client) => save(key, args, client),
        (client) => count(name, ended, client),
      )
      assert.is(ends, 1)
      assert.is(await stored(key), undefined)
    })
  }
}

test('a revoke that waits for a regenerate ends the session under its new key', async () => {
  const [key, new_key] = [await create({}, { user_id: 'ben' }), newKey()]
  const ended = await meanwhile(
    (client) => call('session_regenerate', { key, new_key }, client),
    (client) => count('session_revoke', { user_id: 'ben' }, client),
  )
  assert.is(await stored(new_key), undefined)
  assert.is(ended, 1)
})

test('a revoke by number that waits for a regenerate ends the session under its new key', async () => {
  const [key, new_key] = [await create({}, { user_id: 'cleo' }), newKey()]
  const { id } = await present(key)
  const ended = await meanwhile(
    (client) => call('session_regenerate', { key, new_key }, client),
    (client) => count('session_revoke', { user_id: 'cleo', id }, client),
  )
  assert.is(await stored(new_key), undefined)
  assert.is(ended, 1)
})

test('a revoke that waits for a session to change hands leaves it to its new user', async () => {
  const key = await create({}, { user_id: 'dora' })
  const ended = await meanwhile(
    (client) => save(key, { user_id: 'ed' }, client),
    (client) => count('session_revoke', { user_id: 'dora' }, client),
  )
  assert.is(ended, 0)
  assert.is((await present(key)).user_id, 'ed')
})

for (const args of [{}, { version: 1 }, { max_length: 0 }]) {
  test(`a save, ${JSON.stringify(args)}, that waits while its session is ended and begun anew is not told that it is too large`, async () => {
    const key = await create()
    const { status } = await meanwhile(
      async (client) => {
        await call('session_destroy', { key }, client)
        await save(key, { version: 0 }, client)
      },
      (client) => save(key, { set: '{"a":1}', ...args }, client),
    )
    assert.ok(status === 'gone' || status === 'saved', status)
  })
}

test('two callers that end one session count it once', async () => {
  const key = await create({}, { user_id: 'fay' })
  const ended = await meanwhile(
    (client) => call('session_destroy', { key }, client),
    (client) => count('session_revoke', { user_id: 'fay' }, client),
  )
  assert.is(ended, 0)
})

// Regenerating

test('of 8 callers that regenerate one session one wins, and 7 find it gone', async () => {
  const clients = await connections(8)
  for (let round = 0; round < 25; round++) {
    const key = await create({ round })
    const newKeys = clients.map(() => newKey())
    const answers = await Promise.all(
      clients.map(async (client, who) => {
        const [answer] = await call<Saved>('session_regenerate', { key, new_key: newKeys[who] }, client)
        return answer?.status ?? ''
      }),
    )
    assert.equal(answers.slice().sort(), [...Array(7).fill('gone'), 'saved'])
    const rows = await sql<{ key: Buffer }>('select key from pgstore.sessions where key = any ($1)', newKeys)
    assert.equal(
      rows.map((one) => one.key),
      [newKeys[answers.indexOf('saved')]],
    )
  }
})

test('two sessions that regenerate to one new key: the second is in conflict and stays as it was', async () => {
  const [first, second, new_key] = [await create({ n: 1 }), await create({ n: 2 }), newKey()]
  const [answer] = await meanwhile(
    (client) => call('session_regenerate', { key: first, new_key }, client),
    (client) => call<Saved>('session_regenerate', { key: second, new_key }, client),
  )
  assert.is(answer?.status, 'conflict')
  assert.equal([(await present(new_key)).data, (await present(second)).data], [{ n: 1 }, { n: 2 }])
})

test('two sessions that would trade their keys at once are both in conflict, and not in a deadlock', async () => {
  const [a, b] = [await create({ n: 1 }), await create({ n: 2 })]
  const [one, other] = await pair()
  for (const client of [one, other]) await client.query('begin')
  await save(a, { set: '{"held":1}' }, one)
  await save(b, { set: '{"held":1}' }, other)
  let isAnswered = false
  const regenerate = async (key: Buffer, new_key: Buffer, client: pg.Client) => {
    const [answer] = await call<Saved>('session_regenerate', { key, new_key }, client)
    isAnswered = true
    await client.query('commit')
    return answer?.status
  }
  const first = regenerate(a, b, one)
  await until(async () => isAnswered || (await isBlocked(one)))
  const statuses = await Promise.all([first, regenerate(b, a, other)])
  assert.equal(statuses, ['conflict', 'conflict'])
  assert.equal([(await present(a)).data['n'], (await present(b)).data['n']], [1, 2])
})

// Batches

/** Runs each of `works` over its own connection, `rounds` times or until one fails, and returns the SQLSTATEs of the failures. */
async function storm(rounds: number, works: readonly ((client: pg.Client) => Promise<unknown>)[]): Promise<string[]> {
  const states: string[] = []
  await Promise.all(
    works.map(async (work) => {
      const client = await connect()
      for (let round = 0; round < rounds && states.length === 0; round++) {
        await work(client).catch((error) => states.push(error.code ?? String(error)))
      }
    }),
  )
  return states
}

function saveAll(keys: readonly Buffer[], args: { version: number | null; user_id: string | null }, client: pg.Client) {
  return call<Saved>(
    'session_save',
    {
      keys,
      sets: keys.map(() => `{"n":${Math.random()}}`),
      unsets: keys.map(() => null),
      ttls: keys.map(() => '30 days'),
      versions: keys.map(() => args.version),
      user_ids: keys.map(() => args.user_id),
      max_length: 0,
      lifetime: null,
    },
    client,
  )
}

test('batches over the same sessions wait for nobody, and each row counts the saves that it took', async () => {
  const keys = await Promise.all(Array.from({ length: 40 }, () => create()))
  const merge = { version: null, user_id: null }
  const verdicts: string[] = []
  const batch = async (client: pg.Client, order: readonly Buffer[]) => {
    for (const { status } of await saveAll(order, merge, client)) verdicts.push(status)
  }
  const states = await storm(counts(20, 100), [
    (client) => batch(client, keys),
    (client) => batch(client, keys.toReversed()),
    (client) => batch(client, keys),
    (client) => batch(client, keys.toReversed()),
  ])
  assert.equal(states, [])
  assert.equal([...new Set(verdicts)].sort(), ['locked', 'saved'])
  const { saves } = await row(
    'select sum(version - 1)::integer as saves from pgstore.sessions where key = any ($1)',
    keys,
  )
  assert.is(saves, verdicts.filter((status) => status === 'saved').length)
})

test('a session locked elsewhere is not waited for: its saves return locked, in order, and the others are saved', async () => {
  const [held, free] = [await create(), await create()]
  const other = await connect()
  await other.query('begin')
  await other.query('select from pgstore.sessions where key = $1 for update', [held])
  const client = await connect()
  const rows = await saveAll([held, free, held], { version: null, user_id: null }, client)
  await other.query('rollback')
  const statuses = (key: Buffer) => rows.filter((one) => one.key?.equals(key)).map(({ status }) => status)
  assert.equal([statuses(held), statuses(free)], [['locked', 'locked'], ['saved']])
  assert.is((await present(held)).version, 1)
  const [after] = await saveAll([held], { version: null, user_id: null }, client)
  assert.is(after?.status, 'saved')
})

test('batches that create, destroy and revoke the same sessions do not wait either', async () => {
  const keys = Array.from({ length: 40 }, newKey)
  const creation = { version: 0, user_id: 'storm' }
  const states = await storm(counts(20, 100), [
    (client) => saveAll(keys, creation, client),
    (client) => saveAll(keys.toReversed(), creation, client),
    (client) => saveAll(keys.toReversed(), { version: null, user_id: null }, client),
    (client) => call('session_destroy', { keys: keys.toReversed() }, client),
    (client) => call('session_destroy', { keys: keys.slice(10) }, client),
    (client) => call('session_revoke', { user_id: 'storm' }, client),
    (client) => call('session_revoke', { user_id: 'storm', except: keys[0] }, client),
    (client) => call('purge_expired', { limit: 10 }, client),
  ])
  assert.equal(states, [])
})

test.run()
