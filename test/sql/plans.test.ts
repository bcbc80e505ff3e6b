// Plans: made while the table was empty, they are right for a full one, and a log of them shows no session's data.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeEverything, connect, newKey } from './calls.ts'

test.after(closeEverything)

const key = () => `'\\x${newKey().toString('hex')}'::bytea`
const keys = () => `array[${key()}, ${key()}]`
const array = 'pgstore.session_save'

/** Each function that looks for sessions, as a statement. */
const calls: Record<string, () => string> = {
  'session_get lone': () => `pgstore.session_get(${key()})`,
  'session_get array': () => `pgstore.session_get(${keys()})`,
  'session_save lone': () => `pgstore.session_save(${key()}, '{"card": "SECRET"}')`,
  'session_save create': () => `pgstore.session_save(${key()}, '{"card": "SECRET"}', p_version => 0)`,
  'session_save array': () =>
    `${array}(${keys()}, array['{"card": "SECRET"}', '{"card": "SECRET"}']::jsonb[], array[null, null]::jsonb[], array['1 day', '1 day']::interval[], array[null, 0]::integer[], array[null, null]::text[], 4096, null)`,
  session_destroy: () => `pgstore.session_destroy(${key()})`,
  'session_destroy array': () => `pgstore.session_destroy(${keys()})`,
  session_try_destroy: () => `pgstore.session_try_destroy(${keys()})`,
  session_regenerate: () => `pgstore.session_regenerate(${key()}, ${key()})`,
  session_revoke: () => `pgstore.session_revoke('nobody')`,
  session_revoke_tag: () => `pgstore.session_revoke_tag('nothing')`,
  session_list: () => `pgstore.session_list('nobody')`,
  session_limit: () => `pgstore.session_limit('nobody', 1)`,
  purge_expired: () => 'pgstore.purge_expired(10)',
}

test('C1: plans that were made for an empty table never read all of a full one', async () => {
  const client = await connect()
  await client.query('alter table pgstore.sessions set (autovacuum_enabled = off)')
  await client.query('delete from pgstore.sessions')
  await client.query('vacuum pgstore.sessions')
  for (const statement of Object.values(calls)) {
    for (let i = 0; i < 6; i++) await client.query(`select * from ${statement()}`)
  }
  await client.query(
    `insert into pgstore.sessions (id, created_at, purge_at, key, user_id, data, updated_at, version, expires_at, seen_at, tags)
     select n, now(), now() + interval '1 day', sha256(n::text::bytea), 'user ' || n, '{}', now(), 1, now() + interval '1 day', now(),
       case when n % 10 = 0 then array['tag ' || n] end
     from generate_series(1, 20000) as n`,
  )
  const scans = async () =>
    Number((await client.query("select pg_stat_get_xact_numscans('pgstore.sessions'::regclass) as n")).rows[0].n)
  await client.query('begin')
  for (const [name, statement] of Object.entries(calls)) {
    const before = await scans()
    for (let i = 0; i < 3; i++) await client.query(`select * from ${statement()}`)
    assert.is(await scans(), before, name)
  }
  await client.query('select count(data) from pgstore.sessions')
  assert.ok((await scans()) > 0) // it counts
  await client.query('rollback')
})

test('B8: auto_explain with nested statements shows no value of a session', async () => {
  const client = await connect()
  const notices: string[] = []
  client.on('notice', ({ message, detail }) => notices.push(`${message} ${detail}`))
  await client.query("load 'auto_explain'")
  for (const setting of ['log_nested_statements = on', 'log_analyze = on', 'log_min_duration = 0']) {
    await client.query(`set auto_explain.${setting}`)
  }
  // Postgres 15 has no such setting, and shows no parameters.
  await client.query(
    "select set_config(name, '0', false) from pg_settings where name = 'auto_explain.log_parameter_max_length'",
  )
  await client.query('set client_min_messages = log')
  for (let i = 0; i < 8; i++) {
    const saved = newKey()
    const lone = 'select status from pgstore.session_save($1, $2, p_version => $3)'
    for (const version of [0, null]) await client.query(lone, [saved, '{"card": "SECRET"}', version])
    await client.query(
      `select status from ${array}($1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], 4096, null)`,
      [
        [saved, newKey()],
        ['{"card": "SECRET"}', '{"card": "SECRET"}'],
        [null, null],
        ['1 day', '1 day'],
        [null, 0],
        [null, null],
      ],
    )
    await client.query('select * from pgstore.session_get($1::bytea)', [saved])
    await client.query('select * from pgstore.session_get($1::bytea[])', [[saved]])
  }
  assert.ok(notices.some((notice) => notice.includes('sessions')))
  assert.equal(
    notices.filter((notice) => notice.includes('SECRET')),
    [],
  )
})

test.run()
