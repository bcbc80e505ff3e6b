// The schema is upgraded while clients of the former version and of this one are at work.
import { createHash, randomBytes } from 'node:crypto'
import pg from 'pg'
import * as assert from 'uvu/assert'
import { migrate, PGStore } from '../../src/index.ts'
import { runMigrations } from '../../src/schema/migrate.ts'
import { migrations } from '../../src/schema/migrations.generated.ts'
import { counts } from '../support/counts.ts'
import { closeAll, emptyDatabase, hashKey, until } from '../support/harness.ts'
import { judge } from './checker.ts'
import { report, test } from './faults.ts'
import { History, type Values } from './history.ts'
import { Load, soundness } from './load.ts'

test.after(closeAll)

/**
 * The third changes a column's type, and so writes the table anew: a read that waited for it, in a function that was called stable then, finds
 * the table empty (https://www.postgresql.org/docs/current/mvcc-caveats.html). No later one does, nor may any.
 */
const first = 3

/** As clients have called since the second migration: by position, named columns, prepared once for each connection. */
const calls = {
  get: 'select data, version from pgstore.session_get($1::bytea)',
  save: `select status, version from pgstore.session_save($1::bytea, $2, '{}', '30 days', $3::integer, null, 4096, '90 days')`,
  destroy: 'select pgstore.session_destroy($1::bytea)',
}

interface Former {
  readonly asked: number
  /** Calls that a migration came between. */
  readonly repeated: number
}

/** A client of then: one connection, one session after the other. */
async function formerClient(url: string, name: string, history: History, isOver: () => boolean): Promise<Former> {
  const client = new pg.Client(url)
  client.on('error', () => {}) // where a test fails its database goes at once
  await client.connect()
  const ask = async (call: keyof typeof calls, ...values: unknown[]): Promise<Record<string, unknown> | undefined> => {
    for (;;) {
      try {
        return (await client.query({ name: call, text: calls[call], values })).rows[0]
      } catch (error) {
        // A migration replaced the function between finding it and calling it: nothing has run.
        if (!(error as Error).message.startsWith('cache lookup failed for function')) throw error
        repeated++
      }
    }
  }
  let [asked, repeated] = [0, 0]
  for (let n = 0; !isOver(); n++) {
    const session = `${name} ${n}`
    const key = createHash('sha256').update(randomBytes(32)).digest()
    const make = history.begin({ session, kind: 'create', newToken: session, set: { a: session } })
    assert.is((await ask('save', key, JSON.stringify({ a: session }), 0))?.['status'], 'saved')
    history.end(make, 'ok')
    for (let visit = 0; visit < 20 && !isOver(); visit++) {
      const reading = history.begin({ session, kind: 'read', token: session })
      history.end(reading, 'ok', ((await ask('get', key))?.['data'] ?? {}) as Values)
      const set = { a: `${session}.${visit}`, b: `${session}.${visit}` }
      const saving = history.begin({ session, kind: 'save', token: session, set })
      assert.is((await ask('save', key, JSON.stringify(set), null))?.['status'], 'saved')
      history.end(saving, 'ok')
      asked += 2
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    const ending = history.begin({ session, kind: 'end', token: session })
    assert.is(Number((await ask('destroy', key))?.['session_destroy']), 1)
    history.end(ending, 'ok')
    const after = history.begin({ session, kind: 'read', token: session })
    const found = await ask('get', key)
    history.end(after, found ? 'ok' : 'gone', found && (found['data'] as Values))
  }
  await client.end()
  return { asked, repeated }
}

test('F33: while each migration is applied, clients of then and of now get right answers and no error', async () => {
  const url = await emptyDatabase()
  const owner = new pg.Pool({ connectionString: url, max: 3 })
  owner.on('error', () => {})
  await runMigrations(owner, 'pgstore', migrations.slice(0, first))
  const history = new History()
  let isOver = false
  const former = Array.from({ length: 4 }, (_, who) => formerClient(url, `former ${who}`, history, () => isOver))
  const failed = Promise.all(former)
  const more = async (many: number) => {
    const before = history.calls.length
    await Promise.race([failed, until(() => history.calls.length >= before + many, 60)])
  }
  const each = counts(100, 2000)
  for (let applied = first + 1; applied <= migrations.length; applied++) {
    await more(each)
    await runMigrations(owner, 'pgstore', migrations.slice(0, applied))
  }
  assert.equal(await migrate(owner), [])
  // Clients of now come, while those of then are still there; and a migration that has nothing to do.
  const store = await PGStore.open({ connectionString: url, keyPairs: [hashKey] })
  const load = new Load(store)
  await load.start()
  await load.more(each)
  await more(each)
  await migrate(owner)
  await load.more(each)
  const { text } = await load.judged()
  isOver = true
  const sum = (name: keyof Former, all: readonly Former[]) => all.reduce((total, one) => total + one[name], 0)
  const ended = await failed
  await store.close()
  await owner.end()
  report(
    'F33',
    `${migrations.length - first} migrations applied under load`,
    `former clients: ${sum('asked', ended)} calls, ${sum('repeated', ended)} repeated, 0 failed; ${soundness(judge(history.calls))}; clients of now: ${text}`,
    load.noneFailed,
  )
})

test('F33: while functions are dropped and made anew, as a migration does, no call of a store fails', async () => {
  const rounds = counts(40, 400)
  const url = await emptyDatabase()
  const owner = new pg.Pool({ connectionString: url, max: 3 })
  owner.on('error', () => {})
  await migrate(owner)
  const { rows } = await owner.query<{ signature: string; definition: string }>(
    `select oid::regprocedure as signature, pg_get_functiondef(oid) as definition from pg_proc
     where pronamespace = 'pgstore'::regnamespace and proname in ('session_get', 'session_save', 'session_regenerate', 'session_destroy')`,
  )
  const replace = rows.map(({ signature, definition }) => `drop function ${signature}; ${definition};`).join('\n')
  const store = new PGStore({ connectionString: url, keyPairs: [hashKey] })
  const load = new Load(store, { perSecond: 1000 })
  await load.start()
  for (let round = 0; round < rounds; round++) {
    await owner.query(`begin; ${replace} commit`)
    await load.more(20)
  }
  const { text } = await load.judged()
  await store.close()
  await owner.end()
  report('F33', `functions replaced ${rounds} times under load`, text, load.noneFailed)
})

test.run()
