// A rolling upgrade: the former release's client and this one's visit the same sessions while the schema is migrated, and the former
// one goes on afterwards, as after a downgrade.
import pg from 'pg'
import * as assert from 'uvu/assert'
import { migrate, PGStore } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { runMigrations } from '../../src/schema/migrate.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { rightsStatement } from '../../src/schema/rights.ts'
import { counts } from '../support/counts.ts'
import { clientUrl, closeAll, emptyDatabase, hashKey } from '../support/harness.ts'
import { report, test } from './faults.ts'
import { FormerClient } from './former.ts'
import { Load } from './load.ts'

test.after(closeAll)

/** Migrations of release 0.1.0. */
const former = migrations.findIndex(({ name }) => name.startsWith('000006')) + 1
const rounds = counts(3, 25)

/** Drops every function and creates it anew in one transaction, as a migration does that changes signatures. */
const anew = `do $$
  declare
    v_functions record;
  begin
    select array_agg(p.oid::regprocedure::text) as names, array_agg(pg_get_functiondef(p.oid)) as texts
    into v_functions
    from pg_proc as p
    where p.pronamespace = 'pgstore'::regnamespace;
    for i in 1 .. cardinality(v_functions.names) loop
      execute format('drop function %s', v_functions.names[i]);
    end loop;
    for i in 1 .. cardinality(v_functions.texts) loop
      execute v_functions.texts[i];
    end loop;
  end
  $$`

test('F43: clients of the former release and of this one lose, revive and misread nothing while the schema is migrated', async () => {
  const url = await emptyDatabase()
  const owner = new pg.Pool({ connectionString: url, max: 2 }).on('error', () => {})
  await runMigrations(owner, 'pgstore', migrations.slice(0, former))
  const app = new URL(clientUrl)
  // The rights are recorded, and given on the functions that are there: the former schema lacks those of today.
  const recorded = grantStatements(app.username, ['client', 'account'], 'pgstore').slice(0, 2)
  for (const statement of [...recorded, rightsStatement('pgstore')]) await owner.query(statement)
  const connectionString = Object.assign(new URL(clientUrl), { pathname: new URL(url).pathname }).href
  const old = new FormerClient(connectionString)
  const store = new PGStore({ connectionString, keys: [hashKey] })
  const load = new Load(store, { clients: 8 })
  const [codec] = store.codecs
  assert.ok(codec)
  assert.equal(await old.everything(), [])
  let [visits, isOver] = [0, false]
  await load.start()
  const visiting = Array.from({ length: 4 }, async (_, who) => {
    while (!isOver) {
      const place = load.places[Math.floor(Math.random() * load.places.length)]
      if (place) await old.visit(place, codec, load.history, { [`former ${who}`]: ++visits })
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })
  await load.more(100)
  const applied = await migrate(owner)
  assert.is(applied.length, migrations.length - former)
  await load.more(100)
  for (let round = 0; round < rounds; round++) {
    await owner.query(`begin; set local check_function_bodies = off; ${anew}; ${rightsStatement('pgstore')}; commit`)
    await load.more(30)
  }
  assert.equal(await migrate(owner), [])
  isOver = true
  await Promise.all(visiting)
  assert.equal(await old.everything(), [])
  const { text } = await load.judged()
  assert.is(load.failed, 0, load.text)
  // At most one of each of its visitors at a time, when all functions are replaced.
  assert.ok(old.interrupted <= 4 * (rounds + applied.length), `${old.interrupted}`)
  await store.close()
  await old.end()
  await owner.end()
  report(
    'F43',
    'rolling upgrade, clients of two releases',
    `${applied.length} migrations, and ${rounds} times every function anew; ${2 * visits} calls of the former client, ${old.interrupted} interrupted by a replaced function; ${text}`,
  )
})

test.run()
