// What PL/Proxy says when a partition fails, in the words of PL/Proxy 2.10, raised here by the functions that the store calls.
import { inspect } from 'node:util'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PGStoreError } from '../../src/index.ts'
import { clientUrl, closeAll, rejection, row, sql, testStore, Visitor } from '../support/harness.ts'

const pool = new pg.Pool({ connectionString: clientUrl, max: 1 })
const store = testStore<{ n?: number }>({ pool })
test.after(async () => {
  await closeAll()
  await pool.end()
})

/** Lets both functions fail now and then, before they do anything. */
await sql(`
  create sequence failures;
  create table failing (times integer, state text, message text);
  insert into failing values (0, '', '');
  create function maybe_fail() returns void language plpgsql security definer set search_path = public as $$
  declare
    v_failing failing;
  begin
    select * into v_failing from failing;
    if nextval('failures') <= v_failing.times then
      raise using errcode = v_failing.state, message = v_failing.message;
    end if;
  end
  $$;
  do $$
  declare
    v_function record;
  begin
    for v_function in
      select p.oid, p.proname as name, p.pronargs as count, pg_get_function_arguments(p.oid) as arguments,
        pg_get_function_result(p.oid) as result
      from pg_proc as p
      where p.oid in ('pgstore.session_get(bytea)'::regprocedure, 'pgstore.session_save(bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean)'::regprocedure)
    loop
      execute format('alter function %s rename to %I', v_function.oid::regprocedure, v_function.name || '_inner');
      execute format(
        'create function pgstore.%I(%s) returns %s language sql security definer as %L', v_function.name, v_function.arguments,
        v_function.result,
        format('select public.maybe_fail(); select * from pgstore.%I(%s)', v_function.name || '_inner',
          (select string_agg('$' || n, ', ') from generate_series(1, v_function.count) as n)));
    end loop;
  end
  $$;
`)

/** The next calls fail, so many of them. */
async function fail(times: number, state: string, message: string): Promise<void> {
  await sql('update failing set times = $1, state = $2, message = $3', times, state, message)
  await sql(`select setval('failures', 1, false)`)
}

/** How many calls there were since. */
const calls = async () =>
  Number((await row('select case when is_called then last_value else 0 end as count from failures'))['count'])

const away = (what: string) =>
  `PL/Proxy function pgstore.${what}: [part2] PQconnectPoll: connection to server at "secret.example" (10.1.2.3), port 5432 failed: Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?`

async function visitorWith(n: number): Promise<Visitor> {
  const visitor = new Visitor()
  await fail(0, '', '')
  await visitor.visit(store, ({ values }) => {
    values.n = n
  })
  return visitor
}

function checkSilent(error: Error): void {
  const told = `${inspect(error, { depth: 9 })} ${JSON.stringify(error)} ${inspect(error.cause)}`
  assert.not.match(told, /secret|10\.1\.2\.3|5432|part2|PQconnect/)
}

test('a partition that cannot be reached is unavailable, and its address stays unsaid', async () => {
  const visitor = await visitorWith(1)
  await fail(2, 'XX000', away('session_get(1)'))
  const error = (await rejection(store.get(visitor.request(), 'sid'))) as PGStoreError
  assert.equal([error.code, error.statusCode, error.sqlState], ['unavailable', 503, 'XX000'])
  assert.is(error.message, 'session_get: a partition could not be reached')
  checkSilent(error)
})

test('a read is repeated once, on the same connection: the proxy is well', async () => {
  const visitor = await visitorWith(2)
  const { rows: before } = await pool.query('select pg_backend_pid()')
  await fail(1, 'XX000', away('session_get(1)'))
  assert.is((await store.get(visitor.request(), 'sid')).values.n, 2)
  assert.is(await calls(), 2)
  const { rows: after } = await pool.query('select pg_backend_pid()')
  assert.equal(after, before)
})

test('a save is repeated once, at the version that was read', async () => {
  const visitor = await visitorWith(3)
  await visitor.visit(store, async (session) => {
    session.values.n = 4
    await fail(1, 'XX000', away('session_save(12)'))
  })
  assert.is((await store.get(visitor.request(), 'sid')).values.n, 4)
  const saving = visitor.visit(store, async (session) => {
    session.values.n = 5
    await fail(2, 'XX000', away('session_save(12)'))
  })
  const error = await rejection(saving)
  assert.is(error.code, 'unavailable')
  assert.is(await calls(), 2)
  checkSilent(error)
  await fail(0, '', '')
  assert.is((await store.get(visitor.request(), 'sid')).values.n, 4)
})

test('other failures of a partition keep their own code, without its name', async () => {
  const visitor = await visitorWith(6)
  for (const [state, message, code] of [
    ['XX000', 'PL/Proxy function pgstore.session_get(1): query timeout', 'timeout'],
    ['XX000', 'PL/Proxy function pgstore.session_get(1): connect timeout to: secret.example', 'unavailable'],
    ['57014', 'pgstore.session_get(1): [part2] REMOTE ERROR: canceling statement due to statement timeout', 'timeout'],
    ['57P01', 'pgstore.session_get(1): [part2] REMOTE FATAL: terminating connection', 'unavailable'],
    ['53100', 'pgstore.session_get(1): [part2] REMOTE ERROR: could not extend file', 'full'],
    ['25006', 'pgstore.session_get(1): [part2] REMOTE FEHLER: read-only', 'unavailable'],
    [
      '42883',
      'pgstore.session_get(1): [part2] REMOTE ERROR: function pgstore.session_get does not exist',
      'not_installed',
    ],
    ['42501', 'pgstore.session_get(1): [part2] REMOTE ERROR: permission denied', 'forbidden'],
    ['XX001', 'pgstore.session_get(1): [part2] REMOTE ERROR: invalid page', 'database'],
  ] as const) {
    await fail(2, state, message)
    const { rows: before } = await pool.query('select pg_backend_pid()')
    const error = await rejection(store.get(visitor.request(), 'sid'))
    assert.equal([error.code, state], [code, state])
    checkSilent(error)
    const { rows: after } = await pool.query('select pg_backend_pid()')
    assert.equal(after, before, message)
  }
})

test.run()
