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

/** As clients have called since the second migration: by position, named columns, prepared once for each connection. */
const calls = {
  get: 'select data, version from pgstore.session_get($1)',
  save: `select status, version from pgstore.session_save($1, $2, '{}', '30 days', $3::integer, null, 4096, '90 days')`,
  destroy: 'select pgstore.session_destroy($1)',
}

/** A client of then: one connection, one session after the other. */
async function formerClient(url: string, name: string, history: History, isOver: () => boolean): Promise<number> {
  const client = new pg.Client(url)
  client.on('error', () => {}) // where a test fails its database goes at once
  await client.connect()
  const ask = async (call: keyof typeof calls, ...values: unknown[]): Promise<Record<string, unknown> | undefined> =>
    (await client.query({ name: call, text: calls[call], values })).rows[0]
  let asked = 0
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
  return asked
}

test('F33: while each migration is applied, clients of then and of now get right answers and no error', async () => {
  const url = await emptyDatabase()
  const owner = new pg.Pool({ connectionString: url, max: 3 })
  owner.on('error', () => {})
  await runMigrations(owner, 'pgstore', migrations.slice(0, 2))
  const history = new History()
  let isOver = false
  const former = Array.from({ length: 4 }, (_, who) => formerClient(url, `former ${who}`, history, () => isOver))
  const failed = Promise.all(former)
  const more = async (many: number) => {
    const before = history.calls.length
    await Promise.race([failed, until(() => history.calls.length >= before + many, 60)])
  }
  const each = counts(100, 2000)
  for (let applied = 3; applied <= migrations.length; applied++) {
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
  assert.is(load.failed, 0)
  isOver = true
  const asked = (await failed).reduce((sum, many) => sum + many, 0)
  await store.close()
  await owner.end()
  report(
    'F33',
    `${migrations.length - 2} migrations applied under load`,
    `former clients: ${asked} calls, 0 failed; ${soundness(judge(history.calls))}; clients of now: ${text}`,
  )
})

test.run()
