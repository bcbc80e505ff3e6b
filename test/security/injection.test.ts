// The drill: an application with a hole through which anyone can run SQL as its role, which has only *client*.
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { clientUrl, closeAll, row, sql, testStore } from '../support/harness.ts'
import { requirement } from './requirement.ts'
import { keyOf, newVisitor, tokenOf } from './visitors.ts'

/** The application's one pool: its own queries and its sessions. */
const pool = new pg.Pool({ connectionString: clientUrl, max: 4 })
pool.on('error', () => {})
const store = testStore({ pool })
const secret = 'the-secret-of-a-victim'

/** A search as it should never be written; it answers with the rows, or with the error. */
const server = http.createServer((req, res) => void answer(req, res))

async function answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
  const words = new URL(req.url ?? '', 'http://localhost').searchParams.get('q') ?? ''
  const session = await store.get(req, 'sid')
  session.values['searched'] = true
  await store.save(req, res, session)
  const found = await pool.query(`select '${words}' as found`).then(
    (result) => [result].flat().map(({ rows }) => rows),
    (error) => ({ code: error.code, message: error.message, detail: error.detail, where: error.where }),
  )
  res.end(JSON.stringify(found))
}
let address = ''

test.before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
test.after(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await pool.end()
  await closeAll()
})

/** The result of this SQL through the hole. */
async function inject(statement: string): Promise<string> {
  const response = await fetch(`${address}/?q=${encodeURIComponent(`'; ${statement}; --`)}`)
  return await response.text()
}

/** Victims at work, of whom the attacker knows nothing. */
async function victims(count: number) {
  return await Promise.all(Array.from({ length: count }, (_, n) => newVisitor(store, { secret, n }, `victim ${n}`)))
}

requirement('S30', 'drill: injected SQL runs, as the application’s role', async () => {
  assert.match(await inject('select current_user as who'), new URL(clientUrl).username)
})

requirement('S30', 'drill: injected SQL finds no session, however it looks for one', async () => {
  const sessions = await victims(5)
  const tokens = sessions.map((visitor) => tokenOf(store, visitor))
  const keys = tokens.map((token) => keyOf(token).toString('hex'))
  const attacks = [
    'select * from pgstore.sessions',
    'table pgstore.sessions',
    'select data::text from pgstore.sessions limit 1',
    'select s from pgstore.sessions as s where s.data is not null',
    'copy pgstore.sessions to stdout',
    'select * from pgstore.session_get(array(select key from pgstore.sessions))',
    'select * from pgstore.session_get(null::bytea[])',
    `select * from pgstore.session_get('\\x'::bytea)`,
    `select * from pgstore.session_get('{}'::bytea[])`,
    `select pgstore.session_list(u) from unnest(array['', '%', '*', 'null', null, ''' or true --']) as u`,
    'select pgstore.session_list(user_id) from pgstore.sessions',
    `select * from pg_stats where schemaname = 'pgstore'`,
    `select * from pg_statistic`,
    `select query_to_xml('select * from pgstore.sessions', true, false, '')`,
    `select table_to_xml('pgstore.sessions', true, false, '')`,
    `select schema_to_xml('pgstore', true, false, '')`,
    `explain analyze select * from pgstore.sessions`,
    `do $$ declare r record; begin for r in select * from pgstore.sessions loop raise notice '%', r; end loop; end $$`,
    `create function pg_temp.f() returns setof pgstore.sessions language sql security definer as 'select * from pgstore.sessions'`,
    `select * from pg_get_functiondef('pgstore.session_get(bytea)'::regprocedure)`,
    `select pgstore.session_key('${secret}')`,
    `select pgstore.session_announce('revoked', array[1])`,
    `select pgstore.count_expired()`,
    `select pgstore.purge_expired()`,
    `select * from pg_ls_waldir()`,
    `select pg_read_binary_file('base/1/1259')`,
    `select * from pg_get_wal_records_info('0/1', '0/2')`,
    `select * from get_raw_page('pgstore.sessions', 0)`,
    'set role postgres; select * from pgstore.sessions',
    'reset role; reset session authorization; select * from pgstore.sessions',
    'begin; set transaction isolation level serializable; select * from pgstore.sessions',
    'listen pgstore_sessions; select pg_notification_queue_usage()',
    'select * from pg_prepared_statements',
    'select * from pg_cursors',
    `select pg_logical_slot_get_changes('x', null, null)`,
    `select lo_from_bytea(0, '\\x00'); select * from pg_largeobject`,
  ]
  for (const attack of attacks) {
    const answer = await inject(attack)
    const found = [secret, 'victim', ...tokens, ...keys].filter(
      (text) => answer.includes(text) && !attack.includes(text),
    )
    assert.equal(found, [], `${attack}: ${answer}`)
  }
  const stored = await row(`select count(*)::integer as n from pgstore.sessions where user_id like 'victim%'`)
  assert.is(stored['n'], 5)
  for (const visitor of sessions) assert.is((await store.get(visitor.request(), 'sid')).isNew, false)
})

requirement('S30', 'drill: what the server shows of others’ queries contains no token, key or value', async () => {
  const seen: string[] = []
  let isOver = false
  const tokens: string[] = []
  const working = (async () => {
    for (let round = 0; round < 10; round++) {
      const sessions = await victims(10)
      for (const visitor of sessions) tokens.push(tokenOf(store, visitor))
      await Promise.all(
        sessions.map((visitor) =>
          visitor.visit(store, (session) => {
            session.values['again'] = secret
          }),
        ),
      )
    }
    isOver = true
  })()
  while (!isOver) seen.push(await inject('select query, usename, application_name, client_port from pg_stat_activity'))
  await working
  const all = seen.join('\n')
  assert.match(all, 'pgstore.session_') // they are seen, with $1 in place of secrets
  const leaked = [secret, ...tokens, ...tokens.map((token) => keyOf(token).toString('hex'))]
  assert.equal(
    leaked.filter((text) => all.includes(text)),
    [],
  )
})

requirement('S30', 'drill: guessed numbers, keys and tokens do not work: 1,000 guesses find nothing', async () => {
  await victims(3)
  const answer = await inject(
    `select count(*) from generate_series(1, 1000) as n, pgstore.session_get(sha256(n::text::bytea)) as s`,
  )
  assert.match(answer, '"count":"0"')
  const byId = await inject(
    `select pgstore.session_revoke('', id) from generate_series(1::bigint, 1000) as id where pgstore.session_revoke('', id) > 0`,
  )
  assert.not.match(byId, 'session_revoke')
})

requirement(
  'S30',
  'drill: what remains is said in SECURITY.md: by a user’s id, the data of their sessions and their end, and no way in',
  async () => {
    const victim = await newVisitor(store, { secret }, 'known-by-name')
    const answer = await inject(`select * from pgstore.session_list('known-by-name', true)`)
    assert.match(answer, secret) // seal: true leaves names and sizes; or revoke EXECUTE on session_list if no page needs it
    const token = tokenOf(store, victim)
    for (const text of [token, keyOf(token).toString('hex'), keyOf(token).toString('base64')]) {
      assert.is(answer.includes(text), false)
    }
    await inject(`select pgstore.session_revoke('known-by-name')`)
    assert.is((await store.get(victim.request(), 'sid')).isNew, true)
  },
)

requirement(
  'S30',
  'drill: not even that works without session_list and session_revoke, which only a page of devices needs',
  async () => {
    const role = new URL(clientUrl).username
    const functions = 'pgstore.session_list(text, boolean), pgstore.session_revoke(text, bigint, bytea, text)'
    await sql(`revoke execute on function ${functions} from ${role}`)
    try {
      const victim = await newVisitor(store, { secret }, 'known-by-name')
      assert.match(await inject(`select * from pgstore.session_list('known-by-name')`), '42501')
      assert.match(await inject(`select pgstore.session_revoke('known-by-name')`), '42501')
      assert.is((await store.get(victim.request(), 'sid')).isNew, false)
    } finally {
      await sql(`grant execute on function ${functions} to ${role}`)
    }
  },
)

requirement(
  'S30',
  'drill: statements that an attacker prepares do not reach a store with its own connections, nor one that prepares none',
  async () => {
    const own = testStore({ connectionString: clientUrl, batch: false })
    const unprepared = testStore({ pool, batch: false, prepare: false })
    const preparing = testStore({ pool, batch: false, prepare: true })
    const visitor = await newVisitor(own, { true: true })
    const read = async (from: typeof own) => (await from.get(visitor.request(), 'sid')).userId
    // On every connection of the application's pool, the read that is prepared there becomes the attacker's.
    const forged = `select '1', 'admin', '{}', '1', '1', '1', '9999999999', '1'`
    await Promise.all(Array.from({ length: 8 }, () => read(preparing)))
    const names = [
      ...new Set(
        (await inject(`select name from pg_prepared_statements where statement like '%session_get($1%'`)).match(
          /pgstore_\w{16}/g,
        ),
      ),
    ]
    assert.is(names.length, 1)
    await Promise.all(
      Array.from({ length: 8 }, () =>
        inject(`deallocate all; prepare ${names[0]} (bytea) as ${forged} where $1 is not null; select pg_sleep(0.1)`),
      ),
    )
    assert.is(await read(preparing), 'admin') // so much for sharing a pool with a query like that: docs/operations.md
    for (let i = 0; i < 8; i++) assert.equal([await read(own), await read(unprepared)], [undefined, undefined])
  },
)

test.run()
