// Plans: those made while the table was empty suit a full one, and logged plans show no session data.
import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { call, closeClients, closeEverything, connect, newKey, save } from './calls.ts'

test.after.each(closeClients)
test.after(closeEverything)

// C1

const literal = (key: Buffer) => `'\\x${key.toString('hex')}'::bytea`
const unknownKey = () => literal(newKey())
const two = `array['{"a":1}', '{"a":1}']::jsonb[]`
const days = `array['1 day', '1 day']::interval[]`
let user = 100
const former = () => `sha256('former ${user++}'::bytea)`

/** Each function that looks for sessions, as a call on the keys that `key` gives. */
const lookups: Readonly<Record<string, (key: () => string) => string>> = {
  'session_get lone': (key) => `session_get(${key()})`,
  'session_get array': (key) => `session_get(array[${key()}, ${key()}])`,
  'session_get array of 100': (key) => `session_get(array[${Array.from({ length: 100 }, key).join()}])`,
  'session_save lone': (key) => `session_save(${key()}, '{"a":1}')`,
  'session_save touch': (key) => `session_save(${key()})`,
  'session_save at a version': (key) => `session_save(${key()}, '{"a":1}', p_version => 9)`,
  'session_save too large': (key) => `session_save(${key()}, '{"abc":1}', p_max_length => 2)`,
  'session_save create': (key) => `session_save(${key()}, '{"a":1}', p_version => 0)`,
  'session_save array': (key) =>
    `session_save(array[${key()}, ${key()}], ${two}, array[null, null]::jsonb[], ${days}, array[null, 0]::integer[], array[null, null]::text[], 4096, null)`,
  'session_save array, one by one': (key) =>
    `session_save(array[${key()}, ${key()}], ${two}, array['["x"]', null]::jsonb[], ${days}, array[null, 9]::integer[], array[null, 'u']::text[], 4096, null)`,
  'session_destroy lone': (key) => `session_destroy(${key()})`,
  'session_destroy array': (key) => `session_destroy(array[${key()}, ${key()}])`,
  session_try_destroy: (key) => `session_try_destroy(array[${key()}, ${key()}])`,
  'session_destroy lone by a former key': () => `session_destroy(${former()})`,
  'session_destroy array by former keys': () => `session_destroy(array[${former()}, ${former()}])`,
  'session_try_destroy by former keys': () => `session_try_destroy(array[${former()}, ${former()}])`,
  session_regenerate: (key) => `session_regenerate(${key()}, ${unknownKey()})`,
  'session_regenerate with a save': (key) =>
    `session_regenerate(${key()}, ${unknownKey()}, '1 day', 'u', null, '{"a":1}', '{}', 4096, null)`,
  'session_regenerate to a key that may exist': (key) => `session_regenerate(${key()}, ${key()})`,
  'session_save with lives': (key) =>
    `session_save(${key()}, '{"a":1}', '{}', '1 day', null, null, 4096, null, null, null, false, false, '{"a":60}')`,
  'session_take of a value': (key) => `session_take(${key()}, 'a')`,
  'session_take of all': (key) => `session_take(${key()}, null)`,
  session_increment: (key) => `session_increment(${key()}, 'n')`,
  session_put: (key) => `session_put(${key()}, '{"a":1}')`,
  session_bind: (key) => `session_bind(${key()}, 5, ${unknownKey()}, 'ES256', ${unknownKey()})`,
  session_binding: (key) => `session_binding(${key()})`,
  'session_binding of a former key': () => `session_binding(${former()})`,
  session_rebind: (key) => `session_rebind(${key()}, ${unknownKey()}, ${unknownKey()}, '300 seconds')`,
  session_unbound: (key) => `session_unbound(${key()}, ${unknownKey()}, true)`,
  session_revoke: () => `session_revoke('user ${user++}')`,
  'session_revoke of one': () => `session_revoke('user ${user++}', 5)`,
  'session_revoke but one': (key) => `session_revoke('user ${user++}', null, ${key()})`,
  session_revoke_tag: () => `session_revoke_tag('tag ${user++}')`,
  session_list: () => `session_list('user ${user++}', true)`,
  session_limit: () => `session_limit('user ${user++}', 1)`,
  session_changed: () => `session_changed('user ${user++}')`,
  session_all: (key) => `session_all(${key()}, 5)`,
  session_clear: () => 'session_clear(2)',
  purge_expired: () => 'purge_expired(10)',
  session_enter: (key) => `session_enter(${key()})`,
  session_history: () => `session_history('user ${user++}')`,
  endings_take: () => `endings_take('c', array[7, 8], 'h')`,
}

/** What this transaction has read of sessions: scans of the whole table, and entries of its indexes. */
async function reads(client: pg.Client): Promise<{ scans: number; entries: number }> {
  const { rows } = await client.query(
    `select pg_stat_get_xact_numscans('pgstore.sessions'::regclass)::integer as scans,
       sum(pg_stat_get_xact_tuples_returned(indexrelid))::integer as entries
     from pg_index where indrelid = 'pgstore.sessions'::regclass`,
  )
  return rows[0]
}

for (const [kind, isThere] of [
  ['are there', true],
  ['are not', false],
] as const) {
  test(`C1: plans that were made for an empty table look up what they need of a full one, for keys that ${kind}`, async () => {
    const client = await connect()
    await client.query('alter table pgstore.sessions set (autovacuum_enabled = off)')
    await client.query('delete from pgstore.sessions')
    await client.query('vacuum analyze pgstore.sessions')
    for (const lookup of Object.values(lookups)) {
      for (let i = 0; i < 6; i++) await client.query(`select from pgstore.${lookup(unknownKey)}`)
    }
    await client.query('delete from pgstore.sessions')
    await client.query(
      `insert into pgstore.sessions (id, created_at, purge_at, key, user_id, data, updated_at, version, expires_at, seen_at, tags, former_keys)
       select n, now(), now() + interval '1 day', sha256(n::text::bytea), 'user ' || n, '{}', now(), 1, now() + interval '1 day',
         now(), case when n % 10 = 0 then array['tag ' || n] end,
         array[sha256(('former ' || n)::bytea), sha256(('first ' || n)::bytea)]
       from generate_series(1, 20000) as n`,
    )
    let next = 10_000
    const key = isThere ? () => `sha256('${next++}'::bytea)` : unknownKey
    await client.query('begin')
    for (const [name, lookup] of Object.entries(lookups)) {
      const before = await reads(client)
      for (let i = 0; i < 3; i++) await client.query(`select from pgstore.${lookup(key)}`)
      const { scans, entries } = await reads(client)
      assert.is(scans, before.scans, name)
      // An index that does not lead to the key is read as a whole: 20,000 entries a call.
      assert.ok(entries - before.entries < 1000, `${name} read ${entries - before.entries} entries`)
    }
    const before = await reads(client)
    await client.query('select count(data) from pgstore.sessions')
    assert.ok((await reads(client)).scans > before.scans) // it counts
    assert.ok(before.entries > 0)
    await client.query('rollback')
  })
}

// B8

const secret = 'SECRET'
const set = `{"card": "${secret}"}`
const unset = [`${secret} name`]
const owner = `${secret} user`
const about = { label: `{"agent": "${secret}"}`, tags: [`${secret} tag`] }

async function created(client: pg.Client): Promise<Buffer> {
  const key = newKey()
  await save(key, { set, version: 0, user_id: owner, ...about }, client)
  return key
}

/** An array call of two saves. */
async function saveTwo(client: pg.Client, key: Buffer, args: object): Promise<void> {
  const plain = { unsets: [null, null], versions: [null, null], user_ids: [null, null] }
  const sets = { keys: [key, newKey()], sets: [set, set], ttls: ['1 day', '1 day'] }
  await call('session_save', { ...sets, ...plain, max_length: 4096, lifetime: '9 days', ...args }, client)
}

/** The long form of session_save, which gives lives. */
async function saveLives(client: pg.Client, key: Buffer, seconds: number): Promise<void> {
  const [ttl, lives] = ['1 day', JSON.stringify({ card: seconds, [`${secret} name`]: 60 })]
  const rest = {
    user_id: null,
    max_length: 4096,
    lifetime: null,
    label: null,
    tags: null,
    announce: false,
    relaxed: false,
  }
  await call('session_save', { key, set, unset: [], ttl, version: null, ...rest, lives }, client)
}

/** Every function that sees data, a user, a label or a tag, with each outcome that runs different statements. */
const works: Readonly<Record<string, (client: pg.Client, key: Buffer) => Promise<unknown>>> = {
  'a creation that conflicts': async (client, key) => await save(key, { set, version: 0, user_id: owner }, client),
  'a merge': async (client, key) => await save(key, { set, unset, user_id: owner, ...about }, client),
  'a merge that announces, relaxed': async (client, key) =>
    await save(key, { set, announce: true, relaxed: true }, client),
  'a merge that conflicts': async (client, key) => await save(key, { set, version: 77 }, client),
  'a merge that is too large': async (client, key) => await save(key, { set, max_length: 1 }, client),
  'a merge that finds nothing': async (client) => await save(newKey(), { set }, client),
  'a touch': async (client, key) => await save(key, {}, client),
  'an array of merges': async (client, key) => await saveTwo(client, key, {}),
  'an array of creations': async (client, key) => await saveTwo(client, key, { versions: [0, 0] }),
  'an array that goes one by one': async (client, key) =>
    await saveTwo(client, key, { unsets: [JSON.stringify(unset), null], user_ids: [owner, owner] }),
  session_get: async (client, key) => await call('session_get', { key }, client),
  'session_get of several': async (client, key) => await call('session_get', { keys: [key, newKey()] }, client),
  session_list: async (client) => await call('session_list', { user_id: owner, data: true }, client),
  session_all: async (client) => await call('session_all', {}, client),
  session_stats: async (client) => await call('session_stats', {}, client),
  session_changed: async (client) => await call('session_changed', { user_id: owner }, client),
  session_limit: async (client, key) => await call('session_limit', { user_id: owner, max: 1, except: key }, client),
  session_regenerate: async (client) => {
    const key = await created(client)
    await call('session_regenerate', { key, new_key: newKey(), user_id: owner }, client)
  },
  'session_regenerate with a save, twice': async (client, key) => {
    const old = await created(client)
    const args = { ttl: '1 day', user_id: owner, lifetime: '9 days', set, unset, max_length: 4096, version: null }
    await call('session_regenerate', { key: old, new_key: key, ...args }, client) // there is one
    await call('session_regenerate', { key: old, new_key: newKey(), ...args, ...about }, client)
  },
  session_destroy: async (client) => await call('session_destroy', { key: await created(client) }, client),
  'session_destroy of several': async (client) =>
    await call('session_destroy', { keys: [await created(client), newKey()] }, client),
  session_try_destroy: async (client) =>
    await call('session_try_destroy', { keys: [await created(client), newKey()] }, client),
  session_revoke_tag: async (client, key) =>
    await call('session_revoke_tag', { tag: about.tags[0], except: key }, client),
  session_revoke: async (client) => await call('session_revoke', { user_id: owner }, client),
  'session_save with lives, and what comes after': async (client) => {
    const key = await created(client)
    await saveLives(client, key, 0.001)
    await call('session_get', { key }, client)
    await save(key, { set: '{"n":1}' }, client)
    await saveLives(client, key, 60)
    await save(key, { set: '{"n":2}', unset }, client)
    await call('session_increment', { key, name: 'n' }, client)
    await call('session_take', { key, name: 'n' }, client)
  },
  session_take: async (client) => await call('session_take', { key: await created(client), name: 'card' }, client),
  'session_take of all': async (client) =>
    await call('session_take', { key: await created(client), name: null }, client),
  session_increment: async (client, key) => await call('session_increment', { key, name: `${secret} n` }, client),
  'session_increment of what is not there': async (client) =>
    await call('session_increment', { key: newKey(), name: `${secret} n` }, client),
  session_put: async (client, key) => await call('session_put', { key, data: set, user_id: owner }, client),
  'session_put of what is not there': async (client) =>
    await call('session_put', { key: newKey(), data: set, user_id: owner }, client),
  purge_expired: async (client) => await call('purge_expired', {}, client),
  session_clear: async (client) => {
    await created(client)
    await call('session_clear', { limit: 1 }, client)
  },
}

/** A connection that receives what the server logs of its statements, with the settings recommended by docs/operations.md. */
async function explained(): Promise<{ client: pg.Client; log: string[] }> {
  const client = await connect()
  const log: string[] = []
  client.on('notice', ({ message, detail }) => log.push(`${message} ${detail}`))
  await client.query("load 'auto_explain'")
  for (const name of ['log_nested_statements', 'log_analyze', 'log_buffers', 'log_triggers', 'log_settings']) {
    await client.query(`set auto_explain.${name} = on`)
  }
  await client.query('set auto_explain.log_min_duration = 0')
  // Postgres 15 has no such setting, and shows no parameters.
  await client.query(
    "select set_config(name, '0', false) from pg_settings where name = 'auto_explain.log_parameter_max_length'",
  )
  await client.query('set log_parameter_max_length = 0')
  await client.query('set client_min_messages = log')
  return { client, log }
}

test('B8: plans that auto_explain logs show no value of a session, whichever function and outcome', async () => {
  const { client, log } = await explained()
  for (let round = 0; round < 8; round++) {
    const key = await created(client)
    for (const [name, work] of Object.entries(works)) {
      log.length = 0
      await work(client, key)
      assert.ok(
        log.some((text) => /sessions/.test(text)),
        `${name}: no plan of a statement on the table was logged`,
      )
      assert.equal(
        log.filter((text) => text.includes(secret)),
        [],
        `${name}, round ${round}`,
      )
    }
  }
})

// Until 17 a scan that is switched off, and has no other way, costs so much that the server compiles its plan: 60 ms a call.
test('no call makes a server with a just-in-time compiler compile its plans', async () => {
  const { client, log } = await explained()
  await client.query(`select from pgstore.session_end_before('tag:none')`)
  const compiled: string[] = []
  for (const [name, lookup] of Object.entries(lookups)) {
    log.length = 0
    await client.query(`select from pgstore.${lookup(unknownKey)}`)
    if (log.some((text) => /\bJIT:/.test(text))) compiled.push(name)
  }
  assert.equal(compiled, [])
})

test('B8: plans that are made for their values do show them, and this test would see it', async () => {
  const { client, log } = await explained()
  const key = await created(client)
  await client.query('begin')
  const { rows } = await client.query(
    `select oid::regprocedure as name from pg_proc where proname = 'session_save' and pronamespace = 'pgstore'::regnamespace`,
  )
  for (const { name } of rows) await client.query(`alter function ${name} reset plan_cache_mode`)
  log.length = 0
  await save(key, { set }, client)
  await client.query('rollback')
  assert.ok(log.some((text) => text.includes(secret)))
})

test.run()
