// The drill for transactions that know whose session they work for: an application with a hole, whose work runs as a role that has
// only *entry*. Thousands of generated injections on connections that visitors share, each after what the ones before left there.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { TransactionClient } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { randomFrom } from '../cache/world.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, databaseUrl, sql, testStore, type Visitor } from '../support/harness.ts'
import { startPooler } from '../support/pooler.ts'
import { requirement } from './requirement.ts'
import { keyOf, newVisitor, tokenOf } from './visitors.ts'

const role = `pgstore_test_${randomBytes(6).toString('hex')}`
const password = randomBytes(12).toString('hex')
const entryUrl = Object.assign(new URL(databaseUrl), { username: role, password }).href

const store = testStore()
const pools: pg.Pool[] = []

/** Few connections, so that attacks and visitors meet on them. */
function shared(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 2 })
  pool.on('error', () => {})
  pools.push(pool)
  return pool
}

test.before(async () => {
  const database = new URL(databaseUrl).pathname.slice(1)
  await sql(`create role ${role} login password '${password}'`)
  await sql(`grant connect on database ${database} to ${role}`)
  for (const statement of grantStatements(role, ['entry'], 'pgstore')) await sql(statement)
  // The second table's policy believes the setting, as policies do elsewhere: what finds no hole there would find none here.
  for (const [table, owner] of [
    ['notes', '(select pgstore.current_session_user())'],
    ['naive', `split_part(current_setting('pgstore.entered', true), ':', 3)`],
  ]) {
    await sql(`create table public.${table} (owner text not null, body text not null)`)
    await sql(`alter table public.${table} enable row level security`)
    await sql(`create policy own on public.${table} using (owner = ${owner})`)
    const roles = `${role}, ${new URL(clientUrl).username}`
    await sql(`grant usage on schema public to ${roles}`)
    await sql(`grant select, insert, update, delete on public.${table} to ${roles}`)
  }
})

test.after(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
  await sql('drop table public.notes, public.naive')
  await sql(`drop owned by ${role} cascade`)
  await sql(`drop role ${role}`)
  await closeAll()
})

/** What a victim's rows hold, and nothing else may show. */
const marker = (n: number) => `secret of victim ${n}`
const victims = 3

/** Visitors with a row each; the attacker knows the users' names and sessions' numbers, which are no secrets. */
async function people(): Promise<{ attacker: Visitor; others: Visitor[]; ids: string[] }> {
  const attacker = await newVisitor(store, {}, 'attacker')
  const others: Visitor[] = []
  const ids: string[] = []
  for (const table of ['notes', 'naive']) await sql(`truncate public.${table}`)
  for (let n = 0; n < victims; n++) {
    const visitor = await newVisitor(store, {}, `victim ${n}`)
    others.push(visitor)
    ids.push((await store.get(visitor.request(), 'sid')).id ?? '')
    await sql('insert into public.notes values ($1, $2)', `victim ${n}`, marker(n))
    await sql('insert into public.naive values ($1, $2)', `victim ${n}`, `naive of victim ${n}`)
  }
  for (const table of ['notes', 'naive']) await sql(`insert into public.${table} values ('attacker', 'own')`)
  return { attacker, others, ids }
}

interface Aims {
  readonly key: string
  readonly ids: readonly string[]
  /** Settings that were seen in other transactions. */
  readonly seen: readonly string[]
  /** The role may sign anyone in, which is what an application is for: that is no forgery, and why there is *entry*. */
  readonly canSignIn: boolean
}

/** One injection: a few statements, from all that such an attacker could think of. */
function injection(random: () => number, { key, ids, seen, canSignIn }: Aims): string[] {
  const below = (most: number) => Math.floor(random() * most)
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)] as Item
  const victim = below(victims)
  const note = `${ids[victim]}:victim ${victim}`
  const old = pick(seen.length > 0 ? seen : ['x'])
  const digest = (what: string) => `encode(sha256(${what}), 'hex')`
  const bound = `int4send(pg_backend_pid()) || timestamptz_send(transaction_timestamp()) || convert_to('${note}', 'UTF8')`
  const forged = pick([
    `'${'0'.repeat(64)}:${note}'`,
    `'${old}'`,
    `'${old.slice(0, 65)}${note}'`,
    `left(current_setting('pgstore.entered', true), 65) || '${note}'`,
    `current_setting('pgstore.entered', true) || ':${note}'`,
    `${digest(bound)} || ':${note}'`,
    `${digest(`sha256(${bound})`)} || ':${note}'`,
    `${digest(`''::bytea || sha256(''::bytea || ${bound})`)} || ':${note}'`,
    `pgstore.entry_proof(''::bytea, '${note}') || ':${note}'`,
    `pgstore.entry_proof(null, '${note}') || ':${note}'`,
    `(select pgstore.entry_proof(newest, '${note}') || ':${note}' from pgstore.entry_keys)`,
    `''`,
    `'victim ${victim}'`,
  ])
  const anyKey = pick([
    `'\\x${key}'`,
    `decode('${randomBytes(32).toString('hex')}', 'hex')`,
    `sha256('victim ${victim}')`,
    `sha256('mine')`,
    `'\\x'`,
    'null',
    `(select key from pgstore.sessions where user_id = 'victim ${victim}')`,
    `(select decode(substring(query from '[0-9a-f]{64}'), 'hex') from pg_stat_activity where query ~ '[0-9a-f]{64}' limit 1)`,
  ])
  const look = () =>
    pick([
      both,
      'table public.naive',
      'table public.notes',
      `select body from public.notes where owner = 'victim ${victim}'`,
      'explain (analyze, verbose) select * from public.notes',
      'copy public.notes to stdout',
      'update public.notes set body = body returning body',
      `update public.notes set owner = 'attacker' returning *`,
      'delete from public.notes returning body',
      `insert into public.notes values ('victim ${victim}', 'planted')`,
      'select count(*), max(body) from public.notes',
      `select query_to_xml('select * from public.notes', true, false, '')`,
      'select * from public.notes as n where pg_temp.leak(n.body)',
      'execute look',
      'fetch all from kept',
    ])
  const both = 'select * from public.notes union all select * from public.naive'
  const forge = () => `select set_config('pgstore.entered', ${forged}, ${pick(['true', 'false'])})`
  const signIn = () =>
    `select status from pgstore.session_save(sha256('mine'), '{}', p_version => 0, p_user_id => 'victim ${victim}')`
  const steps: readonly (() => string)[] = [
    look,
    look,
    look,
    forge,
    forge,
    forge,
    forge,
    () => `set ${pick(['local', 'session'])} pgstore.entered = '${old}'`,
    () => pick(['reset pgstore.entered', 'reset all', 'discard all', 'discard plans', 'discard temp']),
    () => `select * from pgstore.session_enter(${anyKey})`,
    () => `select pgstore.session_enter(${anyKey}), (select string_agg(body, ',') from public.notes)`,
    () =>
      pick([
        'set role postgres',
        `set local role ${role}`,
        'reset role',
        'set session authorization default',
        'set role none',
      ]),
    () =>
      pick(['savepoint a', 'rollback to savepoint a', 'release savepoint a', 'rollback', 'commit', 'begin', 'abort']),
    () =>
      pick(['commit; begin', 'rollback; begin isolation level serializable', 'commit and chain', 'rollback and chain']),
    () => pick(['prepare look as select * from public.notes', 'deallocate all', 'execute look']),
    () => `prepare ${pick(['begin', 'enter', 'pgstore_enter', '""'])} as select * from public.notes`,
    () => 'declare kept cursor with hold for select * from public.notes',
    () =>
      pick(['set row_security = off', 'set session row_security = off', 'set plan_cache_mode = force_generic_plan']),
    () =>
      pick([
        'set search_path = pg_temp, public',
        'set search_path = pg_temp, pg_catalog',
        'set local search_path = public',
      ]),
    () => `create temp table if not exists notes as select 'victim ${victim}'::text as owner, 'x'::text as body`,
    () =>
      `create or replace function pg_temp.current_session_user() returns text language sql as $$ select 'victim ${victim}' $$`,
    () =>
      `create or replace function pg_temp.leak(p text) returns boolean language plpgsql cost 0.000001 as $$ begin raise notice '%', p; return true; end $$`,
    () =>
      `create or replace function pgstore.current_session_user() returns text language sql as $$ select 'victim ${victim}' $$`,
    () =>
      pick([
        'alter table public.notes disable row level security',
        'drop policy own on public.notes',
        'create policy all_ on public.notes using (true)',
      ]),
    () =>
      pick([
        'table pgstore.entry_keys',
        'table pgstore.sessions',
        `select * from pgstore.session_list('victim ${victim}')`,
      ]),
    ...(canSignIn ? [] : [signIn]),
    () =>
      `do $$ begin perform set_config('pgstore.entered', ${forged}, true); raise exception 'x'; exception when others then null; end $$`,
    () => `do $$ begin commit; perform set_config('pgstore.entered', ${forged}, false); end $$`,
    () =>
      `do $$ declare t text; begin for t in select body from public.notes loop raise notice '%', t; end loop; end $$`,
    () => pick(['set debug_parallel_query = on', 'set force_parallel_mode = on', 'set parallel_setup_cost = 0']),
    () => `select query from pg_stat_activity`,
    () => 'select * from pg_prepared_statements, pg_cursors',
  ]
  return Array.from({ length: 2 + below(5) }, () => pick(steps)()).concat(random() < 0.5 ? both : look())
}

interface Found {
  readonly foreign: string[]
  readonly naive: number
  readonly ran: number
}

/** Attacks and visits by turns; what an attack has seen that it should not, and how many of its statements ran. */
async function drill(pool: pg.Pool, attacks: number, seed: number, canSignIn = false): Promise<Found> {
  const random = randomFrom(seed)
  const { attacker, others, ids } = await people()
  const key = keyOf(tokenOf(store, attacker)).toString('hex')
  const seen: string[] = []
  const foreign: string[] = []
  let [naive, ran] = [0, 0]
  const heard: string[] = []
  pool.on('connect', (client) => client.on('notice', ({ message = '' }) => heard.push(message)))
  const visit = async (n: number) => {
    const own = async (client: TransactionClient) => {
      const now = await client.query(`select current_setting('pgstore.entered') as text`)
      seen.push(String(now.rows[0]?.['text']))
      if (seen.length > 20) seen.shift()
      return (await client.query('select body from public.notes')).rows
    }
    // What an attack left, such as a search_path or an open transaction, may break a visit: it must not show another's rows.
    const rows = await store.transaction((others[n] as Visitor).request(), 'sid', own, { pool }).catch(() => [])
    if (rows.some(({ body }) => body !== marker(n))) foreign.push(`victim ${n} saw ${JSON.stringify(rows)}`)
  }
  for (let n = 0; n < attacks; n++) {
    if (n % 4 === 0) await visit((n / 4) % victims)
    const statements = injection(random, { key, ids, seen, canSignIn })
    const joined = random() < 0.3
    const answers: unknown[] = []
    heard.length = 0
    const attack = async (client: TransactionClient) => {
      for (const statement of joined ? [statements.join('; ')] : statements) {
        // What fails does not keep the rest from being tried.
        await client.query('savepoint step').catch(() => {})
        await client.query(statement).then(
          (result) => {
            answers.push(...[result].flat().map(({ rows }) => rows))
            ran++
          },
          async (error) => {
            answers.push(error.message, error.detail)
            await client.query('rollback to savepoint step').catch(() => {})
          },
        )
      }
    }
    await store.transaction(attacker.request(), 'sid', attack, { pool }).catch(() => {})
    const answer = JSON.stringify([answers, heard])
    if (/naive of victim/.test(answer)) naive++
    if (/secret of victim/.test(answer)) foreign.push(`${statements.join('; ')} → ${answer}`)
  }
  const left = await sql('select body from public.notes order by body')
  const expected = [...Array(victims).keys()].map((n) => ({ body: marker(n) }))
  const kept = left.filter(({ body }) => body !== 'own')
  if (JSON.stringify(kept) !== JSON.stringify(expected)) foreign.push(`left: ${JSON.stringify(left)}`)
  return { foreign, naive, ran }
}

/** Of several statements each; a quarter more go behind the pooler. */
const attacks = counts(100, 1000)

for (const [whose, url] of [
  ['the right *entry* alone', entryUrl],
  ['the application’s own role', clientUrl],
] as const) {
  requirement('S30', `drill: no injection in a transaction becomes somebody else, with ${whose}`, async () => {
    const { foreign, naive, ran } = await drill(shared(url), attacks, 1, url === clientUrl)
    assert.equal(foreign.slice(0, 5), [])
    // They are good attacks: many of their statements run, and a policy that believes a setting falls.
    assert.ok(ran > attacks, `${ran} statements ran`)
    assert.ok(naive > 0, `${naive} of ${attacks} attacks were seen through by the naive policy`)
  })
}

requirement(
  'S30',
  'drill: no injection becomes somebody else behind a pooler that lends connections by transaction',
  async () => {
    const pooler = await startPooler(entryUrl, { perTransaction: true })
    try {
      const { foreign } = await drill(shared(pooler.url), attacks / 4, 2)
      assert.equal(foreign.slice(0, 5), [])
    } finally {
      await pooler.close()
    }
  },
)

requirement(
  'S27',
  'a session that is ended before its transaction begins gets none of its rows, however it ended',
  async () => {
    const { others } = await people()
    const pool = shared(entryUrl)
    const rows = async (visitor: Visitor) =>
      await store.transaction(
        visitor.request(),
        'sid',
        async (client, { userId }) => [userId, (await client.query('select body from public.notes')).rows.length],
        { pool },
      )
    const ends: readonly ((n: number) => Promise<unknown>)[] = [
      async (n) => await store.revoke(`victim ${n}`),
      async (n) => await sql('select * from pgstore.session_end_before($1)', `user:victim ${n}`),
      async () => await sql('select * from pgstore.session_end_before($1)', 'all'),
    ]
    for (const [n, end] of ends.entries()) {
      const visitor = others[n] as Visitor
      assert.equal(await rows(visitor), [`victim ${n}`, 1])
      await end(n)
      assert.equal(await rows(visitor), [undefined, 0])
    }
  },
)

requirement(
  'S2',
  'while a transaction works, nobody sees the key of its session in what the server shows of queries',
  async () => {
    const { others } = await people()
    const [pool, spy] = [shared(entryUrl), shared(entryUrl)]
    const visitor = others[0] as Visitor
    const key = keyOf(tokenOf(store, visitor)).toString('hex')
    const look = async () =>
      JSON.stringify((await spy.query('select query from pg_stat_activity where datname = current_database()')).rows)
    const shown: string[] = []
    for (let n = 0; n < 20; n++) {
      const work = async () => {
        shown.push(await look())
      }
      await Promise.all([
        store.transaction(visitor.request(), 'sid', work, { pool }),
        look().then((text) => shown.push(text)),
      ])
    }
    assert.match(shown.join(), /session_enter/)
    assert.not.match(shown.join(), key)
  },
)

test.run()
